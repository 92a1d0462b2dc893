//! The thread that owns the keyring's store, and does one call after the other.
//! Does not: wait for anybody; who asked it watches the time.
//! Met by: `Vault`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use rally_cred_proto::Secret;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::core::vault::VaultTrouble;

/// What a keyring can do, by account name. Each call may block for ever.
pub(super) trait Store {
    fn load(&mut self, account: &str) -> Result<Option<Vec<u8>>, Trouble>;
    fn save(&mut self, account: &str, text: &[u8]) -> Result<(), Trouble>;
    fn erase(&mut self, account: &str) -> Result<(), Trouble>;
}

/// Opens a store; called on the thread that will own it.
pub(super) type Open = Arc<dyn Fn() -> Result<Box<dyn Store>, Trouble> + Send + Sync>;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store has lost its keyring, which may have been started anew meanwhile: another store may work.
    Stale(VaultTrouble),
    /// Anything else.
    Plain(VaultTrouble),
}

impl Trouble {
    fn into_inner(self) -> VaultTrouble {
        match self {
            Self::Stale(trouble) | Self::Plain(trouble) => trouble,
        }
    }
}

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Call {
    Load(String),
    Save(String, Secret),
    Erase(String),
}

/// A call, and where its outcome goes; only loading gives a text.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    pub(super) outcome: oneshot::Sender<Result<Option<Secret>, VaultTrouble>>,
}

/// How many threads were given up and still hang.
#[derive(Clone, Debug, Default)]
pub(super) struct Hung(Arc<AtomicUsize>);

impl Hung {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A thread with its store.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    requests: mpsc::Sender<Request>,
    is_given_up: Arc<AtomicBool>,
    hung: Hung,
}

impl Worker {
    /// Starts a thread, which opens its store at the first request.
    pub(super) fn start(open: Open, hung: Hung) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let is_given_up = Arc::new(AtomicBool::new(false));
        let worker = Self { requests, is_given_up: Arc::clone(&is_given_up), hung: hung.clone() };
        thread::Builder::new().name("vault".to_owned()).spawn(move || {
            serve(&open, &inbox, &is_given_up);
            if is_given_up.load(Ordering::SeqCst) {
                hung.0.fetch_sub(1, Ordering::SeqCst);
            }
        })?;
        Ok(worker)
    }

    /// Queues a request. If the thread has ended, the outcome's other end is told by its being closed.
    pub(super) fn take(&self, request: Request) {
        self.requests.send(request).ok();
    }

    /// Counts the thread as hung. It ends as soon as the keyring lets it go.
    pub(super) fn give_up(&self) {
        self.hung.0.fetch_add(1, Ordering::SeqCst);
        self.is_given_up.store(true, Ordering::SeqCst);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.is_given_up, &other.is_given_up)
    }
}

fn serve(open: &Open, inbox: &mpsc::Receiver<Request>, is_given_up: &AtomicBool) {
    let mut store = None;
    while let Ok(Request { call, outcome }) = inbox.recv() {
        // Whoever asked has stopped waiting and may have saved something newer elsewhere.
        if outcome.is_closed() || is_given_up.load(Ordering::SeqCst) {
            continue;
        }
        // Nobody to tell is as good as told.
        outcome.send(perform(open, &mut store, &call)).ok();
        if is_given_up.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Does a call, with a new store if the old one has lost its keyring.
fn perform(
    open: &Open,
    store: &mut Option<Box<dyn Store>>,
    call: &Call,
) -> Result<Option<Secret>, VaultTrouble> {
    if let Some(held) = store {
        match attempt(held.as_mut(), call) {
            Err(Trouble::Stale(_)) => *store = None,
            outcome => return outcome.map_err(Trouble::into_inner),
        }
    }
    let mut opened = open().map_err(Trouble::into_inner)?;
    let outcome = attempt(opened.as_mut(), call).map_err(Trouble::into_inner);
    *store = Some(opened);
    outcome
}

fn attempt(store: &mut dyn Store, call: &Call) -> Result<Option<Secret>, Trouble> {
    match call {
        Call::Load(account) => store.load(account)?.map(read).transpose(),
        Call::Save(account, text) => store.save(account, text.expose().as_bytes()).map(|()| None),
        Call::Erase(account) => store.erase(account).map(|()| None),
    }
}

/// Takes an item's bytes as text. What we did not write is left as it is.
fn read(bytes: Vec<u8>) -> Result<Secret, Trouble> {
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| Secret::parse(text.to_owned()).ok());
    text.ok_or_else(|| {
        Trouble::Plain(VaultTrouble::Failed("an item of rally-cred holds something else".to_owned()))
    })
}
