//! `kill -9` at each stage of a sign-in and of a renewal, on real processes: afterwards the old grant or the new one is
//! there, whole, and where neither can be used any more, that is said plainly.
//! Does not: reach into the programs; a stage is held from outside, by a fault of the sandbox or by a stopped process.
//! Used by: `main`.

use std::time::{Duration, Instant};
use std::{io::Write, os::unix::net::UnixStream, thread};

use rally_cred_tests::sandbox::{Counters, Endpoint, Fault, Sandbox};
use rally_cred_tests::world::{self, Running, World};
use serde_json::Value;

use crate::sign_in::{Scene, opened};

/// Asks for more life than the aged token has left, so that it is renewed while it is still good.
const RENEW: [&str; 7] =
    ["get", "--profile=default", "--format", "token", "--interactive", "never", "--min-validity=87000s"];

/// What the log says when the keyring has taken a token or a client secret.
const KEPT: &str = "the vault keeps it";

impl Scene {
    fn new() -> Self {
        // Only so does the log say that the keyring has taken something.
        Self::after(|world| {
            world.set("RALLY_CRED_LOG", "debug");
        })
    }

    /// The same, with a token that is a thousand seconds older: a fresh one is good enough for any caller.
    fn aged() -> Self {
        let mut scene = Self::new();
        scene.age();
        scene
    }

    fn age(&mut self) {
        self.crash();
        let item = ["service", "rally-cred", "username", "token:default"];
        let mut record = self.world.run("secret-tool", &[&["lookup"], &item[..]].concat(), "").json();
        record["obtained_at"] = (record["obtained_at"].as_i64().unwrap() - 1000).into();
        let store = [&["store", "--label=x"], &item[..]].concat();
        self.world.run("secret-tool", &store, record.to_string()).succeeded();
        self.restart();
    }

    /// The token that is served now.
    fn served(&self) -> String {
        self.world.get().succeeded().stdout.trim_end().to_owned()
    }

    /// Has Rally refuse the served token, and says so, so that it takes a renewal to be served again.
    fn erase(&self) {
        let token = self.served();
        assert!(self.sandbox.revoke(&token));
        self.world.reject(self.sandbox.base_url(), &token);
    }

    /// Whatever is served can be renewed, without a person.
    fn expect_renewable(&self) {
        let tabs = opened(&self.world).len();
        let refreshes = self.sandbox.counters().refreshes();
        let old = self.served();
        self.erase();
        let new = self.served();
        assert_ne!(old, new);
        assert_eq!(new, newest_token(&self.sandbox));
        assert_eq!((self.sandbox.counters().refreshes(), opened(&self.world).len()), (refreshes + 1, tabs));
    }

    /// Another daemon serves the old token.
    fn expect_old(&mut self, old: &str) {
        self.restart();
        assert_eq!(self.served(), old);
        self.expect_renewable();
    }

    /// Another daemon serves the token that Rally gave last.
    fn expect_new(&mut self, old: &str) {
        self.restart();
        assert_eq!(self.served(), newest_token(&self.sandbox));
        assert_ne!(self.served(), old);
        self.expect_renewable();
    }

    /// A get whose renewal hangs in the sandbox.
    fn begin_renewal(&self) -> Running {
        self.sandbox.fault(Endpoint::Token, Fault::Hang, None);
        let get = self.world.start("rally-cred", &RENEW);
        self.sandbox.until(|counters| counters.refreshes() == 1).unwrap();
        get
    }

    /// Nothing is left to serve, which is said plainly; a sign-in without the client secret heals it.
    fn expect_sign_in_needed(&self) {
        self.world.get().refused(3).told("try: rally-cred login");
        self.world.client(&["login"], "").succeeded();
        assert_eq!(self.served(), newest_token(&self.sandbox));
        self.expect_renewable();
    }

    /// The profile as `status --json` has it.
    fn profile(&self) -> Value {
        self.world.status()["profiles"][0].clone()
    }

    /// Waits until the log says this so many times.
    fn wait_for_log(&self, text: &str, times: usize) {
        wait_until(|| self.count_in_log(text) >= times);
    }

    fn count_in_log(&self, text: &str) -> usize {
        self.world.log().matches(text).count()
    }

    /// Sends a request on a bare connection whose answers nobody reads.
    fn ask_without_reading(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.world.socket()).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        stream
    }

    /// Kills the daemon, and sees to it that the request that hangs in the sandbox is never handled.
    fn crash_before_the_request_is_handled(&mut self) {
        let finished = self.sandbox.counters().finished;
        self.crash();
        self.sandbox.until(|counters| counters.finished > finished).unwrap();
        self.sandbox.clear_faults();
    }

    /// Has the request that hangs in the sandbox handled while the daemon cannot read the answer, and kills it then.
    fn crash_before_the_answer_is_read(&mut self) {
        let finished = self.sandbox.counters().finished;
        self.daemon.signal("STOP");
        self.sandbox.clear_faults();
        self.sandbox.until(|counters| counters.finished > finished).unwrap();
        self.crash();
    }
}

/// Looks again and again. The minute is a safety net for what will never come; nothing depends on it.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "what was waited for will not come");
        thread::yield_now();
    }
}

/// The access token that the sandbox gave last.
fn newest_token(sandbox: &Sandbox) -> String {
    let answers = sandbox.log().into_iter().rev().filter_map(|entry| entry.answer);
    let mut tokens = answers.filter_map(|answer| {
        let answer: Value = serde_json::from_str(&answer).ok()?;
        answer["access_token"].as_str().map(str::to_owned)
    });
    tokens.next().unwrap()
}

#[test]
fn a_crash_while_a_person_is_asked_leaves_the_old_grant_and_a_free_port() {
    let mut scene = Scene::new();
    let old = scene.served();
    scene.world.set("PRESS", "nothing");
    let login = scene.world.start("rally-cred", &["login", "--force"]);
    wait_until(|| opened(&scene.world).len() == 2);
    scene.crash();
    login.end().ended_with(6);
    scene.expect_old(&old);
    scene.world.set("PRESS", "allow");
    scene.world.client(&["login", "--force"], "").succeeded();
}

/// Signs in anew up to a request that hangs in the sandbox, crashes there, and expects the old grant.
fn crash_a_sign_in(endpoint: Endpoint, crash: fn(&mut Scene)) {
    let mut scene = Scene::new();
    let old = scene.served();
    scene.sandbox.fault(endpoint, Fault::Hang, None);
    let login = scene.world.start("rally-cred", &["login", "--force"]);
    let arrived = |counters: &Counters| match endpoint {
        Endpoint::User => counters.user_lookups == 2,
        _ => counters.code_exchanges() == 2,
    };
    scene.sandbox.until(arrived).unwrap();
    crash(&mut scene);
    assert_eq!(login.end().code, Some(6));
    scene.expect_old(&old);
}

#[test]
fn a_crash_while_the_code_is_on_its_way_leaves_the_old_grant() {
    crash_a_sign_in(Endpoint::Token, Scene::crash_before_the_request_is_handled);
}

#[test]
fn a_crash_after_the_code_was_taken_but_before_the_answer_was_read_leaves_the_old_grant() {
    crash_a_sign_in(Endpoint::Token, Scene::crash_before_the_answer_is_read);
}

#[test]
fn a_crash_while_the_user_is_looked_up_leaves_the_old_grant() {
    crash_a_sign_in(Endpoint::User, Scene::crash_before_the_request_is_handled);
}

#[test]
fn a_crash_while_a_sign_in_is_being_stored_leaves_one_grant_whole() {
    let mut scene = Scene::new();
    let old = scene.served();
    scene.keyring.pause_keyring();
    let login = scene.world.start("rally-cred", &["login", "--force"]);
    scene.wait_for_log("signed in", 2);
    // A get does not wait for the keyring for ever; that it was served shows how long the write has been under way.
    let new = scene.served();
    assert_eq!(new, newest_token(&scene.sandbox));
    scene.crash();
    scene.keyring.resume_keyring();
    assert_eq!(login.end().code, Some(6), "a login promises nothing before the keyring has it");
    scene.restart();
    let left = scene.served();
    assert!(left == old || left == new);
    scene.expect_renewable();
}

#[test]
fn a_crash_after_a_sign_in_was_stored_but_before_anybody_was_told_keeps_it() {
    let mut scene = Scene::new();
    let old = scene.served();
    let login = scene.ask_without_reading(r#"{"v":1,"op":"login","force":true}"#);
    scene.wait_for_log("began a sign-in", 2);
    // Nobody reads the address off the connection, so it is asked for as a second caller.
    scene.world.client(&["login", "--force"], "").succeeded();
    assert_eq!(scene.profile()["kept"], true);
    scene.crash();
    drop(login);
    scene.expect_new(&old);
}

#[test]
fn a_crash_while_a_renewal_is_on_its_way_leaves_the_old_grant() {
    let mut scene = Scene::aged();
    let old = scene.served();
    let get = scene.begin_renewal();
    scene.crash_before_the_request_is_handled();
    assert_eq!(get.end().code, Some(6));
    scene.expect_old(&old);
}

#[test]
fn a_crash_after_a_renewal_was_handled_but_before_the_answer_was_read_leaves_the_old_token_to_its_end() {
    for rotates in [false, true] {
        let mut scene = Scene::aged();
        scene.sandbox.change(|options| options.rotate_refresh = rotates);
        let old = scene.served();
        let get = scene.begin_renewal();
        scene.crash_before_the_answer_is_read();
        assert_ne!(newest_token(&scene.sandbox), old);
        assert_eq!(get.end().code, Some(6));
        scene.restart();
        assert_eq!(scene.served(), old);
        if rotates {
            // The refresh token died with the answer that nobody read.
            scene.erase();
            scene.expect_sign_in_needed();
        } else {
            scene.expect_renewable();
        }
    }
}

#[test]
fn a_crash_while_a_renewal_is_being_stored_leaves_one_grant_whole() {
    for rotates in [false, true] {
        let mut scene = Scene::new();
        scene.sandbox.change(|options| options.rotate_refresh = rotates);
        scene.erase();
        // The report is heard and its mark is stored before the keyring falls silent.
        scene.wait_for_log(KEPT, 3);
        scene.keyring.pause_keyring();
        let get = scene.world.get();
        let new = newest_token(&scene.sandbox);
        assert_eq!(get.stdout.trim_end(), new, "a silent keyring does not keep a get waiting: {get:?}");
        scene.crash();
        scene.keyring.resume_keyring();
        scene.restart();
        // The keyring may take the record of the dead daemon late; then it is found.
        match scene.world.get().code {
            Some(0) => scene.expect_renewable(),
            _ => scene.expect_sign_in_needed(),
        }
    }
}

#[test]
fn a_crash_after_a_renewal_was_stored_but_before_its_caller_was_told_keeps_it() {
    let mut scene = Scene::aged();
    let old = scene.served();
    let kept = scene.count_in_log(KEPT);
    let get = scene.ask_without_reading(r#"{"v":1,"op":"get","min_validity":87000}"#);
    scene.wait_for_log(KEPT, kept + 1);
    scene.crash();
    drop(get);
    scene.expect_new(&old);
}

#[test]
fn a_keyring_killed_while_a_renewal_is_being_stored_gets_it_when_it_is_back() {
    let mut scene = Scene::new();
    scene.erase();
    scene.wait_for_log(KEPT, 3);
    let kept = scene.count_in_log(KEPT);
    scene.keyring.pause_keyring();
    let get = scene.world.start("rally-cred", &["get", "--format", "token"]);
    scene.wait_for_log("renewed the token", 1);
    scene.keyring.kill_keyring();
    let got = get.end();
    let new = newest_token(&scene.sandbox);
    assert_eq!((got.code, got.stdout.trim_end()), (Some(0), new.as_str()), "{got:?}");
    scene.keyring.restart_keyring(true);
    scene.wait_for_log(KEPT, kept + 1);
    scene.crash();
    scene.restart();
    assert_eq!(scene.served(), new);
    scene.expect_renewable();
}

#[test]
fn a_client_killed_while_a_person_is_asked_ends_its_own_sign_in_but_not_that_of_a_get() {
    let mut scene = Scene::new();
    let old = scene.served();
    scene.world.set("PRESS", "nothing");
    let mut login = scene.world.start("rally-cred", &["login", "--force"]);
    wait_until(|| opened(&scene.world).len() == 2);
    login.kill();
    scene.wait_for_log("a sign-in failed", 1);
    assert_eq!((scene.profile()["state"].as_str(), scene.served()), (Some("signed_in"), old));

    scene.erase();
    scene.sandbox.revoke_all();
    let get = ["get", "--profile", "default", "--format", "token", "--interactive", "always"];
    let mut get = scene.world.start("rally-cred", &get);
    wait_until(|| opened(&scene.world).len() == 3);
    get.kill();
    wait_until(|| scene.profile()["waiting"] == 0);
    let url = opened(&scene.world).pop().unwrap();
    assert_eq!(scene.sandbox.browser().allow(&url).unwrap().status, 200);
    assert_eq!(scene.served(), newest_token(&scene.sandbox));
    scene.expect_renewable();
}

#[test]
fn twenty_thousand_gets_over_kept_connections_get_no_wrong_answer() {
    let mut world = World::new();
    world.set(world::PROGRAMS, world::programs().display());
    world.run("soak", &["--gets", "20000"], "").succeeded();
}
