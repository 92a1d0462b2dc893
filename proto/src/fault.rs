//! Everything that can go wrong, as a caller sees it: a name, an exit code, and three lines for people.
//! Does not: carry secrets or unescaped foreign text (`Fault` takes every line through `plain`).
//! Used by: the daemon, which answers with one; the client, which prints it and exits with its code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    plain::plain,
    remedy::{Command, Remedy},
};

/// What went wrong: what, why, and what to try.
///
/// Shown as at most three lines, lower case, without a full stop:
/// ```
/// use rally_cred_proto::{Fault, FaultKind};
/// let fault = Fault::new(FaultKind::SignInNeeded, "no sign-in for profile default")
///     .why("nothing is stored")
///     .run("rally-cred login");
/// assert_eq!(fault.to_string(), "no sign-in for profile default\n  why: nothing is stored\n  try: rally-cred login");
/// assert_eq!(fault.kind.exit_code(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The name that programs look at.
    pub kind: FaultKind,
    /// The object and what is the matter with it.
    pub what: String,
    /// The cause, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The one command or file that helps.
    #[serde(default, rename = "try", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Fault {
    /// A fault of this kind; `what` names the object and what is the matter with it. Until [`Fault::remedy`] says
    /// something better, it has what leads on from every fault of its kind, so none leaves a person without a next step.
    pub fn new(kind: FaultKind, what: impl AsRef<str>) -> Self {
        Self { kind, what: plain(what.as_ref()), why: None, remedy: Some(kind.remedy()) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn why(mut self, why: impl AsRef<str>) -> Self {
        self.why = Some(plain(why.as_ref()));
        self
    }

    /// Names the one command or file that helps with this very fault.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<Remedy>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Names the one command that helps, whose words have no spaces in them.
    #[must_use]
    pub fn run(self, command: &str) -> Self {
        self.remedy(Command::new(command))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A fault may come off the socket from another version, so it is made plain again where it is shown.
        f.write_str(&plain(&self.what))?;
        if let Some(why) = &self.why {
            write!(f, "\n  why: {}", plain(why))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  try: {}", plain(&remedy.to_string()))?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// Declares the kinds once, with their wire name, exit code, meaning and what leads on, so that the table cannot drift
/// from the code; and whether a request ends with it only once its server is `known`. The `other` ones are about the
/// caller, the daemon or its config file, or what no request for a server ends with.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $exit:literal $server:ident, $name:literal, $try:ident $remedy:literal;)*) => {
        /// The kinds of fault. The text of each says what the caller does next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum FaultKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
            /// A failure that is not listed, or one of a newer daemon: show it and stop.
            #[serde(rename = "failed", other)]
            Failed,
        }

        impl FaultKind {
            /// Every kind, in the order of the table in README.md.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)* Self::Failed];

            /// The client's exit code for this kind.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$kind => $exit,)* Self::Failed => 1 }
            }

            /// The name on the wire and in `--json`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* Self::Failed => "failed" }
            }

            /// Whether a request for a server ends with it only once that server is known to be one of a profile, or of
            /// `[static]`. A caller that has other places to ask need not: no password from there works.
            pub const fn is_of_a_known_server(self) -> bool {
                match self { $(Self::$kind => kinds!(@$server),)* Self::Failed => false }
            }

            /// What leads on from any fault of this kind.
            pub fn remedy(self) -> Remedy {
                match self {
                    $(Self::$kind => kinds!(@$try $remedy),)*
                    Self::Failed => kinds!(@run "rally-cred doctor"),
                }
            }
        }
    };
    (@known) => { true };
    (@other) => { false };
    (@run $command:literal) => { Command::new($command).into() };
    (@say $words:literal) => { $words.into() };
}

kinds! {
    /// The request is malformed: mend the caller.
    BadRequest = 1 other, "bad_request", run "rally-cred get --help";
    /// No profile is configured: write the config file.
    NotConfigured = 1 other, "not_configured", run "rally-cred setup";
    /// The config file cannot be used: mend the line that it names.
    ConfigBroken = 1 other, "config_broken", run "rally-cred config check";
    /// The request names a server that no profile is for (EngFlow only; git gets silence).
    NoMatch = 1 other, "no_match", run "rally-cred status";
    /// Another program listens on the redirect port: free it, or paste the address.
    PortTaken = 1 known, "port_taken", say "paste the address that the browser ends at into rally-cred login";
    /// This user may not listen on the redirect port: register another, or paste the address.
    PortForbidden = 1 known, "port_forbidden", say "paste the address that the browser ends at into rally-cred login";
    /// The redirect is not the one that the pending sign-in waits for: press "Allow Access" again, or paste the right address.
    BadRedirect = 1 other, "bad_redirect", run "rally-cred login";
    /// The command line is wrong: see `--help`.
    Usage = 2 other, "usage", run "rally-cred --help";
    /// No profile has this name: see `rally-cred status`.
    UnknownProfile = 2 other, "unknown_profile", run "rally-cred status";
    /// A person has to sign in, and this request may not ask one: run `rally-cred login`.
    SignInNeeded = 3 known, "sign_in_needed", run "rally-cred login";
    /// The client secret is not known yet: run `rally-cred login`, which asks for it.
    ClientSecretNeeded = 3 known, "client_secret_needed", run "rally-cred login";
    /// The user has not let this program have the token, and this request does not wait for it: press Allow.
    ConsentNeeded = 3 known, "consent_needed", say "press Allow in the notification, then ask again";
    /// The user pressed "Deny", or signed out while others waited: run `rally-cred login` to try again.
    Denied = 4 known, "denied", run "rally-cred login";
    /// Rally did not take the authorization code: run `rally-cred login` again.
    CodeRefused = 4 known, "code_refused", run "rally-cred login";
    /// Rally does not know this client ID and client secret together: check them.
    ClientRefused = 4 known, "client_refused", run "rally-cred login --client-secret-stdin";
    /// Rally does not take the token: sign in again.
    TokenRefused = 4 known, "token_refused", run "rally-cred login";
    /// The subscription does not allow this address: use the network that it allows.
    AddressNotAllowed = 4 known, "address_not_allowed", say "connect through the network or VPN that your subscription allows";
    /// This program may not have the token, by the config file or the user's word: see `rally-cred status --audit`.
    NotAllowed = 4 known, "not_allowed", run "rally-cred status --audit";
    /// The time given ran out: try again, with more time.
    TimedOut = 5 known, "timed_out", run "rally-cred status";
    /// No daemon answers: start it.
    NoDaemon = 6 other, "no_daemon", run "rally-cred daemon start";
    /// Daemon and client speak different versions: restart the daemon.
    VersionSkew = 6 other, "version_skew", run "rally-cred daemon restart";
    /// The daemon is stopping: ask again.
    Stopping = 6 other, "stopping", run "rally-cred daemon start";
    /// The keyring is locked: unlock it and ask again.
    VaultLocked = 7 known, "vault_locked", say "unlock the keyring, then ask again";
    /// The encrypted files need their passphrase: enter it and ask again.
    PassphraseNeeded = 7 known, "passphrase_needed", run "rally-cred unlock";
    /// No keyring answers: start one, or choose memory.
    VaultMissing = 7 known, "vault_missing", run "rally-cred doctor";
    /// The keyring answers with an error: see the cause.
    VaultFailed = 7 known, "vault_failed", run "rally-cred doctor";
    /// The daemon is locked, and hands out nothing: unlock it.
    Locked = 9 known, "locked", run "rally-cred unlock";
    /// Rally cannot be reached: it will pass, ask again later.
    Unreachable = 8 known, "unreachable", say "ask again in a few minutes; if it stays, rally-cred doctor";
    /// The connection is not trusted: check the certificate authority.
    TlsFailed = 8 known, "tls_failed", run "rally-cred doctor";
    /// Rally answered with something that is not its API: it will pass, ask again later.
    BadAnswer = 8 known, "bad_answer", say "ask again in a few minutes; if it stays, rally-cred doctor";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_names_in_the_table() {
        for kind in FaultKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn no_fault_leaves_a_person_without_something_to_try() {
        for kind in FaultKind::ALL {
            let shown = Fault::new(*kind, "it failed").to_string();
            let tried = shown.lines().find_map(|line| line.strip_prefix("  try: "));
            assert!(tried.is_some_and(|tried| !tried.is_empty()), "{kind:?}: {shown}");
        }
        let fault = Fault::new(FaultKind::Failed, "it failed").remedy("mend it");
        assert_eq!(fault.to_string(), "it failed\n  try: mend it");
    }

    #[test]
    fn a_kind_of_a_newer_daemon_is_a_failure_not_an_error() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"of_tomorrow","what":"x","new":1}"#).unwrap();
        assert_eq!(fault.kind, FaultKind::Failed);
        assert_eq!(fault.kind.exit_code(), 1);
    }

    #[test]
    fn foreign_text_is_made_plain_on_its_way_in_and_out() {
        let fault = Fault::new(FaultKind::Failed, "a\u{1b}[2J").why("b\nc").remedy("d\u{202e}");
        assert_eq!(
            (fault.what.as_str(), fault.why.as_deref(), fault.remedy),
            ("a[2J", Some("bc"), Some("d".into()))
        );
        let foreign: Fault = serde_json::from_str(r#"{"kind":"failed","what":"a\u001b"}"#).unwrap();
        assert_eq!(foreign.to_string(), "a");
    }
}
