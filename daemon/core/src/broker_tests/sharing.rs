//! The broker's decisions where another daemon uses the same keyring.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

/// A record as the other daemon would leave it: this one's, with its tokens replaced.
fn by_the_other(record: &Secret, access: &str, refresh: Option<&str>) -> Secret {
    let mut record: serde_json::Value = serde_json::from_str(record.expose()).unwrap();
    record["access_token"] = access.into();
    match refresh {
        Some(refresh) => record["refresh_token"] = refresh.into(),
        None => drop(record.as_object_mut().unwrap().remove("refresh_token")),
    }
    record["obtained_at"] = (record["obtained_at"].as_i64().unwrap() + 200).into();
    record["expires_at"] = (record["expires_at"].as_i64().unwrap() + 3600).into();
    secret(&record.to_string())
}

impl Stage {
    fn item(&self) -> Secret {
        self.vault["token:default"].clone()
    }

    fn put_item(&mut self, record: Secret) {
        self.vault.insert("token:default".to_owned(), record);
    }

    fn status(&mut self) -> ProfileStatus {
        self.effects.clear();
        self.ask(Ask::Status(StatusAsk::default()));
        self.profiles()[0].clone()
    }
}

#[test]
fn a_daemon_whose_refresh_token_another_used_up_leaves_the_newer_one_and_goes_on_with_it() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    // While this daemon's request is under way, the other one saves what it got for the same refresh token.
    let newer = by_the_other(&stage.item(), "theirs", Some("R2"));
    stage.put_item(newer.clone());
    stage.answer_post(refused("invalid_grant", "Refresh token was used"));
    assert_eq!(stage.token(get), "theirs");
    assert!(stage.item().matches(&newer));
    assert!(stage.status().renewable);
}

#[test]
fn a_refusal_waits_a_moment_for_the_daemon_that_was_quicker() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(true);
    stage.answer_post(refused("invalid_grant", "Refresh token was used"));
    let newer = by_the_other(&stage.item(), "theirs", Some("R2"));
    stage.put_item(newer);
    stage.wait(Ticks::seconds(2));
    assert_eq!(stage.token(get), "theirs");
    assert!(stage.urls_shown().is_empty(), "no browser opens");
}

#[test]
fn a_refusal_changes_nothing_that_is_stored() {
    let mut stage = Stage::signed_in("access", Some("R1"), HOUR);
    let before = stage.item();
    stage.get(false);
    stage.wait(Ticks::seconds(HOUR - 100));
    stage.refuse_refresh_token();
    stage.answer_look_up(user());
    stage.wait(Ticks::seconds(HOUR));
    assert!(stage.item().matches(&before));
    assert!(!stage.status().renewable, "and yet it is not tried again");
    assert_eq!(stage.posts().len(), 0);
}

#[test]
fn a_token_that_another_daemon_has_renewed_is_not_renewed_again() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let newer = by_the_other(&stage.item(), "theirs", Some("R2"));
    stage.put_item(newer);
    assert_eq!(stage.served(), "theirs");
    assert!(stage.posts().is_empty());
}

#[test]
fn a_sign_in_by_another_daemon_is_found_before_a_browser_opens() {
    let mut stage = Stage::new();
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
    let mut other = Stage::new();
    other.sign_in("theirs", Some("R1"), HOUR);
    stage.vault = other.vault;
    stage.wait(Ticks::seconds(3));
    let get = stage.get(true);
    assert_eq!(stage.token(get), "theirs");
    assert!(stage.urls_shown().is_empty());
}

#[test]
fn a_sign_out_by_another_daemon_is_not_undone_by_a_renewal() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    stage.vault.remove("token:default");
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert!(!stage.vault.contains_key("token:default"));
    stage.wait(Ticks::seconds(1));
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
}

#[test]
fn a_bad_token_that_is_given_up_does_not_take_another_daemons_along() {
    for refresh in [Some("R1"), None] {
        let mut stage = Stage::signed_in("access", refresh, HOUR);
        let newer = by_the_other(&stage.item(), "theirs", Some("R2"));
        stage.put_item(newer.clone());
        stage.lose_token();
        assert_eq!(stage.served(), "theirs", "{refresh:?}");
        assert!(stage.item().matches(&newer));
    }
}

#[test]
fn a_client_secret_that_was_refused_once_is_not_asked_for_at_once() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    stage.answer_post(refused("invalid_client", "try again"));
    assert_eq!(stage.fault(get), FaultKind::ClientRefused);
    stage.wait(Ticks::seconds(5));
    let get = stage.get(false);
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_token_that_another_daemon_renewed_long_ago_is_renewed_on_and_nobody_is_refused() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    let newer = by_the_other(&stage.item(), "theirs", Some("R2"));
    stage.put_item(newer);
    stage.wait(Ticks::seconds(3 * HOUR));
    let get = stage.get(false);
    assert!(
        matches!(stage.posts()[..], [(_, TokenForm::Refresh { refresh_token })] if refresh_token.expose() == "R2")
    );
    stage.answer_post(granted("new", Some("R3"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_token_of_another_daemon_is_taken_to_end_no_later_than_it_may() {
    let mut stage = Stage::signed_in("access", Some("R1"), 1);
    stage.wait(Ticks::seconds(2));
    // It was given at the beginning of this very second of the calendar, for five.
    stage.wait(Ticks(900));
    let mut record: serde_json::Value = serde_json::from_str(stage.item().expose()).unwrap();
    record["access_token"] = "theirs".into();
    record["refresh_token"] = "R2".into();
    record["obtained_at"] = stage.now.wall.0.into();
    record["expires_at"] = (stage.now.wall.0 + 5).into();
    stage.put_item(secret(&record.to_string()));
    assert_eq!(stage.served(), "theirs");
    stage.wait(Ticks(4200));
    let get = stage.get(false);
    assert!(stage.result(get).is_none(), "by now it has ended at Rally");
}

#[test]
fn a_client_secret_that_another_daemon_was_given_is_found_before_a_person_is_asked() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    let changed =
        stage.vault["client-secret:default"].expose().replace("client-secret\"}", "newer-secret\"}");
    assert!(changed.contains("newer-secret"), "{changed}");
    stage.vault.insert("client-secret:default".to_owned(), secret(&changed));
    stage.get(false);
    stage.answer_post(refused("invalid_client", "wrong"));
    stage.wait(Ticks::seconds(5));
    stage.get(false);
    let sent = stage.effects.iter().rev().find_map(|effect| match effect {
        Effect::Post { client_secret, .. } => Some(client_secret.expose()),
        _ => None,
    });
    assert_eq!(sent, Some("newer-secret"));
    // The same where a person is there, and the old one was refused for good before.
    for _ in 0..3 {
        stage.answer_post(refused("invalid_client", "wrong"));
        stage.wait(Ticks::seconds(20));
        stage.get(false);
    }
    let newest = changed.replace("newer", "newest");
    stage.vault.insert("client-secret:default".to_owned(), secret(&newest));
    stage.login(None);
    let sent = stage.effects.iter().rev().find_map(|effect| match effect {
        Effect::Post { client_secret, .. } => Some(client_secret.expose()),
        _ => None,
    });
    assert_eq!(sent, Some("newest-secret"));
}
