//! `rally-cred logout`: forgets tokens.
//! Does not: revoke them; Rally offers programs no known way to.
//! Used by: people.

use std::time::Duration;

use clap::{ArgAction, Args};
use rally_cred::events::{self, Audience};
use rally_cred::{connection::Connection, output::Output, system::System};
use rally_cred_proto::message::{Logout, SignedOut};
use rally_cred_proto::{Deadline, Fault, plain::plain};

/// Longest time, for a keyring that has to be unlocked first.
const PATIENCE: Duration = Duration::from_secs(125);

/// What `logout` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The profile to sign out
    #[arg(conflicts_with = "all")]
    pub(crate) profile: Option<String>,
    /// Every profile
    #[arg(long)]
    pub(crate) all: bool,
    /// Forget the client secret too
    #[arg(long = "forget-client-secret")]
    pub(crate) client_secret: bool,
    /// Fail if no daemon is running, instead of starting one
    #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
    pub(crate) autostart: bool,
}

/// Forgets the tokens of one profile or of all, and shows where to revoke them.
pub(crate) fn run(options: Options, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Options { profile, all, client_secret, autostart } = options;
    let logout = Logout { profile, all, client_secret };
    let mut deadline = Deadline::after(PATIENCE);
    let audience = Audience { has_browser: false, listens: true };
    let mut listen = |event| events::react(&event, audience, sys, output);
    let done = Connection::new(sys, autostart).ask(logout, &mut deadline, &mut listen)?;
    output.tell(summary(&done)).map(|()| 0)
}

fn summary(done: &SignedOut) -> String {
    let SignedOut { profiles, revoke_at } = done;
    let mut text: String =
        profiles.iter().map(|profile| format!("profile {}: signed out\n", plain(profile))).collect();
    if !revoke_at.is_empty() {
        text.push_str("Rally itself still knows the grant, and has no way to revoke it but this page:\n");
    }
    text.extend(revoke_at.iter().map(|page| format!("  {}\n", plain(page))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_each_profile_and_each_page() {
        let done =
            SignedOut { profiles: vec!["a".into(), "b".into()], revoke_at: vec!["https://r/apps".into()] };
        assert_eq!(
            summary(&done),
            "profile a: signed out\nprofile b: signed out\n\
             Rally itself still knows the grant, and has no way to revoke it but this page:\n  https://r/apps\n"
        );
        assert_eq!(summary(&SignedOut { profiles: vec![], revoke_at: vec![] }), "");
    }
}
