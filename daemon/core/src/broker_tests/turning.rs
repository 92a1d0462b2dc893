//! The broker's decisions: who holds how many of Rally's turns, and for how long.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{gateway::HoldTurns, message};

use super::*;

impl Stage {
    fn hold(&mut self, turns: u8, profile: Option<&str>) -> AskId {
        self.ask(Ask::HoldTurns(HoldTurns { profile: profile.map(str::to_owned), turns }))
    }

    fn is_told(&self, id: AskId) -> bool {
        self.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Tell(own, message::Event::TurnsHeld(_)) if *own == id))
    }

    /// What the gateways of a profile were told last.
    fn left_to_others(&self, of: &str) -> Option<u8> {
        let orders = self.effects.iter().rev().filter_map(|effect| match effect {
            Effect::ReserveTurns { profile, turns } if profile == of => Some(*turns),
            _ => None,
        });
        orders.take(1).next()
    }

    fn held(&mut self) -> Vec<Option<u8>> {
        self.effects.clear();
        self.ask(Ask::Status(StatusAsk::default()));
        of_effects!(self, Effect::Tell(_, message::Event::Profile(status)) => status.held_turns)
    }
}

#[test]
fn programs_hold_turns_of_their_profile_until_they_leave() {
    let mut stage = Stage::with(Keyring::Memory, &["default", "work"]);
    let (one, other) = (stage.hold(4, None), stage.hold(5, None));
    assert!(stage.is_told(one) && stage.is_told(other));
    assert_eq!((stage.left_to_others("default"), stage.left_to_others("work")), (Some(9), None));
    assert_eq!(stage.held(), [Some(9), None]);
    stage.play(Event::Left(one));
    assert_eq!(stage.left_to_others("default"), Some(5));
    stage.play(Event::Left(other));
    assert_eq!(stage.left_to_others("default"), Some(0));
    assert_eq!(stage.held(), [None, None]);
}

#[test]
fn the_last_turn_is_nobodys_and_what_cannot_be_had_is_refused_whole() {
    let mut stage = Stage::with(Keyring::Memory, &["default", "work"]);
    for turns in [0, 12, 255] {
        let refused = stage.hold(turns, None);
        assert_eq!(stage.fault(refused), FaultKind::Failed, "{turns}");
    }
    let all = stage.hold(11, None);
    let one_more = stage.hold(1, None);
    assert!(stage.is_told(all) && !stage.is_told(one_more));
    assert_eq!(stage.fault(one_more), FaultKind::Failed);
    let elsewhere = stage.hold(11, Some("work"));
    assert!(stage.is_told(elsewhere));
    let unknown = stage.hold(1, Some("none"));
    assert_eq!(stage.fault(unknown), FaultKind::UnknownProfile);
}

#[test]
fn who_holds_turns_hears_of_a_profile_that_is_gone_and_of_a_stop() {
    let mut stage = Stage::with(Keyring::Memory, &["default", "work"]);
    let (stays, goes) = (stage.hold(4, None), stage.hold(4, Some("work")));
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Memory))));
    assert_eq!((stage.fault(goes), stage.left_to_others("work")), (FaultKind::UnknownProfile, Some(0)));
    assert!(stage.result(stays).is_none());
    stage.ask(Ask::Stop);
    assert_eq!(stage.fault(stays), FaultKind::Stopping);
}
