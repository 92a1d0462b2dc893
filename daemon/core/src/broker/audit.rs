//! Who was given a token or refused one: a line of the log for each, and the last of them in memory.
//! Does not: decide, or outlive the daemon. Every answer passes here, so that no token goes out unseen.
//! Used by: `broker`.

use std::collections::{BTreeMap, VecDeque};

use rally_cred_proto::{Ask, Event, Reply, forwarding::Door};

use crate::{
    event::{AskId, Decision, Effect, Entry, Peer, Verdict},
    step::Step,
    time::Now,
};

/// How many are kept.
const KEPT: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The requests that are not answered yet.
    open: BTreeMap<AskId, Open>,
    last: VecDeque<Decision>,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    profile: Option<String>,
}

impl Audit {
    /// Takes note of a request that may be given something, or be refused for where it comes from.
    pub(super) fn asked(&mut self, id: AskId, peer: &Peer, ask: &Ask) {
        if matches!(ask, Ask::Get(_)) || peer.door == Door::Forwarded {
            self.open.insert(id, Open { peer: peer.clone(), profile: None });
        }
    }

    /// Whose token it is about.
    pub(super) fn is_for(&mut self, id: AskId, profile: &str) {
        if let Some(open) = self.open.get_mut(&id) {
            open.profile = Some(profile.to_owned());
        }
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.open.remove(&id);
    }

    /// Writes down what was answered.
    pub(super) fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut at = 0;
        while let Some(effect) = effects.get(at) {
            at += 1;
            if let Effect::Reply(id, reply) = effect
                && let Some(open) = self.open.remove(id)
                && let Some(decision) = decided(now, open, reply)
            {
                self.last.truncate(KEPT - 1);
                self.last.push_front(decision.clone());
                effects.insert(at, Effect::Log(Entry::Decided(Box::new(decision))));
            }
        }
    }

    /// Tells a client what is kept, the oldest first.
    pub(super) fn tell(&self, step: &mut Step<'_>, id: AskId) {
        let told = self.last.iter().rev().map(|decision| Effect::Tell(id, Event::Decision(decision.texts())));
        step.effects.extend(told);
        step.reply(id, Reply::Done);
    }
}

/// `None` if nothing was given and nothing refused.
fn decided(now: Now, Open { peer, profile }: Open, reply: &Reply) -> Option<Decision> {
    let at = now.wall.0;
    Some(match reply {
        Reply::Token(token) => {
            let server = token.also.as_ref().map(|also| also.origin.clone());
            Decision { at, peer, profile: Some(token.profile.clone()), server, verdict: Verdict::Token }
        }
        Reply::StaticCredential(of) => {
            let server = Some(format!("{}://{}", of.protocol, of.host));
            Decision { at, peer, profile: None, server, verdict: Verdict::StaticCredential }
        }
        Reply::Error(fault) => {
            Decision { at, peer, profile, server: None, verdict: Verdict::Refused(fault.clone()) }
        }
        _ => return None,
    })
}
