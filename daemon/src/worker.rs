//! A job that blocks, on a thread of its own.
//! Does not: count on the system to start one. The runtime's own blocking threads do, and panic at the user's limit.
//! Used by: `endpoint`, to read certificates and to look up names.

use std::{io, thread};

use tokio::sync::oneshot;

/// Why a job was not done. It passes.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The system starts no more threads for this user.
    #[error("the system starts no more threads for this user ({0})")]
    NoThread(io::Error),
    /// The job failed in itself.
    #[error("a part of the daemon failed")]
    Failed,
}

/// Runs the job. A runtime that ends does not wait for it.
pub async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
    let (done, outcome) = oneshot::channel();
    // Nobody waits any more for a job that came too late.
    let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || done.send(job()).ok());
    thread.map_err(Undone::NoThread)?;
    outcome.await.map_err(|_| Undone::Failed)
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
