//! Tests of the keyring's thread, with stores that do as they are told.
//! Does not: need a keyring, or wait for a deadline: the clock jumps to it.
//! Used by: `cargo test`.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait for another thread, so that a fault fails the test instead of hanging it.
const LONGEST: Duration = Duration::from_secs(60);

/// What one call into a fake store does; where nothing is told, it works.
enum Step {
    Work,
    /// Says that it hangs, and works as soon as the test drops the other end.
    Hang(mpsc::Sender<()>, mpsc::Receiver<()>),
    Refuse {
        reopen: bool,
    },
}

struct Fake {
    steps: Mutex<VecDeque<Step>>,
    items: Arc<Mutex<HashMap<String, Secret>>>,
    _gone: mpsc::Sender<()>,
}

impl Fake {
    fn step(&self) -> Result<(), Refusal> {
        let step = unpoisoned(&self.steps).pop_front();
        match step.unwrap_or(Step::Work) {
            Step::Work => Ok(()),
            Step::Hang(entered, released) => {
                entered.send(()).unwrap();
                assert_eq!(released.recv(), Err(mpsc::RecvError));
                Ok(())
            }
            Step::Refuse { reopen } => Err(Refusal { trouble: no_session(), reopen }),
        }
    }
}

impl Store for Fake {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal> {
        self.step()?;
        Ok(unpoisoned(&self.items).get(account).cloned())
    }

    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal> {
        self.step()?;
        unpoisoned(&self.items).insert(account.to_owned(), value.clone());
        Ok(())
    }

    fn erase(&self, account: &str) -> Result<(), Refusal> {
        self.step()?;
        unpoisoned(&self.items).remove(account);
        Ok(())
    }

    fn accounts(&self) -> Result<Vec<String>, Refusal> {
        self.step()?;
        Ok(unpoisoned(&self.items).keys().cloned().collect())
    }
}

/// A keyring whose stores share their items; the last is followed by none.
struct Scene {
    keyring: KeyringThread,
    items: Arc<Mutex<HashMap<String, Secret>>>,
    opened: Arc<AtomicUsize>,
    /// By number of the store: disconnected as soon as it is gone.
    gone: Vec<mpsc::Receiver<()>>,
}

fn scene(stores: impl IntoIterator<Item = Vec<Step>>) -> Scene {
    let items = Arc::default();
    let opened = Arc::new(AtomicUsize::new(0));
    let (fakes, gone): (VecDeque<_>, Vec<_>) = stores
        .into_iter()
        .map(|steps| {
            let (_gone, gone) = mpsc::channel();
            (Fake { steps: Mutex::new(steps.into()), items: Arc::clone(&items), _gone }, gone)
        })
        .unzip();
    let fakes = Mutex::new(fakes);
    let count = Arc::clone(&opened);
    let open = move || -> Result<Box<dyn Store>, VaultTrouble> {
        count.fetch_add(1, Ordering::SeqCst);
        match unpoisoned(&fakes).pop_front() {
            Some(fake) => Ok(Box::new(fake)),
            None => Err(missing()),
        }
    };
    Scene { keyring: KeyringThread::new(open, PATIENCE), items, opened, gone }
}

impl Scene {
    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn wait_for_end_of(&self, store: usize) {
        assert_eq!(self.gone[store].recv_timeout(LONGEST), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    fn kept(&self) -> Option<String> {
        unpoisoned(&self.items).get("a").map(|value| value.expose().to_owned())
    }

    async fn loads(&self, value: Option<&str>) {
        let loaded = self.keyring.load("a").await.unwrap();
        assert_eq!(loaded.as_ref().map(Secret::expose), value);
    }
}

/// A store whose first call hangs.
fn hanging() -> (Gate, Vec<Step>) {
    let (entered, entries) = mpsc::channel();
    let (release, released) = mpsc::channel();
    (Gate { entries, _release: release }, vec![Step::Hang(entered, released)])
}

/// Dropping it lets the call go on.
struct Gate {
    entries: mpsc::Receiver<()>,
    _release: mpsc::Sender<()>,
}

impl Gate {
    /// Waits until the call hangs.
    fn wait(&self) {
        self.entries.recv_timeout(LONGEST).unwrap();
    }

    /// Lets the call hang until its deadline. The clock stands only while nothing but the deadline can end it, since
    /// it jumps there whenever the test itself has nothing to do.
    async fn check<T>(&self, call: impl Future<Output = Result<T, VaultTrouble>>) {
        let at_deadline = async {
            self.wait();
            tokio::time::pause();
        };
        let (outcome, ()) = tokio::join!(call, at_deadline);
        tokio::time::resume();
        let why = "the keyring did not answer within 20 s; it may be waiting in a prompt";
        assert_eq!(outcome.err(), Some(VaultTrouble::Locked(why.to_owned())));
    }
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::parse(text.to_owned()).unwrap())
}

fn no_session() -> VaultTrouble {
    VaultTrouble::Failed("NoSession".to_owned())
}

fn missing() -> VaultTrouble {
    VaultTrouble::Missing("no more stores".to_owned())
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_hangs_ends_at_its_deadline_and_the_next_has_a_new_store() {
    let (gate, hang) = hanging();
    let scene = scene([hang, vec![]]);
    gate.check(scene.keyring.load("a")).await;
    scene.keyring.write("a", secret("kept")).await.unwrap();
    scene.loads(Some("kept")).await;
    assert_eq!(scene.opened(), 2);
    drop(gate);
    scene.wait_for_end_of(0);
}

#[tokio::test(flavor = "current_thread")]
async fn calls_that_wait_behind_a_hung_one_leave_one_thread_behind() {
    let (gate, hang) = hanging();
    let scene = scene([hang, vec![]]);
    gate.check(async {
        let (one, two) = tokio::join!(scene.keyring.load("a"), scene.keyring.write("a", secret("late")));
        assert_eq!(one.as_ref().err(), two.as_ref().err());
        one
    })
    .await;
    assert_eq!(unpoisoned(&scene.keyring.threads).left_behind.len(), 1);
    scene.loads(None).await;
    drop(gate);
    scene.wait_for_end_of(0);
    assert_eq!(scene.kept(), None, "a write that never began is not carried out late");
}

#[tokio::test(flavor = "current_thread")]
async fn a_deadline_of_a_thread_left_behind_spares_the_new_one() {
    let (gate, hang) = hanging();
    let scene = scene([hang, vec![]]);
    let first = async {
        let hung = scene.keyring.load("a").await;
        tokio::time::resume();
        scene.loads(None).await;
        tokio::time::pause();
        hung
    };
    let later = async {
        gate.wait();
        tokio::time::pause();
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        scene.keyring.load("a").await
    };
    let (first, later) = tokio::join!(first, later);
    tokio::time::resume();
    assert!(first.is_err() && later.is_err());
    scene.loads(None).await;
    assert_eq!(scene.opened(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn after_three_hung_threads_calls_are_refused_at_once_until_one_ends() {
    let (mut gates, hangs): (Vec<_>, Vec<_>) = (0..3).map(|_| hanging()).unzip();
    let scene = scene(hangs.into_iter().chain([vec![]]));
    for gate in &gates {
        gate.check(scene.keyring.load("a")).await;
    }
    let why = "the keyring did not answer 3 calls, and is asked again later";
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), VaultTrouble::Locked(why.to_owned()));
    assert_eq!(scene.opened(), 3);

    drop(gates.remove(0));
    scene.wait_for_end_of(0);
    scene.loads(None).await;
    assert_eq!(scene.opened(), 4);
}

#[tokio::test(flavor = "current_thread")]
async fn after_three_hung_threads_one_more_is_begun_when_the_pause_is_over() {
    let (gates, hangs): (Vec<_>, Vec<_>) = (0..3).map(|_| hanging()).unzip();
    let scene = scene(hangs.into_iter().chain([vec![]]));
    for gate in &gates {
        gate.check(scene.keyring.load("a")).await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5 * 60)).await;
    tokio::time::resume();
    scene.loads(None).await;
    assert_eq!(scene.opened(), 4);
}

#[test]
fn a_year_of_hanging_leaves_under_twenty_threads() {
    let mut passed = Duration::ZERO;
    let mut hung = 0;
    while passed < Duration::from_secs(365 * 24 * 60 * 60) {
        hung += 1;
        passed += PATIENCE + rest(hung);
    }
    assert!(hung < 20, "{hung}");
    assert_eq!(rest(usize::MAX), rest(1000));
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_outlived_its_keyring_is_opened_anew_and_the_call_is_done() {
    let scene = scene([vec![Step::Work, Step::Refuse { reopen: true }], vec![]]);
    scene.keyring.write("a", secret("kept")).await.unwrap();
    scene.loads(Some("kept")).await;
    assert_eq!(scene.opened(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_is_opened_anew_once_for_a_call_and_again_for_the_next() {
    let scene = scene([
        vec![Step::Work, Step::Refuse { reopen: true }],
        vec![Step::Refuse { reopen: true }],
        vec![Step::Refuse { reopen: true }],
        vec![],
    ]);
    scene.loads(None).await;
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), no_session());
    assert_eq!(scene.opened(), 2);
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), no_session());
    assert_eq!(scene.opened(), 3);
    scene.loads(None).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_trouble_that_a_new_store_would_not_heal_keeps_the_store() {
    let scene = scene([vec![Step::Work, Step::Refuse { reopen: false }]]);
    scene.loads(None).await;
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), no_session());
    scene.loads(None).await;
    assert_eq!(scene.opened(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_missing_keyring_is_looked_for_again_at_each_call() {
    let scene = scene([]);
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), missing());
    assert_eq!(scene.keyring.load("a").await.unwrap_err(), missing());
    assert_eq!(scene.opened(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_late_write_does_not_stay_in_place_of_a_newer_one() {
    for newer in [secret("newer"), None] {
        let (gate, hang) = hanging();
        let scene = scene([hang, vec![]]);
        gate.check(scene.keyring.write("a", secret("older"))).await;
        let kept = newer.as_ref().map(|value| value.expose().to_owned());
        scene.keyring.write("a", newer).await.unwrap();
        assert_eq!(scene.kept(), kept);
        drop(gate);
        scene.wait_for_end_of(0);
        assert_eq!(scene.kept(), kept);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_nobody_needs_is_closed_and_opened_anew_for_the_next_call() {
    let mut scene = scene([vec![], vec![]]);
    scene.keyring.keep_open = Duration::ZERO;
    scene.keyring.write("a", secret("one")).await.unwrap();
    scene.wait_for_end_of(0);
    scene.loads(Some("one")).await;
    assert_eq!(scene.opened(), 2);
}

#[tokio::test]
async fn a_change_leaves_what_another_daemon_has_put_there() {
    let scene = scene([vec![]]);
    scene.keyring.write("a", secret("ours")).await.unwrap();
    unpoisoned(&scene.items).insert("a".to_owned(), secret("theirs").unwrap());
    let changed = scene.keyring.change("a", secret("ours"), secret("newer")).await.unwrap();
    assert!(matches!(changed, Changed::Conflict(Some(found)) if found.expose() == "theirs"));
    assert_eq!(scene.kept().as_deref(), Some("theirs"));
    for (from, to) in [(secret("theirs"), secret("newer")), (secret("newer"), None), (None, secret("newest"))]
    {
        let changed = scene.keyring.change("a", from, to.clone()).await.unwrap();
        assert!(matches!(changed, Changed::Done));
        assert_eq!(scene.kept(), to.map(|value| value.expose().to_owned()));
    }
}

#[tokio::test]
async fn a_change_goes_over_what_an_older_one_of_this_daemon_wrote_late() {
    // The first call of the change finds nothing, and the second hangs in a prompt.
    let (gate, mut hang) = hanging();
    hang.insert(0, Step::Work);
    let scene = scene([hang, vec![]]);
    gate.check(async { scene.keyring.change("a", None, secret("older")).await.map(|_| ()) }).await;
    let newer = scene.keyring.change("a", None, secret("newer")).await.unwrap();
    assert!(matches!(newer, Changed::Done));
    drop(gate);
    scene.wait_for_end_of(0);
    assert_eq!(scene.kept().as_deref(), Some("newer"));
}
