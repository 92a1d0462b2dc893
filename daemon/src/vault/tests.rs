//! The vault against stores that hang, go stale and fail on the test's order.
//! Does not: need a keyring; the real one is in the tests crate.
//! Met by: `cargo test`.

use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering, mpsc};

use super::{
    worker::{Store, Trouble},
    *,
};
use crate::core::vault::ItemKind;

/// How a store behaves at its next call.
enum Behaviour {
    Works,
    /// Tells that it was called, then blocks until the other end is dropped.
    Hangs(tokio::sync::mpsc::UnboundedSender<()>, mpsc::Receiver<()>),
    Stale,
}

struct Scripted {
    items: memory::Items,
    behaviour: Behaviour,
}

impl Scripted {
    fn act(&mut self) -> Result<(), Trouble> {
        match std::mem::replace(&mut self.behaviour, Behaviour::Works) {
            Behaviour::Works => Ok(()),
            Behaviour::Hangs(called, release) => {
                called.send(()).ok();
                release.recv().ok();
                Ok(())
            }
            Behaviour::Stale => {
                self.behaviour = Behaviour::Stale;
                Err(Trouble::Stale(VaultTrouble::Failed("NoSession".to_owned())))
            }
        }
    }
}

impl Store for Scripted {
    fn load(&mut self, account: &str) -> Result<Option<Vec<u8>>, Trouble> {
        self.act()?;
        self.items.load(account)
    }
    fn save(&mut self, account: &str, text: &[u8]) -> Result<(), Trouble> {
        self.act()?;
        self.items.save(account, text)
    }
    fn erase(&mut self, account: &str) -> Result<(), Trouble> {
        self.act()?;
        self.items.erase(account)
    }
}

/// A vault whose stores behave as listed, one after the other, and then work; with the number of stores opened.
fn vault(stores: Vec<Behaviour>, deadline: Duration) -> (Vault, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (count, items) = (Arc::clone(&opened), memory::Items::default());
    let stores = Mutex::new(stores.into_iter());
    let open: Open = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let behaviour = stores.lock().unwrap().next().unwrap_or(Behaviour::Works);
        Ok(Box::new(Scripted { items: items.clone(), behaviour }))
    });
    (Vault::with(open, deadline), opened)
}

fn key() -> ItemKey {
    ItemKey { kind: ItemKind::Token, profile: "default".to_owned() }
}

fn text(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

/// No test waits this long; it only must not be shorter than a slow machine's thread takes to start.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_saved_is_loaded_until_it_is_erased() {
    let (vault, opened) = vault(vec![], LONG);
    assert!(vault.load(&key()).await.unwrap().is_none());
    vault.save(&key(), text("one")).await.unwrap();
    vault.save(&key(), text("two")).await.unwrap();
    assert_eq!(vault.load(&key()).await.unwrap().unwrap().expose(), "two");
    vault.erase(&key()).await.unwrap();
    vault.erase(&key()).await.unwrap();
    assert!(vault.load(&key()).await.unwrap().is_none());
    assert_eq!(opened.load(Ordering::SeqCst), 1, "one store serves all calls");
}

/// A store that hangs: its behaviour, what tells that it was called, and what lets it go when dropped.
fn hanging() -> (Behaviour, tokio::sync::mpsc::UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (called, is_called) = tokio::sync::mpsc::unbounded_channel();
    let (release, hang) = mpsc::channel();
    (Behaviour::Hangs(called, hang), is_called, release)
}

/// Lets the deadline of what is under way pass at once. Otherwise time is real, since paused time would run out while a
/// thread works.
async fn pass_deadline() {
    tokio::time::pause();
    tokio::time::advance(LONG).await;
    tokio::time::resume();
}

async fn until_none_hangs(vault: &Vault) {
    while vault.hung.count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline_and_the_next_gets_a_new_store() {
    let (behaviour, mut is_called, release) = hanging();
    let (vault, opened) = vault(vec![behaviour], LONG);
    let hangs = tokio::spawn({
        let vault = vault.clone();
        async move { vault.save(&key(), text("old")).await }
    });
    is_called.recv().await.unwrap();
    pass_deadline().await;
    assert_eq!(hangs.await.unwrap(), Err(VaultTrouble::Locked("it did not answer within 60 s".to_owned())));
    vault.save(&key(), text("new")).await.unwrap();
    assert_eq!((opened.load(Ordering::SeqCst), vault.hung.count()), (2, 1));
    drop(release);
    until_none_hangs(&vault).await;
}

#[tokio::test]
async fn what_waited_behind_a_hanging_call_is_not_done_late() {
    let (behaviour, mut is_called, release) = hanging();
    let (vault, _) = vault(vec![behaviour], LONG);
    let waits = tokio::spawn({
        let vault = vault.clone();
        async move {
            let key = key();
            tokio::join!(vault.load(&key), vault.save(&key, text("stale")))
        }
    });
    is_called.recv().await.unwrap();
    pass_deadline().await;
    let (first, second) = waits.await.unwrap();
    assert!(first.is_err() && second.is_err());
    vault.save(&key(), text("newer")).await.unwrap();
    drop(release);
    until_none_hangs(&vault).await;
    assert_eq!(vault.load(&key()).await.unwrap().unwrap().expose(), "newer");
}

#[tokio::test]
async fn only_a_few_threads_may_hang_at_once() {
    let (behaviours, handles): (Vec<_>, Vec<_>) = (0..MOST_HUNG)
        .map(|_| hanging())
        .map(|(behaviour, called, release)| (behaviour, (called, release)))
        .unzip();
    let (vault, opened) = vault(behaviours, LONG);
    let mut releases = Vec::new();
    for (mut is_called, release) in handles {
        let hangs = tokio::spawn({
            let vault = vault.clone();
            async move { vault.load(&key()).await }
        });
        is_called.recv().await.unwrap();
        pass_deadline().await;
        assert!(matches!(hangs.await.unwrap(), Err(VaultTrouble::Locked(_))));
        releases.push(release);
    }
    assert!(matches!(vault.load(&key()).await, Err(VaultTrouble::Locked(_))), "no further thread is risked");
    assert_eq!(opened.load(Ordering::SeqCst), MOST_HUNG);
    // Though none of them ever ends, a keyring that works again is found after a pause.
    tokio::time::pause();
    tokio::time::advance(FIRST_REST).await;
    tokio::time::resume();
    assert!(vault.load(&key()).await.unwrap().is_none(), "it heals by itself");
    drop(releases);
    until_none_hangs(&vault).await;
}

#[tokio::test]
async fn a_store_that_lost_its_keyring_is_replaced_and_the_call_done() {
    let (vault, opened) = vault(vec![Behaviour::Works], LONG);
    vault.save(&key(), text("kept")).await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    let (vault, opened) = self::vault(vec![Behaviour::Stale, Behaviour::Works], LONG);
    assert!(
        vault.load(&key()).await.is_err(),
        "a store that was just opened is not opened again for the same call"
    );
    assert!(vault.load(&key()).await.unwrap().is_none());
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}
