//! The output formats of `get`: a token or static credential as git, build tools, shells, curl and people read it.
//! Does not: ask for the token, or decide which format is meant.
//! Used by: `get`; `options` for the names.

use jiff::Timestamp;
use rally_cred_proto::message::{StaticCredential, Token};
use rally_cred_proto::{Fault, FaultKind, Secret, engflow, git};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::output::Output;
use crate::static_credential::{self, AUTHORIZATION, Header, behind};

/// The user name that git gets while the Rally user is not known.
const UNKNOWN_USER: &str = "oauth";

/// The variables that are given where none is named: each is read by several of Rally's tools, and by none in another
/// meaning.
pub const TOKEN_VARIABLES: [&str; 3] = ["RALLY_API_KEY", "RALLY_APIKEY", "RALLY_ZSESSIONID"];

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Git,
    EngFlow,
    Token,
    Header,
    /// A JSON object of headers.
    Headers,
    /// All that is known about the token, as JSON.
    Json,
    /// Assignments of the variables that Rally tools read, for a shell to evaluate.
    Env(Syntax),
    /// A config for `curl -K -`.
    Curl,
}

/// The shell language in which variables are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// sh, dash, bash, zsh, ksh.
    Sh,
    Fish,
    PowerShell,
}

impl Format {
    /// Every format with its name for `--format`.
    pub(crate) const ALL: [(&str, Self); 10] = [
        ("git", Self::Git),
        ("engflow", Self::EngFlow),
        ("token", Self::Token),
        ("header", Self::Header),
        ("headers", Self::Headers),
        ("json", Self::Json),
        ("env", Self::Env(Syntax::Sh)),
        ("env-fish", Self::Env(Syntax::Fish)),
        ("env-powershell", Self::Env(Syntax::PowerShell)),
        ("curl", Self::Curl),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| *name)
    }

    /// Whether it is the format of a protocol, whose callers always write a request.
    pub(crate) fn has_requests(self) -> bool {
        matches!(self, Self::Git | Self::EngFlow)
    }
}

/// A token or static credential, in the same shape.
pub(crate) struct Given<'a> {
    source: Source<'a>,
    /// The one server that it may be sent to.
    base_url: &'a str,
    username: Option<&'a str>,
    secret: &'a Secret,
    header: &'a str,
    header_value: &'a Secret,
    expires_at: Option<i64>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Profile {
        name: &'a str,
        /// The scheme in the header `Authorization`, where the token stands in that.
        scheme: Option<&'a str>,
    },
    Static(&'a git::Credential),
}

/// Writes a token. `request` is git's, if there is one; its capabilities decide what git gets.
pub(crate) fn give_token(
    token: &Token,
    format: Format,
    request: Option<&git::Attributes>,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    let server = token.server();
    let Token { profile, base_url: _, username, token, expires_at, also } = token;
    let header = also.as_ref().map_or(engflow::HEADER, |also| &also.header);
    let scheme = also.as_ref().and_then(|also| also.scheme.as_deref());
    let in_header = match scheme {
        Some(scheme) => &behind(scheme, token).ok_or_else(|| {
            Fault::new(FaultKind::Failed, "the daemon gave a header that cannot be written")
        })?,
        None => token,
    };
    let given = Given {
        // git knows the one header.
        source: Source::Profile {
            name: profile,
            scheme: scheme.filter(|_| header.eq_ignore_ascii_case(AUTHORIZATION)),
        },
        base_url: server,
        username: username.as_deref(),
        secret: token,
        header,
        header_value: in_header,
        expires_at: *expires_at,
    };
    give(&given, format, request, output)
}

/// Writes a static credential.
pub(crate) fn give_static(
    of: &StaticCredential,
    format: Format,
    request: Option<&git::Attributes>,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    let StaticCredential { protocol, host, credential } = of;
    let header = static_credential::header(of);
    let (Some(Header { name, value }), Some(secret)) =
        (&header, credential.password.as_ref().or(credential.credential.as_ref()))
    else {
        return Err(Fault::new(FaultKind::Failed, "the daemon gave a credential without a password"));
    };
    let given = Given {
        source: Source::Static(credential),
        base_url: &format!("{protocol}://{host}"),
        username: credential.username.as_deref(),
        secret,
        header: name,
        header_value: value,
        expires_at: credential.password_expiry_utc,
    };
    give(&given, format, request, output)
}

fn give(
    given: &Given<'_>,
    format: Format,
    request: Option<&git::Attributes>,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    let unwritable = |why: String| Fault::new(FaultKind::Failed, "the answer cannot be written").why(why);
    let (header, value) = (given.header, given.header_value);
    let bytes = match format {
        Format::Json => return output.answer_json(&Shown::from(given)),
        Format::Git => git_lines(given, request.unwrap_or(&git::Attributes::default()))
            .map_err(|err| unwritable(err.to_string()))?,
        Format::EngFlow => {
            let json = engflow::encode_answer(header, value, given.expires_at)
                .map_err(|err| unwritable(err.to_string()))?;
            joined(&[&json, b"\n"])
        }
        Format::Token => joined(&[given.secret.expose().as_bytes(), b"\n"]),
        Format::Header => joined(&[header.as_bytes(), b": ", value.expose().as_bytes(), b"\n"]),
        Format::Headers => headers(header, value.expose()).map_err(|err| unwritable(err.to_string()))?,
        Format::Env(_) if matches!(given.source, Source::Static(_)) && header != engflow::HEADER => {
            return Err(Fault::new(FaultKind::NoMatch, "this is not a credential of Rally")
                .why("the variables are those of Rally's tools")
                .remedy("--format header or --format json"));
        }
        Format::Env(syntax) => assignments(syntax, given.secret.expose()),
        Format::Curl => curl_config(header, value.expose()),
    };
    output.answer(&bytes)
}

fn git_lines(given: &Given<'_>, request: &git::Attributes) -> Result<Zeroizing<Vec<u8>>, git::BadAttributes> {
    match given.source {
        Source::Profile { name, scheme } => {
            let username = given.username.unwrap_or(UNKNOWN_USER);
            git::encode_answer(request, name, scheme, username, given.secret, given.expires_at)
        }
        Source::Static(credential) => git::encode_credential(request, credential),
    }
}

/// The pieces in one buffer of exactly their size, which is wiped when dropped.
fn joined(pieces: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
    pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
    joined
}

/// An object with one header, as programs read it from a command of their user's, and nothing else in it: they would send
/// that too.
fn headers(name: &str, value: &str) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    // JSON writes no byte with more than six.
    let mut json = Zeroizing::new(Vec::with_capacity(6 * (name.len() + value.len()) + 8));
    json.push(b'{');
    serde_json::to_writer(&mut *json, name)?;
    json.push(b':');
    serde_json::to_writer(&mut *json, value)?;
    json.extend_from_slice(b"}\n");
    Ok(json)
}

/// One line for each variable, in single quotes, in which little has to be escaped: [`Secret`] holds no line break, and a
/// token is a word of a few dozen letters anyway.
fn assignments(syntax: Syntax, secret: &str) -> Zeroizing<Vec<u8>> {
    let quoted = Zeroizing::new(match syntax {
        Syntax::Sh => escaped(secret, |c| if c == '\'' { r"'\'" } else { "" }),
        Syntax::Fish => escaped(secret, |c| if matches!(c, '\'' | '\\') { r"\" } else { "" }),
        // PowerShell also reads typographic quotes as quotes; each is doubled.
        Syntax::PowerShell => escaped(secret, |c| match c {
            '\'' => "'",
            '\u{2018}' => "\u{2018}",
            '\u{2019}' => "\u{2019}",
            '\u{201a}' => "\u{201a}",
            '\u{201b}' => "\u{201b}",
            _ => "",
        }),
    });
    let (before, between): (&[u8], &[u8]) = match syntax {
        Syntax::Sh => (b"export ", b"='"),
        Syntax::Fish => (b"set -gx ", b" '"),
        Syntax::PowerShell => (b"$env:", b" = '"),
    };
    let lines: Vec<_> = TOKEN_VARIABLES
        .iter()
        .flat_map(|name| [before, name.as_bytes(), between, quoted.as_bytes(), b"'\n"])
        .collect();
    joined(&lines)
}

/// The option `header` in a config file of curl, in which a backslash and a quote are written behind a backslash.
fn curl_config(header: &str, value: &str) -> Zeroizing<Vec<u8>> {
    let quoted = Zeroizing::new(escaped(value, |c| if matches!(c, '"' | '\\') { r"\" } else { "" }));
    joined(&[b"header = \"", header.as_bytes(), b": ", quoted.as_bytes(), b"\"\n"])
}

/// The text with `before(c)` in front of each character `c`.
fn escaped(text: &str, before: fn(char) -> &'static str) -> String {
    // Sized for the worst case, since a growing string leaves unwiped copies behind.
    let mut escaped = String::with_capacity(text.len() * 4);
    for c in text.chars() {
        escaped.push_str(before(c));
        escaped.push(c);
    }
    escaped
}

/// What `--format json` prints beside `version`. An absent field is not known. `get.schema.json` describes it.
#[derive(Serialize)]
struct Shown<'a> {
    /// Absent for a static credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    base_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    /// The name of the header that carries the token.
    header: &'a str,
    token: &'a Secret,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// The same, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl<'a> From<&Given<'a>> for Shown<'a> {
    fn from(given: &Given<'a>) -> Self {
        let profile = match given.source {
            Source::Profile { name, .. } => Some(name),
            Source::Static(_) => None,
        };
        Self {
            profile,
            base_url: given.base_url,
            username: given.username,
            header: given.header,
            token: given.header_value,
            expires_at: given.expires_at,
            expires: given.expires_at.and_then(|at| Timestamp::from_second(at).ok()).map(|at| at.to_string()),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
