//! The broker's decisions: what a watcher is told, and when.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::message::{self, Became, News, WatchAsk};

use super::*;

impl Stage {
    fn watch(&mut self, profile: Option<&str>) -> AskId {
        self.ask(Ask::Watch(WatchAsk { profile: profile.map(str::to_owned) }))
    }

    fn news_of(&self, watcher: AskId) -> Vec<&News> {
        of_effects!(self, Effect::Tell(id, message::Event::News(news)) if *id == watcher => news)
    }

    /// What a watcher was told since the last look, in short.
    fn heard(&mut self, watcher: AskId) -> Vec<Became> {
        let heard = self.news_of(watcher).iter().map(|news| news.what).collect();
        self.effects.clear();
        heard
    }
}

#[test]
fn a_watcher_hears_what_is_held_and_then_each_change_once() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let watcher = stage.watch(None);
    let [held] = stage.news_of(watcher)[..] else { panic!("{:?}", stage.effects) };
    assert_eq!((held.what, held.profile.as_str()), (Became::Held, "default"));
    assert_eq!(held.expires_at, Some(T0.wall.0 + HOUR as i64));
    stage.effects.clear();

    stage.wait(Ticks::seconds(2 * HOUR));
    assert_eq!(stage.heard(watcher), [Became::Ended], "nobody used it, so nobody renewed it");
    stage.get(false);
    stage.answer_post(granted("renewed", Some("rotated"), HOUR));
    assert_eq!(stage.heard(watcher), [Became::Renewed]);
    stage.get(false);
    assert_eq!(stage.heard(watcher), [], "a get changes nothing");

    stage.ask(erase("renewed"));
    assert!(stage.news_of(watcher).is_empty(), "that a caller says so is not enough");
    stage.answer_look_up(unauthorized());
    assert_eq!(stage.heard(watcher), [Became::Refused]);
}

#[test]
fn a_watcher_hears_that_a_person_is_needed_why_and_that_they_came() {
    let mut stage = Stage::new();
    let watcher = stage.watch(None);
    assert_eq!(stage.heard(watcher), [Became::SignInNeeded]);
    stage.login(Some("client-secret"));
    stage.allow("access", Some("refresh"), HOUR);
    assert_eq!(stage.heard(watcher), [Became::Obtained]);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.get(false);
    stage.refuse_refresh_token();
    let needed = stage.news_of(watcher).last().map(|news| (news.what, news.fault.is_some()));
    assert_eq!(needed, Some((Became::SignInNeeded, true)));
    assert_eq!(stage.heard(watcher), [Became::Ended, Became::SignInNeeded]);
}

#[test]
fn a_sign_out_is_the_end_of_a_token_and_a_person_is_needed() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let watcher = stage.watch(Some("default"));
    stage.heard(watcher);
    stage.ask(logout(false, false));
    assert_eq!(stage.heard(watcher), [Became::Ended, Became::SignInNeeded]);
}

#[test]
fn a_watcher_of_one_profile_hears_of_that_one_and_a_watcher_who_left_of_none() {
    let mut stage = Stage::with(Keyring::Auto, &["default", "other"]);
    let (own, all, gone) = (stage.watch(Some("other")), stage.watch(None), stage.watch(None));
    stage.play(Event::Left(gone));
    stage.effects.clear();
    stage.login(Some("client-secret"));
    stage.allow("access", Some("refresh"), HOUR);
    let heard = |id| stage.news_of(id).iter().map(|news| news.what).collect::<Vec<_>>();
    assert_eq!((heard(own), heard(all), heard(gone)), (vec![], vec![Became::Obtained], vec![]));
}

#[test]
fn a_watch_ends_by_a_stop_and_when_its_profile_is_gone_from_the_config_file() {
    let mut stage = Stage::with(Keyring::Auto, &["default", "other"]);
    let unknown = stage.watch(Some("nobody"));
    assert_eq!(stage.fault(unknown), FaultKind::UnknownProfile);
    let (other, all) = (stage.watch(Some("other")), stage.watch(None));
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Auto))));
    assert_eq!(stage.fault(other), FaultKind::UnknownProfile);
    assert!(stage.result(all).is_none());
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(all), FaultKind::Stopping);
}

#[test]
fn a_token_is_told_in_the_step_in_which_a_caller_has_it_and_is_no_part_of_the_news() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let watcher = stage.watch(None);
    stage.wait(Ticks::seconds(2 * HOUR));
    let get = stage.get(false);
    stage.answer_post(granted("renewed", Some("rotated"), HOUR));
    assert_eq!(stage.token(get), "renewed");
    let news = format!("{:?}", stage.news_of(watcher));
    assert!(news.contains("Renewed") && !news.contains("renewed\"") && !news.contains("rotated"), "{news}");
}
