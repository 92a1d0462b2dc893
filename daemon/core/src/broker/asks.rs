//! Requests: whose each is, and what goes with whoever leaves before the answer.
//! Does not: decide on a token (`account` does).
//! Used by: `broker`, of which this is a part.

use rally_cred_proto::{
    Ask, Fault, FaultKind, Reply,
    forwarding::Door,
    message::{Get, Target, UnlockKeyring},
};

use crate::{
    broker::{
        Broker,
        gather::{LogoutGathering, StatusGathering},
        routes::Route,
        running::stopping,
    },
    event::{AskId, Effect, LockedBy, Peer},
    jobs::Owner,
    lock::locked,
    policy,
    step::Step,
    time::Ticks,
    waiter::{Waiter, Wants},
};

impl Broker {
    pub(super) fn asked(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, ask: Ask) {
        if let Err(fault) = self.try_asked(step, id, peer, ask) {
            step.refuse(id, fault);
        }
    }

    /// Takes a request; a fault answers it.
    fn try_asked(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, ask: Ask) -> Result<(), Fault> {
        self.audit.asked(id, &peer, &ask);
        if self.stop.is_some() && !matches!(ask, Ask::Stop) {
            return Err(stopping());
        }
        let ask = match peer.door {
            Door::Own => ask,
            Door::Forwarded => self.forwarding.admit(ask, self.routes.default_name())?,
        };
        match ask {
            Ask::Get(get) => match self.route(&peer, &get.target)? {
                Some(route) => {
                    let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
                    let wants = Wants::Get {
                        server: route.server,
                        is_named: get.target.profile.is_some(),
                        username: get.target.username,
                        interactive: get.interactive,
                        awaits_sign_in: get.awaits_sign_in,
                        awaits_unlock: get.awaits_unlock,
                        min_validity: i64::from(get.min_validity),
                    };
                    self.ask_account(step, &route.profile, id, peer, wait, wants);
                }
                None if peer.door == Door::Own && self.statics.get(step, id, &get) => {}
                None => step.reply(id, Reply::NoMatch),
            },
            Ask::Erase(erase) => match self.route(&peer, &erase.target)? {
                Some(route) => {
                    let wait = Ticks::seconds(u64::from(Get::default_wait()));
                    // Where it was given with a scheme, it comes back as what follows the scheme.
                    let wants = Wants::Erase(erase.token.or(erase.credential));
                    self.ask_account(step, &route.profile, id, peer, wait, wants);
                }
                None => self.statics.erase(step, id, erase),
            },
            Ask::Store(store) => {
                let target = Target {
                    protocol: Some(store.protocol.clone()),
                    host: Some(store.host.clone()),
                    username: store.credential.username.clone(),
                    ..Target::default()
                };
                match self.route(&peer, &target)? {
                    // The daemon has every token that it issued.
                    Some(_) => step.reply(id, Reply::Done),
                    None => self.statics.store(step, id, store),
                }
            }
            Ask::Login(login) => {
                let name = self.routes.named(&self.accounts, login.profile.as_deref())?;
                let timeout = Ticks::seconds(u64::from(login.timeout)).min(policy::LONGEST_FLOW);
                let wants = Wants::Login {
                    // A secret is verified by a sign-in, so a valid token is no reason to skip it.
                    force: login.force || login.client_secret.is_some(),
                    client_secret: login.client_secret,
                    can_paste: login.can_paste,
                };
                self.ask_account(step, &name, id, peer, timeout, wants);
            }
            Ask::Paste(paste) => {
                let name = self.routes.named(&self.accounts, paste.profile.as_deref())?;
                self.with_account(step, &name, |account, step| {
                    let pasted = account.pasted(step, &paste.redirect);
                    step.reply(id, pasted.map_or_else(Reply::Error, |()| Reply::Done));
                    account.advance(step);
                });
            }
            Ask::Logout(logout) => {
                let names = match logout.profile.as_deref() {
                    None if logout.all => self.accounts.keys().cloned().collect(),
                    name => vec![self.routes.named(&self.accounts, name)?],
                };
                let mut gathering = LogoutGathering::new(id);
                for name in names {
                    self.with_account(step, &name, |account, step| {
                        let erasing = account.sign_out(step, id, logout.client_secret);
                        gathering.erasing(erasing, account.profile().base_url.grants_page().as_str());
                    });
                }
                self.logouts.push(gathering);
            }
            Ask::Status(status) => {
                let mut names = self.routes.named_or_all(&self.accounts, status.profile.as_deref())?;
                names.retain(|name| self.forwarding.lets_have(&peer, name));
                self.statuses.push(StatusGathering::new(id, names.clone(), status.check, step.now));
                self.read_all(step, id, &peer, &names);
            }
            Ask::Check(check) => {
                let names = self.routes.named_or_all(&self.accounts, check.profile.as_deref())?;
                let accounts = names.iter().filter_map(|name| self.accounts.get(name));
                let profiles =
                    accounts.map(|account| (account.profile().clone(), account.is_listening())).collect();
                let secrets = self.secrets();
                step.effects.push(Effect::Check { id, keyring: step.keyring.clone(), profiles, secrets });
            }
            Ask::Watch(watch) => {
                let names = self.routes.named_or_all(&self.accounts, watch.profile.as_deref())?;
                self.watchers.add(id, watch.profile);
                self.read_all(step, id, &peer, &names);
            }
            Ask::OpenGateway(open) => {
                let name = self.routes.named(&self.accounts, open.profile.as_deref())?;
                if let Some(account) = self.accounts.get(&name) {
                    self.gateways.open(step, id, &peer, open, account.profile().clone());
                }
            }
            Ask::HoldTurns(ask) => {
                let name = self.routes.named(&self.accounts, ask.profile.as_deref())?;
                self.turns.hold(step, id, name, &ask)?;
            }
            Ask::ShowGateway(ask) => self.gateways.show(step, id, &ask.name)?,
            Ask::RevokeGateway(ask) => self.gateways.revoke(step, id, &ask.name)?,
            Ask::Forward => self.forwarding.hold(step, id),
            Ask::Audit => self.audit.tell(step, id),
            Ask::Lock => {
                if !step.is_locked {
                    self.lock(step, LockedBy::User);
                }
                self.lock.tell_when_closed(step, id);
            }
            Ask::Unlock => self.lock.ask_vault(step, id, self.routes.default_name()),
            Ask::UnlockKeyring(UnlockKeyring { passphrase, is_new }) => {
                step.effects.push(Effect::OpenFiles { id, passphrase, is_new });
            }
            Ask::MoveItems(ask) => step.effects.push(self.move_items(id, &ask)?),
            Ask::RepairItems(ask) => self.repair(step, id, ask)?,
            Ask::Reload => {
                self.reloads.push(id);
                self.read_config(step);
            }
            Ask::Stop => self.stop(step, Some(id)),
            Ask::MakeWay => self.make_way(step, id)?,
            _ => {
                return Err(Fault::new(FaultKind::VersionSkew, "this request is not known")
                    .why("the daemon is older than the program that asked")
                    .run("rally-cred daemon restart"));
            }
        }
        Ok(())
    }

    /// The profile of a request, among those that whoever asks may have; `None` if its server has none.
    fn route(&self, peer: &Peer, target: &Target) -> Result<Option<Route>, Fault> {
        self.routes.find(&self.accounts, target, |name| self.forwarding.lets_have(peer, name))
    }

    /// Has the vault read for these profiles, if it was not yet.
    fn read_all(&mut self, step: &mut Step<'_>, id: AskId, peer: &Peer, names: &[String]) {
        for name in names {
            self.ask_account(step, name, id, peer.clone(), StatusGathering::READING, Wants::Reading);
        }
    }

    fn ask_account(
        &mut self,
        step: &mut Step<'_>,
        name: &str,
        id: AskId,
        peer: Peer,
        wait: Ticks,
        wants: Wants,
    ) {
        self.audit.is_for(id, name);
        match wants {
            Wants::Login { .. } | Wants::Erase(_) if step.is_locked => {
                return step.refuse(id, locked());
            }
            // It is shown as it is.
            Wants::Reading if step.is_locked => return step.read.push((id, name.to_owned())),
            _ => {}
        }
        let waiter = Waiter::new(id, peer, step.now.tick + wait, wants);
        self.with_account(step, name, |account, step| account.ask(step, waiter));
    }

    /// Takes a request for another user than this profile's to the next profile that may match.
    pub(super) fn redirect(&mut self, step: &mut Step<'_>, from: &str, mut waiter: Waiter) {
        waiter.tried.push(from.to_owned());
        let (Wants::Get { server, username, is_named: false, .. }, Some(account)) =
            (&waiter.wants, self.accounts.get(from))
        else {
            return step.reply(waiter.id, Reply::NoMatch);
        };
        let origin = server.as_ref().unwrap_or_else(|| account.profile().base_url.origin());
        let next = self
            .routes
            .candidates(&self.accounts, origin, username.as_deref())
            .filter(|name| self.forwarding.lets_have(&waiter.peer, name))
            .find(|name| !waiter.tried.contains(name))
            .cloned();
        match next {
            Some(name) => {
                self.audit.is_for(waiter.id, &name);
                self.with_account(step, &name, |account, step| account.ask(step, waiter));
            }
            None => step.reply(waiter.id, Reply::NoMatch),
        }
    }

    pub(super) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.audit.left(id);
        self.statuses.retain(|status| status.id != id);
        self.logouts.retain(|logout| logout.id != id);
        self.watchers.left(id);
        self.turns.left(step, id);
        self.reloads.retain(|ask| *ask != id);
        if let Some(stop) = &mut self.stop {
            stop.left(id);
        }
        self.lock.left(id);
        // A repair goes on, and what it mended is heard of.
        step.jobs.end_asked(|owner| matches!(owner, Owner::Opening(own) if *own == id));
        self.statics.left(id);
        self.gateways.left(step, id);
        self.forwarding.left(id);
        let waited_at = self.accounts.iter().filter(|(_, account)| account.has_waiter(id));
        let names: Vec<_> = waited_at.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.with_account(step, &name, |account, step| account.left(step, id));
        }
    }
}
