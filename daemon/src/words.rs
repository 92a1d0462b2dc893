//! The names of a grant's steps, in the log and for the service manager.
//! Does not: know where it is shown.
//! Used by: `log` and `notify`.

use rally_cred_core::event::GrantStep;

/// The step's name.
pub const fn grant_step(step: GrantStep) -> &'static str {
    match step {
        GrantStep::Loaded => "found a token in the vault",
        GrantStep::FlowBegan => "began a sign-in",
        GrantStep::SignedIn => "signed in",
        GrantStep::FlowEnded => "a sign-in failed",
        GrantStep::Renewed => "renewed the token",
        GrantStep::Fetched => "got a token from its program",
        GrantStep::RenewalRefused => "the token can no longer be renewed",
        GrantStep::Suspected => "a caller reported that the token does not work, so Rally is asked",
        GrantStep::Erased => "gave up a token that does not work",
        GrantStep::Adopted => "adopted the token that another daemon has saved",
        GrantStep::SignedOutElsewhere => "signed out, since the token is no longer in the keyring",
        GrantStep::SignedOut => "signed out",
        GrantStep::Alerted => "a sign-in is needed, and the user is notified",
        GrantStep::Kept => "the vault keeps it",
        GrantStep::NotKept => "the vault did not keep it, memory does",
    }
}
