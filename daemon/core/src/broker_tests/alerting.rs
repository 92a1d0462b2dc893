//! The broker's decisions: when the user is notified that a sign-in is needed.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::remedy::Command;

use super::*;
use crate::{event::Alert, policy};

const MINUTE: Ticks = Ticks::seconds(60);

impl Stage {
    fn alerts(&self) -> Vec<&Alert> {
        of_effects!(self, Effect::Alert(alert) => alert)
    }

    fn withdrawals(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::WithdrawAlert(_))).count()
    }

    /// A token is in use, and its renewal ahead of time is refused for good.
    fn lose_renewal(&mut self) {
        self.sign_in("access", Some("refresh"), HOUR);
        self.get(false);
        self.wait(Ticks::seconds(HOUR - 100));
        self.refuse_refresh_token();
        self.answer_look_up(user());
    }
}

#[test]
fn a_renewal_that_is_refused_for_good_behind_everybodys_back_is_told_once() {
    let mut stage = Stage::new();
    stage.lose_renewal();
    assert!(stage.alerts().is_empty(), "not before a client had time to ask");
    stage.wait(policy::ALERT_GRACE);
    stage.wait(Ticks::seconds(10 * HOUR));
    let told = [Alert {
        profile: "default".to_owned(),
        why: "Rally no longer accepts the stored refresh token".to_owned(),
        remedy: Command::new("rally-cred login --force"),
        has_button: true,
    }];
    assert_eq!(stage.alerts(), told.iter().collect::<Vec<_>>());
}

#[test]
fn a_client_that_asks_its_person_spares_the_alert() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.wait(Ticks::seconds(HOUR + 1));
    // As clients do: first without a person, then with one.
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
    stage.get(true);
    stage.open_listener();
    stage.wait(policy::FLOW_LIFE);
    assert!(stage.alerts().is_empty());
}

#[test]
fn background_callers_of_an_ended_token_have_their_person_told_as_rarely_as_tabs_open() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.wait(Ticks::seconds(HOUR + 1));
    let mut told_after = Vec::new();
    let began = stage.now.tick;
    for _ in 0..5 * 60 {
        stage.get(false);
        stage.wait(MINUTE);
        let alerts = stage.alerts().len();
        if alerts > told_after.len() {
            told_after.push((stage.now.tick - began).as_seconds() / 60);
        }
    }
    // Pauses of 1, 2, 4, 8, 16 and 32 minutes, then an hour; each is rounded up by the caller's own minute.
    assert_eq!(told_after, [1, 3, 6, 11, 20, 37, 70, 131, 192, 253]);
}

#[test]
fn a_sign_in_takes_the_alert_back_and_the_next_loss_is_a_new_matter() {
    let mut stage = Stage::new();
    stage.lose_renewal();
    stage.wait(policy::ALERT_GRACE);
    stage.effects.retain(|effect| matches!(effect, Effect::Alert(_)));
    stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    stage.allow("new", Some("refresh"), HOUR);
    assert_eq!((stage.alerts().len(), stage.withdrawals()), (1, 1));
    stage.effects.clear();
    stage.lose_token();
    stage.get(false);
    stage.refuse_refresh_token();
    stage.wait(policy::ALERT_GRACE);
    assert_eq!(stage.alerts().len(), 1);
}

#[test]
fn a_client_secret_that_is_refused_is_told_without_a_button() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.get(false);
    stage.wait(Ticks::seconds(HOUR - 100));
    for _ in 0..policy::REFUSALS {
        assert!(stage.alerts().is_empty(), "one refusal may be a bad moment");
        stage.answer_post(refused("invalid_client", "Invalid client_id or client_secret"));
        stage.wait(Ticks::seconds(20));
    }
    assert_eq!(stage.alerts().iter().map(|alert| alert.has_button).collect::<Vec<_>>(), [false]);
}

#[test]
fn nobody_is_told_of_what_will_pass_of_what_never_was_or_after_a_sign_out() {
    let mut stage = Stage::new();
    stage.get(false);
    stage.wait(MINUTE);
    assert!(stage.alerts().is_empty(), "nobody ever signed in");

    stage.sign_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    stage.answer_post(arrived(503, "busy"));
    stage.wait(MINUTE);
    assert!(stage.alerts().is_empty(), "an outage passes");

    stage.get(false);
    stage.refuse_refresh_token();
    stage.ask(logout(false, false));
    stage.get(false);
    stage.wait(MINUTE);
    assert!(stage.alerts().is_empty(), "signed out on purpose");
}

#[test]
fn a_revoked_token_that_cannot_be_renewed_is_told() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.lose_token();
    stage.wait(policy::ALERT_GRACE);
    assert_eq!(stage.alerts().len(), 1);
}

impl Stage {
    /// A program without a person at hand, which can wait for one.
    fn patient_get(&mut self, wait: u32) -> AskId {
        self.ask(Ask::Get(Get { awaits_sign_in: true, wait, ..Get::default() }))
    }
}

#[test]
fn a_program_that_can_wait_has_its_person_told_and_gets_the_token_of_their_sign_in() {
    let mut stage = Stage::new();
    let waits = stage.patient_get(600);
    stage.wait(policy::ALERT_GRACE);
    assert_eq!(stage.result(waits).map(|_| ()), None);
    assert_eq!(
        stage.alerts().iter().map(|alert| alert.why.as_str()).collect::<Vec<_>>(),
        ["nothing is stored"]
    );
    stage.login(Some("client-secret"));
    let joins = stage.patient_get(600);
    stage.allow("access", Some("refresh"), HOUR);
    assert_eq!((stage.token(waits), stage.token(joins)), ("access", "access"));
}

#[test]
fn a_program_that_waited_in_vain_for_a_person_is_told_that_a_sign_in_is_needed() {
    let mut stage = Stage::new();
    let waits = stage.patient_get(60);
    stage.wait(Ticks::seconds(59));
    assert_eq!(stage.result(waits).map(|_| ()), None);
    stage.wait(Ticks::seconds(1));
    assert_eq!(stage.fault(waits), FaultKind::SignInNeeded);
}

#[test]
fn a_program_that_can_wait_does_not_while_a_token_that_nothing_renews_is_still_good() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.wait(Ticks::seconds(HOUR - 30));
    let get = stage.patient_get(600);
    assert_eq!(stage.token(get), "access");
}
