//! Which program a process runs, and for which program it asks.
//! Does not: know one elsewhere than on Linux, or read /proc (`process` does).
//! Used by: `ipc`, which wants it; `log` and `perform`, which have it looked up on the thread that is not confined, since
//! Landlock hides other processes.

#[cfg(target_os = "linux")]
mod process;

use std::cell::{Cell, RefCell};

use crate::{clock, outside};
#[cfg(target_os = "linux")]
use process::find;
use rally_cred_core::{
    event::{Found, Program},
    time::Tick,
};

/// A process whose program is wanted.
struct Wanted {
    pid: u32,
    /// When it had connected.
    connected: Tick,
    program: Program,
}

thread_local! {
    /// Those that [`begin`] looks up, all at once: a client that connects again and again is looked up once.
    static WANTED: RefCell<Vec<Wanted>> = const { RefCell::new(Vec::new()) };
    /// The process that connected last.
    static LATEST: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The program of a process that has just connected. It is looked up beside the answer, since to wait for the other thread
/// takes longer than all the rest of an answer: at once, as the process may be in haste, or with the next [`begin`] if it
/// connects again and so goes on.
pub(crate) fn want(pid: u32) -> Program {
    let program = Program::default();
    let wanted = Wanted { pid, connected: clock::tick(), program: program.clone() };
    WANTED.with_borrow_mut(|all| all.push(wanted));
    if LATEST.replace(Some(pid)) != Some(pid) {
        begin();
    }
    program
}

/// Begins to look up those that are wanted.
pub(crate) fn begin() {
    let all = WANTED.take();
    if !all.is_empty() {
        outside::submit(move || find_all(&all));
    }
}

fn find_all(all: &[Wanted]) {
    let mut last = None;
    for Wanted { pid, connected, program } in all {
        // What is found now is true of each that had connected before.
        let known = last.take().filter(|(of, _)| of == pid).map(|(_, found)| found);
        let Some(found) = known.or_else(|| find(*pid, *connected)) else {
            program.found(Found::default());
            continue;
        };
        program.found(found.clone());
        last = Some((*pid, found));
    }
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
fn find(_pid: u32, _connected: Tick) -> Option<Found> {
    None
}
