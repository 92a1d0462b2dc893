//! The one thread that is not confined: it starts the programs that the user has configured, which may do what the user
//! may, reads which program a client is, which Landlock hides from whoever it confines, and writes the log lines that say
//! it.
//! Does not: know these jobs. A job is short, since others wait for it.
//! Used by: `start`, which opens it before it confines the rest of the daemon; `program`; `ipc`; `log`.

use std::{
    io, mem,
    sync::{Condvar, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rally_cred_proto::unpoisoned;

type Job = Box<dyn FnOnce() + Send>;

/// How long a late job waits at most: it is done with the next that comes, so that it wakes nobody by itself.
const LATE: Duration = Duration::from_millis(10);

static THREAD: OnceLock<Thread> = OnceLock::new();

#[derive(Default)]
struct Thread {
    jobs: Mutex<Jobs>,
    has_come: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: Vec<Job>,
    /// The thread waits for a notice, and none is on its way.
    is_waiting: bool,
    /// It waits for any job, and not only for those in haste.
    is_asleep: bool,
}

impl Thread {
    fn add(&self, job: Job, is_in_haste: bool) {
        let mut jobs = unpoisoned(&self.jobs);
        jobs.waiting.push(job);
        let wakes = (is_in_haste || jobs.is_asleep) && mem::take(&mut jobs.is_waiting);
        // Else the thread would wake to wait for the lock.
        drop(jobs);
        if wakes {
            self.has_come.notify_one();
        }
    }

    fn next(&self) -> Vec<Job> {
        let none = |jobs: &mut Jobs| jobs.waiting.is_empty();
        let mut jobs = unpoisoned(&self.jobs);
        jobs.is_waiting = true;
        let soon = self.has_come.wait_timeout_while(jobs, LATE, none);
        let (mut jobs, _) = soon.unwrap_or_else(PoisonError::into_inner);
        jobs.is_asleep = true;
        let mut jobs = self.has_come.wait_while(jobs, none).unwrap_or_else(PoisonError::into_inner);
        (jobs.is_waiting, jobs.is_asleep) = (false, false);
        mem::take(&mut jobs.waiting)
    }
}

/// Starts the thread, which stays as free as the caller is now.
pub fn open() -> io::Result<()> {
    let serve = || {
        let thread = THREAD.get_or_init(Thread::default);
        loop {
            thread.next().into_iter().for_each(|job| job());
        }
    };
    thread::Builder::new().name("outside".to_owned()).spawn(serve)?;
    THREAD.get_or_init(Thread::default);
    Ok(())
}

/// Does a job on that thread, after those before it, and waits for it.
pub fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = mpsc::sync_channel(1);
    submit(move || drop(done.send(job())));
    outcome.recv().map_err(|_| io::Error::other("a part of the daemon failed"))
}

/// Has a job done on that thread at once, after those before it; without one, does it here and now.
pub fn submit(job: impl FnOnce() + Send + 'static) {
    add(job, true);
}

/// The same for a job that may wait some milliseconds, to be done with the next one.
pub fn submit_late(job: impl FnOnce() + Send + 'static) {
    add(job, false);
}

fn add(job: impl FnOnce() + Send + 'static, is_in_haste: bool) {
    match THREAD.get() {
        // It is there for as long as the process.
        Some(thread) => thread.add(Box::new(job), is_in_haste),
        None => job(),
    }
}
