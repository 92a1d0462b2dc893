//! `rally-cred forward`: has this machine's daemon answer `get` on another one, over ssh, as long as it runs.
//! Does not: decide what may be asked from there (the daemon does), or need anything set up there but rally-cred.
//! Used by: people who work on a host over SSH.

mod far;
mod hold;

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use clap::Args;
use rally_cred::{autostart::find_program, output::Output};
use rally_cred_proto::{Fault, FaultKind, forwarding, plain::plain, remedy};

use crate::{child, exec::cannot_be_run, terminal::Terminal};

/// First pause before a broken connection is made again, doubling up to the longest: a network that comes back is used
/// soon, and a host that is off for the night is not asked all the time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What `forward` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The host, as ssh takes it
    host: String,
    /// An argument for ssh, such as -p2222
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    ssh: Vec<OsString>,
    /// A program to run there, with its arguments; the forwarding ends with it
    #[arg(last = true)]
    program: Vec<String>,
}

/// Forwards until it is interrupted, or until the program on the host has ended, whose exit code is returned.
pub(crate) fn run(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let ssh = find_program("ssh", sys).ok_or_else(|| {
        Fault::new(FaultKind::Failed, "the program ssh is not found")
            .why("it lies in no folder of PATH")
            .remedy("install OpenSSH's client")
    })?;
    let open = hold::begin(sys)?;
    let connection = || {
        let mut command = Command::new(&ssh);
        command.args(&options.ssh).args(far::SSH_OPTIONS);
        // A name of its own for each connection: one that broke leaves its socket's file behind.
        let theirs = far::new_socket();
        command.arg("-R").arg(format!("{theirs}:{}", open.socket.replace(':', "\\:")));
        let is_typed_into = !options.program.is_empty() && sys.stdin_is_terminal();
        command.args([if is_typed_into { "-t" } else { "-T" }, "--", &options.host]);
        let again = remedy::Command::new("rally-cred forward").arg(&options.host);
        let origin = format!("on {}: {again}", forwarding::near());
        command.arg(far::command_line(&theirs, &origin, &options.program));
        command
    };
    if !options.program.is_empty() {
        return child::run(&mut connection()).or_else(|err| Ok(cannot_be_run(ssh.as_os_str(), &err, output)));
    }
    let (mut was_there, mut pause) = (false, FIRST_PAUSE);
    loop {
        let ended = hold_connection(&mut connection(), |place| {
            (was_there, pause) = (true, FIRST_PAUSE);
            let profiles = plain(&open.profiles.join(", "));
            output.tell_line(format!(
                "{profiles} is forwarded to {}, at {}",
                plain(&options.host),
                plain(place)
            ))
        })?;
        let fault = Fault::new(FaultKind::Failed, format!("the connection to {} has ended", options.host))
            .why(format!("ssh ended with {ended}"));
        if !was_there {
            return Err(fault.remedy(remedy::Command::new("ssh").arg(&options.host).arg("true")));
        }
        sys.warn(&fault.remedy(format!("wait, it is made again in {} ms", pause.as_millis())));
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Runs ssh to its end; tells once the far side is ready, and where its socket is.
fn hold_connection(
    ssh: &mut Command,
    mut ready: impl FnMut(&str) -> Result<(), Fault>,
) -> Result<ExitStatus, Fault> {
    let cannot =
        |err: std::io::Error| Fault::new(FaultKind::Failed, "ssh cannot be run").why(err.to_string());
    let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
    // The far side cleans up and ends at the end of its input, which comes with the end of this process too.
    let input = child.stdin.take();
    let mut output = child.stdout.take().map(BufReader::new);
    let mut place = String::new();
    if let Some(output) = &mut output
        && output.read_line(&mut place).is_ok_and(|count| count > 0)
    {
        ready(place.trim_end())?;
    }
    let ended = child.wait().map_err(cannot);
    drop(input);
    ended
}
