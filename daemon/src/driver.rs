//! The loop around the broker: waits for an event or a deadline, reads the clocks, has the effects carried out.
//! Does not: decide. It owns the broker, so nothing else can touch its state.
//! Used by: `start`, which runs it; the shells send it [`Input`].

use std::time::{SystemTime, UNIX_EPOCH};

use rally_cred_proto::Ask;
use tokio::sync::{mpsc, watch};

use crate::{
    log,
    perform::{Answers, Performer},
};
use rally_cred_core::{
    Broker,
    dice::Dice,
    event::{AskId, Effect, Entry, Event, Peer},
    time::{Now, Tick, Ticks, Wall},
};

/// Longest nap of the driver. A laptop may sleep through a timer, so the clocks are read at least this often, and with
/// each request. Only a renewal ahead of time or the end of a sign-in can come late, by so much; and a nap costs up to three
/// wake-ups, since the runtime's clock counts in ever finer steps towards its end.
const MAX_NAP: Ticks = Ticks::seconds(120);

/// Room for events on their way to the broker. It is never full for long, since the broker never waits.
const QUEUE: usize = 256;

/// What the shells tell the driver.
#[derive(Debug)]
pub enum Input {
    /// A client asked; its answers go into the channel.
    Asked {
        /// The request's name.
        id: AskId,
        /// Who asks.
        peer: Peer,
        /// The request.
        ask: Ask,
        /// Takes events, then the result.
        answers: Answers,
    },
    /// Anything else that happened.
    Happened(Event),
}

/// The way in for the shells.
pub type Inbox = mpsc::Sender<Input>;

/// A channel to the driver.
pub fn inbox() -> (Inbox, mpsc::Receiver<Input>) {
    mpsc::channel(QUEUE)
}

/// Runs until the broker orders the exit, or nobody is left who could tell it anything.
pub async fn run(mut broker: Broker, mut inputs: mpsc::Receiver<Input>, mut performer: Performer) {
    let mut dice = SystemDice;
    let (late, mut has_late) = watch::channel(());
    // Tasks run in the order in which they were woken, and the sessions are woken with their answers before this one.
    tokio::spawn(async move {
        while has_late.changed().await.is_ok() {
            log::catch_up();
        }
    });
    loop {
        let now = boot_tick();
        let longest = performer.manager().heartbeat().map_or(MAX_NAP, |heartbeat| heartbeat.min(MAX_NAP));
        let nap = broker.next_deadline().map_or(longest, |at| (at - now).min(longest));
        // Only a loop that comes round says so; a timer beside it would go on after the loop got stuck.
        performer.manager().beat(now);
        let event = tokio::select! {
            biased;
            input = inputs.recv() => match input {
                Some(Input::Happened(event)) => {
                    if let Event::Left(id) = event {
                        performer.forget(id);
                    }
                    event
                }
                Some(Input::Asked { id, peer, ask, answers }) => {
                    performer.expect_answer(id, answers);
                    Event::Asked { id, peer, ask }
                }
                None => return,
            },
            () = tokio::time::sleep(nap.as_duration()) => Event::TimePassed,
        };
        for effect in broker.handle(read_clocks(), &mut dice, event) {
            match effect {
                Effect::Exit => {
                    log::catch_up();
                    return;
                }
                // Nothing is awaited between this look and the closed guard, so nobody can come in between. Who comes
                // afterwards waits in the service manager's queue.
                Effect::ExitIfDeserted if performer.is_deserted() && inputs.is_empty() => {
                    performer.begin(Effect::Log(Entry::Idle));
                    return;
                }
                effect => performer.begin(effect),
            }
        }
        if log::is_late() {
            late.send_replace(());
        }
    }
}

fn read_clocks() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        wall: Wall(i64::try_from(wall.as_secs()).unwrap_or(i64::MAX)),
        into_second: Ticks(wall.subsec_millis().into()),
        tick: boot_tick(),
    }
}

/// The boot clock, which goes on while the machine is suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_tick() -> Tick {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let milliseconds = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    Tick(u64::try_from(milliseconds).unwrap_or(0))
}

/// The steady clock. Where it stands still during suspend, the calendar alone ends tokens.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_tick() -> Tick {
    use std::{sync::LazyLock, time::Instant};
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Tick(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
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
