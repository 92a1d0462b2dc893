//! The git operations other than `get`: `store` hands a static credential to the daemon, `erase` reports a bad token or
//! credential, `capability` needs no daemon.
//! Does not: keep anything, or know which servers the daemon keeps credentials for.
//! Used by: git, after a password was used.

use rally_cred_proto::message::{Erase, Store};
use rally_cred_proto::{Deadline, Fault, FaultKind, git, socket};

use crate::autostart::Start;
use crate::events::{self, Audience};
use crate::{connection::Connection, get, options::Options, output::Output, system::System};

/// Reports a token or credential that did not work. Silent, whatever comes of it.
///
/// Starts the daemon if needed: the keyring still holds the refused token, and the next `get` would hand it out again.
pub(crate) fn erase(options: &Options, sys: &dyn System) -> Result<u8, Fault> {
    let mut deadline = options.deadline();
    let attributes = read("erase", &mut deadline, sys)?;
    // git passes back the profile that the token came from; a flag takes precedence.
    let profile = options.profile.clone().or_else(|| attributes.profile.clone());
    let target = get::target(&attributes, profile);
    // Half a server matches nothing. No attributes at all come from a user, who means the profile.
    let is_there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let names_server = is_there(&target.protocol) && is_there(&target.host);
    let says_nothing = target.protocol.is_none() && target.host.is_none() && attributes.password.is_none();
    if !names_server && !says_nothing {
        return Ok(0);
    }
    let erase = Erase { target, token: attributes.password, credential: attributes.credential };
    let outcome = Connection::new(sys, options.start).ask(erase, &mut deadline, &mut |_| {});
    done_or_nothing_to_do(outcome, options)
}

fn done_or_nothing_to_do(outcome: Result<(), Fault>, options: &Options) -> Result<u8, Fault> {
    match outcome {
        Ok(()) => Ok(0),
        // No profile, so no token of ours; below, no daemon, and none is to be started.
        Err(fault) if fault.kind == FaultKind::NotConfigured => Ok(0),
        // The profile that the token came from no longer exists.
        Err(fault) if fault.kind == FaultKind::UnknownProfile && options.profile.is_none() => Ok(0),
        Err(fault) if fault.kind == FaultKind::NoDaemon && options.start == Start::Never => Ok(0),
        Err(fault) => Err(fault),
    }
}

/// The attributes on standard input; none on a terminal.
fn read(operation: &str, deadline: &mut Deadline, sys: &dyn System) -> Result<git::Attributes, Fault> {
    if sys.stdin_is_terminal() {
        return Ok(git::Attributes::default());
    }
    let input = get::read_input(operation, deadline, sys)?;
    git::parse(&input)
        .map_err(|err| Fault::new(FaultKind::BadRequest, err.to_string()).remedy(get::WHAT_TO_WRITE))
}

/// Has the daemon keep a static credential, if the config file lists its server. What must not be kept is not even sent.
/// Silent, unless the keyring fails.
pub(crate) fn store(options: &Options, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = options.deadline();
    let attributes = read("store", &mut deadline, sys)?;
    let (Some(protocol), Some(host)) = (attributes.protocol.clone(), attributes.host.clone()) else {
        return Ok(0);
    };
    let path = attributes.path.as_deref().map(get::text_of_path);
    let is_ephemeral = attributes.ephemeral;
    let credential = attributes.into_credential();
    // Nothing is kept on another machine, and git stores after each use.
    let is_forwarded = socket::is_forwarded(&sys.socket()?);
    if is_forwarded || is_ephemeral || protocol.is_empty() || host.is_empty() || !credential.is_complete() {
        return Ok(0);
    }
    let store = Store { protocol, host, path, credential };
    let audience = Audience { has_browser: false, listens: true };
    let mut react = |event| events::react(&event, audience, sys, output);
    let outcome = Connection::new(sys, options.start).ask(store, &mut deadline, &mut react);
    done_or_nothing_to_do(outcome, options)
}

/// Reads and ignores the request of an unknown operation, so that its writer does not get a broken pipe.
pub(crate) fn pass_over(options: &Options, sys: &dyn System) -> Result<u8, Fault> {
    if !sys.stdin_is_terminal() {
        git::read(&mut sys.stdin(&mut options.deadline())).ok();
    }
    Ok(0)
}

/// Prints which of git's capabilities this helper supports.
pub(crate) fn capability(output: &mut Output<'_>) -> Result<u8, Fault> {
    output.answer(git::CAPABILITIES.as_bytes())?;
    Ok(0)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
