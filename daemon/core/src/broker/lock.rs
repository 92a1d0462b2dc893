//! The lock: while it is closed, nothing is handed out, and what the vault has is forgotten. Here are its state, who waits
//! for it, and when it closes by itself.
//! Does not: forget anything (the accounts and the static credentials do), or outlive the daemon.
//! Used by: `broker`.

use rally_cred_proto::{Ask, Fault, Reply, message::LockStatus};

use crate::{
    event::{AskId, Effect, Entry, Epoch, Event, LockedBy, Outcome},
    jobs::Owner,
    lock::locked,
    policy,
    profile::LockSettings,
    step::Step,
    time::{Now, Tick},
    vault::{ItemKey, ItemKind},
};

#[derive(Debug)]
pub(super) struct Lock {
    settings: LockSettings,
    closed: Option<Closed>,
    /// When somebody last asked for something that counts.
    last_use: Option<Tick>,
}

#[derive(Debug)]
struct Closed {
    /// In seconds since 1970.
    since: i64,
    by: LockedBy,
    /// The profiles whose tokens are to be read again once it is open.
    held: Vec<String>,
    /// Who asked for it, until all is forgotten that can be, or this tick.
    closing: Vec<AskId>,
    until: Tick,
    /// Who wants it open, and the question to the vault.
    opening: Vec<AskId>,
    question: Option<Epoch>,
}

/// Answers whoever had the vault opened though nothing was locked. `false` if it is the outcome of something else.
pub(super) fn opened(step: &mut Step<'_>, id: AskId, outcome: Outcome) -> bool {
    let Outcome::Unlocked(outcome) = outcome else { return false };
    let reply = match outcome {
        // Where there is no keyring, there is nothing else to ask.
        Err(trouble) if !trouble.leaves_memory(&step.keyring) => Reply::Error(trouble.fault()),
        Ok(()) | Err(_) => Reply::Done,
    };
    step.reply(id, reply);
    true
}

impl Closed {
    /// Whoever wants it open has to ask again.
    fn stay(&mut self, step: &mut Step<'_>) {
        step.refuse_all(self.opening.drain(..), &locked());
        self.question = None;
    }
}

impl Lock {
    pub(super) fn new(settings: LockSettings) -> Self {
        Self { settings, closed: None, last_use: None }
    }

    /// Takes what the config file says now.
    pub(super) fn follow(&mut self, settings: LockSettings) {
        self.settings = settings;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether a new process would be open though this one is to be closed, now or later.
    pub(super) fn needs_this_process(&self) -> bool {
        self.is_closed() || self.settings != LockSettings::default()
    }

    /// Takes note of a use. What only looks on is none.
    pub(super) fn heard(&mut self, now: Now, event: &Event) {
        let is_use = match event {
            Event::Asked { ask, .. } => {
                !matches!(ask, Ask::Status(_) | Ask::Check(_) | Ask::Watch(_) | Ask::Audit)
            }
            _ => self.last_use.is_none(),
        };
        if is_use {
            self.last_use = Some(now.tick);
        }
    }

    /// Why it is to be closed now by itself.
    pub(super) fn closes_by_itself(&self, now: Now, event: &Event) -> Option<LockedBy> {
        match event {
            Event::SessionLocked if self.settings.on_session => Some(LockedBy::Session),
            Event::Sleeping if self.settings.on_sleep => Some(LockedBy::Sleep),
            _ if self.is_idle_since().is_some_and(|at| at <= now.tick) => Some(LockedBy::Idleness),
            _ => None,
        }
    }

    fn is_idle_since(&self) -> Option<Tick> {
        let open = self.closed.is_none().then_some(());
        open.and(self.settings.idle.zip(self.last_use)).map(|(idle, last)| last + idle)
    }

    /// When to call the broker though nothing happens.
    pub(super) fn deadline(&self) -> Option<Tick> {
        match &self.closed {
            None => self.is_idle_since(),
            Some(closed) => (!closed.closing.is_empty()).then_some(closed.until),
        }
    }

    /// Closes it; one that is about to open stays closed. `held`: the profiles that have a token.
    pub(super) fn close(&mut self, step: &mut Step<'_>, by: LockedBy, held: Vec<String>) {
        if let Some(closed) = &mut self.closed {
            return closed.stay(step);
        }
        step.is_locked = true;
        step.effects.push(Effect::Log(Entry::Locked(by)));
        self.closed = Some(Closed {
            since: step.now.wall.0,
            by,
            held,
            closing: Vec::new(),
            until: step.now.tick,
            opening: Vec::new(),
            question: None,
        });
    }

    /// Somebody wants to hear when all is forgotten that can be.
    pub(super) fn tell_when_closed(&mut self, step: &mut Step<'_>, id: AskId) {
        let Some(closed) = &mut self.closed else { return };
        closed.until = step.now.tick + policy::STOP_PATIENCE;
        closed.closing.push(id);
        closed.stay(step);
    }

    /// Who is to hear now that it is closed. `is_unsettled`: something is still on its way to the vault.
    pub(super) fn take_told(&mut self, now: Now, is_unsettled: bool) -> Vec<AskId> {
        match &mut self.closed {
            Some(closed) if !is_unsettled || closed.until <= now.tick => std::mem::take(&mut closed.closing),
            _ => Vec::new(),
        }
    }

    /// Asks the vault to open. `default`: the profile whose item is read if none was held.
    pub(super) fn ask_vault(&mut self, step: &mut Step<'_>, id: AskId, default: &str) {
        let key = |name: &str| ItemKey { kind: ItemKind::Token, name: name.to_owned() };
        let Some(closed) = &mut self.closed else {
            step.begin(Owner::Opening(id), |epoch| Effect::Unlock(epoch, key(default)));
            return;
        };
        closed.opening.push(id);
        if closed.question.is_none() {
            let key = key(closed.held.first().map_or(default, String::as_str));
            closed.question = Some(step.begin(Owner::Lock, |epoch| Effect::Unlock(epoch, key)));
        }
    }

    /// Takes the vault's answer; `None` if nobody waits for it. If it is open now, the profiles whose tokens were held.
    pub(super) fn answered(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: Outcome,
    ) -> Option<Option<Vec<String>>> {
        let Outcome::Unlocked(outcome) = outcome else { return None };
        let closed = self.closed.as_mut().filter(|closed| closed.question == Some(epoch))?;
        closed.question = None;
        match outcome {
            Err(trouble) if !trouble.leaves_memory(&step.keyring) => {
                step.refuse_all(closed.opening.drain(..), &trouble.fault());
                Some(None)
            }
            Ok(()) | Err(_) => {
                let Closed { held, closing, opening, .. } = self.closed.take()?;
                step.is_locked = false;
                step.effects.push(Effect::Log(Entry::Unlocked));
                step.reply_all(closing.into_iter().chain(opening), &Reply::Done);
                Some(Some(held))
            }
        }
    }

    pub(super) fn left(&mut self, id: AskId) {
        if let Some(closed) = &mut self.closed {
            closed.closing.retain(|ask| *ask != id);
            closed.opening.retain(|ask| *ask != id);
        }
    }

    /// Answers whoever waits for it with this fault.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        if let Some(closed) = &mut self.closed {
            step.refuse_all(closed.closing.drain(..).chain(closed.opening.drain(..)), fault);
        }
    }

    pub(super) fn status(&self) -> Option<LockStatus> {
        let Closed { since, by, .. } = self.closed.as_ref()?;
        Some(LockStatus { since: *since, by: by.name().to_owned() })
    }
}
