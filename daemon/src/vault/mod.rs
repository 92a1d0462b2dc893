//! Keeps texts in the OS keyring: one dedicated thread, a deadline for every call, a new store when the old one is of no use.
//! Does not: read what it keeps, or choose memory where no keyring answers (the broker does).
//! Met by: perform.

mod keyring;
mod memory;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rally_cred_proto::Secret;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use self::worker::{Call, Hung, Open, Request, Worker};
use crate::core::{
    profile::Keyring,
    vault::{ItemKey, VaultTrouble},
};

/// How long one call may take. A healthy keyring answers in milliseconds; the rest is for a person who unlocks it at its
/// prompt. Who needs longer asks again, and finds it unlocked.
const DEADLINE: Duration = Duration::from_secs(20);

/// Threads that may hang in the keyring at once. A prompt that is never answered blocks its caller for ever, so a thread
/// is given up at its deadline; more than a few would be a leak, and more prompts than a person can bear.
const MOST_HUNG: usize = 3;

/// Pause after the last thread that was given up, once [`MOST_HUNG`] hang; it doubles with each further one, so that
/// prompts that are never answered cost few threads in a year, and a keyring that works again is found without a restart.
const FIRST_REST: Duration = Duration::from_secs(300);

/// The keyring of this user. Clones share one thread and one store.
#[derive(Clone)]
pub struct Vault {
    open: Open,
    deadline: Duration,
    worker: Arc<Mutex<Option<Worker>>>,
    hung: Hung,
    last_given_up: Arc<Mutex<Option<Instant>>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("hung", &self.hung.count()).finish_non_exhaustive()
    }
}

impl Vault {
    /// The vault of this choice. Nothing is opened before the first call. `auto` and `os` are the same here.
    pub fn open(keyring: Keyring) -> Self {
        match keyring {
            Keyring::Auto | Keyring::Os => Self::with(Arc::new(keyring::open), DEADLINE),
            Keyring::Memory => {
                let items = memory::Items::default();
                Self::with(Arc::new(move || Ok(Box::new(items.clone()))), DEADLINE)
            }
        }
    }

    fn with(open: Open, deadline: Duration) -> Self {
        Self { open, deadline, worker: Arc::default(), hung: Hung::default(), last_given_up: Arc::default() }
    }

    /// What is kept under this name, if anything. A trouble says what to mend; the item, if there is one, is as it was.
    pub async fn load(&self, key: &ItemKey) -> Result<Option<Secret>, VaultTrouble> {
        self.call(Call::Load(key.account())).await
    }

    /// Keeps a text under this name in place of what was there. After `Ok` it outlives this process.
    pub async fn save(&self, key: &ItemKey, text: Secret) -> Result<(), VaultTrouble> {
        self.call(Call::Save(key.account(), text)).await.map(drop)
    }

    /// Forgets what is kept under this name. Nothing there is as good.
    pub async fn erase(&self, key: &ItemKey) -> Result<(), VaultTrouble> {
        self.call(Call::Erase(key.account())).await.map(drop)
    }

    async fn call(&self, call: Call) -> Result<Option<Secret>, VaultTrouble> {
        if self.is_resting() {
            return Err(VaultTrouble::Locked("its prompts wait for an answer".to_owned()));
        }
        let (outcome, answer) = oneshot::channel();
        let worker = self.send(Request { call, outcome })?;
        match timeout(self.deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                self.give_up(&worker);
                Err(VaultTrouble::Failed("the thread that talks to the keyring ended".to_owned()))
            }
            Err(_) => {
                self.give_up(&worker);
                Err(VaultTrouble::Locked(format!("it did not answer within {} s", self.deadline.as_secs())))
            }
        }
    }

    /// Whether so many threads hang that no further one is risked yet.
    fn is_resting(&self) -> bool {
        let Some(further) = self.hung.count().checked_sub(MOST_HUNG) else { return false };
        let rest = FIRST_REST.saturating_mul(1 << further.min(16));
        let last = self.last_given_up.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < rest)
    }

    /// Hands a request to the thread, which is started if there is none.
    fn send(&self, request: Request) -> Result<Worker, VaultTrouble> {
        let mut current = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match current.as_ref() {
            Some(worker) => worker.clone(),
            None => Worker::start(Arc::clone(&self.open), self.hung.clone())
                .map_err(|fault| VaultTrouble::Failed(format!("no thread can be started: {fault}")))?,
        };
        worker.take(request);
        *current = Some(worker.clone());
        Ok(worker)
    }

    /// Leaves a thread that hangs, or has ended, to itself; the next call starts another.
    fn give_up(&self, worker: &Worker) {
        let mut current = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.is(worker)) {
            *current = None;
            worker.give_up();
            *self.last_given_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
