//! The broker's decisions: what waits for a locked vault, and goes on once it is unlocked.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;
use rally_cred_proto::message::{Waiting, WaitingOn};

fn prompt_dismissed() -> VaultTrouble {
    VaultTrouble::Locked("prompt dismissed".to_owned())
}

fn waiting(wait: u32) -> Ask {
    Ask::Get(Get { wait, awaits_unlock: true, ..Get::default() })
}

impl Stage {
    /// A daemon that was started while the keyring that holds its token is locked.
    fn before_an_unlock() -> Self {
        let mut stage = Self::new();
        stage.sign_in("access", Some("refresh"), 24 * HOUR);
        stage.restart();
        stage.vault_trouble = Some(prompt_dismissed());
        stage
    }

    fn unlock_vault(&mut self) {
        self.vault_trouble = None;
        self.play(Event::VaultUnlocked);
    }

    /// Whether the vault is watched, as was last ordered.
    pub(super) fn is_watching(&self) -> bool {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::WatchVault(is_wanted) => Some(*is_wanted),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn told_to_unlock(&self, id: AskId) -> usize {
        let is_that = |effect: &&Effect| {
            matches!(effect, Effect::Tell(own, message::Event::Waiting(Waiting { on: WaitingOn::KeyringUnlock, .. }))
                if *own == id)
        };
        self.effects.iter().filter(is_that).count()
    }
}

#[test]
fn a_get_that_waits_for_a_locked_keyring_is_answered_once_it_is_unlocked() {
    let mut stage = Stage::before_an_unlock();
    let get = stage.ask(waiting(600));
    assert!(stage.result(get).is_none() && stage.is_watching());
    stage.wait(Ticks::seconds(300));
    assert_eq!(stage.loads, 1, "it is not asked again and again");
    stage.unlock_vault();
    assert_eq!(stage.token(get), "access");
    assert!(!stage.is_watching(), "nothing is held up any more");
}

#[test]
fn whoever_does_not_wait_is_refused_at_once_and_does_not_end_the_others_wait() {
    let mut stage = Stage::before_an_unlock();
    let patient = stage.ask(waiting(600));
    for _ in 0..3 {
        assert_eq!(stage.refusal(), FaultKind::VaultLocked);
    }
    assert_eq!((stage.loads, stage.told_to_unlock(patient)), (4, 1));
    stage.unlock_vault();
    assert_eq!(stage.token(patient), "access");
}

#[test]
fn whoever_waits_in_vain_is_told_that_the_keyring_is_locked() {
    let mut stage = Stage::before_an_unlock();
    let get = stage.ask(waiting(10));
    stage.wait(Ticks::seconds(11));
    assert_eq!(stage.fault(get), FaultKind::VaultLocked);
    assert!(!stage.is_watching());
    let left = stage.ask(waiting(10));
    assert!(stage.is_watching());
    stage.play(Event::Left(left));
    assert!(!stage.is_watching());
}

#[test]
fn a_token_that_is_still_good_is_given_out_though_the_keyring_is_locked() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(50));
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    stage.vault_trouble = Some(prompt_dismissed());
    let get = stage.ask(waiting(600));
    assert_eq!(stage.token(get), "access", "a renewal would need the client secret");
}

#[test]
fn a_renewal_that_a_locked_keyring_held_up_goes_on_once_it_is_unlocked() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    stage.vault_trouble = Some(prompt_dismissed());
    stage.wait(Ticks::seconds(200));
    let get = stage.ask(waiting(600));
    assert!(stage.result(get).is_none());
    stage.unlock_vault();
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn what_a_locked_keyring_did_not_take_is_saved_once_it_is_unlocked() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(50));
    stage.vault_trouble = Some(prompt_dismissed());
    stage.get(false);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert!(stage.is_watching());
    stage.wait(Ticks::seconds(1200));
    stage.unlock_vault();
    assert!(stage.vault["token:default"].expose().contains("refresh2"));
    assert!(!stage.is_watching());
}

#[test]
fn what_was_in_memory_for_want_of_a_keyring_is_saved_once_one_comes() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.effects.clear();
    stage.wait(Ticks::seconds(1200));
    stage.unlock_vault();
    assert!(stage.vault["token:default"].expose().contains("refresh"));
    assert!(stage.vault.contains_key("client-secret:default"));
    assert!(!stage.is_watching());
}

#[test]
fn a_locked_daemon_reads_nothing_when_the_keyring_is_unlocked_and_goes_on_when_it_is_unlocked_itself() {
    let mut stage = Stage::before_an_unlock();
    let get = stage.ask(waiting(600));
    stage.ask(Ask::Lock);
    stage.unlock_vault();
    assert!(stage.result(get).is_none());
    stage.ask(Ask::Unlock);
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_keyring_that_does_not_say_when_it_is_unlocked_is_not_waited_for() {
    let mut stage = Stage::with(Keyring::Keyutils, &["default"]);
    stage.vault_trouble = Some(prompt_dismissed());
    let get = stage.ask(waiting(600));
    assert_eq!(stage.fault(get), FaultKind::VaultLocked);
    assert!(!stage.is_watching());
}

#[test]
fn whoever_has_the_keyring_opened_is_answered_by_a_stop_and_not_after_they_left() {
    let mut stage = Stage::before_an_unlock();
    stage.vault_is_silent = true;
    let [left, stays] = [Ask::Unlock, Ask::Unlock].map(|ask| stage.ask(ask));
    stage.play(Event::Left(left));
    stage.ask(Ask::Stop);
    assert_eq!(stage.fault(stays), FaultKind::Stopping);
    assert!(stage.result(left).is_none());
}

#[test]
fn a_keyring_on_a_full_disk_is_not_asked_without_pause_because_it_is_open() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(50));
    stage.vault_trouble = Some(VaultTrouble::Failed("no space left on device".to_owned()));
    stage.get(false);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert!(!stage.is_watching(), "no unlock makes room on a disk");
}

#[test]
fn an_item_of_a_later_version_is_not_read_without_pause_because_the_keyring_is_open() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.vault.insert("token:default".to_owned(), secret(r#"{"v":999}"#));
    stage.wait(Ticks::seconds(50));
    stage.get(false);
    stage.answer_post(granted("new", Some("refresh2"), HOUR));
    assert!(!stage.is_watching());
}

#[test]
fn a_keyring_that_is_called_open_and_stays_locked_is_asked_ever_more_rarely() {
    let mut stage = Stage::before_an_unlock();
    let get = stage.ask(waiting(2000));
    let until = stage.now.tick + Ticks::seconds(500);
    while stage.now.tick < until {
        assert!(stage.is_watching());
        stage.play(Event::VaultUnlocked);
        stage.wait(Ticks(100));
    }
    assert!(stage.loads < 12, "{} in 500 s", stage.loads);
    // What was said too soon is believed in the end.
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(300));
    assert_eq!(stage.token(get), "access");
}
