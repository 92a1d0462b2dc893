//! The stage of the broker's tests: a test plays events against virtual time and looks at the effects.
//! Does not: touch anything real.
//! Used by: the tests beside it, each a sentence about the broker.

mod alerting;
mod auditing;
mod client_secret;
mod consenting;
mod fetching;
mod fleet;
mod forwarding;
mod further_servers;
mod gateways;
mod identifying;
mod idling;
mod keeping;
mod locking;
mod network;
mod renewing;
mod restraint;
mod running;
mod serving;
mod sharing;
mod signing_in;
mod static_credentials;
mod turning;
mod unlocking;
mod watching;

use std::collections::BTreeMap;

use rally_cred_proto::{
    Ask, FaultKind, ProfileName, Reply, Secret,
    message::{
        self, Authorize, CheckAsk, Erase, Get, Login, Logout, Paste, ProfileState, ProfileStatus, StatusAsk,
        Target, Token,
    },
};
use zeroize::Zeroizing;

use super::{
    Broker, Facts, Sent,
    answer::{RawAnswer, SendTrouble, TokenForm},
    dice::Dice,
    event::{AskId, Effect, Epoch, Event, Outcome, Page, Peer},
    profile::{BaseUrl, Config, Gate, Keyring, Profile, RedirectUri},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
    vault::{Change, Changed, ItemKind, VaultTrouble, is_same},
};

/// A moment in 2026, far from any edge.
const T0: Now = Now { wall: Wall(1_780_000_000), into_second: Ticks(0), tick: Tick(5_000_000) };

struct Counting(u64);

impl Dice for Counting {
    fn roll(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What the effects of a kind hold, in their order.
macro_rules! of_effects {
    ($stage:expr, $kind:pat $(if $is_meant:expr)? => $held:expr) => {
        $stage
            .effects
            .iter()
            .filter_map(|effect| match effect {
                $kind $(if $is_meant)? => Some($held),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}
use of_effects;

/// A broker on a stage: the test plays the rest of the world.
struct Stage {
    broker: Broker,
    dice: Counting,
    now: Now,
    last_ask: u64,
    /// What the vault holds, by account name. The stage answers loads from it at once.
    vault: BTreeMap<String, Secret>,
    vault_trouble: Option<VaultTrouble>,
    /// The vault takes jobs and does not answer them.
    vault_is_silent: bool,
    /// What it was asked while it was silent, to be answered by the test.
    unanswered: Vec<Effect>,
    saves: usize,
    /// Every effect since the last look, but for vault and log.
    effects: Vec<Effect>,
    loads: usize,
}

impl Stage {
    fn new() -> Self {
        Self::with(Keyring::Auto, &["default"])
    }

    fn with(keyring: Keyring, names: &[&str]) -> Self {
        let default_profile = names.first().unwrap().to_string();
        let of = |name: &str| Profile { is_default: name == default_profile, ..profile(name) };
        let profiles = names.iter().map(|name| ((*name).to_owned(), of(name))).collect();
        let config = Config { default_profile, keyring, profiles, ..Config::default() };
        Self {
            broker: Broker::new(Facts::default(), config),
            dice: Counting(0),
            now: T0,
            last_ask: 0,
            vault: BTreeMap::new(),
            vault_trouble: None,
            vault_is_silent: false,
            unanswered: Vec::new(),
            saves: 0,
            effects: Vec::new(),
            loads: 0,
        }
    }

    fn signed_in(access: &str, refresh: Option<&str>, life: u64) -> Self {
        let mut stage = Self::new();
        stage.sign_in(access, refresh, life);
        stage
    }

    fn play(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.broker.handle(self.now, &mut self.dice, event) {
                match effect {
                    Effect::Load(..) | Effect::Change(..) | Effect::Erase(..) | Effect::Unlock(..)
                        if self.vault_is_silent =>
                    {
                        self.unanswered.push(effect);
                    }
                    Effect::Load(epoch, key) => {
                        self.loads += 1;
                        let held = self.vault.get(&key.account()).cloned();
                        events.push(Event::Outcome(
                            epoch,
                            Outcome::Loaded(self.vault_trouble.clone().map_or(Ok(held), Err)),
                        ));
                    }
                    Effect::Unlock(epoch, _) => {
                        let outcome = self.vault_trouble.clone().map_or(Ok(()), Err);
                        events.push(Event::Outcome(epoch, Outcome::Unlocked(outcome)));
                    }
                    Effect::Change(epoch, Change { key, from, to }) => {
                        self.saves += 1;
                        let account = key.account();
                        let held = self.vault.get(&account).cloned();
                        let outcome = match self.vault_trouble.clone() {
                            Some(trouble) => Err(trouble),
                            None if !is_same(held.as_ref(), from.as_ref()) => Ok(Changed::Conflict(held)),
                            None => {
                                match to {
                                    Some(text) => self.vault.insert(account, text),
                                    None => self.vault.remove(&account),
                                };
                                Ok(Changed::Done)
                            }
                        };
                        events.push(Event::Outcome(epoch, Outcome::Changed(outcome)));
                    }
                    Effect::Erase(epoch, key) => {
                        let outcome = self.vault_trouble.clone().map_or(Ok(()), Err);
                        if outcome.is_ok() {
                            self.vault.remove(&key.account());
                        }
                        events.push(Event::Outcome(epoch, Outcome::Erased(outcome)));
                    }
                    Effect::Log(_) => {}
                    other => self.effects.push(other),
                }
            }
        }
    }

    /// A job comes to something.
    fn hear(&mut self, epoch: Epoch, outcome: Outcome) {
        self.play(Event::Outcome(epoch, outcome));
    }

    /// Lets virtual time pass, stopping at each deadline on the way.
    fn wait(&mut self, span: Ticks) {
        let end = self.now.tick + span;
        while let Some(at) = self.broker.next_deadline().filter(|at| *at <= end) {
            self.pass_to(at.max(Tick(self.now.tick.0 + 1)));
            self.play(Event::TimePassed);
        }
        self.pass_to(end);
        self.play(Event::TimePassed);
    }

    fn pass_to(&mut self, tick: Tick) {
        let since_start = (tick - T0.tick).0;
        self.now = Now {
            wall: T0.wall.after(i64::try_from(since_start / 1000).unwrap()),
            into_second: Ticks(since_start % 1000),
            tick,
        };
    }

    /// The effects of an outcome, none of which the stage answers.
    fn effects_of(&mut self, epoch: Epoch, outcome: Outcome) -> Vec<Effect> {
        self.broker.handle(self.now, &mut self.dice, Event::Outcome(epoch, outcome))
    }

    /// The vault answers what it was asked last while it was silent.
    #[track_caller]
    fn vault_says(&mut self, outcome: Outcome) {
        let asked = self.unanswered.pop();
        match (&asked, &outcome) {
            (Some(Effect::Load(epoch, _)), Outcome::Loaded(_))
            | (Some(Effect::Change(epoch, _)), Outcome::Changed(_))
            | (Some(Effect::Erase(epoch, _)), Outcome::Erased(_))
            | (Some(Effect::Unlock(epoch, _)), Outcome::Unlocked(_)) => self.hear(*epoch, outcome),
            _ => panic!("{outcome:?} is no answer to {asked:?}"),
        }
    }

    fn ask(&mut self, ask: Ask) -> AskId {
        self.ask_as(Peer::default(), ask)
    }

    fn ask_as(&mut self, peer: Peer, ask: Ask) -> AskId {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.play(Event::Asked { id, peer, ask });
        id
    }

    /// A request that is done at once.
    #[track_caller]
    fn does(&mut self, ask: Ask) {
        let id = self.ask(ask);
        assert!(self.is_done(id), "{:?}", self.result(id));
    }

    fn is_done(&self, id: AskId) -> bool {
        matches!(self.result(id), Some(Reply::Done))
    }

    /// The token that a program in the background gets at once.
    #[track_caller]
    fn served(&mut self) -> String {
        let get = self.get(false);
        self.token(get).to_owned()
    }

    /// Why a program in the background gets none at once.
    #[track_caller]
    fn refusal(&mut self) -> FaultKind {
        let get = self.get(false);
        self.fault(get)
    }

    fn get(&mut self, interactive: bool) -> AskId {
        self.ask(Ask::Get(Get { interactive, ..Get::default() }))
    }

    fn login(&mut self, client_secret: Option<&str>) -> AskId {
        self.ask(Ask::Login(login(client_secret)))
    }

    /// The result of a request, if it has one.
    fn result(&self, id: AskId) -> Option<&Reply> {
        let mut results = self.effects.iter().filter_map(|effect| match effect {
            Effect::Reply(own, reply) if *own == id => Some(reply),
            _ => None,
        });
        let result = results.next();
        assert!(results.next().is_none(), "two results for one request");
        result
    }

    #[track_caller]
    fn token(&self, id: AskId) -> &str {
        match self.result(id) {
            Some(Reply::Token(Token { token, .. })) => token.expose(),
            other => panic!("no token but {other:?}"),
        }
    }

    #[track_caller]
    fn fault(&self, id: AskId) -> FaultKind {
        match self.result(id) {
            Some(Reply::Error(fault)) => fault.kind,
            other => panic!("no fault but {other:?}"),
        }
    }

    fn notices(&self) -> Vec<FaultKind> {
        of_effects!(self, Effect::Tell(_, message::Event::Notice(fault)) => fault.kind)
    }

    fn urls_shown(&self) -> Vec<&Authorize> {
        of_effects!(self, Effect::Tell(_, message::Event::Authorize(authorize)) => authorize)
    }

    fn profiles(&self) -> Vec<&ProfileStatus> {
        of_effects!(self, Effect::Tell(_, message::Event::Profile(profile)) => &**profile)
    }

    fn listening(&self) -> Epoch {
        let mut listens = self.effects.iter().filter_map(|effect| match effect {
            Effect::Listen(epoch, _) => Some(*epoch),
            _ => None,
        });
        listens.next_back().expect("no listener was ordered")
    }

    fn posts(&self) -> Vec<(Epoch, &TokenForm)> {
        of_effects!(self, Effect::Post { epoch, form, .. } => (*epoch, form))
    }

    fn page(&self) -> &Page {
        let mut pages = self.effects.iter().filter_map(|effect| match effect {
            Effect::EndListening(_, page) => Some(page),
            _ => None,
        });
        pages.next_back().expect("the listener was not ended")
    }

    fn answer_post(&mut self, raw: RawAnswer) {
        let (epoch, _) = *self.posts().last().expect("no token request was ordered");
        self.hear(epoch, Outcome::Answered(raw));
    }

    /// Rally refuses the refresh token, and nobody else has saved a newer one.
    fn refuse_refresh_token(&mut self) {
        self.answer_post(refused("invalid_grant", "Refresh token is expired"));
        self.wait(Ticks::seconds(2));
    }

    fn look_ups(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::LookUpUser { .. })).count()
    }

    fn look_up(&self) -> Epoch {
        let look_up = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::LookUpUser { epoch, .. } => Some(*epoch),
            _ => None,
        });
        look_up.expect("no look-up was ordered")
    }

    fn answer_look_up(&mut self, raw: RawAnswer) {
        self.hear(self.look_up(), Outcome::UserLookedUp(raw));
    }

    fn open_listener(&mut self) -> Epoch {
        let epoch = self.listening();
        self.hear(epoch, Outcome::Listening(Ok(())));
        epoch
    }

    /// The browser comes back from the pending flow with a code.
    fn bring_code(&mut self) {
        let epoch = self.open_listener();
        self.hear(epoch, Outcome::Redirected(Redirect::Code(secret("code"))));
    }

    /// It comes back since the person pressed "Deny".
    fn deny(&mut self) {
        let epoch = self.open_listener();
        let denied = Redirect::Refused { error: "access_denied".to_owned(), description: None };
        self.hear(epoch, Outcome::Redirected(denied));
    }

    /// Plays the person and Rally from the pending flow to the token.
    fn allow(&mut self, access: &str, refresh: Option<&str>, life: u64) {
        self.bring_code();
        self.answer_post(granted(access, refresh, life));
        self.answer_look_up(user());
    }

    fn sign_in(&mut self, access: &str, refresh: Option<&str>, life: u64) {
        self.login(Some("client-secret"));
        self.allow(access, refresh, life);
        self.effects.clear();
    }

    /// A new daemon on the same vault.
    fn restart(&mut self) {
        let fresh = Self::new();
        self.broker = fresh.broker;
        self.effects.clear();
        self.loads = 0;
    }
}

fn profile(name: &str) -> Profile {
    let profile = Profile::new(
        ProfileName::parse(name).unwrap(),
        BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
        "client".to_owned(),
        RedirectUri::parse("http://localhost:8477/callback").unwrap(),
    );
    Profile { is_default: name == "default", ..profile }
}

fn login(client_secret: Option<&str>) -> Login {
    Login {
        profile: None,
        client_secret: client_secret.map(secret),
        force: false,
        timeout: 300,
        can_paste: true,
    }
}

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

fn arrived(status: u16, body: &str) -> RawAnswer {
    RawAnswer::Arrived {
        status,
        retry_after: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
        sent: Sent::default(),
    }
}

fn granted(access: &str, refresh: Option<&str>, life: u64) -> RawAnswer {
    let refresh = refresh.map(|refresh| format!(r#""refresh_token":"{refresh}","#)).unwrap_or_default();
    arrived(
        200,
        &format!(r#"{{{refresh}"expires_in":{life},"token_type":"Bearer","access_token":"{access}"}}"#),
    )
}

fn refused(error: &str, description: &str) -> RawAnswer {
    arrived(
        400,
        &format!(
            r#"{{"client_id":"client","client_secret":"s","error_description":"{description}","error":"{error}"}}"#
        ),
    )
}

fn user() -> RawAnswer {
    arrived(
        200,
        r#"{"User":{"UserName":"me@example.com","DisplayName":"Me","ObjectID":1,"Errors":[],"Warnings":[]}}"#,
    )
}

fn for_host(protocol: &str, host: &str) -> Ask {
    let target =
        Target { protocol: Some(protocol.to_owned()), host: Some(host.to_owned()), ..Target::default() };
    Ask::Get(Get { target, ..Get::default() })
}

const HOUR: u64 = 3600;

/// A config file with these profiles, of which the one called `default` is the default one.
fn config_of(profiles: impl IntoIterator<Item = Profile>) -> Config {
    let profiles = profiles.into_iter().map(|profile| (profile.name.to_string(), profile)).collect();
    Config { default_profile: "default".to_owned(), profiles, ..Config::default() }
}

/// The same config file as [`Stage::new`] has, but for the keyring.
fn config_with(keyring: Keyring) -> Config {
    Config { keyring, ..Config::of_one(profile("default")) }
}

fn logout(all: bool, client_secret: bool) -> Ask {
    Ask::Logout(Logout { profile: None, all, client_secret })
}

fn erase(token: &str) -> Ask {
    Ask::Erase(Erase { target: Target::default(), token: Some(secret(token)), credential: None })
}

fn unauthorized() -> RawAnswer {
    arrived(401, "<html>Full authentication is required to access this resource</html>")
}

impl Stage {
    /// A caller says that the token does not work, and Rally agrees.
    fn lose_token(&mut self) {
        self.ask(Ask::Erase(Erase { target: Target::default(), token: None, credential: None }));
        self.answer_look_up(unauthorized());
        self.effects.clear();
    }

    fn sign_in_again(&mut self, access: &str, life: u64) {
        self.ask(Ask::Login(Login { force: true, ..login(None) }));
        self.allow(access, Some("refresh"), life);
        self.effects.clear();
    }
}
