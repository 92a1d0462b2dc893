//! The log: where it goes, and how a decision of the broker becomes a line.
//! Does not: take text from libraries, since theirs may hold headers and bodies; only our own lines are written.
//! Met by: `start`, which opens it, and `perform`, which writes what the broker orders.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rally_cred_proto::{Fault, FaultKind};
use tracing_subscriber::{
    filter::Targets, fmt::format::Writer, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::core::event::{Entry, GrantStep, Peer};

/// A log file longer than this is set aside when a daemon starts: weeks of lines, and quick to open in an editor.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Where the lines go.
#[derive(Debug)]
pub enum Sink {
    /// Standard error: a terminal, or the journal.
    Stderr,
    /// A file, for a daemon that a client started.
    File(File),
}

/// Opens the log at a level: `error`, `warn`, `info`, `debug` or `trace`. The lines are this daemon's own at every level.
pub fn open(sink: Sink, level: Option<&str>) -> Result<(), Fault> {
    let level = level.unwrap_or("info");
    let level: tracing::Level = level.parse().map_err(|_| {
        Fault::new(FaultKind::Usage, "the log level is not known")
            .remedy("RALLY_CRED_LOG=error, warn, info, debug or trace")
    })?;
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let lines =
        LINES.get_or_init(|| Lines { sink, held: Mutex::default(), are_more_coming: AtomicBool::new(false) });
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(move || lines);
    let registry = tracing_subscriber::registry().with(ours);
    let opened = match lines.sink {
        // The journal has its own clock.
        Sink::Stderr if std::env::var_os("JOURNAL_STREAM").is_some() => {
            registry.with(layer.with_timer(NoTime)).try_init()
        }
        Sink::Stderr | Sink::File(_) => registry.with(layer).try_init(),
    };
    opened.map_err(|fault| Fault::new(FaultKind::Failed, "the log cannot be opened").why(fault.to_string()))
}

/// Opens the log file for appending; an old long one is set aside first.
pub fn file(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_FILE) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The log of this process, once it is open.
static LINES: OnceLock<Lines> = OnceLock::new();

/// What waits for [`catch_up`]. To make a line takes longer than to answer a request, so whoever asks does not wait for it.
static LATE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// As many entries do not wait any longer.
const MOST_LATE: usize = 256;

/// The way out for lines. They go out at once, but for those that are made together.
struct Lines {
    sink: Sink,
    held: Mutex<Vec<u8>>,
    are_more_coming: AtomicBool,
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(line);
        if self.are_more_coming.load(Ordering::Relaxed) {
            return Ok(line.len());
        }
        let outcome = match &self.sink {
            Sink::Stderr => io::stderr().write_all(&held),
            Sink::File(file) => (&mut &*file).write_all(&held),
        };
        held.clear();
        outcome.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what the broker noted. What is about a token waits for [`catch_up`].
pub fn write(entry: Entry) {
    if !matches!(entry, Entry::Handed { .. } | Entry::HandedStatic { .. }) {
        catch_up();
        return write_line(&entry);
    }
    let mut late = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    late.push(entry);
    if late.len() >= MOST_LATE {
        drop(late);
        catch_up();
    }
}

/// Whether something waits.
pub fn is_late() -> bool {
    !LATE.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// Writes what waited. Called when the answers are out.
pub fn catch_up() {
    let late = std::mem::take(&mut *LATE.lock().unwrap_or_else(PoisonError::into_inner));
    let Some(((last, others), lines)) = late.split_last().zip(LINES.get()) else { return };
    lines.are_more_coming.store(true, Ordering::Relaxed);
    others.iter().for_each(write_line);
    lines.are_more_coming.store(false, Ordering::Relaxed);
    write_line(last);
}

struct NoTime;

impl tracing_subscriber::fmt::time::FormatTime for NoTime {
    fn format_time(&self, _line: &mut Writer<'_>) -> std::fmt::Result {
        Ok(())
    }
}

fn write_line(entry: &Entry) {
    match entry {
        Entry::Handed { profile, peer } => {
            let Peer { pid, uid, program } = peer;
            tracing::info!(profile, pid, uid, exe = program.as_deref(), "handed out a token");
        }
        Entry::HandedStatic { server, peer } => {
            let Peer { pid, uid, program } = peer;
            tracing::info!(server, pid, uid, exe = program.as_deref(), "handed out a static credential");
        }
        Entry::Grant { profile, step } => match step {
            GrantStep::Loaded | GrantStep::Kept => tracing::debug!(profile, "{}", words(*step)),
            GrantStep::NotKept => tracing::warn!(profile, "{}", words(*step)),
            GrantStep::FlowBegan
            | GrantStep::SignedIn
            | GrantStep::FlowEnded
            | GrantStep::Renewed
            | GrantStep::RenewalRefused
            | GrantStep::Alerted
            | GrantStep::Suspected
            | GrantStep::Erased
            | GrantStep::Adopted
            | GrantStep::SignedOutElsewhere
            | GrantStep::SignedOut => tracing::info!(profile, "{}", words(*step)),
        },
        Entry::Coped { profile, fault } => {
            let Fault { kind, what, why, remedy: _ } = fault;
            tracing::warn!(profile, kind = kind.name(), why, "{what}");
        }
        Entry::Reloaded { profiles } => tracing::info!(profiles, "read the config file again"),
        Entry::ReloadFailed(fault) => {
            tracing::error!(why = fault.why, "{}, so the old configuration stays in force", fault.what);
        }
        Entry::Stale(epoch) => tracing::debug!(epoch = epoch.0, "dropped an outcome that nobody waits for"),
        Entry::Stopping => tracing::info!("stopping"),
        Entry::Idle => tracing::info!("nothing to do, so it ends until the next client comes"),
    }
}

/// What a step is called.
pub const fn words(step: GrantStep) -> &'static str {
    match step {
        GrantStep::Loaded => "found a token in the vault",
        GrantStep::FlowBegan => "began a sign-in",
        GrantStep::SignedIn => "signed in",
        GrantStep::FlowEnded => "a sign-in came to nothing",
        GrantStep::Renewed => "renewed the token",
        GrantStep::RenewalRefused => "the token can no longer be renewed",
        GrantStep::Suspected => "a caller said that the token does not work, so Rally is asked",
        GrantStep::Erased => "gave up a token that does not work",
        GrantStep::Adopted => "took over the token that another daemon has stored",
        GrantStep::SignedOutElsewhere => "signed out, since the token is no longer in the keyring",
        GrantStep::SignedOut => "signed out",
        GrantStep::Alerted => "a sign-in is needed, and somebody is told who is not looking",
        GrantStep::Kept => "the vault keeps it",
        GrantStep::NotKept => "the vault does not keep it, memory does",
    }
}
