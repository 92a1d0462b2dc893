//! The broker's decisions: what the network was in the way of, and is tried again once it is another.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;

impl Stage {
    /// A daemon whose token was used and has ended, and whose renewal failed like this just now.
    fn with_a_failed_renewal(raw: RawAnswer) -> Self {
        let mut stage = Self::new();
        stage.sign_in("access", Some("refresh"), 100);
        stage.get(false);
        stage.wait(Ticks::seconds(200));
        let get = stage.get(false);
        stage.answer_post(raw);
        assert_eq!(stage.fault(get), FaultKind::Unreachable);
        stage.effects.retain(|effect| matches!(effect, Effect::WatchNetwork(_)));
        stage
    }

    fn is_watching_network(&self) -> bool {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::WatchNetwork(is_wanted) => Some(*is_wanted),
            _ => None,
        });
        last.unwrap_or_default()
    }
}

fn no_route() -> RawAnswer {
    RawAnswer::Failed(SendTrouble::Unreachable("no route".to_owned()))
}

#[test]
fn a_renewal_that_the_network_was_in_the_way_of_is_made_at_once_when_it_is_back_and_when_the_machine_wakes() {
    for event in [|| Event::Online, || Event::Woke] {
        let mut stage = Stage::with_a_failed_renewal(no_route());
        assert!(stage.is_watching_network());
        // Long after the pause has ended, when nobody asks.
        stage.wait(Ticks::seconds(1200));
        stage.play(event());
        assert_eq!(stage.posts().len(), 1);
        stage.answer_post(granted("new", Some("refresh2"), HOUR));
        assert!(!stage.is_watching_network());
        assert_eq!(stage.served(), "new");
    }
}

#[test]
fn a_get_after_the_network_is_back_does_not_hear_of_the_failure_before() {
    let mut stage = Stage::with_a_failed_renewal(no_route());
    stage.play(Event::Online);
    let get = stage.get(false);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn what_rally_refuses_or_puts_off_does_not_depend_on_the_network() {
    let busy = RawAnswer::Arrived {
        status: 429,
        retry_after: Some(600),
        body: Zeroizing::default(),
        sent: Sent::default(),
    };
    for raw in [busy, arrived(503, "busy")] {
        let mut stage = Stage::with_a_failed_renewal(raw);
        assert!(!stage.is_watching_network());
        for event in [Event::Online, Event::Woke] {
            stage.play(event);
        }
        assert_eq!(stage.refusal(), FaultKind::Unreachable);
        assert_eq!(stage.posts().len(), 0);
    }
}

#[test]
fn a_network_that_comes_and_goes_makes_no_storm() {
    let mut stage = Stage::with_a_failed_renewal(no_route());
    let mut posts = 0;
    for _ in 0..600 {
        stage.play(Event::Online);
        if stage.posts().len() > posts {
            posts = stage.posts().len();
            stage.answer_post(no_route());
        }
        stage.wait(Ticks::seconds(1));
    }
    assert!((3..12).contains(&posts), "{posts} in ten minutes");
}

#[test]
fn a_sign_in_that_the_network_ended_may_be_asked_for_again_once_it_is_back() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.get(true);
    stage.bring_code();
    stage.answer_post(no_route());
    let get = stage.get(true);
    assert_eq!(stage.fault(get), FaultKind::SignInNeeded, "so soon after a sign-in that failed");
    stage.play(Event::Online);
    let get = stage.get(true);
    assert!(stage.result(get).is_none());
}

#[test]
fn whose_token_it_is_is_asked_again_once_the_network_is_back() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    stage.bring_code();
    stage.answer_post(granted("access", None, HOUR));
    stage.answer_look_up(no_route());
    let target = Target { username: Some("me@example.com".to_owned()), ..Target::default() };
    let ask = || Ask::Get(Get { target: target.clone(), ..Get::default() });
    let refused = stage.ask(ask());
    stage.answer_look_up(no_route());
    assert_eq!(stage.fault(refused), FaultKind::Unreachable);
    stage.play(Event::Online);
    let get = stage.ask(ask());
    stage.answer_look_up(user());
    assert_eq!(stage.token(get), "access");
}
