//! The broker's decisions: the restricted socket, and what comes by it.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{
    Fault, Origin,
    forwarding::Door,
    git::Credential,
    message::{ForwardOpen, Store},
};

use super::*;
use crate::{
    also::{Also, TokenHeader},
    profile::StaticHosts,
};

const SOCKET: &str = "/run/user/1000/rally-cred/forward.sock";

impl Stage {
    fn forwarding(names: &[&str], forward: &[&str]) -> Self {
        let mut stage = Self::with(Keyring::Auto, names);
        let profiles = names.iter().map(|name| ((*name).to_owned(), profile(name))).collect();
        stage.reload_with(profiles, Some(forward.iter().map(|name| (*name).to_owned()).collect()));
        stage
    }

    fn reload_with(&mut self, profiles: BTreeMap<String, Profile>, forward: Option<Vec<String>>) {
        let default_profile = "default".to_owned();
        let config = Config { default_profile, profiles, forward, ..Config::default() };
        self.play(Event::ConfigRead(Ok(config)));
    }

    fn ask_from_afar(&mut self, ask: Ask) -> AskId {
        self.ask_as(Peer { door: Door::Forwarded, ..Peer::default() }, ask)
    }

    fn get_from_afar(&mut self, target: Target) -> AskId {
        self.ask_from_afar(Ask::Get(Get { target, interactive: true, ..Get::default() }))
    }

    pub(super) fn sign_in_to(&mut self, name: &str, access: &str, username: &str) {
        let login = Login { profile: Some(name.to_owned()), ..login(Some("client-secret")) };
        self.ask(Ask::Login(login));
        self.bring_code();
        self.answer_post(granted(access, None, HOUR));
        let user = format!(r#"{{"User":{{"UserName":"{username}","Errors":[],"Warnings":[]}}}}"#);
        self.answer_look_up(arrived(200, &user));
        self.effects.clear();
    }

    /// The socket that was ordered last opens, or does not.
    fn socket_opens(&mut self, outcome: Result<(), Fault>) {
        let ordered = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::OpenForward(epoch) => Some(*epoch),
            _ => None,
        });
        let outcome = outcome.map(|()| SOCKET.to_owned());
        self.hear(ordered.expect("no socket was ordered"), Outcome::ForwardOpened(outcome));
    }

    fn orders(&self) -> (usize, usize) {
        let count = |is: fn(&Effect) -> bool| self.effects.iter().filter(|effect| is(effect)).count();
        let opened = count(|effect| matches!(effect, Effect::OpenForward(_)));
        (opened, count(|effect| matches!(effect, Effect::CloseForward)))
    }

    fn told_of_socket(&self, id: AskId) -> Vec<&ForwardOpen> {
        of_effects!(self, Effect::Tell(to, message::Event::ForwardOpen(open)) if *to == id => open)
    }
}

fn named(name: &str) -> Target {
    Target { profile: Some(name.to_owned()), ..Target::default() }
}

fn server(username: Option<&str>) -> Target {
    Target {
        uri: Some("https://rally1.rallydev.com/slm".to_owned()),
        username: username.map(str::to_owned),
        ..Target::default()
    }
}

#[test]
fn the_socket_is_there_while_somebody_forwards_it_and_is_made_once_for_all_of_them() {
    let mut stage = Stage::new();
    let first = stage.ask(Ask::Forward);
    stage.socket_opens(Ok(()));
    let second = stage.ask(Ask::Forward);
    assert_eq!(stage.orders(), (1, 0));
    for id in [first, second] {
        let expected = ForwardOpen { socket: SOCKET.to_owned(), profiles: vec!["default".to_owned()] };
        assert_eq!(stage.told_of_socket(id), [&expected]);
    }
    stage.play(Event::Left(first));
    assert_eq!(stage.orders(), (1, 0));
    stage.play(Event::Left(second));
    assert_eq!(stage.orders(), (1, 1));
    stage.ask(Ask::Forward);
    assert_eq!(stage.orders(), (2, 1));
}

#[test]
fn a_socket_that_cannot_be_made_is_the_answer_and_is_tried_again_by_the_next() {
    let mut stage = Stage::new();
    let first = stage.ask(Ask::Forward);
    stage.socket_opens(Err(Fault::new(FaultKind::Failed, "something is in its place")));
    assert_eq!(stage.fault(first), FaultKind::Failed);
    assert_eq!(stage.orders(), (1, 0));
    let second = stage.ask(Ask::Forward);
    stage.socket_opens(Ok(()));
    assert_eq!(stage.told_of_socket(second).len(), 1);
}

#[test]
fn a_socket_of_the_config_file_opens_by_itself_and_goes_with_the_line() {
    let config = || Config { forward: Some(vec!["default".to_owned()]), ..config_with(Keyring::Auto) };
    let mut stage = Stage::new();
    stage.broker = Broker::new(Facts::default(), config());
    assert!(stage.broker.next_deadline().is_some_and(|at| at <= stage.now.tick), "no event need come");
    stage.wait(Ticks(0));
    stage.socket_opens(Ok(()));
    let client = stage.ask(Ask::Forward);
    stage.play(Event::Left(client));
    assert_eq!(stage.orders(), (1, 0));
    stage.play(Event::ConfigRead(Ok(Config { forward: None, ..config() })));
    assert_eq!(stage.orders(), (1, 1));
}

#[test]
fn whoever_forwards_hears_of_other_profiles_and_of_the_stop() {
    let mut stage = Stage::forwarding(&["default", "work"], &["default"]);
    stage.socket_opens(Ok(()));
    let client = stage.ask(Ask::Forward);
    let both = ["default", "work"].map(|name| (name.to_owned(), profile(name)));
    stage.reload_with(both.into(), Some(vec!["work".to_owned()]));
    let profiles: Vec<_> = stage.told_of_socket(client).iter().map(|open| open.profiles.clone()).collect();
    assert_eq!(profiles, [["default"], ["work"]]);
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(client), FaultKind::Stopping);
    assert_eq!(stage.orders(), (1, 1));
}

#[test]
fn whoever_leaves_before_the_socket_is_there_leaves_none_behind_and_nobody_is_told_of_that_one() {
    let mut stage = Stage::new();
    let first = stage.ask(Ask::Forward);
    let ordered = of_effects!(stage, Effect::OpenForward(epoch) => *epoch);
    stage.play(Event::Left(first));
    assert_eq!(stage.orders(), (1, 1));
    let second = stage.ask(Ask::Forward);
    stage.hear(ordered[0], Outcome::ForwardOpened(Ok("/gone".to_owned())));
    assert!(stage.told_of_socket(second).is_empty());
    stage.socket_opens(Ok(()));
    assert_eq!(stage.told_of_socket(second).len(), 1);
}

#[test]
fn a_socket_of_the_config_file_that_could_not_be_made_is_tried_again_by_a_reload() {
    let mut stage = Stage::forwarding(&["default"], &["default"]);
    stage.socket_opens(Err(Fault::new(FaultKind::Failed, "something is in its place")));
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.orders(), (1, 0));
    stage.reload_with([("default".to_owned(), profile("default"))].into(), Some(vec!["default".to_owned()]));
    assert_eq!(stage.orders(), (2, 0));
}

#[test]
fn a_status_names_what_is_forwarded_once_the_socket_is_there() {
    let mut stage = Stage::forwarding(&["default"], &["default"]);
    let forwards = |stage: &mut Stage| {
        let id = stage.ask(Ask::Status(StatusAsk::default()));
        let Some(Reply::Status(status)) = stage.result(id) else { panic!("{:?}", stage.result(id)) };
        status.forwards.clone()
    };
    assert!(forwards(&mut stage).is_empty());
    stage.socket_opens(Ok(()));
    assert_eq!(forwards(&mut stage), ["default"]);
}

#[test]
fn a_get_from_afar_has_what_is_there_and_begins_no_sign_in() {
    let mut stage = Stage::forwarding(&["default"], &["default"]);
    let get = stage.get_from_afar(Target::default());
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
    assert!(stage.urls_shown().is_empty());
    stage.sign_in_to("default", "access", "me@example.com");
    let get = stage.get_from_afar(Target::default());
    assert_eq!(stage.token(get), "access");
}

#[test]
fn another_profile_is_not_had_from_afar_by_name_by_server_or_by_its_user() {
    let mut stage = Stage::forwarding(&["default", "work"], &["work"]);
    stage.sign_in_to("default", "private", "me@example.com");
    stage.sign_in_to("work", "access", "they@example.com");
    // By the own socket, the default profile is the server's first.
    let own = stage.ask(Ask::Get(Get { target: server(None), ..Get::default() }));
    assert_eq!(stage.token(own), "private");
    for target in [Target::default(), named("default")] {
        let get = stage.get_from_afar(target);
        assert_eq!(stage.fault(get), FaultKind::UnknownProfile);
    }
    let get = stage.get_from_afar(server(None));
    assert_eq!(stage.token(get), "access");
    let get = stage.get_from_afar(server(Some("me@example.com")));
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{:?}", stage.result(get));
}

#[test]
fn a_request_for_another_user_does_not_go_on_to_a_profile_that_is_not_forwarded() {
    let mut stage = Stage::forwarding(&["default", "work"], &["work"]);
    stage.sign_in_to("default", "private", "me@example.com");
    // Whose the token of `work` is, is not known when it is asked for.
    let login = Login { profile: Some("work".to_owned()), ..login(Some("client-secret")) };
    stage.ask(Ask::Login(login));
    stage.bring_code();
    stage.answer_post(granted("access", None, HOUR));
    stage.answer_look_up(arrived(503, "busy"));
    stage.effects.clear();
    let own = Get { target: server(Some("me@example.com")), ..Get::default() };
    let get = stage.get_from_afar(own.target.clone());
    assert!(stage.result(get).is_none(), "{:?}", stage.result(get));
    stage.answer_look_up(arrived(
        200,
        r#"{"User":{"UserName":"they@example.com","Errors":[],"Warnings":[]}}"#,
    ));
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{:?}", stage.result(get));
    let get = stage.ask(Ask::Get(own));
    assert_eq!(stage.token(get), "private");
}

#[test]
fn a_status_from_afar_shows_the_profiles_that_are_forwarded() {
    let mut stage = Stage::forwarding(&["default", "work"], &["work"]);
    stage.ask_from_afar(Ask::Status(StatusAsk::default()));
    let shown: Vec<_> = stage.profiles().iter().map(|profile| profile.profile.clone()).collect();
    assert_eq!(shown, ["work"]);
    let other =
        stage.ask_from_afar(Ask::Status(StatusAsk { profile: Some("default".to_owned()), check: false }));
    assert_eq!(stage.fault(other), FaultKind::UnknownProfile);
}

#[test]
fn a_further_server_of_a_profile_that_is_not_forwarded_gets_nothing_from_afar() {
    let also = vec![Also {
        origin: Origin::from_uri("https://mcp.rallydev.com").unwrap(),
        header: TokenHeader::parse("ZSESSIONID").unwrap(),
    }];
    let mut stage = Stage::forwarding(&["default", "work"], &["work"]);
    let profiles = [Profile { also, ..profile("default") }, profile("work")];
    let profiles = profiles.map(|profile| (profile.name.to_string(), profile)).into();
    stage.reload_with(profiles, Some(vec!["work".to_owned()]));
    stage.sign_in_to("default", "private", "me@example.com");
    let target = Target { uri: Some("https://mcp.rallydev.com/mcp".to_owned()), ..Target::default() };
    let own = stage.ask(Ask::Get(Get { target: target.clone(), ..Get::default() }));
    assert_eq!(stage.token(own), "private");
    let get = stage.get_from_afar(target);
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{:?}", stage.result(get));
}

#[test]
fn a_static_credential_is_not_had_from_afar() {
    let mut stage = Stage::new();
    stage.broker = Broker::new(
        Facts::default(),
        Config { static_hosts: StaticHosts::All, ..config_with(Keyring::Auto) },
    );
    let credential = Credential { password: Some(secret("password")), ..Credential::default() };
    let credential = Credential { username: Some("me".to_owned()), ..credential };
    let (protocol, host) = ("https".to_owned(), "git.example.com".to_owned());
    stage.ask(Ask::Store(Store { protocol, host, path: None, credential }));
    let own = stage.ask(for_host("https", "git.example.com"));
    assert!(matches!(stage.result(own), Some(Reply::StaticCredential(_))));
    let get = stage.ask_from_afar(for_host("https", "git.example.com"));
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{:?}", stage.result(get));
}

#[test]
fn who_waits_from_afar_does_not_get_a_token_once_its_profile_is_forwarded_no_more() {
    let mut stage = Stage::forwarding(&["default"], &["default"]);
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    let (get, own) = (stage.get_from_afar(Target::default()), stage.get(false));
    let renewal = stage.posts().last().unwrap().0;
    stage.reload_with([("default".to_owned(), profile("default"))].into(), Some(Vec::new()));
    assert_eq!(stage.fault(get), FaultKind::UnknownProfile);
    stage.play(Event::Outcome(renewal, Outcome::Answered(granted("renewed", Some("refresh"), HOUR))));
    assert_eq!(stage.token(own), "renewed");
}
