//! The broker's decisions: sign-ins, well and otherwise.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;
use rally_cred_proto::remedy::Command;

#[test]
fn a_new_client_secret_is_proved_by_a_sign_in_even_while_a_token_is_valid() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let login = stage.login(Some("better-secret"));
    assert!(stage.result(login).is_none());
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if !done.already));
    assert!(stage.vault["client-secret:default"].expose().contains("better-secret"));
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
fn a_login_with_a_valid_token_asks_nobody_unless_forced() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    let plain = stage.login(None);
    assert!(matches!(stage.result(plain), Some(Reply::SignedIn(done)) if done.already));
    let forced = stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert!(stage.result(forced).is_none());
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(forced), Some(Reply::SignedIn(done)) if !done.already));
    assert_eq!(stage.served(), "new");
}

#[test]
fn denial_ends_the_flow_for_everybody_and_the_next_tab_waits() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.lose_token();
    let get = stage.get(true);
    let login = stage.login(None);
    stage.deny();
    assert_eq!((stage.fault(get), stage.fault(login)), (FaultKind::Denied, FaultKind::Denied));
    assert_eq!(*stage.page(), Page::Denied(Command::new("rally-cred login")));
    stage.effects.clear();
    let storm = stage.get(true);
    assert_eq!(stage.fault(storm), FaultKind::SignInNeeded);
    assert_eq!(stage.effects.len(), 1, "no tab is opened unasked for a while");
    stage.login(None);
    stage.open_listener();
    assert!(stage.urls_shown()[0].open, "login always may");
}

#[test]
fn the_command_that_is_said_to_help_is_for_the_profile_that_failed() {
    let mut stage = Stage::with(Keyring::Auto, &["home", "work"]);
    let ask = Login { profile: Some("work".to_owned()), ..login(Some("client-secret")) };
    let remedy = |stage: &Stage, id| match stage.result(id) {
        Some(Reply::Error(fault)) => fault.remedy.clone().unwrap(),
        other => panic!("no fault but {other:?}"),
    };
    let id = stage.ask(Ask::Login(ask.clone()));
    stage.deny();
    assert_eq!(remedy(&stage, id).to_string(), "rally-cred login work");
    assert_eq!(*stage.page(), Page::Denied(Command::new("rally-cred login work")));

    let id = stage.ask(Ask::Login(ask));
    stage.bring_code();
    stage.answer_post(refused("invalid_client", "Invalid client_id or client_secret"));
    assert_eq!(remedy(&stage, id).to_string(), "rally-cred login work --client-secret-stdin");
    assert!(matches!(stage.page(), Page::Failed(fault) if fault.remedy == Some(remedy(&stage, id))));
}

#[test]
fn a_flow_that_nobody_answers_ends_and_its_late_redirect_changes_nothing() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    stage.wait(Ticks::seconds(301));
    assert_eq!(stage.fault(login), FaultKind::TimedOut);
    // A wrong client ID or callback URL ends at a page that the daemon never sees.
    let Some(Reply::Error(rally_cred_proto::Fault { remedy: Some(remedy), .. })) = stage.result(login) else {
        panic!("no remedy")
    };
    for part in ["rally-cred login; ", "client_id client", "redirect_uri http://", "/index.html#/clients"] {
        assert!(remedy.to_string().contains(part), "no {part:?} in {remedy}");
    }
    stage.hear(epoch, Outcome::Redirected(Redirect::Code(secret("code"))));
    assert!(stage.posts().is_empty());
}

#[test]
fn a_redirect_is_used_once() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    let epoch = stage.open_listener();
    for _ in 0..2 {
        stage.hear(epoch, Outcome::Redirected(Redirect::Code(secret("code"))));
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
        let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
        let kept: Vec<_> = stage.vault.values().map(|record| record.expose().to_owned()).collect();
        let forced = stage.ask(Ask::Login(Login { force: true, ..login(Some("mistyped")) }));
        stage.bring_code();
        stage.answer_post(raw);
        assert!(matches!(stage.result(forced), Some(Reply::Error(_))));
        assert!(matches!(stage.page(), Page::Failed(_)));
        assert_eq!(stage.vault.values().map(|record| record.expose().to_owned()).collect::<Vec<_>>(), kept);
        assert_eq!(stage.served(), "access");
    }
}

#[test]
fn a_client_secret_that_rally_refuses_is_asked_for_again() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    stage.bring_code();
    stage.answer_post(refused("invalid_client", "wrong"));
    let again = stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert_eq!(stage.fault(again), FaultKind::ClientSecretNeeded);
}

#[test]
fn a_taken_port_leaves_the_paste_and_who_cannot_paste_is_told() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.lose_token();
    let login = stage.login(None);
    let get = stage.get(true);
    let epoch = stage.listening();
    stage.hear(epoch, Outcome::Listening(Err(rally_cred_proto::Fault::new(FaultKind::PortTaken, "taken"))));
    assert_eq!(stage.fault(get), FaultKind::PortTaken);
    let url = url::Url::parse(&stage.urls_shown()[0].url).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

    let wrong = stage.ask(Ask::Paste(Paste {
        profile: None,
        redirect: secret("http://localhost:8477/callback?code=c&state=x"),
    }));
    assert_eq!(stage.fault(wrong), FaultKind::BadRedirect);
    let address = format!("http://localhost:8477/callback?code=c&state={state}");
    stage.does(Ask::Paste(Paste { profile: None, redirect: secret(&address) }));
    stage.answer_post(granted("new", None, HOUR));
    stage.answer_look_up(user());
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(_))));
}

/// The address that the newest authorization page leads to.
fn redirect_of(stage: &Stage) -> Ask {
    let url = url::Url::parse(&stage.urls_shown().last().unwrap().url).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let address = format!("http://localhost:8477/callback?code=c&state={state}");
    Ask::Paste(Paste { profile: None, redirect: secret(&address) })
}

#[test]
fn a_pasted_code_that_has_ended_is_told_and_the_sign_in_goes_on_with_a_new_address() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    let get = stage.get(true);
    stage.open_listener();
    let first = redirect_of(&stage);
    stage.does(first.clone());
    stage.answer_post(refused("invalid_grant", "code is expired"));
    // Who cannot paste another is not kept waiting.
    assert_eq!(stage.fault(get), FaultKind::CodeRefused);
    assert!(stage.result(login).is_none());
    let notices: Vec<_> = stage.effects.iter().filter(|effect| matches!(effect, Effect::Tell(id, message::Event::Notice(fault)) if *id == login && fault.kind == FaultKind::CodeRefused)).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");

    stage.open_listener();
    let old = stage.ask(first);
    assert_eq!(stage.fault(old), FaultKind::BadRedirect);
    let second = redirect_of(&stage);
    stage.ask(second);
    stage.answer_post(granted("access", None, HOUR));
    stage.answer_look_up(user());
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(_))));
}

#[test]
fn a_sign_in_does_not_outlive_its_time_however_many_ended_codes_are_pasted() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    for _ in 0..3 {
        stage.open_listener();
        let paste = redirect_of(&stage);
        stage.ask(paste);
        stage.wait(Ticks::seconds(60));
        stage.answer_post(refused("invalid_grant", "code is expired"));
    }
    stage.open_listener();
    stage.wait(Ticks::seconds(120));
    assert_eq!(stage.fault(login), FaultKind::TimedOut);
}

#[test]
fn a_token_that_rally_does_not_take_is_not_kept() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.bring_code();
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
    stage.bring_code();
    stage.answer_post(granted("access", None, HOUR));
    stage.answer_look_up(arrived(
        404,
        "<html>Your IP address, 1.2.3.4, is not within the allowed range that your subscription administrator has configured.</html>",
    ));
    assert_eq!(stage.fault(login), FaultKind::AddressNotAllowed);
    assert!(stage.vault.contains_key("token:default"));
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
fn a_login_whose_token_ends_before_its_user_is_found_opens_no_second_tab() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.bring_code();
    stage.answer_post(granted("access", None, 10));
    stage.wait(Ticks::seconds(15));
    stage.answer_look_up(user());
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(_))));
    assert_eq!(stage.effects.iter().filter(|effect| matches!(effect, Effect::Listen(..))).count(), 1);
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
    stage.hear(epoch, Outcome::Listening(Err(rally_cred_proto::Fault::new(FaultKind::PortTaken, "taken"))));
    stage.wait(Ticks::seconds(6));
    assert!(matches!(stage.result(id), Some(Reply::Status(_))), "{:?}", stage.result(id));
}
