//! `rally-cred logout`: has the token forgotten, and says where the grant can be revoked.
//! Does not: revoke it; Rally has no known endpoint for that.
//! Met by: people.

use rally_cred_proto::{
    Answer, Ask, Fault, FaultKind,
    message::{Logout, SignedOut},
    plain::plain,
};

use crate::{connection::Connection, daemon::PATIENCE, output::Output, surroundings::Surroundings};

/// Signs out. A daemon is started if none runs, since the token may be in the keyring.
pub(crate) fn run(logout: Logout, around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    match Connection::new(around, true).ask(&Ask::Logout(logout), PATIENCE, &mut |_| {})? {
        Answer::SignedOut(SignedOut { profiles, revoke_at }) => {
            let mut text = String::new();
            for profile in profiles {
                text.push_str(&format!("profile {}: signed out\n", plain(&profile)));
            }
            for page in revoke_at {
                text.push_str(&format!("Rally still knows the grant; revoke it at {}\n", plain(&page)));
            }
            output.answer(text.as_bytes())?;
            Ok(0)
        }
        _ => Err(Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")),
    }
}
