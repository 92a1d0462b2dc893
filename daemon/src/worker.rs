//! Threads that the system may refuse: for a job that blocks, and a rehearsal for a library that starts its own.
//! Does not: rely on the system to start one. The runtime's own blocking threads do, and panic at the user's limit.
//! Used by: `endpoint`, to read certificates and resolve names; `vault` and `alert`, before they use the bus.

use std::{io, thread};

use tokio::sync::oneshot;

/// Why a job was not done, which will pass.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The system starts no more threads for this user.
    #[error("the system starts no more threads for this user ({0})")]
    NoThread(io::Error),
    /// The system opens no more files for this process.
    #[error("the system opens no more files for the daemon ({0})")]
    NoDescriptor(io::Error),
    /// The job panicked.
    #[error("a part of the daemon failed")]
    Failed,
}

/// Runs the job. The end of the runtime does not wait for it.
pub async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
    let (done, outcome) = oneshot::channel();
    // Nobody may wait any more.
    let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || done.send(job()).ok());
    thread.map_err(Undone::NoThread)?;
    outcome.await.map_err(|_| Undone::Failed)
}

/// Whether the system can start threads and open files now. The bus library begins with some of each, and panics where
/// it gets none, which would end the daemon.
#[cfg(unix)]
pub fn rehearse() -> Result<(), Undone> {
    const THREADS: usize = 4;
    const DESCRIPTORS: usize = 16;
    rehearse_descriptors(DESCRIPTORS)?;
    let ended = std::sync::RwLock::new(());
    let all_at_once = ended.write();
    thread::scope(|scope| {
        let threads = (0..THREADS)
            .map(|_| thread::Builder::new().spawn_scoped(scope, || drop(ended.read())))
            .collect::<Result<Vec<_>, _>>();
        // They wait for this, so that all exist at the same time.
        drop(all_at_once);
        threads.map(drop).map_err(Undone::NoThread)
    })
}

/// Whether the system can open this many more files for this process.
#[cfg(unix)]
pub fn rehearse_descriptors(count: usize) -> Result<(), Undone> {
    let descriptors = (0..count).map(|_| rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0));
    let descriptors: Result<Vec<_>, _> = descriptors.collect();
    descriptors.map(drop).map_err(|err| Undone::NoDescriptor(err.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_fails_in_itself_is_told_and_ends_nothing_else() {
        assert_eq!(run(|| 7).await.unwrap(), 7);
        let outcome = run(|| -> u8 { panic!("as a part of the daemon might") }).await;
        assert!(matches!(outcome, Err(Undone::Failed)));
    }
}
