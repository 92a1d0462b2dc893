//! Runs the keyring's blocking calls on a thread of their own, each with a deadline.
//! Does not: know any keyring; it is given a way to open a [`Store`].
//! Used by: the vault's handle.
//!
//! A call into a keyring can block for ever, in a prompt that nobody answers. A thread cannot be stopped from outside,
//! so a blocked one is left behind with its store, and the next call gets a new thread and a new store. The threads are
//! plain ones, since a runtime waits for its blocking threads when it ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak, mpsc},
    thread,
    time::Duration,
};

use rally_cred_proto::{Secret, message::Flaw, unpoisoned};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::worker::Undone;
use rally_cred_core::vault::{Changed, VaultTrouble, is_same};

/// Where items are kept by account name. Any call may block for ever.
pub(super) trait Store {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal>;
    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal>;
    /// Succeeds if there is no such item.
    fn erase(&self, account: &str) -> Result<(), Refusal>;
    /// The account names of all items, in no order.
    fn accounts(&self) -> Result<Vec<String>, Refusal>;

    /// What is wrong beside the content of single items, with the account name, or the name that [`Store::mend`] takes.
    fn flaws(&self) -> Result<Vec<(String, Flaw)>, Refusal> {
        Ok(Vec::new())
    }

    /// Takes away what is of no use, and keeps the one item that is wanted.
    fn mend(&self, name: &str, _flaw: Flaw) -> Result<(), Refusal> {
        self.erase(name)
    }
}

/// Why a store failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) trouble: VaultTrouble,
    /// The fault may be this store's alone, so that a newly opened one may succeed: a restarted keyring does not know
    /// the old store's session, and never will.
    pub(super) reopen: bool,
}

impl From<VaultTrouble> for Refusal {
    fn from(trouble: VaultTrouble) -> Self {
        Self { trouble, reopen: false }
    }
}

/// How long an open store is kept for the next call. Calls come in bursts, as at a sign-in, and then not for hours; an
/// open store holds a connection with a thread of its own, and opening one takes about 50 ms.
const KEEP_OPEN: Duration = Duration::from_secs(10);

type Open = dyn Fn() -> Result<Box<dyn Store>, VaultTrouble> + Send + Sync;
type Job = Box<dyn FnOnce(&mut Opened) + Send>;

/// The store of a thread, while it is kept open.
struct Opened {
    open: Arc<Open>,
    store: Option<Box<dyn Store>>,
}

/// The thread that owns the store now, and what is known of those left behind.
pub(super) struct KeyringThread {
    open: Arc<Open>,
    patience: Duration,
    keep_open: Duration,
    threads: Mutex<Threads>,
    /// By account, the result of its unfinished writes.
    pending_writes: Mutex<HashMap<String, Weak<Mutex<PendingWrite>>>>,
}

#[derive(Default)]
struct Threads {
    current: Option<Running>,
    left_behind: Vec<Weak<()>>,
    last_left: Option<Instant>,
}

#[derive(Clone)]
struct Running {
    jobs: mpsc::Sender<Job>,
    /// Dead once the thread has ended; also tells threads apart.
    alive: Weak<()>,
}

/// The newest value for an account, shared by all its unfinished writes.
///
/// A thread that was left behind makes its write once its prompt is answered, perhaps after a newer one. So whatever
/// has written looks here again, and writes on until the store holds the newest.
#[derive(Default)]
struct PendingWrite {
    turn: u64,
    /// `None` erases.
    value: Option<Secret>,
    /// What the newest write must find in the item, if it matters.
    expected: Option<Option<Secret>>,
    /// The values of earlier writes, which may still happen.
    earlier: Vec<Option<Secret>>,
}

impl PendingWrite {
    fn renew(&mut self, expected: Option<Option<Secret>>, value: Option<Secret>) {
        let old = std::mem::replace(&mut self.value, value);
        if self.turn > 0 && !self.earlier.iter().any(|known| is_same(known.as_ref(), old.as_ref())) {
            self.earlier.push(old);
        }
        self.turn += 1;
        self.expected = expected;
    }

    /// Whether the newest write may replace what was found.
    fn may_replace(&self, found: Option<&Secret>) -> bool {
        self.expected.iter().chain(&self.earlier).any(|known| is_same(known.as_ref(), found))
    }

    /// Leaves what somebody else has written.
    fn give_way(&mut self, found: Option<Secret>) {
        self.expected = Some(found.clone());
        self.value = found;
    }
}

impl KeyringThread {
    pub(super) fn new(
        open: impl Fn() -> Result<Box<dyn Store>, VaultTrouble> + Send + Sync + 'static,
        patience: Duration,
    ) -> Self {
        let (threads, pending_writes) = (Mutex::default(), Mutex::default());
        Self { open: Arc::new(open), patience, keep_open: KEEP_OPEN, threads, pending_writes }
    }

    pub(super) async fn load(&self, account: &str) -> Result<Option<Secret>, VaultTrouble> {
        let account = account.to_owned();
        self.call(move |store| store.load(&account)).await
    }

    /// The account names of all items.
    pub(super) async fn accounts(&self) -> Result<Vec<String>, VaultTrouble> {
        self.call(|store| store.accounts()).await
    }

    /// What is wrong beside the content of single items.
    pub(super) async fn flaws(&self) -> Result<Vec<(String, Flaw)>, VaultTrouble> {
        self.call(|store| store.flaws()).await
    }

    /// Mends what still is as it was found; `false` if it is not. `found`: what the item held; `None` if it could not be
    /// read.
    pub(super) async fn mend(
        &self,
        name: &str,
        flaw: Flaw,
        found: Option<Secret>,
    ) -> Result<bool, VaultTrouble> {
        let name = name.to_owned();
        self.call(move |store| mend(store, &name, flaw, found.as_ref())).await
    }

    /// Saves the value, or erases the item.
    pub(super) async fn write(&self, account: &str, value: Option<Secret>) -> Result<(), VaultTrouble> {
        self.make_pending(account, None, value).await.map(drop)
    }

    /// The same, if the item holds what is expected.
    pub(super) async fn change(
        &self,
        account: &str,
        expected: Option<Secret>,
        value: Option<Secret>,
    ) -> Result<Changed, VaultTrouble> {
        self.make_pending(account, Some(expected), value).await
    }

    async fn make_pending(
        &self,
        account: &str,
        expected: Option<Option<Secret>>,
        value: Option<Secret>,
    ) -> Result<Changed, VaultTrouble> {
        let pending = {
            let mut pending_writes = unpoisoned(&self.pending_writes);
            let shared = pending_writes.get(account).and_then(Weak::upgrade).unwrap_or_default();
            pending_writes.insert(account.to_owned(), Arc::downgrade(&shared));
            unpoisoned(&shared).renew(expected, value);
            shared
        };
        let account = account.to_owned();
        self.call(move |store| write(store, &account, &pending)).await
    }

    /// There is reason to believe that it answers, however many calls hang: the next one is not put off.
    #[cfg(target_os = "linux")]
    pub(super) fn may_answer_again(&self) {
        unpoisoned(&self.threads).last_left = None;
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl Fn(&dyn Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, VaultTrouble> {
        let (answer, answered) = oneshot::channel();
        let thread = self.submit(Box::new(move |opened| {
            // The deadline of a job that waited behind a blocked call has passed.
            if !answer.is_closed() {
                let outcome = opened.perform(&work, &|| !answer.is_closed());
                // Nobody may wait for the answer any more.
                let _ = answer.send(outcome);
            }
        }))?;
        match timeout(self.patience, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(VaultTrouble::Failed("the keyring's thread ended".to_owned())),
            Err(_) => {
                self.leave_behind(&thread);
                Err(VaultTrouble::Locked(format!(
                    "the keyring did not answer within {} s; it may be waiting in a prompt",
                    self.patience.as_secs()
                )))
            }
        }
    }

    /// Hands the job to the current thread, or to a new one; fails while too many hang.
    fn submit(&self, job: Job) -> Result<Running, VaultTrouble> {
        let mut threads = unpoisoned(&self.threads);
        let job = match &threads.current {
            Some(running) => match running.jobs.send(job) {
                Ok(()) => return Ok(running.clone()),
                // It panicked; another thread gets the job.
                Err(mpsc::SendError(job)) => job,
            },
            None => job,
        };
        threads.current = None;
        threads.left_behind.retain(|alive| alive.strong_count() > 0);
        let rest = rest(threads.left_behind.len());
        if threads.last_left.is_some_and(|left| left.elapsed() < rest) {
            return Err(VaultTrouble::Locked(format!(
                "the keyring did not answer {} calls, and is asked again later",
                threads.left_behind.len()
            )));
        }
        let running = start(Arc::clone(&self.open), self.keep_open)?;
        // The receiver lives, since the thread has just begun; if not, the closed answer channel says so.
        let _ = running.jobs.send(job);
        threads.current = Some(running.clone());
        Ok(running)
    }

    fn leave_behind(&self, thread: &Running) {
        let mut threads = unpoisoned(&self.threads);
        // Several calls may wait for one thread; the first deadline leaves it behind.
        if let Some(left) = threads.current.take_if(|current| current.alive.ptr_eq(&thread.alive)) {
            threads.left_behind.push(left.alive);
            threads.last_left = Some(Instant::now());
            tracing::warn!(hung = threads.left_behind.len(), "the keyring does not answer");
        }
    }
}

/// How long no new thread starts after one was left behind, by the number that hang.
///
/// Three calls in a row may hang for passing reasons, as when a desktop starts or nobody is there for a moment. Each
/// further thread would only add a prompt, so the pause is five minutes and doubles with each: even a year of hanging
/// leaves fewer than twenty threads.
fn rest(hung: usize) -> Duration {
    const FREE: usize = 3;
    const FIRST: Duration = Duration::from_secs(5 * 60);
    match hung.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(beyond) => FIRST.saturating_mul(1 << beyond.min(20)),
    }
}

fn start(open: Arc<Open>, keep_open: Duration) -> Result<Running, VaultTrouble> {
    let (jobs, taken) = mpsc::channel();
    let token = Arc::new(());
    let alive = Arc::downgrade(&token);
    thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(move || serve(Opened { open, store: None }, keep_open, &taken, token))
        .map_err(|err| VaultTrouble::Failed(Undone::NoThread(err).to_string()))?;
    Ok(Running { jobs, alive })
}

/// Ends when its sender is dropped: by the handle, or when the thread is left behind.
fn serve(mut opened: Opened, keep_open: Duration, jobs: &mpsc::Receiver<Job>, alive: Arc<()>) {
    loop {
        match jobs.recv_timeout(if opened.store.is_some() { keep_open } else { Duration::MAX }) {
            Ok(job) => job(&mut opened),
            Err(mpsc::RecvTimeoutError::Timeout) => opened.store = None,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    // Before the store, whose end can block too.
    drop(alive);
}

impl Opened {
    /// Does the work; once more with a newly opened store, if an older one fails in a way that this can cure.
    fn perform<T>(
        &mut self,
        work: &impl Fn(&dyn Store) -> Result<T, Refusal>,
        is_awaited: &impl Fn() -> bool,
    ) -> Result<T, VaultTrouble> {
        let was_open = self.store.is_some();
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert((self.open)()?),
        };
        match work(&**store) {
            Ok(done) => Ok(done),
            Err(Refusal { trouble, reopen: false }) => Err(trouble),
            Err(Refusal { trouble, reopen: true }) => {
                self.store = None;
                if !was_open || !is_awaited() {
                    return Err(trouble);
                }
                tracing::debug!("the keyring is opened anew");
                self.perform(work, is_awaited)
            }
        }
    }
}

/// Makes the newest write of the account, and reports what became of it.
fn write(store: &dyn Store, account: &str, pending: &Mutex<PendingWrite>) -> Result<Changed, Refusal> {
    // After the first round, the item holds what this thread has written.
    let mut is_ours = false;
    loop {
        let (turn, value, is_conditional) = {
            let pending = unpoisoned(pending);
            (pending.turn, pending.value.clone(), pending.expected.is_some())
        };
        let mut is_there = false;
        if is_conditional && !is_ours {
            let found = store.load(account)?;
            is_there = is_same(found.as_ref(), value.as_ref());
            let mut pending = unpoisoned(pending);
            if pending.turn == turn && !is_there && !pending.may_replace(found.as_ref()) {
                pending.give_way(found.clone());
                return Ok(Changed::Conflict(found));
            }
        }
        match value {
            _ if is_there => {}
            Some(value) => store.save(account, &value)?,
            None => store.erase(account)?,
        }
        is_ours = true;
        if unpoisoned(pending).turn == turn {
            return Ok(Changed::Done);
        }
    }
}

fn mend(store: &dyn Store, name: &str, flaw: Flaw, found: Option<&Secret>) -> Result<bool, Refusal> {
    match (store.load(name), found) {
        (Ok(Some(now)), Some(found)) if now.matches(found) => {}
        (Err(refusal), None) if refusal.trouble.is_of_one_item() => {}
        (Err(refusal), _) => return Err(refusal),
        (Ok(_), _) => return Ok(false),
    }
    store.mend(name, flaw).map(|()| true)
}

#[cfg(test)]
mod tests;
