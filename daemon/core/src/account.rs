//! One profile's grant and everybody who waits for it: who is served, who waits, who is refused.
//! Does not: know other profiles, or how a request found this one (`broker` does).
//! Used by: `broker`. The rest of an account is in `sign_in`, `renewal` and `keeping`.

use rally_cred_proto::{
    Answer, Fault, FaultKind, Secret,
    message::{SignedIn, Token, Waiting, WaitingOn},
};

use super::{
    alert::Alerts,
    brake::Brake,
    event::{AskId, Effect, Entry, Epoch, Peer},
    identity::Identity,
    jobs::{Outcome, Owner},
    keeping::{Keeping, Slot},
    look::Look,
    policy,
    profile::{Keyring, Profile},
    record::TokenRecord,
    renewal::{Backoff, Refuted, Trust},
    sign_in::{self, CoolDown, Flow},
    step::Step,
    time::{Now, Tick, Ticks, Wall},
    token_item::TokenItem,
};

/// One profile's grant, jobs and waiters.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) profile: Profile,
    pub(super) token: Slot<TokenRecord>,
    pub(super) token_item: TokenItem,
    /// By the boot clock, when the held token ends; it overrules a calendar that was set back.
    pub(super) token_ends: Option<Tick>,
    /// When to renew ahead of time.
    pub(super) renew_at: Option<Tick>,
    pub(super) client_secret: Slot<Secret>,
    pub(super) client_secret_keep: Keeping,
    /// The held client secret comes from its source, so it does not go into the vault.
    pub(super) client_secret_is_fetched: bool,
    /// When those who wait for the vault to give the token are told so.
    pub(super) keyring_news_at: Option<Tick>,
    /// When the vault may be asked again though no caller waits for it.
    pub(super) no_load_before: Tick,
    pub(super) trust: Trust,
    pub(super) refuted: Refuted,
    /// When the token's item was last read.
    pub(super) looked_at: Option<Tick>,
    pub(super) job: Job,
    /// A caller said that the held token does not work, and Rally is being asked whether that is so.
    pub(super) suspect: Option<Epoch>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) cool_down: CoolDown,
    pub(super) alerts: Alerts,
    pub(super) brake: Brake,
    pub(super) backoff: Backoff,
    /// The pause after Rally could not say whose the token is.
    pub(super) user_backoff: Backoff,
    /// Grows with each token obtained, so that a waiter can tell a new one from the one it found.
    pub(super) generation: u64,
    /// The generation of the last sign-in.
    pub(super) signed_in: u64,
    /// The generation of the last renewal by this daemon.
    pub(super) renewed: u64,
    pub(super) last_used: Option<Tick>,
    pub(super) fault: Option<Fault>,
    pub(super) vault_fault: Option<Fault>,
}

/// What the account has under way, one at a time. Boxed, since nearly always it is nothing.
#[derive(Debug)]
pub(super) enum Job {
    None,
    /// A person is asked to sign in.
    Flow(Box<Flow>),
    /// The code of this flow is being exchanged.
    Exchanging(Epoch, Box<Flow>),
    /// The user behind this flow's new token is being looked up.
    LookingUp(Epoch, Box<Flow>, Box<TokenRecord>),
    /// The token's item is being read again; past this tick, things go on without it.
    Looking(Epoch, Tick, Look),
    /// It is read again then.
    Pausing(Tick, Look),
    /// This refresh token is being used.
    Renewing(Epoch, Secret),
    /// Rally is asked whose this token is.
    Identifying(Epoch, Secret),
    /// A new token is on its way into the vault; past this tick, callers are served from memory.
    Saving(Tick),
}

/// A request that waits for this account.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: AskId,
    pub(super) peer: Peer,
    pub(super) deadline: Tick,
    /// The account's generation when it asked.
    pub(super) generation: u64,
    pub(super) wants: Wants,
    /// Whether it was shown the authorization URL of the pending flow.
    pub(super) told: bool,
    /// Profiles of the same server that turned out to be another user's.
    pub(super) tried: Vec<String>,
}

/// What a waiter wants.
#[derive(Debug)]
pub(super) enum Wants {
    Get {
        username: Option<String>,
        interactive: bool,
        min_validity: i64,
        /// The caller named the profile, so that no other is of use.
        is_named: bool,
    },
    Login {
        client_secret: Option<Secret>,
        force: bool,
        can_paste: bool,
    },
    /// The given token does not work.
    Erase(Option<Secret>),
    /// Only that the vault was read.
    Reading,
}

impl Account {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            token: Slot::Unread,
            token_item: TokenItem::default(),
            token_ends: None,
            renew_at: None,
            client_secret: Slot::Unread,
            client_secret_keep: Keeping::default(),
            client_secret_is_fetched: false,
            keyring_news_at: None,
            no_load_before: Tick(0),
            trust: Trust::default(),
            refuted: Refuted::default(),
            looked_at: None,
            job: Job::None,
            suspect: None,
            waiters: Vec::new(),
            cool_down: CoolDown::default(),
            alerts: Alerts::default(),
            brake: Brake::default(),
            backoff: Backoff::default(),
            user_backoff: Backoff::default(),
            generation: 0,
            signed_in: 0,
            renewed: 0,
            last_used: None,
            fault: None,
            vault_fault: None,
        }
    }

    /// Whose this account's jobs are.
    pub(super) fn owner(&self) -> Owner {
        Owner::Account(self.profile.name.clone())
    }

    /// Takes what a job of this account came to. `false` if nobody waits for it any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Loaded(outcome) => self.loaded(step, epoch, &outcome),
            Outcome::ClientSecretFetched(outcome) => self.client_secret_fetched(step, epoch, &outcome),
            Outcome::Saved(outcome) => self.saved(step, epoch, &outcome),
            Outcome::Changed(outcome) => self.changed(step, epoch, &outcome),
            Outcome::Listening(outcome) => self.listening(step, epoch, outcome),
            Outcome::Redirected(redirect) => self.redirected(step, epoch, redirect),
            Outcome::Answered(raw) => self.answered(step, epoch, raw),
            Outcome::UserLookedUp(raw) => self.user_looked_up(step, epoch, raw),
            Outcome::Erased(_) => false,
        }
    }

    /// Takes a request in, and answers it at once if that can be done.
    pub(super) fn ask(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, deadline: Tick, wants: Wants) {
        let (generation, tried) = (self.generation, Vec::new());
        self.take_in(step, Waiter { id, peer, deadline, generation, wants, told: false, tried });
    }

    /// Takes in a request that another profile had no answer for.
    pub(super) fn take_over(&mut self, step: &mut Step<'_>, waiter: Waiter) {
        let generation = self.generation;
        self.take_in(step, Waiter { generation, told: false, ..waiter });
    }

    fn take_in(&mut self, step: &mut Step<'_>, waiter: Waiter) {
        self.token.forget_missing();
        self.client_secret.forget_missing();
        if matches!(waiter.wants, Wants::Login { client_secret: None, .. }) {
            self.reconsider_client_secret();
        }
        self.waiters.push(waiter);
        self.advance(step);
    }

    /// Whether this request waits here.
    pub(super) fn has_waiter(&self, id: AskId) -> bool {
        self.waiters.iter().any(|waiter| waiter.id == id)
    }

    /// Lets a client go that waited here and left.
    pub(super) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.waiters.retain(|waiter| waiter.id != id);
        self.drop_deserted_flow(step);
    }

    /// Does whatever the time and the state now call for. Every event of the account ends here.
    pub(super) fn advance(&mut self, step: &mut Step<'_>) {
        self.end_late_flow(step);
        if matches!(self.job, Job::Saving(until) if !self.is_saving() || until <= step.now.tick) {
            self.job = Job::None;
        }
        self.save_again(step);
        self.look_again_if_due(step);
        self.look_into_report(step);
        if self.token.is_unread() && !self.waiters.is_empty() {
            self.load_token(step);
            self.keyring_news_at = Some(step.now.tick + policy::KEYRING_NEWS);
        }
        if !matches!(self.token, Slot::Loading(_)) {
            self.keyring_news_at = None;
        } else if self.keyring_news_at.take_if(|at| *at <= step.now.tick).is_some() {
            self.tell_all(step, WaitingOn::Keyring);
        }
        if !matches!(self.token, Slot::Unread | Slot::Loading(_)) {
            self.serve(step);
            // Nothing is begun for somebody whose time is up.
            self.turn_away_late(step);
            if matches!(self.job, Job::None) {
                self.begin_work(step);
            }
        }
        self.turn_away_late(step);
        self.alert_if_due(step);
    }

    /// When [`Account::advance`] has something to do though nothing happens.
    pub(super) fn next_deadline(&self, now: Now) -> Option<Tick> {
        let job = match &self.job {
            Job::Flow(flow) => Some(flow.deadline),
            Job::Saving(until) => Some(*until),
            Job::Looking(_, until, _) | Job::Pausing(until, _) => Some(*until),
            Job::None
            | Job::Exchanging(..)
            | Job::LookingUp(..)
            | Job::Renewing(..)
            | Job::Identifying(..) => None,
        };
        self.waiters
            .iter()
            .map(|waiter| waiter.deadline)
            .chain(job)
            .chain(self.token_item.again_at())
            .chain(self.client_secret_keep.again_at)
            .chain(self.renewal_due(now))
            .chain(self.keyring_news_at)
            .chain(self.alert_due())
            .chain(self.brake.due())
            .min()
    }

    /// Puts a token in the place of the one held, if any. `age` is by how much it may be older than the record says, whose
    /// times are whole seconds: the part of this second that is over, or nothing for one that Rally has given just now.
    pub(super) fn hold(&mut self, step: &mut Step<'_>, record: TokenRecord, age: Ticks) {
        let now = step.now;
        self.token_ends =
            record.expires_at.map(|at| Tick(policy::tick_of(now, Wall(at)).0.saturating_sub(age.0)));
        self.renew_at = record.expires_at.map(|at| {
            let life = at.saturating_sub(record.obtained_at);
            policy::tick_of(now, Wall(at.saturating_sub(policy::renewal_lead(life, step.dice))))
        });
        self.token = Slot::Held(record);
    }

    /// Seconds for which the held token is good, unless it is suspected not to be: by calendar and by boot clock, whichever
    /// is less, so that neither a suspend nor a changed clock makes a dead token look alive. What is about to end counts as
    /// ended.
    pub(super) fn validity(&self, now: Now) -> Option<i64> {
        let record = self.token.held()?;
        if record.access_token.is_none() || self.suspect.is_some() {
            return None;
        }
        let (Some(expires_at), Some(ends)) = (record.expires_at, self.token_ends) else {
            return Some(i64::MAX);
        };
        let by_calendar = expires_at.saturating_sub(now.wall.0);
        let by_boot = ends - now.tick;
        let is_over = by_calendar < 0 || by_boot <= policy::last_moments(self.life().unwrap_or_default());
        let left = by_calendar.min(i64::try_from(by_boot.as_seconds()).unwrap_or(i64::MAX));
        (!is_over).then_some(left)
    }

    /// Whether the held token is in the first part of its life.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        match (self.validity(now), self.life()) {
            (Some(left), Some(life)) => policy::is_fresh(left, life),
            _ => false,
        }
    }

    /// Whether the held token was renewed for those who wait, and ended before they could be given it.
    fn has_ended_unserved(&self, now: Now) -> bool {
        self.renewed == self.generation
            && self.token_ends.is_some_and(|ends| ends <= now.tick)
            && self.waiters.iter().any(|waiter| waiter.generation < self.generation)
    }

    /// The whole life of the held token, in seconds, where Rally said so.
    fn life(&self) -> Option<i64> {
        let record = self.token.held()?;
        record.expires_at.map(|at| at.saturating_sub(record.obtained_at))
    }

    /// Whether the held token is what this waiter wants, whoever's it is.
    pub(super) fn is_good_for(&self, now: Now, waiter: &Waiter, min_validity: i64) -> bool {
        self.validity(now).is_some_and(|left| {
            policy::satisfies(left, self.life(), min_validity)
                || waiter.generation < self.generation
                || self.is_resting(now)
        })
    }

    /// Answers everybody who can be answered with what is in hand.
    fn serve(&mut self, step: &mut Step<'_>) {
        let waiters = std::mem::take(&mut self.waiters);
        for mut waiter in waiters {
            match self.serve_one(step, &mut waiter) {
                Served::Done => {}
                Served::Waits => self.waiters.push(waiter),
                Served::NotHere => step.misdirected.push((self.profile.name.clone(), waiter)),
            }
        }
    }

    fn serve_one(&mut self, step: &mut Step<'_>, waiter: &mut Waiter) -> Served {
        match &waiter.wants {
            Wants::Get { username, min_validity, interactive, .. } => {
                if self.is_good_for(step.now, waiter, *min_validity) && !matches!(self.job, Job::Saving(_)) {
                    return self.hand_out(step, waiter, username.as_deref());
                }
                if *interactive {
                    return self.show_flow(step, waiter).into();
                }
                if matches!(self.job, Job::Flow(_) | Job::Exchanging(..) | Job::LookingUp(..)) {
                    step.reply(
                        waiter.id,
                        Answer::Error(self.sign_in_needed("somebody is signing in right now")),
                    );
                    return Served::Done;
                }
                Served::Waits
            }
            Wants::Login { .. } => {
                if !self.awaits_vault_only(step.now, waiter) {
                    return self.show_flow(step, waiter).into();
                }
                if self.is_saving() || self.awaits_user(step, waiter) {
                    return Served::Waits;
                }
                self.confirm(step, waiter.id, waiter.generation >= self.signed_in);
                Served::Done
            }
            Wants::Erase(token) => {
                self.suspect(step, token.as_ref());
                step.reply(waiter.id, Answer::Done);
                Served::Done
            }
            Wants::Reading => {
                step.read.push((waiter.id, self.profile.name.clone()));
                Served::Done
            }
        }
    }

    /// Whether a login has its token, so that only the vault's word is missing.
    pub(super) fn awaits_vault_only(&self, now: Now, waiter: &Waiter) -> bool {
        let Wants::Login { force, .. } = &waiter.wants else { return false };
        // Whoever signed in is done, even if the token was so short-lived that it has ended since.
        waiter.generation < self.signed_in
            || !*force && self.validity(now).is_some() && !matches!(self.job, Job::Renewing(..))
    }

    /// Gives the held token to whoever is to have it.
    fn hand_out(&mut self, step: &mut Step<'_>, waiter: &Waiter, username: Option<&str>) -> Served {
        match self.identity(username) {
            Identity::Right => {}
            Identity::Unknown => return Served::Waits,
            Identity::OtherThanAsked => return Served::NotHere,
            Identity::OtherThanConfigured => {
                step.reply(waiter.id, Answer::Error(self.wrong_user()));
                return Served::Done;
            }
        }
        let Some(record) = self.token.held() else { return Served::Waits };
        let Some(token) = record.access_token.clone() else { return Served::Waits };
        let answer = Token {
            profile: self.profile.name.clone(),
            base_url: self.profile.base_url.origin().to_string(),
            username: record.username.clone(),
            token,
            expires_at: record.expires_at,
        };
        if let Wants::Get { min_validity, .. } = waiter.wants
            && policy::is_beyond_life(self.life(), min_validity)
        {
            step.effects.push(Effect::Tell(waiter.id, Answer::Notice(self.beyond_life(min_validity))));
        }
        self.last_used = Some(step.now.tick);
        step.reply(waiter.id, Answer::Token(answer));
        step.effects.push(Effect::Log(Entry::Handed {
            profile: self.profile.name.clone(),
            peer: waiter.peer.clone(),
        }));
        Served::Done
    }

    /// What a caller is told who wants a token to be good for longer than any is.
    fn beyond_life(&self, min_validity: i64) -> Fault {
        let life = self.life().unwrap_or_default();
        Fault::new(FaultKind::Failed, format!("no token can be good for {min_validity} s"))
            .why(format!("Rally gives profile {} tokens of {life} s", self.profile.name))
            .remedy("ask for less, and run what outlives its token anew")
    }

    fn confirm(&mut self, step: &mut Step<'_>, id: AskId, already: bool) {
        let record = self.token.held();
        if let Some(fault) = &self.vault_fault {
            // Whoever chose the keyring alone is not done while it does not keep the token.
            if step.keyring == Keyring::Os && !self.is_kept() {
                step.reply(id, Answer::Error(fault.clone()));
                return;
            }
            step.effects.push(Effect::Tell(id, Answer::Notice(fault.clone())));
        }
        let answer = SignedIn {
            profile: self.profile.name.clone(),
            username: record.and_then(|record| record.username.clone()),
            expires_at: record.and_then(|record| record.expires_at),
            already,
            kept: self.is_kept(),
        };
        step.reply(id, Answer::SignedIn(answer));
    }

    /// Begins what the remaining waiters need, or refuses them.
    fn begin_work(&mut self, step: &mut Step<'_>) {
        // Whoever wants a new sign-in at any rate does not wait for the verdict on the old.
        let is_forced = |waiter: &Waiter| matches!(waiter.wants, Wants::Login { force: true, .. });
        if self.suspect.is_some() && !self.waiters.iter().any(is_forced) {
            return;
        }
        if self.waiters.iter().any(|waiter| self.awaits_user(step, waiter)) {
            self.begin_identification(step);
            if !matches!(self.job, Job::None) {
                return;
            }
        }
        let is_login = |waiter: &Waiter| matches!(waiter.wants, Wants::Login { .. });
        let needy: Vec<bool> = self
            .waiters
            .iter()
            .filter(|waiter| !self.awaits_vault_only(step.now, waiter))
            .map(is_login)
            .collect();
        let is_waited_for = !needy.is_empty();
        if needy.contains(&true) {
            if self.wants_secret_tried() {
                self.begin_renewal(step);
            } else {
                self.begin_flow(step);
            }
        } else if self.is_renewable() && !self.is_resting(step.now) {
            if self.has_ended_unserved(step.now) {
                let fault = Fault::new(FaultKind::TimedOut, "the token ended before it could be given out")
                    .why("Rally gives out tokens that live too short, or the keyring takes too long")
                    .remedy("rally-cred doctor");
                self.back_off(step, fault, Some(1));
            } else if is_waited_for || self.is_renewal_due(step.now) {
                self.begin_renewal(step);
            }
        } else if self.is_renewable() {
            if let Some(fault) = self.backoff.fault_while_resting(step.now) {
                self.refuse(step, &fault);
            }
        } else if is_waited_for && !self.look_before_sign_in(step) {
            self.begin_flow(step);
        }
    }

    /// Answers everybody with this fault; whoever can do with a token that is still good gets that.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.fail(step, waiter, fault);
        }
    }

    /// Answers everybody with this fault who needs more than the vault's word.
    pub(super) fn refuse(&mut self, step: &mut Step<'_>, fault: &Fault) {
        let waiters = std::mem::take(&mut self.waiters);
        let (settling, refused): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|waiter| self.awaits_vault_only(step.now, waiter));
        self.waiters = settling;
        for waiter in refused {
            self.fail(step, waiter, fault);
        }
    }

    /// Answers one waiter with this fault, or with a token that is still good.
    pub(super) fn fail(&mut self, step: &mut Step<'_>, waiter: Waiter, fault: &Fault) {
        match &waiter.wants {
            Wants::Get { username, .. } if self.validity(step.now).is_some() => {
                match self.hand_out(step, &waiter, username.as_deref()) {
                    Served::Done => {}
                    Served::Waits => step.reply(waiter.id, Answer::Error(fault.clone())),
                    Served::NotHere => step.misdirected.push((self.profile.name.clone(), waiter)),
                }
            }
            Wants::Reading => step.read.push((waiter.id, self.profile.name.clone())),
            Wants::Get { .. } | Wants::Login { .. } | Wants::Erase(_) => {
                step.reply(waiter.id, Answer::Error(fault.clone()));
            }
        }
    }

    pub(super) fn tell_all(&self, step: &mut Step<'_>, on: WaitingOn) {
        for waiter in &self.waiters {
            let waiting = Waiting { profile: self.profile.name.clone(), on };
            step.effects.push(Effect::Tell(waiter.id, Answer::Waiting(waiting)));
        }
    }

    /// Answers those whose time is up: with a token that is still good if there is one, else with an error.
    fn turn_away_late(&mut self, step: &mut Step<'_>) {
        let is_late = |waiter: &Waiter| waiter.deadline <= step.now.tick;
        if !self.waiters.iter().any(is_late) {
            return;
        }
        let (late, waiting): (Vec<_>, _) = std::mem::take(&mut self.waiters).into_iter().partition(is_late);
        self.waiters = waiting;
        let fault =
            Fault::new(FaultKind::TimedOut, format!("no token for profile {} in time", self.profile.name))
                .why(self.waited_for());
        let fault = match &self.job {
            Job::Flow(_) => fault.remedy(self.after_no_answer()),
            _ => fault.remedy("rally-cred status"),
        };
        for waiter in late {
            self.fail(step, waiter, &fault);
        }
    }

    fn waited_for(&self) -> &'static str {
        match (&self.job, &self.token) {
            (_, Slot::Unread | Slot::Loading(_)) => "the keyring did not answer",
            (Job::Flow(_), _) => sign_in::NO_ANSWER,
            (
                Job::Exchanging(..)
                | Job::LookingUp(..)
                | Job::Renewing(..)
                | Job::Identifying(..)
                | Job::Pausing(..),
                _,
            ) => "Rally did not answer",
            (Job::Looking(..), _) => "the keyring did not answer",
            (Job::Saving(_), _) => "the keyring did not take the token",
            (Job::None, _) => "it was still being prepared",
        }
    }

    pub(super) fn sign_in_needed(&self, why: &str) -> Fault {
        Fault::new(FaultKind::SignInNeeded, format!("no sign-in for profile {}", self.profile.name))
            .why(why)
            .remedy(self.login_command())
    }

    pub(super) fn login_command(&self) -> String {
        // The usual only profile need not be named.
        match self.profile.name.as_str() {
            "default" => "rally-cred login".to_owned(),
            name => format!("rally-cred login {name}"),
        }
    }

    /// What Rally's answer gives as the remedy is for any profile; the command that helps this one names it.
    pub(super) fn name_in_remedy(&self, mut fault: Fault) -> Fault {
        if let Some(rest) = fault.remedy.as_deref().and_then(|remedy| remedy.strip_prefix("rally-cred login"))
        {
            fault.remedy = Some(self.login_command() + rest);
        }
        fault
    }

    /// The Rally user, by the config file or by the sign-in.
    pub(super) fn known_user(&self) -> Option<&str> {
        let signed_in = self.token.held().and_then(|record| record.username.as_deref());
        self.profile.username.as_deref().or(signed_in)
    }

    /// Whether a token is on its way into the vault, or will be once Rally has answered. What is lost then may be the
    /// only refresh token that still works.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_saving() || matches!(self.job, Job::Renewing(..))
    }

    /// Lets every job's outcome go by, as after a sign-out.
    pub(super) fn forget(&mut self, step: &mut Step<'_>) {
        self.suspect = None;
        self.end_alerts(step);
        self.job = Job::None;
        self.backoff = Backoff::default();
        self.user_backoff = Backoff::default();
        self.refuted = Refuted::default();
        self.looked_at = None;
        self.fault = None;
        self.vault_fault = None;
        self.renew_at = None;
        self.token_ends = None;
    }

    /// The config file chose another vault: what is held goes there, what is not is looked for there.
    pub(super) fn move_to_other_vault(&mut self, step: &mut Step<'_>) {
        self.vault_fault = None;
        self.client_secret_keep = Keeping::default();
        self.token_item = TokenItem::default();
        self.looked_at = None;
        if matches!(self.job, Job::Looking(..) | Job::Pausing(..)) {
            self.job = Job::None;
        }
        match self.client_secret {
            Slot::Held(_) if !self.client_secret_is_fetched => self.save_client_secret(step),
            Slot::Held(_) | Slot::Unread | Slot::Loading(_) | Slot::Empty | Slot::Missing => {
                self.look_for_client_secret_anew();
            }
        }
        match self.token {
            Slot::Held(_) => self.save_token(step),
            Slot::Unread | Slot::Loading(_) | Slot::Empty | Slot::Missing => self.token = Slot::Unread,
        }
    }
}

/// What became of a waiter.
pub(super) enum Served {
    /// It is answered.
    Done,
    /// It waits on.
    Waits,
    /// It wants another user's token than this account has.
    NotHere,
}

impl From<bool> for Served {
    fn from(is_done: bool) -> Self {
        if is_done { Self::Done } else { Self::Waits }
    }
}
