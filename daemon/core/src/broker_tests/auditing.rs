//! The broker's decisions: what it writes down of who was given a token or refused one.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{audit::Decision, forwarding::Door};

use super::*;
use crate::event::Program;

fn git() -> Peer {
    Peer { pid: Some(71), uid: Some(1000), program: Program::of("/usr/bin/git"), ..Peer::default() }
}

impl Stage {
    /// What an audit tells, the oldest first.
    fn audit(&mut self) -> Vec<Decision> {
        self.effects.clear();
        let id = self.ask(Ask::Audit);
        assert!(self.is_done(id));
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(told, message::Event::Decision(texts)) if *told == id => Some(texts.clone()),
            _ => None,
        });
        told.map(Decision::of_texts).collect()
    }
}

fn verdicts(audit: &[Decision]) -> Vec<&str> {
    audit.iter().map(|decision| decision.verdict.as_str()).collect()
}

#[test]
fn each_hand_out_and_each_refusal_is_remembered_with_who_asked_and_why_not() {
    let mut stage = Stage::new();
    stage.ask_as(git(), Ask::Get(Get::default()));
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.ask_as(git(), Ask::Get(Get::default()));
    let of_gateway = Peer { gateway: Some("mcp".into()), ..Peer::default() };
    stage.ask_as(of_gateway, Ask::Get(Get::default()));
    let audit = stage.audit();
    let text = |text: &str| Some(text.to_owned());
    let handed = Decision {
        at: T0.wall.0,
        verdict: "token".to_owned(),
        profile: text("default"),
        pid: Some(71),
        uid: Some(1000),
        exe: text("/usr/bin/git"),
        caller: text("/usr/bin/git"),
        ..Decision::default()
    };
    let refused = Decision {
        verdict: "refused".to_owned(),
        kind: text("sign_in_needed"),
        why: text("no sign-in for profile default: nothing is stored"),
        ..handed.clone()
    };
    let of_gateway = Decision {
        at: T0.wall.0,
        verdict: "token".to_owned(),
        profile: text("default"),
        gateway: text("mcp"),
        ..Decision::default()
    };
    assert_eq!(audit, [refused, handed, of_gateway]);
}

#[test]
fn a_refusal_that_comes_late_is_remembered_and_whoever_left_was_refused_nothing() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.ask(Ask::Lock);
    let waiting = stage.ask(Ask::Get(Get { wait: 10, ..Get::default() }));
    let leaving = stage.ask(Ask::Get(Get { wait: 10, ..Get::default() }));
    stage.play(Event::Left(leaving));
    stage.wait(Ticks::seconds(10));
    assert_eq!(stage.fault(waiting), FaultKind::Locked);
    let audit = stage.audit();
    assert_eq!((verdicts(&audit), audit[0].kind.as_deref()), (vec!["refused"], Some("locked")));
}

#[test]
fn whoever_asks_for_a_server_that_no_profile_is_for_is_neither_given_nor_refused_anything() {
    let mut stage = Stage::new();
    stage.ask(for_host("https", "git.example.com"));
    stage.ask(Ask::Status(StatusAsk::default()));
    assert_eq!(stage.audit(), []);
}

#[test]
fn what_another_machine_is_refused_is_remembered_whatever_it_asked() {
    let mut stage = Stage::new();
    let far = Peer { door: Door::Forwarded, ..git() };
    for ask in [Ask::Audit, Ask::Lock] {
        let id = stage.ask_as(far.clone(), ask);
        assert_eq!(stage.fault(id), FaultKind::Failed);
    }
    let audit = stage.audit();
    assert_eq!(verdicts(&audit), ["refused", "refused"]);
    assert!(audit.iter().all(|decision| decision.forwarded && decision.pid == Some(71)));
}

#[test]
fn the_last_hundred_are_kept_and_neither_a_lock_nor_a_sign_out_wipes_them() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    for number in 0..250 {
        stage.ask_as(Peer { pid: Some(number), ..git() }, Ask::Get(Get::default()));
    }
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    stage.ask(logout(true, true));
    let pids: Vec<_> = stage.audit().iter().filter_map(|decision| decision.pid).collect();
    assert_eq!(pids, (150..250).collect::<Vec<_>>());
}
