//! Which program's requests an account takes in: those that the config file and the user let have the token.
//! Does not: find out which program asks, or show a question (effects order both).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, message::WaitingOn};

use crate::{
    account::{
        Account,
        consents::{On, Said},
    },
    event::{Consent, Effect, Epoch, Question},
    lock::locked,
    policy,
    step::Step,
    waiter::Waiter,
};

impl Account {
    /// Takes a get in, lets it wait for the user's word, or refuses it.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, waiter: Waiter) {
        // Nothing is asked while nothing is given.
        if step.is_locked {
            return self.consents.wait(waiter, On::Unlock);
        }
        let Some(found) = waiter.peer.program.get() else {
            let program = waiter.peer.program.clone();
            let epoch = step.begin(self.owner(), |epoch| Effect::Identify(epoch, program));
            return self.consents.wait(waiter, On::Program(epoch));
        };
        let Some(program) = found.caller.clone() else { return step.refuse(waiter.id, self.uncertain()) };
        let gate = &self.profile.gate;
        if gate.allow.as_ref().is_some_and(|allow| !allow.iter().any(|allowed| **allowed == *program)) {
            let fault = self
                .not_allowed(&program, "it is not in `allow`")
                .remedy(format!("add it to `allow` in [profile.{}] of the config file", self.profile.name));
            return step.refuse(waiter.id, fault);
        }
        if !gate.confirms_new {
            return self.waiters.push(waiter);
        }
        match self.consents.said(step.now, &program) {
            Some(Said::Yes) => self.waiters.push(waiter),
            Some(Said::No) => step.refuse(waiter.id, self.denied(&program)),
            said @ (Some(Said::Nothing) | None) => self.ask_user(step, waiter, &program, said.is_none()),
        }
    }

    /// Has the user asked about this program, unless they are being asked. Who has no person at hand does not wait for the
    /// answer, and asks only about a program that is new.
    fn ask_user(&mut self, step: &mut Step<'_>, waiter: Waiter, program: &str, is_new: bool) {
        let has_person = waiter.is_interactive();
        let open = match self.consents.question_about(program) {
            Some(open) => Some(open),
            None if self.consents.are_many() || !(has_person || is_new) => None,
            None => {
                let question = Question {
                    profile: self.profile.name.to_string(),
                    program: program.to_owned(),
                    door: waiter.peer.door,
                };
                let epoch = step.begin(self.owner(), |epoch| Effect::AskConsent(epoch, question));
                self.consents.asks(epoch, program);
                Some(epoch)
            }
        };
        match open {
            Some(epoch) if has_person || waiter.awaits_sign_in() => {
                step.tell_waiting(waiter.id, &self.profile.name, WaitingOn::Consent);
                self.consents.wait(waiter, On::Answer(epoch));
            }
            Some(_) => {
                step.refuse(waiter.id, self.consent_needed(program, "a notification asks you about it"))
            }
            None if self.consents.are_many() => {
                step.refuse(
                    waiter.id,
                    self.consent_needed(program, "other notifications wait for your answer"),
                );
            }
            None => step.refuse(waiter.id, self.unanswered(program)),
        }
    }

    /// It is known by now which program asked, or that it cannot be known. `false` if nobody waits for that.
    pub(super) fn program_is_known(&mut self, step: &mut Step<'_>, epoch: Epoch) -> bool {
        let waiting = self.consents.take_waiting(On::Program(epoch));
        let is_current = !waiting.is_empty();
        for waiter in waiting {
            match waiter.peer.program.get() {
                Some(_) => self.apply(step, waiter),
                None => step.refuse(waiter.id, self.uncertain()),
            }
        }
        is_current
    }

    /// The user has answered, or cannot be asked. `false` if the question was withdrawn.
    pub(super) fn consented(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        consent: Result<Consent, Fault>,
    ) -> bool {
        let Some(program) = self.consents.closed(epoch) else { return false };
        let waiting = self.consents.take_waiting(On::Answer(epoch));
        let (said, fault) = match consent {
            Ok(Consent::Once) => (None, None),
            Ok(Consent::Session) => (Some((Said::Yes, policy::CONSENT_LASTS)), None),
            Ok(Consent::Denied) => (Some((Said::No, policy::CONSENT_LASTS)), Some(self.denied(&program))),
            Ok(Consent::Unanswered) => {
                (Some((Said::Nothing, policy::CONSENT_LASTS)), Some(self.unanswered(&program)))
            }
            Err(fault) => {
                let why = fault.why.as_deref().unwrap_or(&fault.what);
                (Some((Said::Nothing, policy::NOBODY_ASKED)), Some(self.consent_needed(&program, why)))
            }
        };
        if let Some((said, lasts)) = said {
            self.consents.remember(step.now, program, said, lasts);
        }
        for waiter in waiting {
            match &fault {
                None => self.waiters.push(waiter),
                Some(fault) => step.refuse(waiter.id, fault.clone()),
            }
        }
        true
    }

    /// Lets those apply who waited for the daemon to be unlocked.
    pub(super) fn apply_again(&mut self, step: &mut Step<'_>) {
        for waiter in self.consents.take_waiting(On::Unlock) {
            self.apply(step, waiter);
        }
    }

    /// Forgets what the user said. Whoever was let in has to apply again.
    pub(super) fn forget_consents(&mut self, step: &mut Step<'_>) {
        for epoch in self.consents.forget() {
            step.jobs.end(epoch);
            step.effects.push(Effect::WithdrawConsent(epoch));
        }
        if self.profile.gate.is_open() {
            return;
        }
        for waiter in self.waiters.extract_if(.., |waiter| waiter.is_get()) {
            self.consents.wait(waiter, On::Unlock);
        }
    }

    /// Refuses those who are not let in yet.
    pub(super) fn refuse_applicants(&mut self, step: &mut Step<'_>, fault: &Fault) {
        step.refuse_all(self.consents.take_all().into_iter().map(|waiter| waiter.id), fault);
    }

    /// Refuses those whose time is up.
    pub(super) fn refuse_late_applicants(&mut self, step: &mut Step<'_>) {
        for applicant in self.consents.take_late(step.now.tick) {
            let fault = match applicant.on {
                On::Unlock => locked(),
                On::Answer(_) | On::Program(_) => {
                    let program = applicant.waiter.peer.program.caller().unwrap_or_default();
                    self.consent_needed(program, "nobody has answered the notification yet")
                }
            };
            step.refuse(applicant.waiter.id, fault);
        }
    }

    fn consent_needed(&self, program: &str, why: &str) -> Fault {
        let what = format!("you have not let {program} have tokens of profile {}", self.profile.name);
        Fault::new(FaultKind::ConsentNeeded, what)
            .why(why)
            .remedy("press Allow in the notification, then ask again")
    }

    fn unanswered(&self, program: &str) -> Fault {
        self.consent_needed(program, "the notification was closed without an answer")
            .remedy("ask from a terminal, and press Allow in the notification")
    }

    fn not_allowed(&self, program: &str, why: &str) -> Fault {
        let what = format!("{program} may not have tokens of profile {}", self.profile.name);
        Fault::new(FaultKind::NotAllowed, what).why(why)
    }

    fn denied(&self, program: &str) -> Fault {
        self.not_allowed(program, "you have denied it")
            .remedy("to be asked anew: rally-cred lock, then rally-cred unlock")
    }

    fn uncertain(&self) -> Fault {
        let what =
            format!("it is not certain which program asks for tokens of profile {}", self.profile.name);
        Fault::new(FaultKind::NotAllowed, what)
            .why("it has ended, its file was replaced, or it runs where other files have its path")
            .remedy("start it anew, outside of containers")
    }
}
