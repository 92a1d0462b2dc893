//! The broker's decisions where many daemons on many machines share a vault.
//! Does not: touch anything real; `cargo simulate` plays whole fleets.
//! Used by: `cargo test`.

use std::{path::PathBuf, sync::Arc};

use super::*;
use crate::profile::kv2::{Address, Kv2, ServerTrouble};

pub(super) fn kv2(is_read_only: bool) -> Keyring {
    let address = Address::Socket(PathBuf::from("/run/bao.sock"));
    Keyring::Kv2(Arc::new(Kv2 { is_read_only, ..Kv2::new(address) }))
}

fn fleet() -> Stage {
    let mut stage = Stage::with(kv2(false), &["default"]);
    stage.sign_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    stage
}

impl Stage {
    fn field(&self, name: &str) -> serde_json::Value {
        let record: serde_json::Value = serde_json::from_str(self.vault["token:default"].expose()).unwrap();
        record[name].clone()
    }

    fn set_field(&mut self, name: &str, value: serde_json::Value) {
        let text = self.vault["token:default"].expose();
        let mut record: serde_json::Value = serde_json::from_str(text).unwrap();
        record[name] = value;
        self.vault.insert("token:default".to_owned(), secret(&record.to_string()));
    }

    /// Another daemon takes the lease; its calendar is an hour behind.
    fn other_takes_lease(&mut self, turn: u64) {
        let until = self.now.wall.0 - 3600;
        self.set_field("lease", serde_json::json!({"owner": "other", "until": until, "turn": turn}));
    }

    fn other_renews(&mut self, access: &str, refresh: &str) {
        let generation = self.field("generation").as_u64().unwrap() + 1;
        for (name, value) in [
            ("access_token", access.into()),
            ("refresh_token", refresh.into()),
            ("generation", generation.into()),
            ("obtained_at", self.now.wall.0.into()),
            ("expires_at", (self.now.wall.0 + 3600).into()),
            ("lease", serde_json::Value::Null),
        ] {
            self.set_field(name, value);
        }
    }
}

#[test]
fn a_renewal_takes_the_lease_first_and_the_new_token_ends_it() {
    let mut stage = fleet();
    assert_eq!(stage.field("lease"), serde_json::Value::Null);
    let get = stage.get(false);
    assert_eq!(stage.posts().len(), 1);
    assert!(stage.field("lease")["owner"].is_string());
    let generation = stage.field("generation").as_u64().unwrap();
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert_eq!(stage.token(get), "new");
    assert_eq!((stage.field("lease"), stage.field("refresh_token")), (serde_json::Value::Null, "R2".into()));
    assert_eq!(stage.field("generation").as_u64(), Some(generation + 1));
}

#[test]
fn a_daemon_that_was_told_to_stop_sends_no_refresh_token_once_it_has_the_lease() {
    let mut stage = Stage::with(kv2(false), &["default", "work"]);
    stage.sign_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    stage.vault_is_silent = true;
    stage.get(false);
    stage.vault_says(Outcome::Loaded(Ok(stage.vault.get("token:default").cloned())));
    let Some(Effect::Change(lease, _)) = stage.unanswered.pop() else { panic!("no lease is taken") };
    // A sign-out waits for the vault, and the stop for that.
    stage.ask(Ask::Logout(Logout { profile: Some("work".to_owned()), all: false, client_secret: false }));
    let stop = stage.ask(Ask::Stop);
    assert!(stage.result(stop).is_none());
    stage.hear(lease, Outcome::Changed(Ok(Changed::Done)));
    assert!(stage.posts().is_empty());
}

#[test]
fn who_finds_the_lease_taken_waits_and_gets_what_the_holder_saves() {
    let mut stage = fleet();
    stage.other_takes_lease(1);
    let get = stage.get(false);
    stage.wait(Ticks::seconds(2));
    assert!(stage.posts().is_empty() && stage.result(get).is_none());
    stage.other_renews("theirs", "R2");
    stage.wait(Ticks::seconds(5));
    assert_eq!(stage.token(get), "theirs");
    assert!(stage.posts().is_empty());
}

#[test]
fn a_lease_that_nobody_extends_ends_half_a_minute_after_it_was_first_seen_whatever_it_says() {
    let mut stage = fleet();
    stage.other_takes_lease(1);
    stage.get(false);
    stage.wait(Ticks::seconds(20));
    stage.other_takes_lease(2);
    stage.get(false);
    stage.wait(Ticks::seconds(29));
    assert!(stage.posts().is_empty(), "it was extended");
    stage.wait(Ticks::seconds(6));
    assert_eq!(stage.posts().len(), 1);
}

#[test]
fn a_lease_is_extended_for_as_long_as_rally_takes() {
    let mut stage = fleet();
    stage.get(false);
    let first = stage.field("lease");
    stage.wait(Ticks::seconds(9));
    assert_eq!(stage.field("lease"), first);
    stage.wait(Ticks::seconds(2));
    let second = stage.field("lease");
    assert_ne!(second, first);
    stage.wait(Ticks::seconds(10));
    assert_ne!(stage.field("lease"), second);
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert_eq!(stage.field("lease"), serde_json::Value::Null);
    let saves = stage.saves;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.saves, saves);
}

#[test]
fn without_the_vault_no_refresh_token_is_sent_and_a_good_token_is_given_out_meanwhile() {
    let mut stage = Stage::with(kv2(false), &["default"]);
    stage.sign_in("access", Some("R1"), 100);
    stage.vault_trouble = Some(VaultTrouble::Server(ServerTrouble::Sealed));
    stage.wait(Ticks::seconds(80));
    assert_eq!(stage.served(), "access");
    stage.wait(Ticks::seconds(80));
    let get = stage.get(true);
    assert_eq!(stage.fault(get), FaultKind::VaultLocked);
    assert!(stage.posts().is_empty());
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(300));
    stage.get(false);
    assert_eq!(stage.posts().len(), 1);
}

#[test]
fn a_new_token_that_the_vault_did_not_take_is_offered_again_soon_and_is_not_renewed_before() {
    let mut stage = fleet();
    stage.get(false);
    stage.vault_trouble = Some(VaultTrouble::Server(ServerTrouble::Sealed));
    stage.answer_post(granted("new", Some("R2"), 15));
    assert_eq!(stage.served(), "new");
    stage.wait(Ticks::seconds(30));
    assert_eq!(stage.posts().len(), 1, "who knows who has the token by now");
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(8));
    assert_eq!(stage.field("refresh_token"), "R2");
    stage.get(false);
    assert_eq!(stage.posts().len(), 2);
}

#[test]
fn a_get_that_comes_while_the_vault_is_being_written_waits_and_is_not_refused() {
    let mut stage = Stage::with(kv2(false), &["default"]);
    stage.sign_in("access", Some("R1"), HOUR);
    stage.ask(erase("access"));
    stage.vault_is_silent = true;
    stage.answer_look_up(unauthorized());
    let get = stage.get(false);
    stage.wait(Ticks::seconds(1));
    assert!(stage.result(get).is_none());
    stage.vault_is_silent = false;
    for effect in std::mem::take(&mut stage.unanswered) {
        let Effect::Change(epoch, change) = effect else { continue };
        stage.vault.insert(change.key.account(), change.to.unwrap());
        stage.hear(epoch, Outcome::Changed(Ok(Changed::Done)));
    }
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn who_lost_the_lease_in_mid_renewal_saves_what_it_got_and_who_took_it_goes_on_from_there() {
    let mut stage = fleet();
    let get = stage.get(false);
    stage.other_takes_lease(1);
    stage.answer_post(granted("new", Some("R2"), HOUR));
    assert_eq!(stage.token(get), "new");
    assert_eq!(stage.field("refresh_token"), "R2");
}

#[test]
fn a_newer_token_is_not_overwritten_by_one_of_a_calendar_that_is_ahead() {
    let mut stage = fleet();
    let get = stage.get(false);
    // Another daemon renewed twice while this one slept; its calendar is an hour behind.
    stage.other_renews("theirs", "R2");
    stage.other_renews("their next", "R3");
    stage.set_field("obtained_at", (stage.now.wall.0 - 3600).into());
    stage.answer_post(granted("mine", Some("R4"), HOUR));
    assert_eq!(stage.field("refresh_token"), "R3");
    assert!(stage.result(get).is_some());
}

#[test]
fn times_in_records_are_the_vaults_and_times_for_callers_are_this_machines() {
    let mut stage = Stage::with(kv2(false), &["default"]);
    stage.play(Event::VaultCalendar { least: 3_599_900, most: 3_600_000 });
    stage.sign_in("access", Some("R1"), 100);
    let wall = stage.now.wall.0;
    assert_eq!(stage.field("obtained_at").as_i64(), Some(wall + 3599));
    let get = stage.get(false);
    match stage.result(get) {
        Some(Reply::Token(token)) => assert_eq!(token.expires_at, Some(wall + 99)),
        other => panic!("{other:?}"),
    }
    // A daemon of another calendar reads it.
    let mut other = Stage::with(kv2(false), &["default"]);
    other.vault = stage.vault.clone();
    other.play(Event::VaultCalendar { least: 3_599_900, most: 3_600_000 });
    other.pass_to(stage.now.tick + Ticks::seconds(30));
    assert_eq!(other.served(), "access");
    other.wait(Ticks::seconds(69));
    other.get(false);
    assert_eq!(other.posts().len(), 1, "it has ended by any calendar");
}

#[test]
fn a_reader_waits_for_the_others_renewal_and_neither_renews_nor_signs_in() {
    let mut stage = fleet();
    let mut reader = Stage::with(kv2(true), &["default"]);
    let get = reader.get(true);
    assert_eq!(reader.fault(get), FaultKind::SignInNeeded);
    let text = crate::for_readers(&stage.vault["token:default"]).unwrap();
    reader.vault.insert("token:default".to_owned(), text);
    reader.pass_to(stage.now.tick);
    let get = reader.get(false);
    reader.wait(Ticks::seconds(3));
    assert!(reader.result(get).is_none());
    stage.other_renews("theirs", "R2");
    let text = crate::for_readers(&stage.vault["token:default"]).unwrap();
    reader.vault.insert("token:default".to_owned(), text);
    reader.wait(Ticks::seconds(5));
    assert_eq!(reader.token(get), "theirs");
    let login = reader.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert_eq!(reader.fault(login), FaultKind::SignInNeeded);
    assert!(reader.posts().is_empty() && reader.urls_shown().is_empty());
    assert_eq!(reader.saves, 0);
}
