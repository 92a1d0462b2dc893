//! The one thread that is not confined: it starts the programs that the user has configured, which may do what the user
//! may, reads which program a client is, which Landlock hides from whoever it confines, and writes the log lines that say
//! it.
//! Does not: know these jobs. A job is short, since others wait for it.
//! Used by: `start`, which opens it before it confines the rest of the daemon; `program`; `ipc`; `log`.

use std::{
    io,
    sync::{OnceLock, mpsc},
    thread,
};

type Job = Box<dyn FnOnce() + Send>;

static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

/// Starts the thread, which stays as free as the caller is now.
pub fn open() -> io::Result<()> {
    let (jobs, arriving) = mpsc::channel::<Job>();
    let serve = move || arriving.into_iter().for_each(|job| job());
    thread::Builder::new().name("outside".to_owned()).spawn(serve)?;
    // One is enough.
    JOBS.set(jobs).ok();
    Ok(())
}

/// Does a job on that thread, after those before it, and waits for it.
pub fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = mpsc::sync_channel(1);
    submit(move || drop(done.send(job())));
    outcome.recv().map_err(|_| io::Error::other("a part of the daemon failed"))
}

/// Has a job done on that thread, after those before it; without one, does it here and now.
pub fn submit(job: impl FnOnce() + Send + 'static) {
    match JOBS.get() {
        // It is there for as long as the process.
        Some(jobs) => jobs.send(Box::new(job)).unwrap_or_default(),
        None => job(),
    }
}
