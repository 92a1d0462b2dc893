//! What stands in the keyring, where any program of the user can write.
//! Does not: touch a keyring.
//! Used by: `properties`.

use std::collections::BTreeMap;

use rally_cred_core::{
    Broker, Facts, Sent,
    answer::RawAnswer,
    dice::Dice,
    event::{AskId, Effect, Event, Outcome, Peer},
    profile::{BaseUrl, Config, Keyring, Profile, RedirectUri, StaticHosts},
    time::{Now, Tick, Ticks, Wall},
    vault::{Change, Changed, is_same},
};
use rally_cred_proto::{
    Ask, Event as Told, ProfileName, Reply, Secret,
    git::Credential,
    message::{Get, StaticCredential, Store, Target, Token},
};
use serde::de::IgnoredAny;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{CANARY, is_harmless_fault, secret, shows_canary};

const T0: Now = Now { wall: Wall(1_780_000_000), into_second: Ticks(0), tick: Tick(5_000_000) };

const TOKEN: &str = "token:default";
const CLIENT_SECRET: &str = "client-secret:default";
const STATIC: &str = "static:https://git.example.com";

/// The version of the records that this daemon writes.
const VERSION: u64 = 1;

struct Counting(u64);

impl Dice for Counting {
    fn roll(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// A daemon, its keyring, which answers at once, and a Rally that renews every token.
struct World<'a> {
    broker: Broker,
    dice: Counting,
    now: Now,
    asked: u64,
    keyring: BTreeMap<String, Secret>,
    /// What the keyring holds from the start.
    record: &'a Secret,
    value: &'a Value,
    renewals: usize,
}

impl<'a> World<'a> {
    fn new(record: &'a Secret, value: &'a Value) -> Self {
        let keyring = [TOKEN, CLIENT_SECRET, STATIC].map(|account| (account.to_owned(), record.clone()));
        Self {
            broker: broker(),
            dice: Counting(0),
            now: T0,
            asked: 0,
            keyring: keyring.into(),
            record,
            value,
            renewals: 0,
        }
    }

    /// A new daemon on the same keyring.
    fn restart(&mut self) {
        self.broker = broker();
    }

    fn ask(&mut self, ask: Ask) -> Option<Reply> {
        self.asked += 1;
        self.play(Event::Asked { id: AskId(self.asked), peer: Peer::default(), ask })
    }

    fn get(&mut self) -> Option<Reply> {
        self.ask(Ask::Get(Get::default()))
    }

    /// What the static credential is for this path and user. A notice says why there is none.
    fn look_up(&mut self, path: Option<&str>, username: Option<&str>) -> Option<Reply> {
        let target = Target {
            path: path.map(str::to_owned),
            username: username.map(str::to_owned),
            ..Target {
                protocol: Some("https".to_owned()),
                host: Some("git.example.com".to_owned()),
                ..Target::default()
            }
        };
        self.ask(Ask::Get(Get { target, takes_authtype: true, ..Get::default() }))
    }

    /// The reply to the last request, if it comes of this event.
    fn play(&mut self, event: Event) -> Option<Reply> {
        let (mut events, mut replied) = (vec![event], None);
        while let Some(event) = events.pop() {
            for effect in self.broker.handle(self.now, &mut self.dice, event) {
                self.shows_no_secret(&effect);
                let (epoch, outcome) = match effect {
                    Effect::Load(epoch, key) => {
                        (epoch, Outcome::Loaded(Ok(self.keyring.get(&key.account()).cloned())))
                    }
                    Effect::Change(epoch, change) => (epoch, Outcome::Changed(Ok(self.change(change)))),
                    Effect::Post { epoch, client_secret, .. } => {
                        assert_eq!(Some(client_secret.expose()), self.value["client_secret"].as_str());
                        self.renewals += 1;
                        let body = r#"{"access_token":"new","refresh_token":"next","expires_in":86400}"#;
                        (epoch, Outcome::Answered(arrived(body)))
                    }
                    Effect::LookUpUser { epoch, .. } => {
                        (epoch, Outcome::UserLookedUp(arrived(r#"{"User":{"UserName":"me@example.com"}}"#)))
                    }
                    Effect::Tell(_, Told::Notice(fault)) => {
                        is_harmless_fault(&fault);
                        continue;
                    }
                    Effect::Reply(id, reply) if id == AskId(self.asked) => {
                        replied = Some(reply);
                        continue;
                    }
                    _ => continue,
                };
                events.push(Event::Outcome(epoch, outcome));
            }
        }
        replied
    }

    fn change(&mut self, Change { key, from, to }: Change) -> Changed {
        let account = key.account();
        let held = self.keyring.get(&account);
        if !is_same(held, from.as_ref()) {
            return Changed::Conflict(held.cloned());
        }
        assert!(!self.is_later() || !is_same(held, Some(self.record)), "a later version wrote {account}");
        match to {
            Some(text) => self.keyring.insert(account, text),
            None => self.keyring.remove(&account),
        };
        Changed::Done
    }

    fn is_later(&self) -> bool {
        self.value["v"].as_u64().is_some_and(|version| version > VERSION && version <= u64::from(u32::MAX))
    }

    fn shows_no_secret(&self, effect: &Effect) {
        if !shows_canary(self.value) {
            let shown = format!("{effect:?}");
            assert!(!shown.contains(CANARY), "{shown}");
        }
    }
}

fn broker() -> Broker {
    let profile = Profile::new(
        ProfileName::parse("default").unwrap(),
        BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
        "client".to_owned(),
        RedirectUri::parse("http://localhost:8477/callback").unwrap(),
    );
    let config = Config { keyring: Keyring::Os, static_hosts: StaticHosts::All, ..Config::of_one(profile) };
    Broker::new(Facts::default(), config)
}

fn arrived(body: &str) -> RawAnswer {
    let body = Zeroizing::new(body.as_bytes().to_vec());
    RawAnswer::Arrived { status: 200, retry_after: None, body, sent: Sent::default() }
}

/// A token is given as the keyring has it, and only if it is this client's. A record of a later version is left alone,
/// and what is written is read again as it was.
pub(super) fn records(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(record) = Secret::parse(text.to_owned()) else { return };
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        // It is stricter with numbers and surrogates in what is passed over.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => return,
        Err(_) => Value::Null,
    };
    token(World::new(&record, &value));
    static_credentials(World::new(&record, &value));
}

fn token(mut world: World<'_>) {
    let first = world.get();
    let field = |name: &str| world.value[name].as_str();
    match &first {
        Some(Reply::Token(Token { token, username, expires_at, .. })) => {
            let is_ours = field("base_url") == Some("https://rally1.rallydev.com")
                && field("client_id") == Some("client")
                && field("scope") == Some("alm");
            assert!(
                is_ours && world.value["v"].as_u64().is_some_and(|version| version <= VERSION),
                "{}",
                world.value
            );
            if world.renewals == 0 {
                assert_eq!(Some(token.expose()), field("access_token"));
                assert_eq!(*expires_at, world.value["expires_at"].as_i64());
                assert!(expires_at.is_none_or(|at| at > T0.wall.0));
            } else {
                assert_eq!((token.expose(), *expires_at), ("new", Some(T0.wall.0 + 86_400)));
            }
            assert!(field("username").is_none_or(|name| username.as_deref() == Some(name)));
        }
        Some(Reply::Error(fault)) => is_harmless_fault(fault),
        Some(other) => panic!("{other:?}"),
        None => {}
    }
    // Whatever its times say, the daemon goes on.
    for _ in 0..4 {
        let Some(at) = world.broker.next_deadline() else { break };
        let passed = at - world.now.tick;
        world.now.tick = at.max(world.now.tick);
        world.now.wall = world.now.wall.after(i64::try_from(passed.as_seconds()).unwrap_or(i64::MAX));
        world.play(Event::TimePassed);
    }
    if let Some(Reply::Token(first)) = &first {
        world.now = T0;
        world.restart();
        let (before, second) = (world.renewals, world.get());
        let Some(Reply::Token(second)) = &second else { panic!("{second:?}") };
        assert!(before > 0 || world.renewals > 0 || first.token.matches(&second.token));
        assert!(first.username.is_none() || first.username == second.username);
    }
}

fn static_credentials(mut world: World<'_>) {
    let entries: Vec<Value> = world.value["entries"].as_array().cloned().unwrap_or_default();
    let mut wanted = vec![(None, None)];
    wanted.extend(entries.iter().map(|entry| (entry["path"].as_str(), entry["username"].as_str())));
    let mut found = Vec::new();
    for (path, username) in &wanted {
        let reply = world.look_up(*path, *username);
        if let Some(Reply::StaticCredential(given)) = &reply {
            let StaticCredential { protocol, host, credential } = &**given;
            assert_eq!((&**protocol, &**host), ("https", "git.example.com"));
            assert!(credential.password_expiry_utc.is_none_or(|ends| ends > T0.wall.0));
            assert!(entries.iter().any(|entry| is_entry(entry, credential)), "{}", world.value);
        } else {
            assert!(matches!(reply, Some(Reply::NoMatch)), "{reply:?}");
        }
        found.push(shown(reply));
    }
    let credential = Credential {
        username: Some("somebody-else".to_owned()),
        password: Some(secret("pass")),
        ..Credential::default()
    };
    let (protocol, host) = ("https".to_owned(), "git.example.com".to_owned());
    match world.ask(Ask::Store(Store { protocol, host, path: None, credential })) {
        Some(Reply::Done) => {
            world.restart();
            assert!(shown(world.look_up(None, Some("somebody-else"))).contains("pass"));
            let of_others = |username: Option<&str>| username.is_some_and(|name| name != "somebody-else");
            for ((path, username), was) in
                wanted.into_iter().zip(found).filter(|((_, name), _)| of_others(*name))
            {
                assert_eq!(shown(world.look_up(path, username)), was, "{username:?}");
            }
        }
        Some(Reply::Error(fault)) => {
            is_harmless_fault(&fault);
            assert!(
                is_same(world.keyring.get(STATIC), Some(world.record)),
                "what is not understood is left alone"
            );
        }
        other => panic!("{other:?}"),
    }
}

fn is_entry(entry: &Value, credential: &Credential) -> bool {
    let Credential { username, password, password_expiry_utc, oauth_refresh_token, authtype, credential } =
        credential;
    let is = |name: &str, text: Option<&str>| entry[name].as_str() == text;
    let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    is("username", username.as_deref())
        && is("password", exposed(password).as_deref())
        && entry["password_expiry_utc"].as_i64() == *password_expiry_utc
        && is("oauth_refresh_token", exposed(oauth_refresh_token).as_deref())
        && is("authtype", authtype.as_deref())
        && is("credential", exposed(credential).as_deref())
}

fn shown(reply: Option<Reply>) -> String {
    serde_json::to_string(&reply).unwrap()
}
