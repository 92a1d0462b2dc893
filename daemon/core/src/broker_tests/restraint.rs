//! The broker's decisions: what callers cannot make it ask of Rally, however they try.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

fn get_for(min_validity: u64) -> Ask {
    Ask::Get(Get { min_validity: u32::try_from(min_validity).unwrap(), ..Get::default() })
}

#[test]
fn two_hundred_gets_for_two_days_of_a_one_day_token_are_no_renewal_and_say_that_it_cannot_be() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    for _ in 0..200 {
        let get = stage.ask(get_for(48 * HOUR));
        assert_eq!(stage.token(get), "access");
        stage.wait(Ticks::seconds(60));
    }
    assert!(stage.posts().is_empty());
    let is_notice = |effect: &&Effect| matches!(effect, Effect::Tell(_, message::Event::Notice(_)));
    assert_eq!(stage.effects.iter().filter(is_notice).count(), 200);
}

#[test]
fn eight_callers_of_five_second_tokens_cause_one_renewal_for_each() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 5);
    let mut renewals = 0;
    for _ in 0..60 {
        for _ in 0..8 {
            stage.get(false);
        }
        if !stage.posts().is_empty() {
            renewals += 1;
            stage.answer_post(granted("new", Some("refresh"), 5));
            stage.effects.clear();
        }
        stage.wait(Ticks::seconds(1));
        stage.effects.retain(|effect| matches!(effect, Effect::Post { .. }));
    }
    assert!((10..=12).contains(&renewals), "{renewals} renewals in 60 s");
}

#[test]
fn a_wish_that_can_be_met_is_met() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.wait(Ticks::seconds(20 * HOUR));
    let get = stage.ask(get_for(8 * HOUR));
    stage.answer_post(granted("new", Some("refresh"), 24 * HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn two_hundred_reports_of_a_good_token_are_a_few_questions() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    let mut asked = 0;
    for _ in 0..200 {
        assert_eq!(stage.served(), "access");
        stage.ask(erase("access"));
        stage.wait(Ticks(100));
        if stage.look_ups() > 0 {
            asked += stage.look_ups();
            stage.answer_look_up(user());
        }
        stage.effects.clear();
    }
    assert!((3..=6).contains(&asked), "asked {asked} times in 20 s");
}

#[test]
fn a_report_within_the_pause_is_looked_into_when_it_is_over() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    for _ in 0..3 {
        stage.ask(erase("access"));
        stage.answer_look_up(user());
    }
    stage.effects.clear();
    stage.ask(erase("access"));
    assert_eq!(stage.look_ups(), 0);
    stage.wait(Ticks::seconds(5));
    stage.answer_look_up(unauthorized());
    let get = stage.get(false);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn tokens_that_rally_refuses_as_soon_as_it_gives_them_out_are_renewed_ever_more_rarely() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    let mut renewals = 0;
    for second in 0..600u64 {
        stage.get(false);
        stage.ask(Ask::Erase(Erase { target: Target::default(), token: None, credential: None }));
        if stage.look_ups() > 0 {
            stage.answer_look_up(unauthorized());
        }
        if !stage.posts().is_empty() {
            renewals += 1;
            stage.answer_post(granted(&format!("new-{second}"), Some("refresh"), 24 * HOUR));
        }
        stage.effects.clear();
        stage.wait(Ticks::seconds(1));
        stage.effects.retain(|effect| matches!(effect, Effect::Post { .. } | Effect::LookUpUser { .. }));
    }
    assert!(renewals <= 40, "{renewals} renewals in ten minutes");
}

#[test]
fn many_status_checks_at_once_are_one_question() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let checks: Vec<_> =
        (0..50).map(|_| stage.ask(Ask::Status(StatusAsk { check: true, ..StatusAsk::default() }))).collect();
    assert_eq!(stage.look_ups(), 1);
    stage.answer_look_up(user());
    for check in checks {
        assert!(matches!(stage.result(check), Some(Reply::Status(_))));
    }
    stage.effects.clear();
    stage.ask(Ask::Status(StatusAsk { check: true, ..StatusAsk::default() }));
    assert_eq!((stage.look_ups(), stage.profiles()[0].checked), (0, Some(true)));
}

#[test]
fn after_a_refused_renewal_rally_is_asked_once_whether_the_old_token_is_good() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.get(false);
    stage.wait(Ticks::seconds(HOUR - 100));
    stage.refuse_refresh_token();
    let get = stage.get(false);
    assert!(stage.result(get).is_none(), "nobody is given it before Rally has said");
    stage.answer_look_up(unauthorized());
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded);
    assert_eq!(stage.look_ups(), 1);
}

#[test]
fn tokens_that_live_for_a_second_are_given_out_and_renewed_once_a_second() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 1);
    let (mut renewals, mut served) = (0, 0);
    for _ in 0..100 {
        let get = stage.get(false);
        if !stage.posts().is_empty() {
            renewals += 1;
            stage.answer_post(granted("new", Some("refresh"), 1));
        }
        served += usize::from(matches!(stage.result(get), Some(Reply::Token(_))));
        stage.effects.clear();
        stage.wait(Ticks(100));
        stage.effects.retain(|effect| matches!(effect, Effect::Post { .. }));
    }
    assert_eq!(served, 100);
    assert!((9..=12).contains(&renewals), "{renewals} renewals in 10 s");
}

#[test]
fn tokens_that_end_before_the_keyring_has_them_do_not_make_the_daemon_renew_them_without_end() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.vault_is_silent = true;
    let mut renewals = 0;
    for _ in 0..100 {
        stage.get(false);
        stage.wait(Ticks(600));
        if !stage.posts().is_empty() {
            renewals += 1;
            stage.answer_post(granted("new", Some("refresh"), 1));
        }
        stage.effects.clear();
    }
    // Two seconds in which the keyring may take it, and the pause after a token that ended meanwhile.
    assert!(renewals <= 20, "{renewals} renewals in a minute");
}
