//! The environment variables from which Rally's tools take a token and a server.
//! Does not: set any.
//! Met by: `format` for assignments.

/// The variables that are given where none is named: each is read by several tools, and by none in another meaning.
pub(crate) const DEFAULT: [&str; 3] = ["RALLY_API_KEY", "RALLY_APIKEY", "RALLY_ZSESSIONID"];
