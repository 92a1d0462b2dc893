//! `rally-cred daemon start|stop|restart|reload`.
//! Does not: know about systemd, which may start the daemon again when the next client connects.
//! Used by: people and installers.

use std::time::Duration;

use clap::Subcommand;
use rally_cred::{
    autostart,
    connection::{make_way, silence},
    output::Output,
    system::System,
};
#[cfg(unix)]
use rally_cred_proto::lock::Holder;
use rally_cred_proto::message::{Reload, StatusAsk, Stop};
use rally_cred_proto::plain::plain;
use rally_cred_proto::process::{DAEMON, Process};
use rally_cred_proto::{Deadline, Fault, FaultKind, native};

/// Time for the daemon to read its config, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The subcommands of `daemon`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the daemon if it is not running; get and login do so themselves
    Start,
    /// Stop the daemon; what it keeps only in memory is lost
    Stop,
    /// Stop the daemon and start it again
    Restart,
    /// Have the daemon read its config file again
    Reload,
}

/// Runs one of them.
pub(crate) fn run(command: Command, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    match command {
        Command::Start => start(sys, output),
        Command::Stop => stop(sys, output),
        Command::Restart => stop(sys, output).and_then(|_| start(sys, output)),
        Command::Reload => reload(sys, output),
    }
}

/// Starts a daemon if none runs, or in place of one of an older release that has nothing to do.
fn start(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    let (how, mut client) = match autostart::connect(sys, false, &mut deadline) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => {
            ("started", autostart::connect(sys, true, &mut deadline).map_err(silence)?)
        }
        outcome => ("runs already", outcome.map_err(silence)?),
    };
    let status = match client.ask_by(StatusAsk::default(), &mut deadline, &mut |_| {}) {
        Ok(status) if !is_older(&status.release, env!("CARGO_PKG_VERSION")) => {
            return output.tell_line(format!("the daemon {how}, process {}", status.pid)).map(|()| 0);
        }
        Err(fault) if fault.kind != FaultKind::VersionSkew => return Err(silence(fault)),
        status => status,
    };
    let release = status.as_ref().map_or_else(|_| "another".to_owned(), |status| plain(&status.release));
    match (make_way(&mut client, &mut deadline), status) {
        (Ok(()), _) => {
            output.say(format_args!("the daemon was of release {release}, and idle, so it is replaced"));
            start_new(sys, output)
        }
        (Err(busy), Ok(status)) => {
            let why = busy.why.unwrap_or(busy.what);
            let remedy = "rally-cred daemon restart replaces it all the same";
            output.say(format_args!(
                "the daemon is of release {release}, older than this program; {why}; {remedy}"
            ));
            output.tell_line(format!("the daemon {how}, process {}", status.pid)).map(|()| 0)
        }
        (Err(_), Err(skew)) => Err(skew),
    }
}

/// Starts a daemon in the place of another, and takes it as it is: one that an older program starts again and again would
/// be replaced without end.
fn start_new(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    let mut ask = || {
        let mut client = autostart::connect(sys, true, &mut deadline)?;
        client.ask_by(StatusAsk::default(), &mut deadline, &mut |_| {})
    };
    // On Windows, the one that was stopped is reached for as long as its process is there.
    let status = match ask() {
        Err(fault) if fault.kind == FaultKind::NoDaemon => ask(),
        outcome => outcome,
    };
    let status = status.map_err(silence)?;
    output.tell_line(format!("the daemon started, process {}", status.pid)).map(|()| 0)
}

/// Whether one release came before another. What is no release of ours is left alone.
fn is_older(release: &str, than: &str) -> bool {
    let numbers = |release: &str| {
        let parts = release.split('.').map(|part| part.parse::<u32>().ok());
        parts.collect::<Option<Vec<_>>>().filter(|parts| parts.len() == 3)
    };
    numbers(release).zip(numbers(than)).is_some_and(|(release, than)| release < than)
}

/// Stops the daemon, and waits until it has ended. Without a daemon there is nothing to do.
pub(crate) fn stop(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    let mut client = match autostart::connect(sys, false, &mut deadline) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => return stop_unreachable(sys, output),
        outcome => outcome.map_err(|fault| stuck(fault, None))?,
    };
    let daemon = client.daemon();
    // SIGSTOP may have come since.
    let daemon_now = || daemon.and_then(|daemon| Process::find(daemon.pid));
    client.ask_by(Stop, &mut deadline, &mut |_| {}).map_err(|fault| stuck(fault, daemon_now()))?;
    // The connection ends with the daemon, after its socket is removed.
    match client.ask_by(Stop, &mut deadline, &mut |_| {}) {
        Err(fault) if fault.kind == FaultKind::TimedOut => Err(stuck(fault, daemon_now())),
        Ok(_) | Err(_) => output.tell_line("the daemon stopped").map(|()| 0),
    }
}

/// The fault of a daemon that does not end when told to. For one stopped by a signal, the remedy continues it.
fn stuck(fault: Fault, daemon: Option<Process>) -> Fault {
    if fault.kind != FaultKind::TimedOut || daemon.is_some_and(|daemon| daemon.is_stopped) {
        return silence(fault);
    }
    let fault = silence(fault).why("it is stuck; what it holds only in memory ends with it");
    fault.remedy(match daemon {
        Some(Process { pid, .. }) => native::end_process(pid),
        None => native!(
            format!("pkill -KILL -u \"$(id -u)\" -x {DAEMON}"),
            windows: format!("taskkill /F /IM {DAEMON}.exe")
        ),
    })
}

/// Stops a daemon that is out of reach, as when its socket was removed and it did not notice.
#[cfg(unix)]
fn stop_unreachable(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Some(daemon) = Holder::find(&sys.socket()?) else {
        return output.tell_line("no daemon runs").map(|()| 0);
    };
    daemon.terminate();
    if daemon.has_ended_within(PATIENCE) {
        return output.tell_line("the daemon stopped").map(|()| 0);
    }
    let pid = daemon.pid();
    Err(Fault::new(FaultKind::TimedOut, format!("the daemon, process {pid}, does not end"))
        .why(format!("it was told to {} seconds ago", PATIENCE.as_secs()))
        .remedy(native::end_process(pid)))
}

#[cfg(not(unix))]
fn stop_unreachable(_sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    output.tell_line("no daemon runs").map(|()| 0)
}

/// Has the daemon read its config file again.
pub(crate) fn reload(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    let mut client = autostart::connect(sys, false, &mut deadline).map_err(silence)?;
    client.ask_by(Reload, &mut deadline, &mut |_| {}).map_err(silence)?;
    output.tell_line("the daemon has read its config file again").map(|()| 0)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
