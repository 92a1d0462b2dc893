//! Runs a program as a child that is treated as if it stood in this one's place: it gets the signals, and its exit code is
//! ours.
//! Does not: read or write what it says.
//! Used by: `gateway` and `forward`, and `exec` where it holds turns, which have to stay while the program runs.

use std::io;
use std::process::{Command, ExitStatus};

/// Runs it to its end.
#[cfg(unix)]
pub(crate) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    use std::thread;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
        iterator::Signals,
    };

    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
    let handle = signals.handle();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let passing_on = thread::Builder::new().spawn(move || {
        for number in &mut signals {
            let came_from_keys = matches!(number, SIGINT | SIGQUIT) && has_the_terminal();
            if let Some(signal) = Signal::from_named_raw(number).filter(|_| !came_from_keys) {
                // It may just have ended.
                kill_process(pid, signal).ok();
            }
        }
    })?;
    // Its number stays its own until it is waited for, so no signal goes astray.
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
    handle.close();
    passing_on.join().ok();
    child.wait()
}

/// The program's exit code, or as shells have it for a signal.
#[cfg(unix)]
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Exit codes have 32 bits here, so that of the program is passed on without a detour: this process ends.
#[cfg(windows)]
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    rally_cred::system::end_as(status)
}

/// Whether keys of the terminal send their signals to this process, and so to its child too.
#[cfg(unix)]
fn has_the_terminal() -> bool {
    std::fs::File::open("/dev/tty")
        .is_ok_and(|terminal| rustix::termios::tcgetpgrp(terminal) == Ok(rustix::process::getpgrp()))
}

/// Runs it to its end. Ctrl-C comes to both, and is the program's to obey.
#[cfg(windows)]
pub(crate) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    rally_cred_windows::leave_interrupts_to_children();
    command.status()
}
