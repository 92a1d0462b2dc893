//! The tests that cross a crate, in one binary.
//! Does not: test what a crate can test by itself.
//! Used by: `tests/run`, and `cargo test -p rally-cred-tests`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod alerts;
mod bounded_waits;
mod chromium;
mod client_secret;
mod crashes;
mod doctor;
mod engflow;
mod examples;
mod exec;
mod foreign_input;
mod further_servers;
mod gateway;
mod gateway_audit;
mod git;
mod git_attributes;
mod git_store;
mod git_suite;
mod imports;
mod integrations;
mod limits;
mod lost_socket;
mod manual;
mod memory;
mod neighbours;
mod network;
mod no_keyring;
mod odd_names;
mod own_files;
mod ownership;
mod quoted_secrets;
mod remedies;
mod sandbox;
mod secrets;
mod setup;
mod setup_remove;
mod shells;
mod sign_in;
mod simulation;
mod static_credentials;
mod support_report;
mod systemd;
mod terminal;
mod test_commands;
mod tidy;
mod tools;
mod transcript;
mod trouble;
mod variables;
mod vault;
mod watch;
mod windows;
mod wire;
mod wrong_host;
