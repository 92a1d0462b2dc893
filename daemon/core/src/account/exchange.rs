//! A sign-in from the authorization code to the token in hand: the code is exchanged, and the user looked up.
//! Does not: send (its effects say so), or end a flow that failed (`sign_in` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, Secret, message::WaitingOn};

use crate::{
    account::{
        Account,
        backoff::Backoff,
        cool_down::CoolDown,
        identity::{is_user, user_unknown},
        job::{Flow, Job, SecretFrom},
        renewal,
    },
    answer::{self, FormKind, Grant, RawAnswer, Refused, Retry, TokenAnswer, TokenForm, UserAnswer},
    event::{Effect, Epoch, GrantStep, Page},
    record::TokenRecord,
    step::Step,
    waiter::{Waiter, Wants},
};

impl Account {
    pub(super) fn exchange(&mut self, step: &mut Step<'_>, flow: Box<Flow>, code: Secret) {
        let redirect_uri = self.profile.redirect_uri.as_str().to_owned();
        self.tell_all(step, WaitingOn::Exchange);
        let (profile, client_secret) = (self.profile.clone(), flow.client_secret.clone());
        let form = TokenForm::Code { code, redirect_uri };
        let epoch = step.begin(self.owner(), |epoch| Effect::Post { epoch, profile, client_secret, form });
        self.job = Job::Exchanging(epoch, flow);
    }

    /// Takes Rally's answer to a token request. `false` if nobody waits for it.
    pub(super) fn answered(&mut self, step: &mut Step<'_>, epoch: Epoch, raw: RawAnswer) -> bool {
        match std::mem::take(&mut self.job) {
            Job::Renewing(own, sent, _) if own == epoch => self.renewal_answered(step, sent, raw),
            Job::Exchanging(own, flow) if own == epoch => self.exchange_answered(step, flow, raw),
            other => {
                self.job = other;
                return false;
            }
        }
        true
    }

    fn exchange_answered(&mut self, step: &mut Step<'_>, flow: Box<Flow>, raw: RawAnswer) {
        let fault = match answer::read_token_answer(FormKind::Code, raw) {
            TokenAnswer::Granted(grant) => return self.look_up_user(step, flow, grant),
            TokenAnswer::Passing { fault, retry } => {
                self.end_flow(step, &flow, &fault, Page::Failed(fault.clone()));
                if retry == Retry::Online {
                    self.cool_down.is_of_network();
                }
                return;
            }
            TokenAnswer::Refused(refusal) => {
                // A stored secret that Rally refuses is asked for again; the vault keeps it until then.
                if refusal.of == Refused::Client && flow.secret_from != SecretFrom::Login {
                    self.client_secret.refused();
                }
                let fault = self.name_in_remedy(refusal.fault);
                if refusal.of == Refused::Grant && flow.was_pasted {
                    return self.ask_again(step, &flow, fault);
                }
                fault
            }
        };
        self.end_flow(step, &flow, &fault, Page::Failed(fault.clone()));
    }

    /// Begins the sign-in anew after a pasted code that had ended, or was used before: a person brought it, and can bring
    /// another. Who cannot paste is refused.
    fn ask_again(&mut self, step: &mut Step<'_>, flow: &Flow, fault: Fault) {
        let can_paste = |waiter: &Waiter| matches!(waiter.wants, Wants::Login { can_paste: true, .. });
        if !self.waiters.iter().any(can_paste) {
            return self.end_flow(step, flow, &fault, Page::Failed(fault.clone()));
        }
        self.refuse_if(step, &fault, |_, _, waiter| !can_paste(waiter));
        step.end_listening(flow.epoch, Page::Failed(fault.clone()));
        step.log(&self.profile.name, GrantStep::FlowEnded);
        let notice = fault.remedy("open the new address below, which leads to another code");
        for waiter in &mut self.waiters {
            waiter.told = false;
            step.notice(waiter.id, notice.clone());
        }
        self.begin_flow(step);
    }

    fn look_up_user(&mut self, step: &mut Step<'_>, flow: Box<Flow>, grant: Grant) {
        let epoch = self.ask_whose(step, grant.access_token.clone());
        let mut record = renewal::record_of(&self.profile, step.issued, grant, None);
        record.generation = self.next_generation(step);
        record.signed_in_at = Some(step.now.wall.0);
        self.job = Job::LookingUp(epoch, flow, Box::new(record));
    }

    /// Takes Rally's answer on whose token it is. `false` if nobody waits for it.
    pub(super) fn user_looked_up(&mut self, step: &mut Step<'_>, epoch: Epoch, raw: RawAnswer) -> bool {
        if self.reports.is_question(epoch) {
            self.suspicion_answered(step, raw);
            return true;
        }
        match std::mem::take(&mut self.job) {
            Job::Identifying(own, token) if own == epoch => self.identification_answered(step, &token, raw),
            Job::LookingUp(own, flow, record) if own == epoch => {
                self.looked_up_user(step, flow, *record, raw);
            }
            other => {
                self.job = other;
                return false;
            }
        }
        true
    }

    fn looked_up_user(
        &mut self,
        step: &mut Step<'_>,
        flow: Box<Flow>,
        mut record: TokenRecord,
        raw: RawAnswer,
    ) {
        match answer::read_user_answer(raw) {
            UserAnswer::Found { username, .. } => {
                if is_user(self.profile.username.as_deref(), username.as_deref()) == Some(false) {
                    let fault = self.signed_in_as(username.as_deref());
                    return self.end_flow(step, &flow, &fault, Page::Failed(fault.clone()));
                }
                record.username = username;
                self.sign_in(step, flow, record, None);
            }
            // The token may be good all the same, so it is kept; whoever wants to know its user makes Rally be asked
            // again.
            UserAnswer::Passing { fault, retry } => {
                if self.profile.username.is_some() {
                    self.user_backoff.failed(step, fault.clone(), retry);
                    return self.sign_in_in_part(step, flow, record, user_unknown(&fault));
                }
                step.recovered(&self.profile.name, &fault);
                self.sign_in(step, flow, record, None);
            }
            UserAnswer::TokenRefused(fault) => {
                let fault = self.name_in_remedy(fault);
                self.end_flow(step, &flow, &fault, Page::Failed(fault.clone()));
            }
            // The token is good from an address that the subscription allows, so it is kept, but the sign-in has not
            // worked.
            UserAnswer::AddressNotAllowed(fault) => self.sign_in_in_part(step, flow, record, fault),
        }
    }

    /// Keeps the token, and answers everybody with the fault that keeps it from being given out.
    fn sign_in_in_part(&mut self, step: &mut Step<'_>, flow: Box<Flow>, record: TokenRecord, fault: Fault) {
        step.recovered(&self.profile.name, &fault);
        self.sign_in(step, flow, record, Some(Page::Failed(fault.clone())));
        step.refuse_all(self.waiters.drain(..).map(|waiter| waiter.id), &fault);
        self.fault = Some(fault);
    }

    /// Holds the token of a flow that succeeded, and ends the flow with this page, or with the one for a success.
    fn sign_in(&mut self, step: &mut Step<'_>, flow: Box<Flow>, record: TokenRecord, page: Option<Page>) {
        let page = page.unwrap_or_else(|| Page::SignedIn(record.username.clone()));
        step.end_listening(flow.epoch, page);
        step.log(&self.profile.name, GrantStep::SignedIn);
        self.cool_down = CoolDown::default();
        self.backoff = Backoff::default();
        self.fault = None;
        // The secret first: a token without it could not be renewed after a crash between the two.
        self.keep_client_secret(step, flow.client_secret, flow.secret_from);
        self.take_new_token(step, record, true);
    }
}
