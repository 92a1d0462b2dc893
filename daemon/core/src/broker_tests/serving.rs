//! The broker's decisions: who is served, and with what.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

#[test]
fn a_get_after_a_login_is_answered_from_memory() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.loads = 0;
    assert_eq!(stage.served(), "access");
    assert_eq!((stage.loads, stage.effects.len()), (0, 1), "{:?}", stage.effects);
}

#[test]
fn a_hundred_gets_at_once_make_one_flow_one_tab_one_token_request() {
    let mut stage = Stage::signed_in("old", None, HOUR);
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
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::Listen(..))), "{:?}", stage.effects);
}

#[test]
fn another_server_another_port_and_http_match_no_profile() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    for (protocol, host) in [
        ("https", "rally1.rallydev.com.evil.example"),
        ("https", "evil.rally1.rallydev.com"),
        ("https", "rally1.rallydev.com:444"),
        ("http", "rally1.rallydev.com"),
        ("https", ""),
        ("", "rally1.rallydev.com"),
    ] {
        let get = stage.ask(for_host(protocol, host));
        assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{protocol} {host}");
    }
    let get = stage.ask(for_host("https", "Rally1.RallyDev.com:443"));
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_profile_chosen_in_the_shell_gives_no_token_to_another_server() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    for (host, matches) in [("github.com", false), ("rally1.rallydev.com", true)] {
        let target = Target {
            profile: Some("default".to_owned()),
            protocol: Some("https".to_owned()),
            host: Some(host.to_owned()),
            ..Target::default()
        };
        let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
        assert_eq!(matches!(stage.result(get), Some(Reply::Token(_))), matches, "{host}");
    }
}

#[test]
fn another_user_name_matches_no_profile() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    for (name, matches) in [("you@example.com", false), ("ME@example.com", true), ("oauth", true)] {
        let target = Target {
            username: Some(name.to_owned()),
            uri: Some("https://rally1.rallydev.com/slm".to_owned()),
            ..Target::default()
        };
        let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
        assert_eq!(matches!(stage.result(get), Some(Reply::Token(_))), matches, "{name}");
    }
}

#[test]
fn a_get_ends_at_its_own_time_and_the_flow_goes_on() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.lose_token();
    let short = stage.ask(Ask::Get(Get { interactive: true, wait: 5, ..Get::default() }));
    stage.open_listener();
    stage.wait(Ticks::seconds(6));
    assert_eq!(stage.fault(short), FaultKind::TimedOut);
    let joined = stage.get(true);
    assert!(!stage.urls_shown().last().unwrap().open);
    let epoch = stage.listening();
    stage.hear(epoch, Outcome::Redirected(Redirect::Code(secret("code"))));
    stage.answer_post(granted("new", None, HOUR));
    stage.answer_look_up(user());
    assert_eq!(stage.token(joined), "new");
}

#[test]
fn a_profile_is_offered_to_be_made_only_if_it_can_have_the_name() {
    for (name, is_offered) in [("wrok", true), ("a b", false)] {
        let mut stage = Stage::new();
        let target = Target { profile: Some(name.to_owned()), ..Target::default() };
        let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
        let Some(Reply::Error(fault)) = stage.result(get) else { panic!("{:?}", stage.result(get)) };
        assert_eq!(fault.to_string().contains("rally-cred setup"), is_offered, "{fault}");
    }
}
