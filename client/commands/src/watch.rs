//! `rally-cred watch`: a line of JSON whenever something becomes of a token, until it is interrupted.
//! Does not: ask for a token, keep one in use, or start a daemon in the place of one that was stopped.
//! Used by: programs that can react.

use std::{io, process, thread, time::Duration};

use clap::{ArgAction, Args};
use rally_cred::{autostart, connection::GRACE, output::Output, system::System};
use rally_cred_proto::{
    Client, Deadline, Event, Fault, FaultKind,
    message::{News, StatusAsk, WatchAsk},
};
use serde::Serialize;

/// How long a daemon may take to let us in.
const PATIENCE: Duration = Duration::from_secs(5).saturating_add(GRACE);

/// How often it is looked for a daemon when one has gone.
const PAUSE: Duration = Duration::from_millis(250);

/// What `watch` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The only profile to watch
    profile: Option<String>,
    /// Fail if no daemon is running, instead of starting one
    #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
    autostart: bool,
}

/// What is printed beside `version`: news with the fields of PROTOCOL.md, or what became of the connection.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    News(News),
    Connection { what: &'static str },
}

/// Watches until the process is ended, or the daemon has no such profile.
pub(crate) fn run(options: Options, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Options { profile, autostart } = options;
    let mut client = autostart::connect(sys, autostart, &mut Deadline::after(PATIENCE))?;
    loop {
        let mut told = Ok(());
        let ended = client.ask(WatchAsk { profile: profile.clone() }, &mut |event| {
            if let (Event::News(news), true) = (event, told.is_ok()) {
                told = print(&Line::News(news), output);
            }
        });
        told?;
        match ended {
            Ok(()) => return Ok(0),
            Err(fault) if !is_of_a_lost_daemon(&fault) => return Err(fault),
            Err(_) => {}
        }
        print(&Line::Connection { what: "disconnected" }, output)?;
        client = wait_for_another(sys, profile.as_ref())?;
        print(&Line::Connection { what: "reconnected" }, output)?;
    }
}

fn is_of_a_lost_daemon(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NoDaemon | FaultKind::Stopping)
}

/// Somebody stopped the daemon, so it is for them, or for the next who needs a token, to start another. It counts once it
/// has answered: a daemon that is being killed may let one in for a moment.
fn wait_for_another(sys: &dyn System, profile: Option<&String>) -> Result<Client, Fault> {
    loop {
        let answering =
            autostart::connect(sys, false, &mut Deadline::after(PATIENCE)).and_then(|mut client| {
                client.ask(StatusAsk { profile: profile.cloned(), check: false }, &mut |_| {})?;
                Ok(client)
            });
        match answering {
            Err(fault) if is_of_a_lost_daemon(&fault) => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

/// Prints a line. Where that cannot be done there is nobody to go on for, and the request under way has no other end.
fn print(line: &Line, output: &mut Output<'_>) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    Output { stdout: &mut bytes, stderr: output.stderr }.answer_json(line)?;
    let Err(err) = output.stdout.write_all(&bytes).and_then(|()| output.stdout.flush()) else {
        return Ok(());
    };
    if err.kind() == io::ErrorKind::BrokenPipe {
        process::exit(0);
    }
    output.say(Fault::new(FaultKind::Failed, "the news cannot be written").why(err.to_string()));
    process::exit(FaultKind::Failed.exit_code().into())
}
