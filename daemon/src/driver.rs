//! Owns the broker: whoever brings an event has it decided, and its effects begun, before going on.
//! Does not: decide (the broker does) or carry out (`perform` does), nor await anything while it has the broker.
//! Used by: `ipc`, `perform` and `start`.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    rc::Rc,
    sync::{Arc, Mutex},
};

use rally_cred_proto::{Answer, Ask, Reply, message, unpoisoned};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{clock, notify::ServiceManager};
use rally_cred_core::{
    Broker,
    dice::Dice,
    event::{AskId, Effect, Event, Peer},
    loans::Loans,
    time::{Tick, Ticks},
};

/// Longest sleep. A laptop may sleep through a timer, so the clocks are read at least this often, and with each
/// request. Only a renewal ahead of time or the end of a sign-in can be late, by as much. A sleep costs up to three
/// wake-ups, since the runtime's clock counts in ever finer steps towards its end.
const MAX_NAP: Ticks = Ticks::seconds(120);

/// The way to the broker. Clones share it, and all stay on its thread.
#[derive(Clone, Default)]
pub struct Driver(Rc<Inner>);

/// Begins an effect and returns at once; a break ends the daemon. It may call [`Driver::tell`] and [`Driver::reply`],
/// but nothing else of the driver: the outcome comes back later.
pub type Begin = Box<dyn FnMut(Effect) -> ControlFlow<()>>;

#[derive(Default)]
struct Inner {
    /// `None` before [`Driver::open`], after the end, and after a panic of the broker, which leaves half a change.
    engine: RefCell<Option<Box<Engine>>>,
    last_id: Cell<u64>,
    /// The request that is being decided, and its answers so far.
    asking: RefCell<Option<(AskId, VecDeque<Answer>)>>,
    /// Where to send further answers to each open request.
    mailboxes: RefCell<HashMap<AskId, Mailbox>>,
    nap_until: Cell<Option<Instant>>,
    nap_is_too_long: Notify,
    loans: Arc<Mutex<Loans>>,
}

struct Engine {
    broker: Broker,
    begin: Begin,
    ended: oneshot::Sender<()>,
}

/// Answers are boxed, since a channel starts with room for 32.
type Mailbox = mpsc::UnboundedSender<Box<Answer>>;

impl Driver {
    /// Begins to decide. The receiver gets a value at the end, or is closed without one if the broker panicked.
    pub fn open(&self, broker: Broker, begin: Begin) -> oneshot::Receiver<()> {
        let (ended, end) = oneshot::channel();
        self.0.engine.replace(Some(Box::new(Engine { broker, begin, ended })));
        end
    }

    /// Has a request decided. Its immediate answers are there when this returns.
    pub fn ask(&self, peer: Peer, ask: Ask) -> Pending {
        let id = AskId(self.0.last_id.get());
        self.0.last_id.set(id.0 + 1);
        self.0.asking.replace(Some((id, VecDeque::with_capacity(1))));
        let decided = self.happened(Event::Asked { id, peer, ask });
        let (_, early) = self.0.asking.take().unwrap_or((id, VecDeque::new()));
        let waits = decided.is_continue() && !matches!(early.back(), Some(Answer::Reply(_)));
        let later = waits.then(|| {
            let (mailbox, later) = mpsc::unbounded_channel();
            self.0.mailboxes.borrow_mut().insert(id, mailbox);
            later
        });
        Pending { id, driver: self.clone(), early, later }
    }

    /// Has an event decided. Breaks if the daemon has ended, by this event or before.
    pub fn happened(&self, event: Event) -> ControlFlow<()> {
        let mut place = self.0.engine.borrow_mut();
        let Some(mut engine) = place.take() else { return ControlFlow::Break(()) };
        let now = clock::now();
        unpoisoned(&self.0.loans).heard(&event);
        let effects = engine.broker.handle(now, &mut SystemDice, event);
        if effects.into_iter().try_for_each(&mut engine.begin).is_break() {
            // Whoever waits learns that nothing more will come.
            self.0.mailboxes.borrow_mut().clear();
            engine.ended.send(()).ok();
            return ControlFlow::Break(());
        }
        self.shorten_nap(now.tick, engine.broker.next_deadline());
        *place = Some(engine);
        ControlFlow::Continue(())
    }

    /// What gateways, on threads of their own, may use without a question.
    pub fn loans(&self) -> &Arc<Mutex<Loans>> {
        &self.0.loans
    }

    /// Sends an event to the client, if it is still there.
    pub fn tell(&self, id: AskId, event: message::Event) {
        self.send(id, Answer::Event(event));
    }

    /// Sends the result to the client, if it is still there.
    pub fn reply(&self, id: AskId, reply: Reply) {
        self.send(id, Answer::Reply(reply));
    }

    /// Whether the client still waits for its result.
    pub fn has_asker(&self, id: AskId) -> bool {
        self.0.mailboxes.borrow().contains_key(&id)
    }

    fn send(&self, id: AskId, answer: Answer) {
        if let Some((asking, early)) = &mut *self.0.asking.borrow_mut()
            && *asking == id
        {
            return early.push_back(answer);
        }
        let mut mailboxes = self.0.mailboxes.borrow_mut();
        let sent = match answer {
            Answer::Event(_) => mailboxes.get(&id).map(|mailbox| mailbox.send(Box::new(answer))),
            Answer::Reply(_) => mailboxes.remove(&id).map(|mailbox| mailbox.send(Box::new(answer))),
        };
        // A client that leaves removes its mailbox.
        debug_assert!(sent.is_none_or(|sent| sent.is_ok()), "a mailbox without an owner");
    }

    /// Lets time pass for the broker, and keeps the watchdog quiet, until the end.
    pub async fn run(self, manager: Rc<ServiceManager>) {
        let longest = manager.heartbeat().map_or(MAX_NAP, |heartbeat| heartbeat.min(MAX_NAP));
        loop {
            // Everything runs on this thread, so this task's turn shows that no other blocks it.
            manager.beat(clock::tick());
            self.nap(longest).await;
            if self.happened(Event::TimePassed).is_break() {
                return;
            }
        }
    }

    /// Waits for the broker's next deadline, but no longer than this. May return early.
    async fn nap(&self, longest: Ticks) {
        let deadline = self.0.engine.borrow().as_ref().and_then(|engine| engine.broker.next_deadline());
        let nap = deadline.map_or(longest, |at| (at - clock::tick()).min(longest)).as_duration();
        self.0.nap_until.set(Some(Instant::now() + nap));
        tokio::select! {
            biased;
            () = self.0.nap_is_too_long.notified() => {}
            () = sleep(nap) => {}
        }
    }

    /// Ends a sleep that would miss the deadline. The two clocks differ after a suspend, so it is compared by its own.
    fn shorten_nap(&self, now: Tick, deadline: Option<Tick>) {
        // The clocks are read one after the other, and one of them in whole milliseconds.
        const CLOSE: Ticks = Ticks(2);
        let Some((deadline, until)) = deadline.zip(self.0.nap_until.get()) else { return };
        if Instant::now() + (deadline - now).as_duration() + CLOSE.as_duration() < until {
            self.0.nap_until.set(None);
            self.0.nap_is_too_long.notify_one();
        }
    }
}

/// A request under way. Dropped before its result, it is withdrawn.
pub struct Pending {
    id: AskId,
    driver: Driver,
    early: VecDeque<Answer>,
    later: Option<mpsc::UnboundedReceiver<Box<Answer>>>,
}

impl Pending {
    /// The next event, or the result; `None` if the daemon ends without one.
    pub async fn next(&mut self) -> Option<Answer> {
        match self.early.pop_front() {
            Some(answer) => Some(answer),
            None => self.later.as_mut()?.recv().await.map(|answer| *answer),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mailbox = self.later.as_ref().and_then(|_| self.driver.0.mailboxes.borrow_mut().remove(&self.id));
        if mailbox.is_some() {
            // After the end, there is nothing to withdraw.
            let _ = self.driver.happened(Event::Left(self.id));
        }
    }
}

/// The operating system's randomness.
#[derive(Debug)]
struct SystemDice;

impl Dice for SystemDice {
    #[expect(clippy::expect_used, reason = "without randomness no state can be made, and no flow may begin")]
    fn roll(&mut self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use rally_cred_core::{
        Facts,
        event::{Epoch, Outcome},
        profile::{BaseUrl, Config, Profile, RedirectUri},
    };
    use rally_cred_proto::{
        ProfileName,
        message::{CheckAsk, Get, Target},
    };

    use super::*;

    /// A driver whose broker has one profile, the effects that were begun, and the end.
    fn driver() -> (Driver, Rc<RefCell<Vec<Effect>>>, oneshot::Receiver<()>) {
        let profile = Profile::new(
            ProfileName::parse("default").unwrap(),
            BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
            "id".to_owned(),
            RedirectUri::parse("http://localhost:8477/callback").unwrap(),
        );
        let config = Config::of_one(profile);
        let (driver, begun) = (Driver::default(), Rc::new(RefCell::new(Vec::new())));
        let (answering, beginning) = (driver.clone(), Rc::clone(&begun));
        let begin = move |effect| {
            match effect {
                Effect::Reply(id, reply) => {
                    beginning.borrow_mut().push(Effect::Reply(id, reply.clone()));
                    answering.reply(id, reply);
                }
                Effect::Exit => return ControlFlow::Break(()),
                Effect::ReadConfig => panic!("as a part of the daemon might"),
                effect => beginning.borrow_mut().push(effect),
            }
            ControlFlow::Continue(())
        };
        let end = driver.open(Broker::new(Facts::default(), config), Box::new(begin));
        (driver, begun, end)
    }

    /// A get of a token that the vault must be asked for first.
    fn get(driver: &Driver) -> Pending {
        driver.ask(Peer::default(), Ask::Get(Get::default()))
    }

    /// A get of another server's token, which there is none of.
    fn miss(driver: &Driver) -> Pending {
        let target = Target { profile: Some("other".to_owned()), ..Target::default() };
        driver.ask(Peer::default(), Ask::Get(Get { target, ..Get::default() }))
    }

    fn the_load(begun: &RefCell<Vec<Effect>>) -> Epoch {
        let loads = begun.borrow();
        let load = loads.iter().find_map(|effect| match effect {
            Effect::Load(epoch, _) => Some(*epoch),
            _ => None,
        });
        load.expect("the vault is asked")
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_request_that_is_decided_at_once_is_answered_without_another_turn() {
        let (driver, _begun, _end) = driver();
        let mut pending = miss(&driver);
        let answer = poll(pin!(pending.next()));
        assert!(matches!(answer, Poll::Ready(Some(Answer::Reply(Reply::Error(_))))), "{answer:?}");
        assert!(matches!(poll(pin!(pending.next())), Poll::Ready(None)));
    }

    #[tokio::test]
    async fn a_request_that_waits_is_answered_when_its_job_has_ended() {
        let (driver, begun, _end) = driver();
        let mut pending = get(&driver);
        assert!(poll(pin!(pending.next())).is_pending());
        assert!(driver.happened(Event::Outcome(the_load(&begun), Outcome::Loaded(Ok(None)))).is_continue());
        let answer = poll(pin!(pending.next()));
        assert!(matches!(answer, Poll::Ready(Some(Answer::Reply(Reply::Error(_))))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_request_whose_client_leaves_is_taken_back() {
        let (driver, begun, _end) = driver();
        drop(get(&driver));
        assert!(driver.0.mailboxes.borrow().is_empty());
        assert!(driver.happened(Event::Outcome(the_load(&begun), Outcome::Loaded(Ok(None)))).is_continue());
        let begun = begun.borrow();
        assert!(!begun.iter().any(|effect| matches!(effect, Effect::Reply(..))), "{begun:?}");
    }

    #[tokio::test]
    async fn at_the_end_whoever_waits_is_told_and_whoever_comes_later_is_not_kept() {
        let (driver, _begun, end) = driver();
        let mut check = driver.ask(Peer::default(), Ask::Check(CheckAsk { profile: None }));
        assert!(poll(pin!(check.next())).is_pending());
        assert!(driver.happened(Event::StopWanted).is_break());
        assert!(matches!(poll(pin!(check.next())), Poll::Ready(None)));
        drop(check);
        assert!(matches!(poll(pin!(miss(&driver).next())), Poll::Ready(None)));
        assert!(driver.happened(Event::TimePassed).is_break());
        assert_eq!(end.await, Ok(()));
    }

    #[tokio::test]
    async fn what_panics_half_way_is_the_end_of_the_daemon() {
        let (driver, _begun, end) = driver();
        let event = AssertUnwindSafe(|| driver.happened(Event::ReloadWanted));
        catch_unwind(event).expect_err("a panic");
        assert!(end.await.is_err());
        assert!(driver.happened(Event::TimePassed).is_break());
    }

    #[tokio::test]
    async fn loans_end_before_anybody_hears_of_what_ended_them() {
        let driver = Driver::default();
        let (loans, fresh) = (driver.loans().clone(), unpoisoned(driver.loans()).as_of());
        let heard = Rc::new(Cell::new(None));
        let hearing = Rc::clone(&heard);
        let begin = move |_| {
            hearing.set(Some(unpoisoned(&loans).as_of()));
            ControlFlow::Continue(())
        };
        let _end = driver.open(Broker::new(Facts::default(), Config::default()), Box::new(begin));
        let _ = driver.happened(Event::ReloadWanted);
        assert!(heard.get().is_some_and(|at| at != fresh));
    }

    #[tokio::test]
    async fn a_nap_ends_early_only_for_a_deadline_that_it_would_miss() {
        let (driver, _begun, _end) = driver();
        let mut nap = pin!(driver.nap(Ticks::seconds(3600)));
        assert!(poll(nap.as_mut()).is_pending());
        let _missed = miss(&driver);
        assert!(poll(nap.as_mut()).is_pending(), "nothing has a deadline");
        let _waiting = get(&driver);
        assert!(poll(nap).is_ready(), "the get has one");
        let mut nap = pin!(driver.nap(Ticks::seconds(3600)));
        assert!(poll(nap.as_mut()).is_pending());
        let _waiting = get(&driver);
        assert!(poll(nap).is_pending(), "its deadline is no earlier than the first one's");
    }
}
