//! What watchers of a history were told, and what they have to have been told by then.
//! Does not: look into the broker's state.
//! Used by: `history`.

use std::collections::BTreeMap;

use rally_cred_core::event::AskId;
use rally_cred_proto::{
    Fault, FaultKind, Reply,
    message::{Became, News},
};

use super::{cast::number_of, promises::Broken};

/// Everybody who watches one daemon.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watching: BTreeMap<AskId, Watcher>,
    /// Tokens that callers were given by the event that is being played, and profiles that need a person as they were told.
    given: Vec<(usize, String)>,
    refused: Vec<usize>,
}

#[derive(Debug, Default)]
struct Watcher {
    /// The only profile of interest.
    profile: Option<usize>,
    knows: BTreeMap<usize, Known>,
}

/// What a watcher knows of a profile.
#[derive(Debug, Default)]
struct Known {
    /// The last token that a caller had while it watched.
    last: Option<String>,
    /// Whether it was told of a token since.
    has_news: bool,
    is_held: bool,
    needs_person: bool,
}

impl Watchers {
    /// Somebody watches one profile, or all.
    pub(super) fn add(&mut self, id: AskId, profile: Option<usize>) {
        self.watching.insert(id, Watcher { profile, ..Watcher::default() });
    }

    pub(super) fn is_one(&self, id: AskId) -> bool {
        self.watching.contains_key(&id)
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.watching.remove(&id);
    }

    pub(super) fn ended(&mut self) {
        *self = Self::default();
    }

    pub(super) fn told(&mut self, id: AskId, news: &News) {
        let Some(watcher) = self.watching.get_mut(&id) else { return };
        let known = watcher.knows.entry(number_of(&news.profile)).or_default();
        match news.what {
            Became::Held | Became::Obtained | Became::Renewed => {
                (known.has_news, known.is_held, known.needs_person) = (true, true, false);
            }
            Became::Ended | Became::Refused => known.is_held = false,
            Became::SignInNeeded => known.needs_person = true,
            _ => {}
        }
    }

    /// A caller is answered. `asked`: the profile that it named.
    pub(super) fn answered(&mut self, id: AskId, reply: &Reply, asked: Option<usize>) {
        self.left(id);
        match (reply, asked) {
            (Reply::Token(token), _) => {
                self.given.push((number_of(&token.profile), token.token.expose().to_owned()));
            }
            (Reply::Error(Fault { kind: FaultKind::SignInNeeded, .. }), Some(profile)) => {
                self.refused.push(profile)
            }
            _ => {}
        }
    }

    /// An event is over. No caller has a token that a watcher did not hear of, and none was told that a person is needed
    /// when watchers were not. `is_settled`: no sign-in of the profile is under way.
    pub(super) fn are_told(&mut self, is_settled: impl Fn(usize) -> bool) -> Result<(), Broken> {
        let (given, refused) = (std::mem::take(&mut self.given), std::mem::take(&mut self.refused));
        for (id, watcher) in &mut self.watching {
            let watches = |profile: usize| watcher.profile.is_none_or(|own| own == profile);
            for (profile, token) in given.iter().filter(|(profile, _)| watches(*profile)) {
                let known = watcher.knows.entry(*profile).or_default();
                if known.last.as_ref() != Some(token) && !known.has_news {
                    return Err(format!(
                        "{token} of profile {profile} was given out, and watcher {id:?} not told"
                    ));
                }
                (known.last, known.has_news) = (Some(token.clone()), false);
            }
            for profile in refused.iter().filter(|profile| watches(**profile) && is_settled(**profile)) {
                let known = watcher.knows.entry(*profile).or_default();
                if known.is_held || !known.needs_person {
                    return Err(format!(
                        "profile {profile} needs a person, and watcher {id:?} was told {known:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Watchers know that a token has ended by now, or is refused.
    pub(super) fn know_ends(&self, is_over: impl Fn(usize, &str) -> bool) -> Result<(), Broken> {
        for (id, watcher) in &self.watching {
            let unheard = watcher.knows.iter().find(|(profile, known)| {
                let is_last = |token: &String| !known.has_news && is_over(**profile, token);
                known.is_held && known.last.as_ref().is_some_and(is_last)
            });
            if let Some((profile, known)) = unheard {
                return Err(format!(
                    "{:?} of profile {profile} is over, and watcher {id:?} not told",
                    known.last
                ));
            }
        }
        Ok(())
    }
}
