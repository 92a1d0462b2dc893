//! The log: where it goes, and how decisions of the broker and requests through a gateway become lines.
//! Does not: take lines from libraries, which may hold headers and bodies; all lines are our own.
//! Used by: `start`, which opens it, and `perform`, which writes what the broker orders.

mod file;

use std::{
    io::{self, Write},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rally_cred_gateway::Answered;
use rally_cred_proto::{Fault, FaultKind, forwarding::Door, plain, unpoisoned};
use tracing_subscriber::{
    filter::Targets, fmt::format::Writer, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{caller, outside};
use rally_cred_core::event::{Decision, Entry, GrantStep, Peer, Verdict};

pub use file::{LONGEST, LogFile};

/// Where the lines go.
#[derive(Debug)]
pub enum Sink {
    /// Standard error: a terminal or the journal.
    Stderr,
    /// A file, for a daemon that a client started.
    File(LogFile),
}

/// Opens the log at a level: `error`, `warn`, `info`, `debug` or `trace`.
pub fn open(sink: Sink, level: Option<&str>) -> Result<(), Fault> {
    let level = level.unwrap_or("info");
    let level: tracing::Level = level.parse().map_err(|_| {
        Fault::new(FaultKind::Usage, "the log level is not known")
            .remedy("RALLY_CRED_LOG=error, warn, info, debug or trace")
    })?;
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let is_file = matches!(sink, Sink::File(_));
    let lines = LINES.get_or_init(|| Lines {
        out: Mutex::new(Out { sink, held: Vec::new() }),
        are_more_coming: AtomicBool::new(false),
    });
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(move || lines);
    let registry = tracing_subscriber::registry().with(ours);
    // The journal has its own clock.
    let opened = match !is_file && std::env::var_os("JOURNAL_STREAM").is_some() {
        true => registry.with(layer.with_timer(NoTime)).try_init(),
        false => registry.with(layer).try_init(),
    };
    opened.map_err(|fault| Fault::new(FaultKind::Failed, "the log cannot be opened").why(fault.to_string()))
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// Lines that the outside thread writes: writing one takes as long as deciding a request, so the caller does not wait.
static LATE: Mutex<Vec<Late>> = Mutex::new(Vec::new());

enum Late {
    Entry(Entry),
    /// A request to the gateway of this name.
    Answered(String, Answered),
}

/// How many entries may wait while the daemon has no pause.
const MOST_LATE: usize = 256;

/// How many may wait while the log takes none. Then gateways wait for it, so that memory does not grow with their load.
const MOST_HELD_UP: usize = 1024;

/// How many bytes of lines are written together at most.
const MOST_TOGETHER: usize = 64 << 10;

/// The output. Lines are written at once, except those that are made together.
struct Lines {
    out: Mutex<Out>,
    are_more_coming: AtomicBool,
}

struct Out {
    sink: Sink,
    held: Vec<u8>,
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Out { sink, held } = &mut *unpoisoned(&self.out);
        held.extend_from_slice(line);
        if self.are_more_coming.load(Ordering::Relaxed) && held.len() < MOST_TOGETHER {
            return Ok(line.len());
        }
        match sink {
            // Whoever closed it wants no lines.
            Sink::Stderr => io::stderr().write_all(held).unwrap_or_default(),
            Sink::File(file) => file.write(held),
        }
        held.clear();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Continues in the file that is now at the log's path, after somebody moved the old one away.
fn reopen() {
    if let Some(lines) = LINES.get()
        && let Sink::File(file) = &mut unpoisoned(&lines.out).sink
    {
        file.reopen();
    }
}

struct NoTime;

impl tracing_subscriber::fmt::time::FormatTime for NoTime {
    fn format_time(&self, _line: &mut Writer<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// Writes what the broker logs. What names a client is written late.
pub fn write(entry: Entry) {
    if matches!(entry, Entry::Decided(_)) {
        if add(Late::Entry(entry)) >= MOST_LATE {
            hand_over();
        }
        return;
    }
    if matches!(entry, Entry::Reloaded { .. } | Entry::ReloadFailed(_)) {
        reopen();
    }
    write_line(&entry);
}

/// Writes that a gateway has answered a request, late: a line by itself is a system call beside the six that a request
/// takes, and wakes whoever reads the log.
pub fn answered(gateway: &str, request: Answered) {
    match add(Late::Answered(gateway.to_owned(), request)) {
        1 => catch_up(),
        MOST_HELD_UP.. => flush(),
        _ => {}
    }
}

/// Adds a line, and says how many wait now.
fn add(line: Late) -> usize {
    let mut late = unpoisoned(&LATE);
    late.push(line);
    late.len()
}

/// Has what waits some milliseconds from now written together, once it is known which programs the clients are, which it has
/// looked up.
pub fn catch_up() {
    caller::begin();
    if !unpoisoned(&LATE).is_empty() {
        outside::submit_late(hand_over);
    }
}

/// Has what waits written, and waits for it.
pub fn flush() {
    hand_over();
    // If it fails, the log is gone.
    outside::run(|| ()).unwrap_or_default();
}

/// Has what waits written behind the jobs that find out which programs the clients are.
fn hand_over() {
    caller::begin();
    let late = std::mem::take(&mut *unpoisoned(&LATE));
    outside::submit(move || write_late(&late));
}

fn write_late(late: &[Late]) {
    let Some(((last, others), lines)) = late.split_last().zip(LINES.get()) else { return };
    lines.are_more_coming.store(true, Ordering::Relaxed);
    others.iter().for_each(Late::write);
    lines.are_more_coming.store(false, Ordering::Relaxed);
    last.write();
}

impl Late {
    fn write(&self) {
        match self {
            Self::Entry(entry) => write_line(entry),
            Self::Answered(gateway, Answered { method, path, status }) => {
                let [method, path] = [method, path].map(|text| plain::cut(&plain::visible_line(text)));
                tracing::info!(gateway, method, path, status, "answered a request");
            }
        }
    }
}

fn write_decision(Decision { at: _, peer, profile, server, verdict }: &Decision) {
    let Peer { pid, uid, program, door, gateway } = peer;
    let (exe, caller, gateway) = (program.path(), program.caller(), gateway.as_deref());
    let caller = caller.filter(|caller| Some(*caller) != exe);
    let by = if *door == Door::Forwarded { " by the forwarded socket" } else { "" };
    match verdict {
        Verdict::Token => {
            tracing::info!(profile, server, pid, uid, exe, caller, gateway, "handed out a token{by}");
        }
        Verdict::StaticCredential => {
            tracing::info!(server, pid, uid, exe, caller, gateway, "handed out a static credential{by}");
        }
        Verdict::Refused(Fault { kind, what, why, remedy: _ }) => {
            let kind = kind.name();
            tracing::info!(profile, pid, uid, exe, caller, gateway, kind, why, "refused{by}: {what}");
        }
    }
}

fn write_line(entry: &Entry) {
    match entry {
        Entry::Decided(decision) => write_decision(decision),
        Entry::Grant { profile, step } => match step {
            GrantStep::Loaded | GrantStep::Kept => tracing::debug!(profile, "{}", step.words()),
            GrantStep::NotKept => tracing::warn!(profile, "{}", step.words()),
            GrantStep::FlowBegan
            | GrantStep::SignedIn
            | GrantStep::FlowEnded
            | GrantStep::Renewed
            | GrantStep::Fetched
            | GrantStep::RenewalRefused
            | GrantStep::Alerted
            | GrantStep::Suspected
            | GrantStep::Erased
            | GrantStep::Adopted
            | GrantStep::SignedOutElsewhere
            | GrantStep::SignedOut => tracing::info!(profile, "{}", step.words()),
        },
        Entry::Recovered { profile, fault } => {
            let Fault { kind, what, why, remedy: _ } = fault;
            tracing::warn!(profile, kind = kind.name(), why, "{what}");
        }
        Entry::GatewayOpened { name, profile, port } => {
            tracing::info!(gateway = name, profile, port, "the gateway is open");
        }
        Entry::GatewayClosed { name } => tracing::info!(gateway = name, "the gateway is closed"),
        Entry::GatewayFailed { name, fault: Fault { kind, what, why, remedy: _ } } => {
            tracing::error!(gateway = name, kind = kind.name(), why, "{what}");
        }
        Entry::Forwarding { socket, profiles } => {
            tracing::info!(socket, profiles = profiles.join(","), "the socket for another machine is open");
        }
        Entry::ForwardFailed(Fault { kind, what, why, remedy: _ }) => {
            tracing::error!(kind = kind.name(), why, "{what}");
        }
        Entry::Reloaded { profiles } => tracing::info!(profiles, "read the config file again"),
        Entry::ReloadFailed(fault) => {
            tracing::error!(why = fault.why, "{}, so the old configuration stays in force", fault.what);
        }
        Entry::Stale(epoch) => tracing::debug!(epoch = epoch.0, "dropped an outcome that nobody waits for"),
        Entry::Locked(by) => tracing::info!(by = by.name(), "locked"),
        Entry::Unlocked => tracing::info!("unlocked"),
        Entry::Stopping => tracing::info!("stopping"),
        Entry::Idle => tracing::info!("nothing to do, so it ends until the next client comes"),
    }
}
