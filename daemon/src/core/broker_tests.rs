//! The broker's decisions, as sentences: each test plays events against virtual time and looks at the effects.
//! Does not: touch anything real.
//! Met by: nobody; it is compiled for tests only.

use std::collections::BTreeMap;

use rally_cred_proto::{
    Answer, Ask, FaultKind, Secret,
    message::{
        Authorize, Erase, Get, Login, Logout, Paste, ProfileState, ProfileStatus, StatusAsk, Target, Token,
    },
};
use zeroize::Zeroizing;

use super::{
    Broker, Facts,
    answer::{RawAnswer, SendTrouble, TokenForm},
    dice::Dice,
    event::{AskId, Effect, Epoch, Event, Page, Peer},
    profile::{BaseUrl, Config, Keyring, Profile, RedirectUri},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
    vault::{ItemKind, VaultTrouble},
};

/// A moment in 2026, far from any edge.
const T0: Now = Now { wall: Wall(1_780_000_000), tick: Tick(5_000_000) };

struct Counting(u64);

impl Dice for Counting {
    fn roll(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// A broker on a stage: the test plays the rest of the world.
struct Stage {
    broker: Broker,
    dice: Counting,
    now: Now,
    last_ask: u64,
    /// What the vault holds, by account name. The stage answers loads from it at once.
    vault: BTreeMap<String, Secret>,
    vault_trouble: Option<VaultTrouble>,
    /// Every effect since the last look, but for vault and log.
    effects: Vec<Effect>,
    loads: usize,
}

impl Stage {
    fn new() -> Self {
        Self::with(Keyring::Auto, &["default"])
    }

    fn with(keyring: Keyring, names: &[&str]) -> Self {
        let profiles = names.iter().map(|name| ((*name).to_owned(), profile(name))).collect();
        let config = Config { default_profile: names.first().unwrap().to_string(), keyring, profiles };
        let facts = Facts { release: "0".to_owned(), pid: 1, config: "config.toml".to_owned() };
        Self {
            broker: Broker::new(facts, config),
            dice: Counting(0),
            now: T0,
            last_ask: 0,
            vault: BTreeMap::new(),
            vault_trouble: None,
            effects: Vec::new(),
            loads: 0,
        }
    }

    fn play(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.broker.handle(self.now, &mut self.dice, event) {
                match effect {
                    Effect::Load(epoch, key) => {
                        self.loads += 1;
                        let held = self.vault.get(&key.account()).cloned();
                        events.push(Event::Loaded(epoch, self.vault_trouble.clone().map_or(Ok(held), Err)));
                    }
                    Effect::Save(epoch, key, record) => {
                        let outcome = self.vault_trouble.clone().map_or(Ok(()), Err);
                        if outcome.is_ok() {
                            self.vault.insert(key.account(), record);
                        }
                        events.push(Event::Saved(epoch, outcome));
                    }
                    Effect::Erase(epoch, key) => {
                        let outcome = self.vault_trouble.clone().map_or(Ok(()), Err);
                        if outcome.is_ok() {
                            self.vault.remove(&key.account());
                        }
                        events.push(Event::Erased(epoch, outcome));
                    }
                    Effect::Log(_) => {}
                    other => self.effects.push(other),
                }
            }
        }
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
        let since_start = i64::try_from((tick - T0.tick).0 / 1000).unwrap();
        self.now = Now { tick, wall: T0.wall.after(since_start) };
    }

    fn ask(&mut self, ask: Ask) -> AskId {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.play(Event::Asked { id, peer: Peer::default(), ask });
        id
    }

    fn get(&mut self, interactive: bool) -> AskId {
        self.ask(Ask::Get(Get { interactive, ..Get::default() }))
    }

    fn login(&mut self, client_secret: Option<&str>) -> AskId {
        self.ask(Ask::Login(login(client_secret)))
    }

    /// The result of a request, if it has one.
    fn result(&self, id: AskId) -> Option<&Answer> {
        let mut results = self.effects.iter().filter_map(|effect| match effect {
            Effect::Reply(own, answer) if *own == id => Some(answer),
            _ => None,
        });
        let result = results.next();
        assert!(results.next().is_none(), "two results for one request");
        result
    }

    fn token(&self, id: AskId) -> &str {
        match self.result(id) {
            Some(Answer::Token(Token { token, .. })) => token.expose(),
            other => panic!("no token but {other:?}"),
        }
    }

    fn fault(&self, id: AskId) -> FaultKind {
        match self.result(id) {
            Some(Answer::Error(fault)) => fault.kind,
            other => panic!("no fault but {other:?}"),
        }
    }

    fn urls_shown(&self) -> Vec<&Authorize> {
        let shown = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(_, Answer::Authorize(authorize)) => Some(authorize),
            _ => None,
        });
        shown.collect()
    }

    fn profiles(&self) -> Vec<&ProfileStatus> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(_, Answer::Profile(profile)) => Some(&**profile),
            _ => None,
        });
        told.collect()
    }

    fn listening(&self) -> Epoch {
        let mut listens = self.effects.iter().filter_map(|effect| match effect {
            Effect::Listen(epoch, _) => Some(*epoch),
            _ => None,
        });
        listens.next_back().expect("no listener was ordered")
    }

    fn posts(&self) -> Vec<(Epoch, &TokenForm)> {
        let posts = self.effects.iter().filter_map(|effect| match effect {
            Effect::Post { epoch, form, .. } => Some((*epoch, form)),
            _ => None,
        });
        posts.collect()
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
        self.play(Event::Answered(epoch, raw));
    }

    fn answer_look_up(&mut self, raw: RawAnswer) {
        let look_up = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::LookUpUser { epoch, .. } => Some(*epoch),
            _ => None,
        });
        self.play(Event::UserLookedUp(look_up.expect("no look-up was ordered"), raw));
    }

    fn open_listener(&mut self) -> Epoch {
        let epoch = self.listening();
        self.play(Event::Listening(epoch, Ok(())));
        epoch
    }

    /// Plays the person and Rally from the pending flow to the token.
    fn allow(&mut self, access: &str, refresh: Option<&str>, life: u64) {
        let epoch = self.open_listener();
        self.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
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
    Profile {
        name: name.to_owned(),
        base_url: BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
        client_id: "client".to_owned(),
        redirect_uri: RedirectUri::parse("http://localhost:8477/callback").unwrap(),
        scope: "alm".to_owned(),
        ca_file: None,
        username: None,
    }
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
    RawAnswer::Arrived { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()) }
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

#[test]
fn a_get_after_a_login_is_answered_from_memory() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 24 * HOUR);
    stage.loads = 0;
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
    assert_eq!((stage.loads, stage.effects.len()), (0, 1), "{:?}", stage.effects);
}

#[test]
fn a_restarted_daemon_answers_from_the_vault_without_a_sign_in() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 24 * HOUR);
    stage.restart();
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
    assert_eq!(stage.loads, 1);
    assert!(stage.posts().is_empty());
}

#[test]
fn a_hundred_gets_at_once_make_one_flow_one_tab_one_token_request() {
    let mut stage = Stage::new();
    stage.sign_in("old", None, HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.effects.clear();
    let gets: Vec<_> = (0..100).map(|_| stage.get(true)).collect();
    stage.allow("access", None, HOUR);
    assert_eq!(stage.urls_shown().len(), 100);
    assert_eq!(stage.urls_shown().iter().filter(|shown| shown.open).count(), 1);
    assert_eq!(stage.posts().len(), 1);
    for get in gets {
        assert_eq!(stage.token(get), "access");
    }
}

#[test]
fn nothing_is_asked_of_a_person_for_a_caller_that_may_not() {
    let mut stage = Stage::new();
    let get = stage.get(false);
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::Listen(..))), "{:?}", stage.effects);
}

#[test]
fn another_server_another_port_and_http_match_no_profile() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    for (protocol, host) in [
        ("https", "rally1.rallydev.com.evil.example"),
        ("https", "evil.rally1.rallydev.com"),
        ("https", "rally1.rallydev.com:444"),
        ("http", "rally1.rallydev.com"),
        ("https", ""),
        ("", "rally1.rallydev.com"),
    ] {
        let get = stage.ask(for_host(protocol, host));
        assert!(matches!(stage.result(get), Some(Answer::NoMatch)), "{protocol} {host}");
    }
    let get = stage.ask(for_host("https", "Rally1.RallyDev.com:443"));
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_profile_chosen_in_the_shell_gives_no_token_to_another_server() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    for (host, matches) in [("github.com", false), ("rally1.rallydev.com", true)] {
        let target = Target {
            profile: Some("default".to_owned()),
            protocol: Some("https".to_owned()),
            host: Some(host.to_owned()),
            ..Target::default()
        };
        let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
        assert_eq!(matches!(stage.result(get), Some(Answer::Token(_))), matches, "{host}");
    }
}

#[test]
fn a_new_client_secret_is_proved_by_a_sign_in_even_while_a_token_is_valid() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    let login = stage.login(Some("better-secret"));
    assert!(stage.result(login).is_none());
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(done)) if !done.already));
    assert!(stage.vault["client-secret:default"].expose().contains("better-secret"));
}

#[test]
fn a_stop_waits_for_a_renewal_that_is_under_way() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    let stop = stage.ask(Ask::Stop);
    assert!(stage.result(stop).is_none());
    stage.answer_post(granted("new", Some("rotated"), HOUR));
    assert!(stage.vault["token:default"].expose().contains("rotated"));
    assert!(matches!(stage.result(stop), Some(Answer::Done)));
}

#[test]
fn another_user_name_matches_no_profile() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    for (name, matches) in [("you@example.com", false), ("ME@example.com", true), ("oauth", true)] {
        let target = Target {
            username: Some(name.to_owned()),
            uri: Some("https://rally1.rallydev.com/slm".to_owned()),
            ..Target::default()
        };
        let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
        assert_eq!(matches!(stage.result(get), Some(Answer::Token(_))), matches, "{name}");
    }
}

#[test]
fn the_url_is_shown_only_once_the_listener_is_open() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    assert!(stage.urls_shown().is_empty());
    stage.open_listener();
    let url = url::Url::parse(&stage.urls_shown()[0].url).unwrap();
    let parameters: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(parameters, ["state", "response_type", "redirect_uri", "client_id", "scope"]);
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    assert_eq!(uuid::Uuid::parse_str(&state).unwrap().get_version_num(), 4);
}

#[test]
fn login_without_a_stored_client_secret_says_that_it_needs_one() {
    let mut stage = Stage::new();
    let login = stage.login(None);
    assert_eq!(stage.fault(login), FaultKind::ClientSecretNeeded);
}

#[test]
fn the_second_login_finds_the_client_secret_in_the_vault() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.restart();
    stage.wait(Ticks::seconds(2 * HOUR));
    let login = stage.login(None);
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(done)) if done.kept && !done.already));
}

#[test]
fn a_login_with_a_valid_token_asks_nobody_unless_forced() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    let plain = stage.login(None);
    assert!(matches!(stage.result(plain), Some(Answer::SignedIn(done)) if done.already));
    let forced = stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert!(stage.result(forced).is_none());
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(forced), Some(Answer::SignedIn(done)) if !done.already));
    let get = stage.get(false);
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_login_reports_done_only_when_the_vault_has_the_token_and_the_secret() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", Some("refresh"), HOUR));
    // The stage answers saves at once, so this looks at the effects of the last event by itself.
    let look_up = stage.effects.iter().find_map(|effect| match effect {
        Effect::LookUpUser { epoch, .. } => Some(*epoch),
        _ => None,
    });
    let effects =
        stage.broker.handle(stage.now, &mut stage.dice, Event::UserLookedUp(look_up.unwrap(), user()));
    let saves: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Save(epoch, key, _) => Some((*epoch, key.kind)),
            _ => None,
        })
        .collect();
    assert_eq!(
        saves.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
        [ItemKind::ClientSecret, ItemKind::Token]
    );
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply(..))));
    stage.play(Event::Saved(saves[0].0, Ok(())));
    // A caller is not kept waiting for ever, but login waits for the vault's word.
    stage.wait(Ticks::seconds(15));
    assert!(stage.result(login).is_none());
    stage.play(Event::Saved(saves[1].0, Ok(())));
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(done)) if done.kept));
}

#[test]
fn a_get_is_served_from_memory_when_the_vault_is_slow() {
    let mut stage = Stage::new();
    stage.sign_in("old", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.effects.clear();
    let get = stage.get(false);
    let (epoch, _) = stage.posts()[0];
    let effects = stage.broker.handle(
        stage.now,
        &mut stage.dice,
        Event::Answered(epoch, granted("new", Some("refresh2"), HOUR)),
    );
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply(..))));
    stage.wait(Ticks::seconds(3));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_token_that_ends_soon_is_renewed_first_and_the_rotated_refresh_token_is_saved() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(50));
    let get = stage.get(false);
    assert!(
        matches!(stage.posts()[0].1, TokenForm::Refresh { refresh_token } if refresh_token.expose() == "refresh")
    );
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
    assert!(stage.vault["token:default"].expose().contains("refresh2"));
}

#[test]
fn a_passing_failure_of_renewal_serves_the_living_token_and_keeps_the_refresh_token() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(50));
    let get = stage.get(false);
    stage.answer_post(RawAnswer::Failed(SendTrouble::TimedOut));
    assert_eq!(stage.token(get), "access");
    stage.wait(Ticks::seconds(60));
    let late = stage.get(true);
    stage.answer_post(arrived(503, "busy"));
    assert_eq!(stage.fault(late), FaultKind::Unreachable, "no sign-in is asked for what will pass");
    stage.wait(Ticks::seconds(300));
    let later = stage.get(false);
    stage.answer_post(granted("new", None, HOUR));
    assert_eq!(stage.token(later), "new");
}

#[test]
fn a_refused_refresh_token_leads_to_a_sign_in() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    stage.answer_post(refused("invalid_grant", "Refresh token is expired"));
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
    let get = stage.get(true);
    stage.allow("new", None, HOUR);
    assert_eq!(stage.token(get), "new");
}

#[test]
fn an_unclear_refusal_does_not_cost_the_refresh_token() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    stage.answer_post(refused(
        "invalid_grant",
        "Invalid value for grant_type params - must be authorization_code",
    ));
    assert!(stage.vault["token:default"].expose().contains("refresh"));
    stage.wait(Ticks::seconds(60));
    let get = stage.get(false);
    stage.answer_post(granted("new", None, HOUR));
    assert_eq!(stage.token(get), "new");
}

fn erase(token: &str) -> Ask {
    Ask::Erase(Erase { target: Target::default(), token: Some(secret(token)) })
}

fn unauthorized() -> RawAnswer {
    arrived(401, "<html>Full authentication is required to access this resource</html>")
}

#[test]
fn an_erased_token_is_renewed_by_the_next_get() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    for token in ["another", "access", "access"] {
        let id = stage.ask(erase(token));
        assert!(matches!(stage.result(id), Some(Answer::Done)));
    }
    stage.answer_look_up(unauthorized());
    stage.restart();
    let get = stage.get(false);
    assert_eq!(stage.posts().len(), 1);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
    stage.ask(erase("access"));
    let get = stage.get(false);
    assert_eq!(stage.token(get), "new", "an erase of an older token does nothing");
}

#[test]
fn many_erases_of_one_token_ask_rally_once_and_renew_it_once() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    let mut gets = Vec::new();
    for _ in 0..50 {
        stage.ask(erase("access"));
        gets.push(stage.get(false));
    }
    let look_ups = stage.effects.iter().filter(|effect| matches!(effect, Effect::LookUpUser { .. })).count();
    assert_eq!(look_ups, 1);
    stage.answer_look_up(unauthorized());
    assert_eq!(stage.posts().len(), 1);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    for get in gets {
        assert_eq!(stage.token(get), "new");
    }
}

#[test]
fn a_program_that_may_only_read_does_not_cost_everybody_their_token() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.ask(erase("access"));
    let get = stage.get(false);
    assert!(stage.result(get).is_none(), "nobody gets it while it is suspected");
    stage.answer_look_up(user());
    assert_eq!(stage.token(get), "access");
    assert!(stage.posts().is_empty());
}

#[test]
fn an_erase_while_rally_is_away_costs_a_renewal_but_never_a_sign_in() {
    for (refresh, is_kept) in [(Some("refresh"), false), (None, true)] {
        let mut stage = Stage::new();
        stage.sign_in("access", refresh, HOUR);
        stage.ask(erase("access"));
        stage.answer_look_up(RawAnswer::Failed(SendTrouble::TimedOut));
        let get = stage.get(false);
        assert_eq!(matches!(stage.result(get), Some(Answer::Token(_))), is_kept, "{refresh:?}");
    }
}

#[test]
fn a_token_in_use_is_renewed_ahead_of_its_end_and_an_unused_one_is_not() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(HOUR));
    assert!(stage.posts().is_empty());
    stage.sign_in_again("second", HOUR);
    let get = stage.get(false);
    assert_eq!(stage.token(get), "second");
    stage.wait(Ticks::seconds(HOUR - 100));
    assert_eq!(stage.posts().len(), 1);
}

#[test]
fn denial_ends_the_flow_for_everybody_and_the_next_tab_waits() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.lose_token();
    let get = stage.get(true);
    let login = stage.login(None);
    let epoch = stage.open_listener();
    let denied = Redirect::Refused { error: "access_denied".to_owned(), description: None };
    stage.play(Event::Redirected(epoch, denied));
    assert_eq!((stage.fault(get), stage.fault(login)), (FaultKind::Denied, FaultKind::Denied));
    assert_eq!(*stage.page(), Page::Denied);
    stage.effects.clear();
    let storm = stage.get(true);
    assert_eq!(stage.fault(storm), FaultKind::SignInNeeded);
    assert_eq!(stage.effects.len(), 1, "no tab is opened unasked for a while");
    stage.login(None);
    stage.open_listener();
    assert!(stage.urls_shown()[0].open, "login always may");
}

#[test]
fn a_flow_that_nobody_answers_ends_and_its_late_redirect_changes_nothing() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.wait(Ticks::seconds(301));
    assert_eq!(stage.fault(login), FaultKind::TimedOut);
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    assert!(stage.posts().is_empty());
}

#[test]
fn a_redirect_is_used_once() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    for _ in 0..2 {
        stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    }
    assert_eq!(stage.posts().len(), 1);
}

#[test]
fn a_failed_login_leaves_the_old_token_and_the_old_secret_as_they_were() {
    for raw in [
        refused("invalid_grant", "code is expired"),
        refused("invalid_client", "wrong"),
        arrived(200, "<html>maintenance</html>"),
        RawAnswer::Failed(SendTrouble::TimedOut),
    ] {
        let mut stage = Stage::new();
        stage.sign_in("access", Some("refresh"), HOUR);
        let kept: Vec<_> = stage.vault.values().map(|record| record.expose().to_owned()).collect();
        let forced = stage.ask(Ask::Login(Login { force: true, ..login(Some("mistyped")) }));
        let epoch = stage.open_listener();
        stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
        stage.answer_post(raw);
        assert!(matches!(stage.result(forced), Some(Answer::Error(_))));
        assert!(matches!(stage.page(), Page::Failed(_)));
        assert_eq!(stage.vault.values().map(|record| record.expose().to_owned()).collect::<Vec<_>>(), kept);
        let get = stage.get(false);
        assert_eq!(stage.token(get), "access");
    }
}

#[test]
fn a_client_secret_that_rally_refuses_is_asked_for_again() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(refused("invalid_client", "wrong"));
    let again = stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert_eq!(stage.fault(again), FaultKind::ClientSecretNeeded);
}

#[test]
fn a_locked_keyring_is_told_and_asked_again_the_next_time() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.restart();
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    let get = stage.get(true);
    assert_eq!(stage.fault(get), FaultKind::VaultLocked);
    stage.vault_trouble = None;
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn without_a_keyring_the_token_is_kept_in_memory_and_login_says_so() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    let login = stage.login(Some("client-secret"));
    stage.allow("access", None, HOUR);
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(done)) if !done.kept));
    assert!(stage.effects.iter().any(
        |effect| matches!(effect, Effect::Tell(_, Answer::Notice(fault)) if fault.kind == FaultKind::VaultMissing)
    ));
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
    // The keyring comes up later, and then takes what waited for it.
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.vault.len(), 2);
}

#[test]
fn with_keyring_os_a_missing_keyring_is_an_error() {
    let mut stage = Stage::with(Keyring::Os, &["default"]);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    let login = stage.login(Some("client-secret"));
    assert_eq!(stage.fault(login), FaultKind::VaultMissing);
}

#[test]
fn a_taken_port_leaves_the_paste_and_who_cannot_paste_is_told() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.lose_token();
    let login = stage.login(None);
    let get = stage.get(true);
    let epoch = stage.listening();
    stage.play(Event::Listening(epoch, Err(rally_cred_proto::Fault::new(FaultKind::PortTaken, "taken"))));
    assert_eq!(stage.fault(get), FaultKind::PortTaken);
    let url = url::Url::parse(&stage.urls_shown()[0].url).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

    let wrong = stage.ask(Ask::Paste(Paste {
        profile: None,
        redirect: secret("http://localhost:8477/callback?code=c&state=x"),
    }));
    assert_eq!(stage.fault(wrong), FaultKind::BadRedirect);
    let address = format!("http://localhost:8477/callback?code=c&state={state}");
    let right = stage.ask(Ask::Paste(Paste { profile: None, redirect: secret(&address) }));
    assert!(matches!(stage.result(right), Some(Answer::Done)));
    stage.answer_post(granted("new", None, HOUR));
    stage.answer_look_up(user());
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(_))));
}

#[test]
fn a_token_that_rally_does_not_take_is_not_kept() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", None, HOUR));
    stage
        .answer_look_up(arrived(401, "<html>Full authentication is required to access this resource</html>"));
    assert_eq!(stage.fault(login), FaultKind::TokenRefused);
    assert!(stage.vault.is_empty());
}

#[test]
fn an_address_that_is_not_allowed_is_told_and_the_token_is_kept_for_one_that_is() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", None, HOUR));
    stage.answer_look_up(arrived(
        404,
        "<html>Your IP address, 1.2.3.4, is not within the allowed range that your subscription administrator has configured.</html>",
    ));
    assert_eq!(stage.fault(login), FaultKind::AddressNotAllowed);
    assert!(stage.vault.contains_key("token:default"));
}

#[test]
fn a_get_ends_at_its_own_time_and_the_flow_goes_on() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.lose_token();
    let short = stage.ask(Ask::Get(Get { interactive: true, wait: 5, ..Get::default() }));
    stage.open_listener();
    stage.wait(Ticks::seconds(6));
    assert_eq!(stage.fault(short), FaultKind::TimedOut);
    let joined = stage.get(true);
    assert!(!stage.urls_shown().last().unwrap().open);
    let epoch = stage.listening();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("new", None, HOUR));
    stage.answer_look_up(user());
    assert_eq!(stage.token(joined), "new");
}

#[test]
fn an_interrupted_login_takes_its_flow_along() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.open_listener();
    stage.play(Event::Left(login));
    assert!(matches!(stage.page(), Page::Failed(_)));
}

#[test]
fn logout_forgets_the_token_and_keeps_the_client_secret() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    let logout = stage.ask(Ask::Logout(Logout { profile: None, all: false, client_secret: false }));
    assert!(matches!(stage.result(logout), Some(Answer::SignedOut(done)) if done.profiles == ["default"]));
    assert_eq!(stage.vault.keys().collect::<Vec<_>>(), ["client-secret:default"]);
    let get = stage.get(false);
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
}

#[test]
fn logout_forgets_the_client_secret_only_when_asked_to() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    let logout = stage.ask(Ask::Logout(Logout { profile: None, all: false, client_secret: true }));
    assert!(matches!(stage.result(logout), Some(Answer::SignedOut(done)) if done.profiles == ["default"]));
    assert!(stage.vault.is_empty());
    let login = stage.login(None);
    assert_eq!(stage.fault(login), FaultKind::ClientSecretNeeded);
}

#[test]
fn logout_gives_nobody_the_token_on_the_way_out() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.ask(erase("access"));
    let get = stage.get(false);
    stage.ask(Ask::Logout(Logout { profile: None, all: false, client_secret: false }));
    assert_eq!(stage.fault(get), FaultKind::Denied);
}

#[test]
fn logout_ends_a_pending_flow_and_its_late_answer_signs_nobody_in() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.ask(Ask::Logout(Logout { profile: None, all: true, client_secret: false }));
    assert_eq!(stage.fault(login), FaultKind::Denied);
    stage.answer_post(granted("access", None, HOUR));
    assert!(stage.vault.is_empty());
}

#[test]
fn a_set_back_calendar_does_not_revive_a_dead_token() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    stage.wait(Ticks::seconds(HOUR + 1));
    stage.now.wall = stage.now.wall.after(-7200);
    let get = stage.get(false);
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
}

#[test]
fn a_reload_keeps_the_token_only_for_the_same_server_client_and_scope() {
    let config = |change: &dyn Fn(&mut Profile)| {
        let mut changed = profile("default");
        change(&mut changed);
        let profiles = BTreeMap::from([("default".to_owned(), changed)]);
        Config { default_profile: "default".to_owned(), keyring: Keyring::Auto, profiles }
    };
    let check = |change: &dyn Fn(&mut Profile), is_kept: bool| {
        let mut stage = Stage::new();
        stage.sign_in("access", None, HOUR);
        stage.play(Event::ConfigRead(Ok(config(change))));
        let get = stage.get(false);
        assert_eq!(matches!(stage.result(get), Some(Answer::Token(_))), is_kept);
    };
    check(&|_| {}, true);
    check(&|profile| profile.redirect_uri = RedirectUri::parse("http://localhost:9999/").unwrap(), true);
    check(&|profile| profile.scope = "other".to_owned(), false);
    check(&|profile| profile.client_id = "other".to_owned(), false);
    check(&|profile| profile.base_url = BaseUrl::parse("https://eu1.rallydev.com").unwrap(), false);
}

#[test]
fn a_broken_config_is_reported_and_the_old_one_stays_in_force() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    let reload = stage.ask(Ask::Reload);
    let fault = rally_cred_proto::Fault::new(FaultKind::ConfigBroken, "line 3");
    stage.play(Event::ConfigRead(Err(fault)));
    assert_eq!(stage.fault(reload), FaultKind::ConfigBroken);
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn status_shows_every_profile_and_reads_the_vault_first() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.restart();
    let status = stage.ask(Ask::Status(StatusAsk::default()));
    assert!(matches!(stage.result(status), Some(Answer::Status(_))));
    let shown = stage.profiles()[0];
    assert_eq!(
        (shown.state, shown.ready, shown.kept, shown.renewable),
        (ProfileState::SignedIn, true, true, true)
    );
    assert_eq!(shown.username.as_deref(), Some("me@example.com"));
    assert_eq!(shown.expires_at, Some(T0.wall.0 + 3600));
}

#[test]
fn status_with_check_asks_rally() {
    let mut stage = Stage::new();
    stage.sign_in("access", None, HOUR);
    let status = stage.ask(Ask::Status(StatusAsk { profile: None, check: true }));
    assert!(stage.result(status).is_none());
    stage.answer_look_up(arrived(401, "<html>"));
    assert!(matches!(stage.result(status), Some(Answer::Status(_))));
    let shown = stage.profiles()[0];
    assert_eq!((shown.checked, shown.ready), (Some(false), false));
}

#[test]
fn a_stop_waits_for_the_vault_then_closes_the_door_before_it_answers() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", None, HOUR));
    let look_up = stage.effects.iter().find_map(|effect| match effect {
        Effect::LookUpUser { epoch, .. } => Some(*epoch),
        _ => None,
    });
    let effects =
        stage.broker.handle(stage.now, &mut stage.dice, Event::UserLookedUp(look_up.unwrap(), user()));
    let stop = stage.ask(Ask::Stop);
    assert_eq!(stage.fault(login), FaultKind::Stopping);
    assert!(stage.result(stop).is_none());
    for effect in effects {
        if let Effect::Save(epoch, ..) = effect {
            stage.play(Event::Saved(epoch, Ok(())));
        }
    }
    let end: Vec<_> = stage.effects.iter().rev().take(3).collect();
    assert!(matches!(end[..], [Effect::Exit, Effect::Reply(_, Answer::Done), Effect::CloseDoor]), "{end:?}");
}

#[test]
fn an_unconfigured_daemon_says_so_and_git_hears_nothing() {
    let facts = Facts { release: "0".to_owned(), pid: 1, config: "config.toml".to_owned() };
    let mut stage = Stage::new();
    stage.broker = Broker::new(facts, Config::default());
    let get = stage.get(false);
    assert_eq!(stage.fault(get), FaultKind::NotConfigured);
    let get = stage.ask(for_host("https", "github.com"));
    assert!(matches!(stage.result(get), Some(Answer::NoMatch)));
}

#[test]
fn a_login_that_waits_for_a_slow_vault_opens_no_second_tab() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", None, HOUR));
    let look_up = stage.effects.iter().find_map(|effect| match effect {
        Effect::LookUpUser { epoch, .. } => Some(*epoch),
        _ => None,
    });
    // The saves that this orders are never answered.
    stage.broker.handle(stage.now, &mut stage.dice, Event::UserLookedUp(look_up.unwrap(), user()));
    stage.effects.clear();
    stage.wait(Ticks::seconds(10));
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::Listen(..))), "{:?}", stage.effects);
}

#[test]
fn a_login_whose_token_ends_before_its_user_is_found_opens_no_second_tab() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.play(Event::Redirected(epoch, Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", None, 10));
    stage.wait(Ticks::seconds(15));
    stage.answer_look_up(user());
    assert!(matches!(stage.result(login), Some(Answer::SignedIn(_))));
    assert_eq!(stage.effects.iter().filter(|effect| matches!(effect, Effect::Listen(..))).count(), 1);
}

#[test]
fn a_keyring_that_gives_no_client_secret_is_not_asked_round_and_round() {
    let mut stage = Stage::new();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.restart();
    let get = stage.get(false);
    assert_eq!(stage.token(get), "access");
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    stage.loads = 0;
    stage.wait(Ticks::seconds(HOUR - 1));
    assert!((1..=10).contains(&stage.loads), "asked {} times", stage.loads);
}

#[test]
fn a_taken_port_is_told_only_to_those_who_wait_for_the_sign_in() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.login(Some("client-secret"));
    let epoch = stage.listening();
    // The vault is slow this time, so the status waits while the listener fails.
    let id = AskId(99);
    let ask = Ask::Status(StatusAsk::default());
    stage.broker.handle(stage.now, &mut stage.dice, Event::Asked { id, peer: Peer::default(), ask });
    stage.play(Event::Listening(epoch, Err(rally_cred_proto::Fault::new(FaultKind::PortTaken, "taken"))));
    stage.wait(Ticks::seconds(6));
    assert!(matches!(stage.result(id), Some(Answer::Status(_))), "{:?}", stage.result(id));
}

impl Stage {
    /// A caller says that the token does not work, and Rally agrees.
    fn lose_token(&mut self) {
        self.ask(Ask::Erase(Erase { target: Target::default(), token: None }));
        self.answer_look_up(unauthorized());
        self.effects.clear();
    }

    fn sign_in_again(&mut self, access: &str, life: u64) {
        self.ask(Ask::Login(Login { force: true, ..login(None) }));
        self.allow(access, Some("refresh"), life);
        self.effects.clear();
    }
}
