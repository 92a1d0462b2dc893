//! One event's step: what it uses, and what it orders.
//! Does not: decide.
//! Used by: the broker, which makes one for each event, and whatever decides.

use rally_cred_proto::{
    Event, Fault, Reply,
    message::{Waiting, WaitingOn},
};

use super::{
    dice::Dice,
    event::{AskId, Effect, Entry, Epoch, GrantStep, Page},
    jobs::{Jobs, Owner},
    profile::Keyring,
    time::{Now, Wall},
    vault::{Change, ItemKey},
    waiter::Waiter,
};

pub(super) struct Step<'a> {
    pub(super) now: Now,
    /// The time to write into records, which is no later than now by any daemon's reading of the vault's calendar.
    pub(super) issued: Wall,
    pub(super) dice: &'a mut dyn Dice,
    pub(super) keyring: Keyring,
    /// Nothing is handed out.
    pub(super) is_locked: bool,
    /// Nothing is begun whose end would be cut short.
    pub(super) is_stopping: bool,
    pub(super) jobs: Jobs,
    pub(super) effects: Vec<Effect>,
    /// Requests that waited for this profile to be read, which it is.
    pub(super) read: Vec<(AskId, String)>,
    /// Requests for another user than this profile's; another profile of the server may match.
    pub(super) misdirected: Vec<(String, Waiter)>,
}

impl Step<'_> {
    /// Begins a job, whose outcome goes to its owner.
    pub(super) fn begin(&mut self, owner: Owner, order: impl FnOnce(Epoch) -> Effect) -> Epoch {
        let epoch = self.jobs.begin(owner);
        self.effects.push(order(epoch));
        epoch
    }

    pub(super) fn load(&mut self, owner: Owner, key: ItemKey) -> Epoch {
        self.begin(owner, |epoch| Effect::Load(epoch, key))
    }

    pub(super) fn change(&mut self, owner: Owner, change: Change) -> Epoch {
        self.begin(owner, |epoch| Effect::Change(epoch, change))
    }

    /// Shows the browser how the sign-in ended, and closes its listener.
    pub(super) fn end_listening(&mut self, epoch: Epoch, page: Page) {
        self.jobs.end(epoch);
        self.effects.push(Effect::EndListening(epoch, page));
    }

    pub(super) fn reply(&mut self, id: AskId, reply: Reply) {
        self.effects.push(Effect::Reply(id, reply));
    }

    pub(super) fn refuse(&mut self, id: AskId, fault: Fault) {
        self.reply(id, Reply::Error(fault));
    }

    pub(super) fn reply_all(&mut self, ids: impl IntoIterator<Item = AskId>, reply: &Reply) {
        ids.into_iter().for_each(|id| self.reply(id, reply.clone()));
    }

    pub(super) fn refuse_all(&mut self, ids: impl IntoIterator<Item = AskId>, fault: &Fault) {
        self.reply_all(ids, &Reply::Error(fault.clone()));
    }

    /// Sends what comes before the reply.
    pub(super) fn tell(&mut self, id: AskId, event: Event) {
        self.effects.push(Effect::Tell(id, event));
    }

    pub(super) fn notice(&mut self, id: AskId, fault: Fault) {
        self.tell(id, Event::Notice(fault));
    }

    /// Tells a client what it waits for. `whose`: the profile or the server.
    pub(super) fn tell_waiting(&mut self, id: AskId, whose: &str, on: WaitingOn) {
        self.tell(id, Event::Waiting(Waiting { profile: whose.to_owned(), on }));
    }

    pub(super) fn log(&mut self, profile: &str, step: GrantStep) {
        self.effects.push(Effect::Log(Entry::Grant { profile: profile.to_owned(), step }));
    }

    pub(super) fn recovered(&mut self, profile: &str, fault: &Fault) {
        self.effects
            .push(Effect::Log(Entry::Recovered { profile: profile.to_owned(), fault: fault.clone() }));
    }
}
