//! `rally-cred daemon start|stop|restart|reload`: the life of the daemon.
//! Does not: know about systemd, which may start it anew when the next client connects.
//! Met by: people and installers.

use std::time::Duration;

#[cfg(unix)]
use rally_cred_proto::lock::Holder;
use rally_cred_proto::{Answer, Ask, Client, Fault, FaultKind, message::StatusAsk};

use crate::{autostart, output::Output, surroundings::Surroundings};

/// Time for the daemon to read its config, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a daemon if none runs.
pub(crate) fn start(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let was_there = connect(around, false).is_ok();
    let mut client = connect(around, true)?;
    let process = match client.ask(&Ask::Status(StatusAsk::default()), &mut |_| {})? {
        Answer::Status(status) => format!(", process {}", status.pid),
        _ => String::new(),
    };
    let how = if was_there { "runs already" } else { "started" };
    output.answer(format!("the daemon {how}{process}\n").as_bytes()).map(|()| 0)
}

/// Stops the daemon, and waits until it has ended. None to stop is as good.
pub(crate) fn stop(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut client = match connect(around, false) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => return stop_unreachable(around, output),
        outcome => outcome?,
    };
    client.ask(&Ask::Stop, &mut |_| {})?;
    // The end of the connection is the end of the daemon; its socket is gone by then.
    match client.ask(&Ask::Stop, &mut |_| {}) {
        Err(fault) if fault.kind == FaultKind::TimedOut => Err(fault),
        Ok(_) | Err(_) => output.answer(b"the daemon stopped\n").map(|()| 0),
    }
}

/// Stops a daemon that no client can reach: its socket was removed, say, and it did not notice.
#[cfg(unix)]
fn stop_unreachable(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Some(daemon) = Holder::find(&around.socket()?) else {
        return output.answer(b"no daemon runs\n").map(|()| 0);
    };
    daemon.terminate();
    if daemon.has_ended_within(PATIENCE) {
        return output.answer(b"the daemon stopped\n").map(|()| 0);
    }
    let pid = daemon.pid();
    Err(Fault::new(FaultKind::TimedOut, format!("the daemon, process {pid}, does not end"))
        .why(format!("it was told to {} seconds ago", PATIENCE.as_secs()))
        .remedy(format!("kill -KILL {pid}")))
}

#[cfg(not(unix))]
fn stop_unreachable(_around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    output.answer(b"no daemon runs\n").map(|()| 0)
}

/// Stops the daemon if one runs, and starts one.
pub(crate) fn restart(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    stop(around, output)?;
    start(around, output)
}

/// Has the daemon read its config file again.
pub(crate) fn reload(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    connect(around, false)?.ask(&Ask::Reload, &mut |_| {})?;
    output.answer(b"the daemon has read its config file again\n").map(|()| 0)
}

fn connect(around: &dyn Surroundings, autostart: bool) -> Result<Client, Fault> {
    let client = autostart::connect(around, autostart)?;
    // Not every system can limit a wait on a pipe.
    client.set_patience(PATIENCE).ok();
    Ok(client)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
