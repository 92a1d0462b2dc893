//! Runs a program as a child that is treated as if it stood in this one's place: it gets the signals, and its exit code is
//! ours.
//! Does not: read or write what it says.
//! Used by: `gateway` and `forward`, and `exec` where it holds turns, which have to stay while the program runs.

use std::{io, process::Command};

/// Runs it to its end. The exit code is its own, or as shells have it for a signal.
#[cfg(unix)]
pub(crate) fn run(command: &mut Command) -> io::Result<u8> {
    use std::{os::unix::process::ExitStatusExt, thread};

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
    let status = child.wait()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Whether keys of the terminal send their signals to this process, and so to its child too.
#[cfg(unix)]
fn has_the_terminal() -> bool {
    std::fs::File::open("/dev/tty")
        .is_ok_and(|terminal| rustix::termios::tcgetpgrp(terminal) == Ok(rustix::process::getpgrp()))
}

/// Runs it to its end, and returns its exit code.
#[cfg(not(unix))]
pub(crate) fn run(command: &mut Command) -> io::Result<u8> {
    #[cfg(windows)]
    rally_cred_windows::leave_interrupts_to_children();
    command.status().map(rally_cred::system::exit_code)
}
