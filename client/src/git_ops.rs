//! The git operations beside `get`: `erase` tells the daemon of a bad token, `store` and `capability` need no daemon.
//! Does not: keep anything. What git stores here is what the daemon gave out, and for other servers there are other
//! helpers.
//! Met by: git, after a password was used.

use std::time::Duration;

use rally_cred_proto::{Ask, Fault, FaultKind, git, message::Erase};

use crate::{connection::Connection, get, options::Options, output::Output, surroundings::Surroundings};

/// The daemon's own limit for an erase, and some time for it to say so.
const PATIENCE: Duration = Duration::from_secs(125);

/// Says that a token did not work. Silent, whatever it changed.
///
/// If no daemon runs, one is started: the keyring still holds the token that Rally refused, and the next `get` would
/// hand it out again.
pub(crate) fn erase(options: &Options, around: &dyn Surroundings) -> Result<u8, Fault> {
    let attributes = read(options, around)?;
    let target = get::target(&attributes, options.profile.clone());
    // Half a server is nobody's. Nothing at all comes from a person, who means the profile.
    let is_there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let names_server = is_there(&target.protocol) && is_there(&target.host);
    let says_nothing = target.protocol.is_none() && target.host.is_none() && attributes.password.is_none();
    if !names_server && !says_nothing {
        return Ok(0);
    }
    let erase = Ask::Erase(Erase { target, token: attributes.password, credential: attributes.credential });
    match Connection::new(around, options.autostart).ask(&erase, PATIENCE, &mut |_| {}) {
        Ok(_) => Ok(0),
        // No profile, so no token of ours; or none to be had, since nobody keeps one in memory.
        Err(fault) if fault.kind == FaultKind::NotConfigured => Ok(0),
        Err(fault) if fault.kind == FaultKind::NoDaemon && !options.autostart => Ok(0),
        Err(fault) => Err(fault),
    }
}

/// What standard input says; a terminal says nothing.
fn read(options: &Options, around: &dyn Surroundings) -> Result<git::Attributes, Fault> {
    if around.stdin_is_terminal() {
        return Ok(git::Attributes::default());
    }
    let bad = |fault: git::BadAttributes| Fault::new(FaultKind::BadRequest, fault.to_string());
    let input = git::read(&mut around.stdin(options.stdin_patience())).map_err(bad)?;
    git::parse(&input).map_err(bad)
}

/// Takes what git has to store, and does nothing with it: a token that the daemon gave out, it has already.
pub(crate) fn store(options: &Options, around: &dyn Surroundings) -> Result<u8, Fault> {
    pass_over(options, around)
}

/// Reads the request of an operation that does nothing here, so that whoever writes it is not cut off.
pub(crate) fn pass_over(options: &Options, around: &dyn Surroundings) -> Result<u8, Fault> {
    if !around.stdin_is_terminal() {
        git::read(&mut around.stdin(options.stdin_patience())).ok();
    }
    Ok(0)
}

/// Says what this helper understands of git's protocol.
pub(crate) fn capability(output: &mut Output<'_>) -> Result<u8, Fault> {
    output.answer(git::CAPABILITIES.as_bytes())?;
    Ok(0)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
