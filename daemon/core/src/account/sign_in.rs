//! One profile's sign-in, from the authorization URL to the redirect, and the end of one that failed.
//! Does not: listen, open a browser or send (its effects say so).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Event, Fault, FaultKind, Secret, message::Authorize, remedy::Remedy};

use crate::{
    account::{
        Account,
        job::{Flow, Job, ListenerState, SecretFrom},
        slot::Slot,
    },
    event::{Effect, Epoch, GrantStep, Page},
    policy,
    profile::Profile,
    redirect::{Expected, NotOurs, Redirect, Start},
    sent::Sent,
    step::Step,
    time::Tick,
    waiter::{Waiter, Wants},
};

/// Why no browser came back.
pub(super) const NO_ANSWER: &str =
    "nobody pressed \"Allow Access\" in time, or Rally's page showed an error in its place";

/// How many clients get a one-time address for one sign-in, since each `login` opens a tab. More at once are hardly a
/// person's; their browsers are given the authorization URL itself.
const STARTS: usize = 4;

/// The authorization URL, with exactly the documented parameters.
pub fn authorization_url(profile: &Profile, state: &str) -> String {
    let mut url = profile.base_url.authorization_page();
    url.query_pairs_mut()
        .append_pair("state", state)
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", profile.redirect_uri.as_str())
        .append_pair("client_id", &profile.client_id)
        .append_pair("scope", &profile.scope);
    url.into()
}

impl Account {
    /// Begins a flow for those who may have one; refuses the others.
    pub(super) fn begin_flow(&mut self, step: &mut Step<'_>) {
        let Some((given, deadline)) = self.flow_wanted(step) else { return };
        let began_by_login = self.waiters.iter().any(Waiter::is_login);
        let secret_from = match given {
            Some(_) => SecretFrom::Login,
            None if self.client_secret.is_fetched() => SecretFrom::Source,
            None => SecretFrom::Vault,
        };
        let client_secret = match (given, self.client_secret.slot()) {
            (Some(given), _) => given,
            (None, Slot::Unread) => return self.load_client_secret(step),
            (None, Slot::Loading(_)) => return,
            // Its source may have a better one by now. Only a `login` asks it again, or this would never end.
            _ if began_by_login && self.client_secret.is_fetched() && !self.client_secret.is_trusted() => {
                self.client_secret.look_anew();
                return self.load_client_secret(step);
            }
            _ => match self.client_secret.usable() {
                Some(held) => held.clone(),
                None => return self.refuse(step, &self.client_secret_needed()),
            },
        };
        let state = step.dice.uuid().to_string();
        let url = authorization_url(&self.profile, &state);
        let words = (0..STARTS).map(|_| Secret::parse(step.dice.uuid().to_string())).collect();
        // Neither a UUID nor a URL holds a line break, so this cannot fail.
        let (Ok(state), Ok(leads_to), Ok(words)) = (Secret::parse(state), Secret::parse(url.clone()), words)
        else {
            return;
        };
        let secrets = Sent::new([state.clone(), client_secret.clone()]);
        let start = Start { leads_to, words };
        let expected = Expected { redirect_uri: self.profile.redirect_uri.clone(), state, secrets, start };
        step.log(&self.profile.name, GrantStep::FlowBegan);
        let epoch = step.begin(self.owner(), |epoch| Effect::Listen(epoch, expected.clone()));
        self.job = Job::Flow(Box::new(Flow {
            epoch,
            deadline,
            expected,
            url,
            client_secret,
            secret_from,
            began_by_login,
            listener: ListenerState::Opening,
            tabs_opened: 0,
            was_pasted: false,
        }));
        self.refuse_background_callers(step);
    }

    /// The client secret that came with a login, and the deadline of the flow to begin. `None`, with everybody refused,
    /// if none may begin.
    fn flow_wanted(&mut self, step: &mut Step<'_>) -> Option<(Option<Secret>, Tick)> {
        let needy = self.waiters.iter().filter(|waiter| !self.awaits_vault_only(step.now, waiter));
        let logins = needy.filter_map(|waiter| match &waiter.wants {
            Wants::Login { client_secret, .. } => Some((client_secret.clone(), waiter.deadline)),
            Wants::Get { .. } | Wants::Erase(_) | Wants::Reading => None,
        });
        if let Some(login) = logins.max_by_key(|(client_secret, timeout)| (client_secret.is_some(), *timeout))
        {
            return Some(login);
        }
        let may_ask =
            self.waiters.iter().any(|waiter| matches!(waiter.wants, Wants::Get { interactive: true, .. }));
        let cooling_down = self.cool_down.left(step.now);
        if may_ask && cooling_down.is_none() {
            return Some((None, step.now.tick + policy::FLOW_LIFE));
        }
        let fault = match cooling_down {
            Some(left) if may_ask => {
                let pause = left.as_seconds();
                self.sign_in_needed(&format!("the last sign-in failed, so the next may begin in {pause} s"))
            }
            _ => self.why_not_signed_in(),
        };
        // Who never signed in does not rely on it, unless somebody waits for it.
        if !may_ask && (self.token.held().is_some() || self.waiters.iter().any(Waiter::awaits_sign_in)) {
            self.want_alert(step, fault.why.as_deref().unwrap_or(&fault.what));
        }
        self.refuse_if(step, &fault, |account, step, waiter| {
            // One that waits for a person has no need to while there is a token that will do.
            let waits = waiter.awaits_sign_in() && account.validity(step.now).is_none();
            !waits && !account.awaits_vault_only(step.now, waiter)
        });
        None
    }

    pub(super) fn why_not_signed_in(&self) -> Fault {
        match &self.fault {
            Some(fault) => self.sign_in_needed(&fault.what),
            None if self.token.held().is_some() => self.sign_in_needed("the token has ended"),
            // Nobody knows what is stored there.
            None if matches!(self.token.slot(), Slot::Missing) => {
                self.for_want_of_a_keyring(self.sign_in_needed("no keyring answers"))
            }
            None => self.sign_in_needed("nothing is stored"),
        }
    }

    fn client_secret_needed(&self) -> Fault {
        let is_missing = matches!(self.client_secret.slot(), Slot::Missing);
        let why = match self.client_secret.slot() {
            Slot::Missing => "no keyring answers",
            Slot::Held(_) if self.client_secret.is_fetched() => {
                "Rally refused the one from its command or file"
            }
            Slot::Held(_) => "Rally refused the stored one",
            Slot::Unread | Slot::Loading(_) | Slot::Empty => "none is stored",
        };
        let what = format!("no client secret for profile {}", self.profile.name);
        let fault =
            Fault::new(FaultKind::ClientSecretNeeded, what).why(why).remedy(self.profile.command("login"));
        if is_missing { self.for_want_of_a_keyring(fault) } else { fault }
    }

    /// The fault, if it may be due to a keyring that does not answer.
    fn for_want_of_a_keyring(&self, fault: Fault) -> Fault {
        match &self.vault_fault {
            Some(Fault { what, remedy: Some(remedy), .. }) => {
                fault.why(what).remedy(format!("{remedy}; or {}", self.profile.command("login")))
            }
            _ => fault,
        }
    }

    /// Refuses those who may not ask a person: they do not wait for one.
    fn refuse_background_callers(&mut self, step: &mut Step<'_>) {
        let fault = self.why_not_signed_in();
        self.refuse_if(step, &fault, |_, _, waiter| {
            matches!(waiter.wants, Wants::Get { interactive: false, awaits_sign_in: false, .. })
        });
    }

    /// Shows a waiter the pending flow, once. Whether that was its answer: it cannot paste, and nobody listens.
    pub(super) fn show_flow(&mut self, step: &mut Step<'_>, waiter: &mut Waiter) -> bool {
        let Job::Flow(flow) = &mut self.job else { return false };
        let (is_login, can_paste) = match &waiter.wants {
            Wants::Login { can_paste, .. } => (true, *can_paste),
            Wants::Get { interactive: true, .. } => (false, false),
            Wants::Get { interactive: false, .. } | Wants::Erase(_) | Wants::Reading => return false,
        };
        match &flow.listener {
            _ if waiter.told => return false,
            ListenerState::Opening => return false,
            ListenerState::Open => {}
            ListenerState::Failed(fault) if can_paste => {
                step.notice(waiter.id, fault.clone());
            }
            ListenerState::Failed(fault) => {
                step.refuse(waiter.id, fault.clone());
                return true;
            }
        }
        waiter.told = true;
        let open = is_login || flow.tabs_opened == 0;
        let is_open = matches!(flow.listener, ListenerState::Open);
        let start = if open && is_open { flow.expected.start_address(flow.tabs_opened) } else { None };
        let authorize = Authorize {
            profile: self.profile.name.to_string(),
            url: flow.url.clone(),
            start,
            open,
            timeout: u32::try_from((flow.deadline - step.now.tick).as_seconds()).unwrap_or(u32::MAX),
        };
        flow.tabs_opened += usize::from(open);
        step.tell(waiter.id, Event::Authorize(authorize));
        false
    }

    pub(crate) fn is_listening(&self) -> bool {
        matches!(&self.job, Job::Flow(flow) if matches!(flow.listener, ListenerState::Open))
    }

    /// Takes whether the listener is open. `false` if nobody waits for it.
    pub(super) fn listening(&mut self, step: &mut Step<'_>, epoch: Epoch, opened: Result<(), Fault>) -> bool {
        let Job::Flow(flow) = &mut self.job else { return false };
        if flow.epoch != epoch {
            return false;
        }
        flow.listener = match opened {
            Ok(()) => ListenerState::Open,
            Err(fault) => {
                step.recovered(&self.profile.name, &fault);
                ListenerState::Failed(fault)
            }
        };
        for mut waiter in std::mem::take(&mut self.waiters) {
            if !self.show_flow(step, &mut waiter) {
                self.waiters.push(waiter);
            }
        }
        // A flow that nobody can answer does not stay pending.
        if let Job::Flow(flow) = &self.job
            && let ListenerState::Failed(fault) = &flow.listener
            && self.waiters.is_empty()
        {
            let fault = fault.clone();
            self.abandon_flow(step, &fault);
            self.fault = Some(fault);
        }
        true
    }

    pub(crate) fn pasted(&mut self, step: &mut Step<'_>, address: &Secret) -> Result<(), Fault> {
        let Job::Flow(flow) = &mut self.job else {
            let what = format!("no sign-in is pending for profile {}", self.profile.name);
            return Err(Fault::new(FaultKind::BadRedirect, what).remedy(self.profile.command("login")));
        };
        let epoch = flow.epoch;
        let redirect =
            flow.expected.read_pasted(address.expose()).map_err(|not_ours: NotOurs| not_ours.fault())?;
        flow.was_pasted = true;
        self.redirected(step, epoch, redirect);
        Ok(())
    }

    /// Takes the redirect that the browser brought. `false` if no flow waits for it.
    pub(super) fn redirected(&mut self, step: &mut Step<'_>, epoch: Epoch, redirect: Redirect) -> bool {
        let flow = match std::mem::take(&mut self.job) {
            Job::Flow(flow) if flow.epoch == epoch => flow,
            other => {
                self.job = other;
                return false;
            }
        };
        let fault = redirect.fault();
        match (redirect, fault) {
            (Redirect::Code(code), _) => self.exchange(step, flow, code),
            (Redirect::Refused { .. }, fault) => {
                let fault = fault.unwrap_or_else(|| self.sign_in_needed("Rally refused the sign-in"));
                let fault = self.name_in_remedy(fault);
                let page = match fault.kind {
                    FaultKind::Denied => Page::Denied(self.profile.command("login")),
                    _ => Page::Failed(fault.clone()),
                };
                self.end_flow(step, &flow, &fault, page);
            }
        }
        true
    }

    /// Ends a flow that failed, and refuses everybody who waited for it.
    pub(super) fn end_flow(&mut self, step: &mut Step<'_>, flow: &Flow, fault: &Fault, page: Page) {
        step.end_listening(flow.epoch, page);
        step.log(&self.profile.name, GrantStep::FlowEnded);
        step.recovered(&self.profile.name, fault);
        self.cool_down.missed(step.now);
        self.fault = Some(fault.clone());
        self.job = Job::None;
        self.refuse(step, fault);
    }

    pub(super) fn end_late_flow(&mut self, step: &mut Step<'_>) {
        if !matches!(&self.job, Job::Flow(flow) if flow.deadline <= step.now.tick) {
            return;
        }
        if let Job::Flow(flow) = std::mem::take(&mut self.job) {
            let what = format!("the sign-in for profile {} timed out", self.profile.name);
            let fault = Fault::new(FaultKind::TimedOut, what).why(NO_ANSWER).remedy(self.after_no_answer());
            self.end_flow(step, &flow, &fault, Page::Failed(fault.clone()));
        }
    }

    /// What to do when no browser came back. A wrong client ID or callback URL ends at a page of Rally's, which the
    /// daemon never sees.
    pub(super) fn after_no_answer(&self) -> Remedy {
        let Profile { client_id, redirect_uri, base_url, .. } = &self.profile;
        self.profile.command("login").and(format!(
            "; if Rally's page shows an error, first compare client_id {client_id} and redirect_uri {} with the OAuth \
             client at {}",
            redirect_uri.as_str(),
            base_url.clients_page()
        ))
    }

    /// Ends a flow whose `login` was interrupted, unless somebody else waits for it.
    pub(super) fn drop_deserted_flow(&mut self, step: &mut Step<'_>) {
        if matches!(&self.job, Job::Flow(flow) if flow.began_by_login) && self.waiters.is_empty() {
            let fault = Fault::new(FaultKind::Denied, "the sign-in was interrupted")
                .remedy(self.profile.command("login"));
            self.abandon_flow(step, &fault);
        }
    }

    /// Ends any flow, without a cool-down.
    pub(super) fn abandon_flow(&mut self, step: &mut Step<'_>, fault: &Fault) {
        if !self.job.is_sign_in() {
            return;
        }
        if let Job::Flow(flow) | Job::Exchanging(_, flow) | Job::LookingUp(_, flow, _) =
            std::mem::take(&mut self.job)
        {
            step.end_listening(flow.epoch, Page::Failed(fault.clone()));
            step.log(&self.profile.name, GrantStep::FlowEnded);
        }
    }
}
