//! `rally-cred daemon`: start, stop, restart and reload.
//! Does not: know how one is started (`autostart` does).
//! Met by: people and installers.

use std::time::Duration;

use rally_cred_proto::{Answer, Ask, Client, Fault, FaultKind};

use crate::{autostart, output::Output, surroundings::Surroundings};

/// Longest time for an answer about the daemon itself; the keyring's own limit is shorter.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a daemon unless one runs.
pub(crate) fn start(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let ran = Client::connect(&around.socket()?).is_ok();
    autostart::connect(around, true)?;
    output.answer(if ran { b"the daemon runs already\n" } else { b"the daemon runs\n" })?;
    Ok(0)
}

/// Stops the daemon, and returns once its socket is gone. None running is as good.
pub(crate) fn stop(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let text: &[u8] = if end(around)? { b"the daemon has stopped\n" } else { b"no daemon runs\n" };
    output.answer(text)?;
    Ok(0)
}

/// Stops the daemon if one runs, and starts one.
pub(crate) fn restart(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    end(around)?;
    start(around, output)
}

/// Has the daemon read its config file again.
pub(crate) fn reload(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut client = autostart::connect(around, false)?;
    client.set_patience(PATIENCE)?;
    client.ask(&Ask::Reload, &mut |_| {})?;
    output.answer(b"the config file is in force\n")?;
    Ok(0)
}

/// Whether one ran.
fn end(around: &dyn Surroundings) -> Result<bool, Fault> {
    let mut client = match Client::connect(&around.socket()?) {
        Ok(client) => client,
        Err(fault) if fault.kind == FaultKind::NoDaemon => return Ok(false),
        Err(fault) => return Err(fault),
    };
    client.set_patience(PATIENCE)?;
    match client.ask(&Ask::Stop, &mut |_| {}) {
        Ok(Answer::Done) => Ok(true),
        Ok(_) => Err(Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")),
        // It ended before it could say so.
        Err(fault) if fault.kind == FaultKind::NoDaemon => Ok(true),
        Err(fault) => Err(fault),
    }
}
