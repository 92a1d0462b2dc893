//! The broker's decisions: renewal, and tokens that callers report as bad.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

#[test]
fn a_token_that_ends_soon_is_renewed_first_and_the_rotated_refresh_token_is_saved() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
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
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
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
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    stage.refuse_refresh_token();
    stage.answer_look_up(unauthorized());
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
    let get = stage.get(true);
    stage.allow("new", None, HOUR);
    assert_eq!(stage.token(get), "new");
}

#[test]
fn an_unclear_refusal_does_not_cost_the_refresh_token() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
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

#[test]
fn an_erased_token_is_renewed_by_the_next_get() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    for token in ["another", "access", "access"] {
        stage.does(erase(token));
    }
    stage.answer_look_up(unauthorized());
    stage.restart();
    let get = stage.get(false);
    assert_eq!(stage.posts().len(), 1);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
    stage.ask(erase("access"));
    assert_eq!(stage.served(), "new", "an erase of an older token does nothing");
}

#[test]
fn many_erases_of_one_token_ask_rally_once_and_renew_it_once() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
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
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
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
        let mut stage = Stage::signed_in("access", refresh, HOUR);
        stage.ask(erase("access"));
        stage.answer_look_up(RawAnswer::Failed(SendTrouble::TimedOut));
        let get = stage.get(false);
        assert_eq!(matches!(stage.result(get), Some(Reply::Token(_))), is_kept, "{refresh:?}");
    }
}

#[test]
fn a_token_in_use_is_renewed_ahead_of_its_end_and_an_unused_one_is_not() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(HOUR));
    assert!(stage.posts().is_empty());
    stage.sign_in_again("second", HOUR);
    assert_eq!(stage.served(), "second");
    stage.wait(Ticks::seconds(HOUR - 100));
    assert_eq!(stage.posts().len(), 1);
}

#[test]
fn a_set_back_calendar_does_not_revive_a_dead_token() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.wait(Ticks::seconds(HOUR + 1));
    stage.now.wall = stage.now.wall.after(-7200);
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
}

#[test]
fn the_first_get_after_idle_days_is_served_though_the_last_renewal_went_unused() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.get(false);
    stage.wait(Ticks::seconds(24 * HOUR - 100));
    stage.answer_post(granted("unused", Some("refresh2"), 24 * HOUR));
    stage.effects.clear();
    stage.wait(Ticks::seconds(72 * HOUR));
    let get = stage.get(false);
    assert!(stage.result(get).is_none(), "{:?}", stage.result(get));
    stage.answer_post(granted("new", Some("refresh3"), 24 * HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn programs_whose_token_is_refused_at_once_cost_one_renewal_and_none_is_given_the_refused_token_again() {
    let mut stage = Stage::signed_in("refused", Some("refresh"), HOUR);
    let mut gets = Vec::new();
    for _ in 0..3 {
        stage.ask(erase("refused"));
        gets.push(stage.ask(Ask::Get(Get { awaits_sign_in: true, ..Get::default() })));
    }
    stage.answer_look_up(unauthorized());
    stage.answer_post(granted("next", Some("refresh-2"), HOUR));
    stage.ask(erase("refused"));
    gets.push(stage.get(false));
    assert_eq!((stage.look_ups(), stage.posts().len()), (1, 1));
    assert!(gets.into_iter().all(|get| stage.token(get) == "next"));
}

#[test]
fn a_token_that_looks_valid_after_a_long_sleep_and_is_refused_is_not_given_again() {
    let mut stage = Stage::signed_in("asleep", Some("refresh"), 24 * HOUR);
    stage.wait(Ticks::seconds(8 * HOUR));
    assert_eq!(stage.served(), "asleep");
    stage.ask(erase("asleep"));
    let get = stage.ask(Ask::Get(Get { awaits_sign_in: true, ..Get::default() }));
    assert_eq!(stage.result(get).map(|_| ()), None);
    stage.answer_look_up(unauthorized());
    stage.answer_post(granted("awake", Some("refresh-2"), HOUR));
    assert_eq!(stage.token(get), "awake");
}
