//! What the user said of programs that ask for a profile's token, and the requests that wait for that.
//! Does not: ask the user, or say which programs have to be asked about.
//! Used by: the account.

use std::collections::BTreeMap;

use rally_cred_proto::forwarding::Door;

use crate::{
    event::{AskId, Epoch},
    policy,
    time::{Now, Tick, Ticks},
    waiter::Waiter,
};

#[derive(Debug, Default)]
pub(super) struct Consents {
    /// By program, and until when it counts.
    said: BTreeMap<String, (Said, Tick)>,
    /// The open questions and their programs.
    questions: BTreeMap<Epoch, String>,
    applicants: Vec<Applicant>,
}

/// The user's word about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    No,
    /// The question was closed without an answer.
    Nothing,
}

/// A request that is not let in yet.
#[derive(Debug)]
pub(super) struct Applicant {
    pub(super) waiter: Waiter,
    pub(super) on: On,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Its program to be known.
    Program(Epoch),
    /// The user's answer.
    Answer(Epoch),
    /// The daemon to be unlocked.
    Unlock,
}

impl Consents {
    pub(super) fn said(&self, now: Now, program: &str) -> Option<Said> {
        self.said.get(program).filter(|(_, until)| now.tick < *until).map(|(said, _)| *said)
    }

    pub(super) fn question_about(&self, program: &str) -> Option<Epoch> {
        self.questions.iter().find(|(_, about)| *about == program).map(|(epoch, _)| *epoch)
    }

    /// Whether so many questions are open that a person would not look at another.
    pub(super) fn are_many(&self) -> bool {
        self.questions.len() >= policy::MOST_QUESTIONS
    }

    pub(super) fn asks(&mut self, epoch: Epoch, program: &str) {
        self.questions.insert(epoch, program.to_owned());
    }

    pub(super) fn wait(&mut self, waiter: Waiter, on: On) {
        self.applicants.push(Applicant { waiter, on });
    }

    /// Those who waited for this.
    pub(super) fn take_waiting(&mut self, what: On) -> Vec<Waiter> {
        self.take_if(|applicant| applicant.on == what).into_iter().map(|applicant| applicant.waiter).collect()
    }

    /// Those whose time is up. A program is known in a moment, so nobody is turned away meanwhile.
    pub(super) fn take_late(&mut self, now: Tick) -> Vec<Applicant> {
        self.take_if(|Applicant { waiter, on }| waiter.deadline <= now && !matches!(on, On::Program(_)))
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.applicants).into_iter().map(|applicant| applicant.waiter).collect()
    }

    pub(super) fn take_from_afar(&mut self) -> Vec<Waiter> {
        let from_afar = self.take_if(|applicant| applicant.waiter.peer.door == Door::Forwarded);
        from_afar.into_iter().map(|applicant| applicant.waiter).collect()
    }

    fn take_if(&mut self, is_meant: impl Fn(&Applicant) -> bool) -> Vec<Applicant> {
        self.applicants.extract_if(.., |applicant| is_meant(applicant)).collect()
    }

    /// The question is closed. The program that it was about; `None` if it was withdrawn.
    pub(super) fn closed(&mut self, epoch: Epoch) -> Option<String> {
        self.questions.remove(&epoch)
    }

    /// Remembers what the user said for as long as it counts, and forgets what does not count any more.
    pub(super) fn remember(&mut self, now: Now, program: String, said: Said, lasts: Ticks) {
        self.said.retain(|_, (_, until)| now.tick < *until);
        if self.said.len() >= policy::MOST_REMEMBERED
            && let Some(first) = self.said.iter().min_by_key(|(_, (_, until))| *until)
        {
            // It is asked about anew.
            let first = first.0.clone();
            self.said.remove(&first);
        }
        self.said.insert(program, (said, now.tick + lasts));
    }

    /// Forgets what the user said, and whoever waits for an answer waits for something else. Returns the questions, which
    /// are to be withdrawn.
    pub(super) fn forget(&mut self) -> Vec<Epoch> {
        self.said.clear();
        for applicant in &mut self.applicants {
            if let On::Answer(_) = applicant.on {
                applicant.on = On::Unlock;
            }
        }
        std::mem::take(&mut self.questions).into_keys().collect()
    }

    pub(super) fn has_waiter(&self, id: AskId) -> bool {
        self.applicants.iter().any(|applicant| applicant.waiter.id == id)
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.applicants.retain(|applicant| applicant.waiter.id != id);
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiter> {
        self.applicants.iter().map(|applicant| &applicant.waiter)
    }

    /// When somebody's time is up.
    pub(super) fn due(&self) -> Option<Tick> {
        let waiting = self.applicants.iter().filter(|applicant| !matches!(applicant.on, On::Program(_)));
        waiting.map(|applicant| applicant.waiter.deadline).min()
    }

    /// Whether nobody waits, no notification is shown whose buttons would be dead, and nothing is remembered.
    pub(super) fn are_over(&self, now: Now) -> bool {
        self.applicants.is_empty()
            && self.questions.is_empty()
            && self.said.values().all(|(_, until)| *until <= now.tick)
    }
}
