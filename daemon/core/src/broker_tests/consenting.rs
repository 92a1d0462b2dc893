//! The broker's decisions: which programs the user and the config file let have a token.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{Fault, forwarding::Door, message::WaitingOn};

use super::*;
use crate::event::{Consent, Found, Program, Question};

const GIT: &str = "/usr/bin/git";
const CURL: &str = "/usr/bin/curl";

impl Stage {
    /// Signed in to a profile behind this gate.
    fn behind(gate: Gate) -> Self {
        let mut stage = Self::new();
        stage.gate(gate);
        stage.sign_in("access", Some("refresh"), 24 * HOUR);
        stage
    }

    fn confirming() -> Self {
        Self::behind(Gate { confirms_new: true, allow: None })
    }

    fn gate(&mut self, gate: Gate) {
        self.play(Event::ConfigRead(Ok(Config::of_one(Profile { gate, ..profile("default") }))));
    }

    fn get_by(&mut self, program: Program, interactive: bool) -> AskId {
        self.ask_as(Peer { program, ..Peer::default() }, Ask::Get(Get { interactive, ..Get::default() }))
    }

    fn wants(&mut self, program: &str) -> AskId {
        self.get_by(Program::of(program), true)
    }

    fn polls(&mut self, program: &str) -> AskId {
        self.get_by(Program::of(program), false)
    }

    fn questions(&self) -> Vec<(Epoch, &Question)> {
        of_effects!(self, Effect::AskConsent(epoch, question) => (*epoch, question))
    }

    /// The user answers the last question.
    fn say(&mut self, consent: Consent) {
        let (epoch, _) = *self.questions().last().expect("no question");
        self.hear(epoch, Outcome::Consented(Ok(consent)));
    }

    fn why(&self, id: AskId) -> &str {
        match self.result(id) {
            Some(Reply::Error(fault)) => fault.why.as_deref().unwrap_or_default(),
            other => panic!("no fault but {other:?}"),
        }
    }

    fn is_told_to_wait(&self, id: AskId) -> bool {
        self.effects.iter().any(|effect| {
            matches!(effect, Effect::Tell(told, message::Event::Waiting(waiting))
                if *told == id && waiting.on == WaitingOn::Consent)
        })
    }
}

#[test]
fn a_program_that_asks_for_the_first_time_waits_for_the_users_word() {
    let mut stage = Stage::confirming();
    let get = stage.wants(GIT);
    assert!(stage.result(get).is_none() && stage.is_told_to_wait(get));
    let question = Question { profile: "default".to_owned(), program: GIT.to_owned(), door: Door::Own };
    assert_eq!(stage.questions().iter().map(|(_, asked)| *asked).collect::<Vec<_>>(), [&question]);
    stage.say(Consent::Session);
    assert_eq!(stage.token(get), "access");
    let again = stage.polls(GIT);
    assert_eq!(stage.token(again), "access");
    assert_eq!(stage.questions().len(), 1);
}

#[test]
fn once_is_for_those_who_wait_and_for_nobody_after_them() {
    let mut stage = Stage::confirming();
    let (first, second) = (stage.wants(GIT), stage.wants(GIT));
    assert_eq!(stage.questions().len(), 1, "one question about one program");
    stage.say(Consent::Once);
    assert_eq!((stage.token(first), stage.token(second)), ("access", "access"));
    let third = stage.wants(GIT);
    assert!(stage.result(third).is_none());
    assert_eq!(stage.questions().len(), 2);
}

#[test]
fn what_was_denied_stays_denied_and_is_told_with_what_to_do() {
    let mut stage = Stage::confirming();
    let first = stage.wants(GIT);
    stage.say(Consent::Denied);
    let second = stage.wants(GIT);
    for get in [first, second] {
        assert_eq!((stage.fault(get), stage.why(get)), (FaultKind::NotAllowed, "you have denied it"));
    }
    assert_eq!(stage.questions().len(), 1);
    let other = stage.wants(CURL);
    stage.say(Consent::Session);
    assert_eq!(stage.token(other), "access");
}

#[test]
fn a_caller_in_the_background_is_refused_at_once_with_one_question_and_not_one_each() {
    let mut stage = Stage::confirming();
    for _ in 0..50 {
        let get = stage.polls(GIT);
        assert_eq!(stage.fault(get), FaultKind::ConsentNeeded);
    }
    assert_eq!(stage.questions().len(), 1);
    stage.say(Consent::Unanswered);
    let get = stage.polls(GIT);
    assert_eq!(stage.why(get), "the notification was closed without an answer");
    assert_eq!(stage.questions().len(), 1, "who has not answered is not asked again");
    let person = stage.wants(GIT);
    assert!(stage.result(person).is_none());
    assert_eq!(stage.questions().len(), 2, "but by a person");
    stage.say(Consent::Session);
    let get = stage.polls(GIT);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_gateway_waits_for_the_word_though_it_may_ask_no_person() {
    let mut stage = Stage::confirming();
    let peer = Peer { program: Program::of("gateway mcp"), ..Peer::default() };
    let get = stage.ask_as(peer, Ask::Get(Get { awaits_sign_in: true, ..Get::default() }));
    assert!(stage.result(get).is_none());
    assert_eq!(stage.questions().last().unwrap().1.program, "gateway mcp");
    stage.say(Consent::Once);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_lock_a_sign_out_and_twelve_hours_each_end_what_the_user_said() {
    for end in [0, 1, 2] {
        for said in [Consent::Session, Consent::Denied] {
            let mut stage = Stage::confirming();
            stage.wants(GIT);
            stage.say(said);
            match end {
                0 => {
                    stage.ask(Ask::Lock);
                    stage.ask(Ask::Unlock);
                }
                1 => {
                    stage.ask(logout(true, false));
                    stage.sign_in("access", Some("refresh"), 24 * HOUR);
                }
                _ => stage.wait(Ticks::seconds(12 * HOUR)),
            }
            stage.effects.clear();
            let get = stage.wants(GIT);
            assert!(stage.result(get).is_none(), "{end} {said:?}: {:?}", stage.result(get));
            assert_eq!(stage.questions().len(), 1);
        }
    }
}

#[test]
fn a_lock_withdraws_the_question_and_whoever_waits_is_asked_about_anew() {
    let mut stage = Stage::confirming();
    let get = stage.wants(GIT);
    let (epoch, _) = stage.questions()[0];
    stage.ask(Ask::Lock);
    assert!(stage.effects.iter().any(|effect| matches!(effect, Effect::WithdrawConsent(of) if *of == epoch)));
    // An answer that was on its way counts no more.
    stage.hear(epoch, Outcome::Consented(Ok(Consent::Session)));
    stage.ask(Ask::Unlock);
    assert!(stage.result(get).is_none());
    assert_eq!(stage.questions().len(), 2);
    stage.say(Consent::Session);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn whoever_was_let_in_and_waits_for_a_locked_daemon_is_asked_about_anew() {
    let mut stage = Stage::confirming();
    stage.wants(GIT);
    stage.say(Consent::Session);
    stage.ask(erase("access"));
    let asked = stage.wants(GIT);
    assert!(stage.result(asked).is_none(), "it waits for Rally's word on the token");
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    assert!(stage.result(asked).is_none(), "{:?}", stage.result(asked));
    assert_eq!(stage.questions().len(), 2);
    stage.say(Consent::Denied);
    assert_eq!(stage.fault(asked), FaultKind::NotAllowed);
}

#[test]
fn who_waits_for_the_word_is_refused_when_its_time_is_up_and_the_question_stays() {
    let mut stage = Stage::confirming();
    let get = stage.wants(GIT);
    stage.wait(Ticks::seconds(120));
    assert_eq!(stage.fault(get), FaultKind::ConsentNeeded);
    stage.say(Consent::Session);
    let next = stage.polls(GIT);
    assert_eq!(stage.token(next), "access");
}

#[test]
fn a_get_waits_until_its_program_is_known_only_where_that_counts() {
    let mut stage = Stage::confirming();
    let program = Program::default();
    let get = stage.get_by(program.clone(), false);
    let identify = stage.effects.iter().find_map(|effect| match effect {
        Effect::Identify(epoch, _) => Some(*epoch),
        _ => None,
    });
    assert!(stage.result(get).is_none());
    program.found(Found { exe: Some(GIT.into()), caller: None });
    stage.hear(identify.unwrap(), Outcome::Identified);
    assert_eq!(stage.fault(get), FaultKind::NotAllowed, "it is not certain");
    assert!(stage.questions().is_empty());

    let mut stage = Stage::behind(Gate::default());
    let get = stage.get_by(Program::default(), false);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn only_a_listed_program_is_given_a_token_and_no_other_is_asked_about() {
    let allow = Some(vec![GIT.to_owned(), "gateway mcp".to_owned()]);
    let mut stage = Stage::behind(Gate { allow: allow.clone(), confirms_new: false });
    for program in [GIT, "gateway mcp"] {
        let get = stage.polls(program);
        assert_eq!(stage.token(get), "access");
    }
    for program in [CURL, "/usr/bin/git-shell", "/srv/usr/bin/git", "gateway other"] {
        let get = stage.wants(program);
        assert_eq!((stage.fault(get), stage.why(get)), (FaultKind::NotAllowed, "it is not in `allow`"));
    }
    stage.gate(Gate { allow, confirms_new: true });
    stage.sign_in("access", Some("refresh"), 24 * HOUR);
    let other = stage.wants(CURL);
    assert_eq!(stage.fault(other), FaultKind::NotAllowed);
    let listed = stage.wants(GIT);
    assert!(stage.result(listed).is_none(), "each of the two can only refuse");
}

#[test]
fn a_program_that_is_not_let_in_begins_no_sign_in() {
    for (gate, begins) in [
        (Gate::default(), true),
        (Gate { confirms_new: true, allow: None }, false),
        (Gate { confirms_new: false, allow: Some(Vec::new()) }, false),
    ] {
        let mut stage = Stage::behind(gate.clone());
        // The client secret stays, without which no sign-in begins anyway.
        stage.ask(logout(true, false));
        stage.wants(GIT);
        let has_begun = stage.effects.iter().any(|effect| matches!(effect, Effect::Listen(..)));
        assert_eq!(has_begun, begins, "{gate:?}: {:?}", stage.effects);
    }
}

#[test]
fn where_nobody_can_be_asked_whoever_waits_is_told_why_and_a_person_may_try_again() {
    let mut stage = Stage::confirming();
    let get = stage.wants(GIT);
    let (epoch, _) = stage.questions()[0];
    let fault = Fault::new(FaultKind::ConsentNeeded, "you cannot be asked").why("there is no bus");
    stage.hear(epoch, Outcome::Consented(Err(fault)));
    assert_eq!((stage.fault(get), stage.why(get)), (FaultKind::ConsentNeeded, "there is no bus"));
    stage.polls(GIT);
    assert_eq!(stage.questions().len(), 1);
    stage.wait(Ticks::seconds(60));
    stage.polls(GIT);
    assert_eq!(stage.questions().len(), 2);
}

#[test]
fn no_more_questions_are_open_than_a_person_would_read() {
    let mut stage = Stage::confirming();
    let gets: Vec<_> = (0..9).map(|number| stage.wants(&format!("/tmp/{number}"))).collect();
    assert_eq!(stage.questions().len(), 4);
    assert_eq!(gets.iter().filter(|get| stage.result(**get).is_some()).count(), 5);
}

#[test]
fn a_change_of_the_gate_ends_what_was_said() {
    let mut stage = Stage::confirming();
    stage.wants(GIT);
    stage.say(Consent::Session);
    stage.gate(Gate { allow: Some(vec![GIT.to_owned()]), confirms_new: true });
    stage.effects.clear();
    let get = stage.wants(GIT);
    assert!(stage.result(get).is_none());
    assert_eq!(stage.questions().len(), 1);
}
