//! The broker's decisions: whose token it is.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

/// A stage whose profile is for this user only.
fn for_user(username: &str) -> Stage {
    let mut stage = Stage::new();
    stage.configure(&[("default", Some(username))]);
    stage
}

impl Stage {
    fn configure(&mut self, profiles: &[(&str, Option<&str>)]) {
        let of = |(name, username): &(&str, Option<&str>)| Profile {
            username: username.map(str::to_owned),
            ..profile(name)
        };
        self.play(Event::ConfigRead(Ok(config_of(profiles.iter().map(of)))));
        self.effects.clear();
    }

    /// Signs in while WSAPI cannot say whose the token is.
    fn sign_in_unseen(&mut self) -> AskId {
        let login = self.login(Some("client-secret"));
        self.bring_code();
        self.answer_post(granted("access", Some("refresh"), HOUR));
        self.answer_look_up(arrived(503, "busy"));
        login
    }

    fn get_as(&mut self, username: &str) -> AskId {
        let target = Target { username: Some(username.to_owned()), ..Target::default() };
        self.ask(Ask::Get(Get { target, ..Get::default() }))
    }
}

#[test]
fn somebody_elses_token_is_not_given_out_because_the_look_up_failed_once() {
    let mut stage = for_user("you@example.com");
    let login = stage.sign_in_unseen();
    assert_eq!(stage.fault(login), FaultKind::Unreachable, "it is not reported as done");
    assert!(matches!(stage.page(), Page::Failed(_)));
    assert_eq!(stage.refusal(), FaultKind::Unreachable);
    stage.wait(Ticks::seconds(5));
    let get = stage.get_as("you@example.com");
    assert!(stage.result(get).is_none(), "Rally is asked again first");
    stage.answer_look_up(user());
    assert_eq!(stage.fault(get), FaultKind::Denied);
    assert!(!stage.vault.contains_key("token:default"));
}

#[test]
fn the_right_users_token_is_given_out_without_another_sign_in_once_rally_can_say() {
    let mut stage = for_user("Me@Example.com");
    stage.sign_in_unseen();
    stage.wait(Ticks::seconds(5));
    let get = stage.get(false);
    stage.answer_look_up(user());
    assert_eq!(stage.token(get), "access");
    stage.restart();
    stage.configure(&[("default", Some("me@example.com"))]);
    assert_eq!(stage.served(), "access", "whose it is was saved");
    assert_eq!(stage.look_ups(), 0);
}

#[test]
fn a_caller_who_names_a_user_waits_for_rallys_word_and_one_who_names_none_does_not() {
    let mut stage = Stage::new();
    stage.sign_in_unseen();
    stage.effects.clear();
    assert_eq!(stage.served(), "access");
    let placeholder = stage.get_as("oauth");
    assert_eq!(stage.token(placeholder), "access");
    let named = stage.get_as("you@example.com");
    assert!(stage.result(named).is_none());
    stage.answer_look_up(user());
    assert!(matches!(stage.result(named), Some(Reply::NoMatch)));
}

#[test]
fn a_status_check_that_sees_somebody_else_says_so_and_ends_it() {
    let mut stage = for_user("you@example.com");
    stage.sign_in_unseen();
    stage.effects.clear();
    stage.ask(Ask::Status(StatusAsk { check: true, ..StatusAsk::default() }));
    stage.answer_look_up(user());
    let shown = stage.profiles()[0];
    assert!(!shown.ready);
    assert_eq!(shown.fault.as_ref().map(|fault| fault.kind), Some(FaultKind::Denied));
}

#[test]
fn a_user_name_that_is_configured_later_holds_for_a_token_that_was_there_before() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.configure(&[("default", Some("you@example.com"))]);
    assert_eq!(stage.refusal(), FaultKind::Denied);
}

#[test]
fn of_two_profiles_of_one_server_the_one_with_the_wanted_user_answers_after_a_restart_too() {
    let mut stage = Stage::new();
    stage.configure(&[("default", None), ("other", None)]);
    stage.sign_in("access", None, HOUR);
    stage.sign_in_to("other", "theirs", "they@example.com");
    stage.restart();
    stage.configure(&[("default", None), ("other", None)]);
    let target = Target {
        protocol: Some("https".to_owned()),
        host: Some("rally1.rallydev.com".to_owned()),
        username: Some("they@example.com".to_owned()),
        ..Target::default()
    };
    let get = stage.ask(Ask::Get(Get { target, ..Get::default() }));
    assert_eq!(stage.token(get), "theirs");
}
