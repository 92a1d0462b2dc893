//! What callers and people do in a history: they ask, leave, answer pages and give tokens back.
//! Does not: say when; chance does.
//! Used by: `history`, of which this is a part.

use rally_cred_core::{
    event::{AskId, Epoch, Event, Outcome, Peer, Program},
    redirect::Redirect,
    time::{Tick, Ticks},
};
use rally_cred_proto::{
    Ask,
    forwarding::Door,
    message::{Erase, Get, Login, Logout, StatusAsk, Target, WatchAsk},
};

use super::{
    super::{
        Planted,
        cast::{name_of, number_of, secret, target, word_for},
        config_file::{MCP, RALLY},
        daemon::Coming,
        promises::{Broken, never},
        rally::{CLIENT_SECRET, Mood},
    },
    History, LATE,
};

/// Nobody's server, though its name is one's.
const OTHER_PORT: &str = "https://mcp.rallydev.com:444";

impl History {
    pub(super) fn ask(&mut self, ask: Ask, wait: Ticks) -> Result<AskId, Broken> {
        self.ask_by(Door::Own, ask, wait)
    }

    /// Another machine asks for whatever it likes, by the forwarded socket, which gives the default profile.
    pub(super) fn ask_from_afar(&mut self, profile: usize) -> Result<(), Broken> {
        let wait = 1 + self.chance.below(180);
        let seconds = u32::try_from(wait).unwrap_or(1);
        let host = |host: &str| Target {
            protocol: Some("https".to_owned()),
            host: Some(host.to_owned()),
            ..Target::default()
        };
        let get = |target: Target| {
            Ask::Get(Get { target, interactive: true, wait: seconds, awaits_sign_in: true, ..Get::default() })
        };
        let ask = match self.chance.below(14) {
            0..=3 => get(target(profile)),
            4 => get(Target::default()),
            5 => get(Target { uri: Some(RALLY.to_owned()), ..Target::default() }),
            6 => get(host("git0.example.com")),
            7 => Ask::Status(StatusAsk::default()),
            8 => Ask::Status(StatusAsk { profile: Some(name_of(profile)), check: self.chance.one_in(2) }),
            9 | 10 => Ask::Login(Login {
                profile: Some(name_of(profile)),
                client_secret: secret(CLIENT_SECRET),
                force: true,
                timeout: seconds,
                can_paste: true,
            }),
            11 => Ask::Logout(Logout { profile: Some(name_of(profile)), all: false, client_secret: true }),
            12 => Ask::Watch(WatchAsk::default()),
            _ => self.pick_ask(&[Ask::Lock, Ask::Unlock, Ask::Reload, Ask::Stop, Ask::MakeWay, Ask::Forward]),
        };
        self.ask_by(Door::Forwarded, ask, Ticks::seconds(wait.max(30))).map(drop)
    }

    fn pick_ask(&mut self, of: &[Ask]) -> Ask {
        let at = self.chance.index(of.len());
        of.get(at).cloned().unwrap_or(Ask::Stop)
    }

    fn ask_by(&mut self, door: Door, ask: Ask, wait: Ticks) -> Result<AskId, Broken> {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.note(|| {
            format!("{id:?} asks {}{}", word_for(&ask), if door == Door::Own { "" } else { ", from afar" })
        });
        let deadline = self.tick + wait;
        self.me().promises.open.insert(id, deadline);
        if door == Door::Forwarded {
            self.me().promises.afar.insert(id);
        }
        if let Ask::Get(Get { target: Target { uri: Some(server), .. }, .. }) = &ask {
            self.me().promises.servers.insert(id, server.to_owned());
        }
        if let Ask::Get(Get { target: Target { profile: Some(profile), .. }, .. }) = &ask {
            self.me().asked_of.insert(id, number_of(profile));
        }
        let program = self.program_of(id);
        self.asking = Some(id);
        self.play_event(Event::Asked { id, peer: Peer { program, door, ..Peer::default() }, ask })?;
        self.asking = None;
        Ok(id)
    }

    /// The program that asks this, where anybody wants to know.
    fn program_of(&mut self, id: AskId) -> Program {
        let is_of_gateway = self.gateways.is_of_gateway(id);
        if !self.me().config.has_confirming() {
            return if is_of_gateway { Program::of("gateway") } else { Program::default() };
        }
        let name = if is_of_gateway { "gateway" } else { self.pick(&["/bin/a", "/bin/b", LATE]) };
        let tick = self.tick;
        self.me().promises.asks_for(id, name, tick);
        if name == LATE { Program::default() } else { Program::of(name) }
    }

    pub(super) fn get(&mut self, profile: usize) -> Result<(), Broken> {
        let wait = u32::try_from(self.chance.below(180)).unwrap_or(0);
        let server = match self.chance.below(12) {
            0 => Some(RALLY),
            1 => Some(MCP),
            2 => Some(OTHER_PORT),
            _ => None,
        };
        let is_named = server.is_none() || self.chance.one_in(2);
        let get = Get {
            target: Target {
                uri: server.map(str::to_owned),
                ..if is_named { target(profile) } else { Target::default() }
            },
            interactive: self.chance.one_in(3),
            wait,
            min_validity: self.pick(&[0, 60, 60, 600]),
            takes_authtype: false,
            awaits_sign_in: self.chance.one_in(4),
            awaits_unlock: self.chance.one_in(2),
        };
        self.ask(Ask::Get(get), Ticks::seconds(u64::from(wait))).map(drop)
    }

    pub(super) fn login(&mut self, profile: usize) -> Result<(), Broken> {
        let client_secret = match self.chance.below(4) {
            0 => None,
            1 if self.chance.one_in(4) => Some("wrong-secret"),
            _ => Some(CLIENT_SECRET),
        };
        let timeout = u32::try_from(1 + self.chance.below(400)).unwrap_or(1);
        let login = Login {
            profile: Some(name_of(profile)),
            client_secret: client_secret.and_then(secret),
            force: self.chance.one_in(3),
            timeout,
            can_paste: self.chance.one_in(2),
        };
        self.ask(Ask::Login(login), Ticks::seconds(u64::from(timeout))).map(drop)
    }

    /// A person presses a button, if there is a page to press it on.
    pub(super) fn answer_flow(&mut self, profile: usize) -> Result<(), Broken> {
        let Some(epoch) = self.me().promises.listener_of(profile) else { return Ok(()) };
        let redirect = if self.chance.one_in(5) {
            Redirect::Refused { error: "access_denied".to_owned(), description: None }
        } else {
            let Some(code) = secret(&self.rally.code()) else { return Ok(()) };
            Redirect::Code(code)
        };
        self.note(|| format!("a person answers {epoch:?}"));
        self.hear(epoch, Outcome::Redirected(redirect))
    }

    pub(super) fn erase(&mut self, profile: usize) -> Result<(), Broken> {
        // One of the last three that its callers were given.
        let back = usize::try_from(self.chance.below(3)).unwrap_or(0);
        let known =
            self.me().tokens.iter().rev().filter(|(of, _)| *of == profile).map(|(_, token)| token.clone());
        let Some(token) = known.take(back + 1).last() else { return Ok(()) };
        self.report(profile, &token, false).map(drop)
    }

    /// A caller, or a gateway, reports that a token does not work. Whether the daemon has heard.
    pub(super) fn report(&mut self, profile: usize, token: &str, is_gateway: bool) -> Result<bool, Broken> {
        // Half of the callers were right, the others may only read.
        if self.chance.one_in(2) {
            self.rally.revoke(token);
        }
        let was_well = self.mood == Mood::Well;
        // A question that is on its way already may meet the mood that Rally was in when it was sent.
        let is_asked = |(_, _, outcome): &(Tick, Epoch, Coming)| matches!(outcome, Coming::LookedUp { token: of, .. } if of == token);
        let was_asked = self.me().outcomes.iter().any(is_asked);
        self.me().fresh.remove(&profile);
        let erase = Erase { target: target(profile), token: secret(token), credential: None };
        if is_gateway {
            self.gateways.reports(AskId(self.last_ask + 1));
        }
        let id = self.ask(Ask::Erase(erase), Ticks::seconds(120))?;
        // It counts once the daemon has said that it heard, if Rally can confirm it. While the config file has it keep
        // tokens in memory, it does not know what the keyring holds; a locked one refuses.
        let was_heard = !self.me().promises.open_asks().contains(&id)
            && !self.me().vault.is_memory()
            && !self.me().promises.is_locked;
        if was_heard && was_well && !was_asked && !self.rally.takes(token, self.tick) {
            let tick = self.tick;
            match self.me().outcomes.iter().any(is_asked) {
                true => drop(self.me().promises.erased.insert(token.to_owned())),
                false => self.me().promises.reported(token, tick),
            }
        }
        Ok(!self.me().promises.is_open(id))
    }

    pub(super) fn leave(&mut self) -> Result<(), Broken> {
        let open = self.me().promises.open_asks();
        if open.is_empty() {
            return Ok(());
        }
        let id = self.pick(&open);
        self.leaves(id)
    }

    /// Whoever asked this goes, if it was not answered.
    pub(super) fn leaves(&mut self, id: AskId) -> Result<(), Broken> {
        if !self.me().promises.is_open(id) {
            return Ok(());
        }
        self.note(|| format!("{id:?} leaves"));
        self.me().promises.left(id);
        self.me().watchers.left(id);
        let held_turns = self.me().turns.is_holder(id);
        self.me().turns.gone(id);
        self.me().asked_of.remove(&id);
        self.statics.left(id);
        self.gateways.left(id);
        match self.planted {
            Some(Planted::KeptTurns) if held_turns => Ok(()),
            _ => self.play_event(Event::Left(id)),
        }
    }

    pub(super) fn logout(&mut self, profile: usize) -> Result<(), Broken> {
        self.me().promises.forgot(profile);
        self.grants.signed_out(profile);
        if self.me().config.of(profile).has_command {
            // Its program may give the same token again, and the verdict on that is forgotten too.
            self.me().promises.forget_marks();
        }
        self.me().tokens.retain(|(of, _)| *of != profile);
        let logout = Logout { profile: Some(name_of(profile)), all: false, client_secret: false };
        // A sign-out waits for the vault, whose every call has a deadline; so many may be before it.
        self.ask(Ask::Logout(logout), Ticks::seconds(3600)).map(drop)
    }

    /// A static credential is asked for, stored or erased.
    pub(super) fn ask_of_statics(&mut self) -> Result<(), Broken> {
        let is_kept = self.me().config.has_statics && !self.me().promises.is_ending();
        let ask = self.statics.ask(&mut self.chance, AskId(self.last_ask + 1), is_kept);
        self.ask(ask, Ticks::seconds(120)).map(drop)
    }

    /// Once faults stop, a static credential is stored and given out.
    pub(super) fn serves_statics(&mut self) -> Result<(), Broken> {
        if !self.me().config.has_statics {
            return Ok(());
        }
        for is_get in [false, true] {
            let id = AskId(self.last_ask + 1);
            let ask = if is_get { self.statics.get_one(id) } else { self.statics.store_one(id) };
            self.ask(ask, Ticks::seconds(2))?;
            self.pass(Ticks::seconds(2))?;
        }
        never(!self.statics.is_one_held(), || {
            "no static credential can be stored though all is well".to_owned()
        })
    }
}
