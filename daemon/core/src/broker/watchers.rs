//! Clients that are told what becomes of tokens. Each has its own view of the accounts, which is compared with theirs after
//! every event, so that no place that changes an account has to think of watchers.
//! Does not: change an account, or keep a token in use: a watcher is no caller.
//! Used by: `broker`.

use std::collections::BTreeMap;

use rally_cred_proto::{
    Event, Fault,
    message::{Became, News},
};

use crate::{
    account::{Account, View},
    broker::routes::{Accounts, profile_gone},
    event::AskId,
    step::Step,
    time::{Now, Tick},
};

/// Everybody who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    id: AskId,
    /// The only profile of interest.
    profile: Option<String>,
    /// What it was told, by profile.
    seen: BTreeMap<String, View>,
}

impl Watchers {
    /// Somebody watches from now on.
    pub(super) fn add(&mut self, id: AskId, profile: Option<String>) {
        self.0.push(Watcher { id, profile, seen: BTreeMap::new() });
    }

    /// Lets a client go that left.
    pub(super) fn left(&mut self, id: AskId) {
        self.0.retain(|watcher| watcher.id != id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends every watch with this fault.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        step.refuse_all(self.0.drain(..).map(|watcher| watcher.id), fault);
    }

    /// Tells each what has changed since it was last told. Whoever watches a profile that is gone hears that it is.
    pub(super) fn tell(&mut self, step: &mut Step<'_>, accounts: &Accounts) {
        self.0.retain_mut(|watcher| {
            for news in watcher.news(accounts, step.now) {
                step.tell(watcher.id, Event::News(news));
            }
            let Some(gone) = watcher.profile.as_ref().filter(|name| !accounts.contains_key(*name)) else {
                return true;
            };
            step.refuse(watcher.id, profile_gone(gone));
            false
        });
    }

    /// When the next token ends of which somebody is to be told.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.0.iter().flat_map(|watcher| watcher.seen.values()).filter_map(View::deadline).min()
    }
}

impl Watcher {
    fn news(&mut self, accounts: &Accounts, now: Now) -> Vec<News> {
        let mut news = Vec::new();
        self.seen.retain(|name, view| {
            let is_there = accounts.contains_key(name);
            if !is_there && view.is_valid() {
                let profile = name.clone();
                news.push(News { profile, what: Became::Ended, expires_at: None, fault: None });
            }
            is_there
        });
        let is_wanted =
            |(name, _): &(&String, &Account)| self.profile.as_ref().is_none_or(|wanted| wanted == *name);
        for (name, account) in accounts.iter().filter(is_wanted) {
            let seen = self.seen.entry(name.clone()).or_default();
            news.extend(seen.follow(name, account.view(now)));
        }
        news
    }
}
