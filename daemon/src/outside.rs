//! The one thread that is not confined: it starts the programs that the user has configured, which may do what the user
//! may, and reads which program a client is, which Landlock hides from whoever it confines.
//! Does not: know these jobs. A job is short, since others wait for it.
//! Used by: `start`, which opens it before it confines the rest of the daemon; `program`; `ipc`.

use std::{
    io,
    sync::{OnceLock, mpsc},
    thread,
};

use tokio::sync::oneshot;

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

/// Begins a job on that thread; without one, does it here and now. The outcome is missing only if the job panicked.
pub fn begin<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, outcome) = oneshot::channel();
    submit(move || drop(done.send(job())));
    outcome
}

/// Does a job on that thread, and waits for it.
pub fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = mpsc::sync_channel(1);
    submit(move || drop(done.send(job())));
    outcome.recv().map_err(|_| io::Error::other("a part of the daemon failed"))
}

fn submit(job: impl FnOnce() + Send + 'static) {
    match JOBS.get() {
        // It is there for as long as the process.
        Some(jobs) => jobs.send(Box::new(job)).unwrap_or_default(),
        None => job(),
    }
}
