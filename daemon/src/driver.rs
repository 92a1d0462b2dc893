//! Lets time pass for the broker: waits for its deadlines, and shows the watchdog that the daemon still comes round.
//! Does not: decide, or stand between the broker and whoever has something to say.
//! Used by: `start`, which runs it.

use std::rc::Rc;

use crate::{clock, hub::Hub, notify::ServiceManager};
use rally_cred_core::{event::Event, time::Ticks};

/// Longest nap of the driver. A laptop may sleep through a timer, so the clocks are read at least this often, and with
/// each request. Only a renewal ahead of time or the end of a sign-in can come late, by so much; and a nap costs up to three
/// wake-ups, since the runtime's clock counts in ever finer steps towards its end.
const MAX_NAP: Ticks = Ticks::seconds(120);

/// Runs until the broker has ordered the exit.
pub async fn run(hub: Hub, manager: Rc<ServiceManager>) {
    let longest = manager.heartbeat().map_or(MAX_NAP, |heartbeat| heartbeat.min(MAX_NAP));
    loop {
        // Everything runs on this thread, so a task that comes round has shown that nothing holds up the others.
        manager.beat(clock::tick());
        hub.nap(longest).await;
        if hub.happened(Event::TimePassed).is_break() {
            return;
        }
    }
}
