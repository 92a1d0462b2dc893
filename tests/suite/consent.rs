//! `confirm` and `allow` on real processes, a real bus, and a notification service that the test plays.
//! Does not: repeat what is remembered for how long, which the broker's own tests play in virtual time.
//! Used by: `main`.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use rally_cred_tests::desktop::{Call, Desktop};
use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, Running, World};

use crate::{
    audit::{last_of_audit, this},
    sign_in::{question, sign_in, value, with_browser},
};

const ANSWERS: [&str; 6] = ["once", "Allow once", "session", "Allow for this session", "deny", "Deny"];

/// A person who is signed in, with these lines in the profile, and perhaps a bus.
fn world_on(bus: Option<&KeyringSession>, lines: &str) -> (Sandbox, World, Running) {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}{lines}", world::profile_for(&sandbox)));
    world.set("GIT_TERMINAL_PROMPT", "0");
    bus.into_iter().for_each(|bus| world.join(bus));
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    (sandbox, world, daemon)
}

/// A person who is asked about programs that are new, on a bus with a notification service.
fn confirming(more: &str) -> (Desktop, KeyringSession, Sandbox, World, Running) {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let (sandbox, world, daemon) = world_on(Some(&bus), &format!("confirm = \"new\"\n{more}"));
    (desktop, bus, sandbox, world, daemon)
}

/// The next question, which is about this program.
#[expect(clippy::panic, reason = "a test without its question fails")]
fn asked(desktop: &Desktop, program: &str) -> u32 {
    let Call::Show { id, summary, body, actions, expires } = desktop.next() else { panic!("no question") };
    assert_eq!((summary.as_str(), expires), ("Rally: may this program have a token?", 0));
    assert_eq!(body, format!("{program} asks for a token of profile default."));
    assert_eq!(actions, ANSWERS);
    id
}

fn get(world: &World, interactive: &str) -> world::Ended {
    world.client(&["get", "--format", "token", "--interactive", interactive], "")
}

/// A get that may ask a person, which waits for the answer.
fn waiting_get(world: &World) -> Running {
    let mut get = world.start("rally-cred", &["get", "--format", "token", "--interactive", "always"]);
    drop(get.0.stdin.take());
    get.wait_for_line("a notification asks whether this program may have the token");
    get
}

#[test]
fn a_program_that_is_new_is_named_to_the_user_and_given_a_token_once_they_allow_it() {
    let (desktop, _bus, _sandbox, world, _daemon) = confirming("");
    let waiting = waiting_get(&world);
    let id = asked(&desktop, this().to_str().unwrap());
    desktop.press(id, "session");
    let token = waiting.end().succeeded().stdout;
    assert_eq!(get(&world, "never").succeeded().stdout, token);
    assert_eq!(desktop.calls(), []);

    // A copy of the program is another one.
    let copy = world.path("copy");
    World::copy_program(Path::new("/bin/sh"), &copy);
    let copy = fs::canonicalize(copy).unwrap();
    let line = "rally-cred get --format token --interactive never </dev/null; exit $?";
    assert_eq!(world.run(copy.to_str().unwrap(), &["-c", line], "").code, Some(3));
    asked(&desktop, copy.to_str().unwrap());

    world.client(&["lock"], "").succeeded();
    world.client(&["unlock"], "").succeeded();
    assert!(matches!(desktop.next(), Call::Close(_)), "the question about the copy is taken away");
    assert_eq!(get(&world, "never").code, Some(3), "a lock ends what was said");
}

#[test]
fn a_question_for_another_machine_says_so() {
    let (desktop, _bus, _sandbox, world, _daemon) = confirming("[forward]\nprofiles = [\"default\"]\n");
    let mut stream = UnixStream::connect(world.path("run/rally-cred/forward.sock")).unwrap();
    stream.write_all(b"{\"v\":1,\"op\":\"get\",\"profile\":\"default\"}\n").unwrap();
    let Call::Show { body, .. } = desktop.next() else { unreachable!("no question") };
    let what = "asks for a token of profile default, for another machine, by the forwarded socket.";
    assert_eq!(body, format!("{} {what}", this().display()));
}

#[test]
fn what_the_user_denies_is_refused_and_told_with_what_to_do() {
    let (desktop, _bus, _sandbox, world, _daemon) = confirming("");
    let waiting = waiting_get(&world);
    let id = asked(&desktop, this().to_str().unwrap());
    desktop.press(id, "deny");
    for refused in [waiting.end(), get(&world, "always"), get(&world, "never")] {
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""));
        let what =
            format!("{} may not have tokens of profile default\n  why: you have denied it", this().display());
        assert!(refused.stderr.contains(&what), "{refused:?}");
        assert_eq!(refused.remedy(), "to be asked anew: rally-cred lock, then rally-cred unlock");
    }
    assert_eq!(desktop.calls(), []);
    let last = last_of_audit(&world);
    assert_eq!((&last["verdict"], &last["kind"]), (&"refused".into(), &"not_allowed".into()));
}

#[test]
fn callers_in_the_background_are_refused_at_once_with_one_notification_for_all() {
    let (desktop, _bus, _sandbox, world, _daemon) = confirming("");
    for _ in 0..5 {
        let refused = get(&world, "never").refused(3);
        assert_eq!(refused.remedy(), "press Allow in the notification, then ask again");
    }
    let id = asked(&desktop, this().to_str().unwrap());
    assert_eq!(desktop.calls(), []);
    desktop.press(id, "session");
    while get(&world, "never").code != Some(0) {}
}

#[test]
fn nothing_but_a_button_of_the_question_itself_lets_a_program_in() {
    let (desktop, _bus, _sandbox, world, _daemon) = confirming("");
    type Act = fn(&Desktop, u32);
    let (forged, another, beside): (Act, Act, Act) = (
        |desktop, id| desktop.forge_press(id, "session"),
        |desktop, id| desktop.press(id + 1, "session"),
        |desktop, id| desktop.press(id, "default"),
    );
    for act in [forged, another, beside] {
        let waiting = waiting_get(&world);
        let id = asked(&desktop, this().to_str().unwrap());
        act(&desktop, id);
        desktop.dismiss(id);
        waiting.end().refused(3).told("the notification was closed without an answer");
    }
    assert_eq!(desktop.calls(), []);
}

#[test]
fn where_no_notification_can_be_shown_whoever_waits_is_told_so() {
    let (_sandbox, world, _daemon) = world_on(None, "confirm = \"new\"\n");
    get(&world, "always").ended_with(3).told("\n  why: ");
    assert_eq!(get(&world, "never").code, Some(3));
}

#[test]
fn git_build_tools_exec_and_gateways_pass_the_same_gate() {
    // The git that starts helpers is the one in its own folder, which may be a file of its own.
    let folder = World::new().run("git", &["--exec-path"], "").succeeded().stdout;
    let git = fs::canonicalize(PathBuf::from(folder.trim()).join("git")).unwrap();
    let of_git = format!("allow = [\"{}\"]\n", git.display());
    let of_this = format!("allow = [\"{}\"]\n", this().display());
    for (lines, lets_git, lets_this) in [(&of_git, true, false), (&of_this, false, true)] {
        let (sandbox, world, _daemon) = world_on(None, lines);
        let key = format!("credential.{}.helper", sandbox.base_url());
        world.run("git", &["config", "--global", &key, "rally"], "").succeeded();
        let filled = world.run("git", &["credential", "fill"], question(&sandbox));
        assert_eq!(value(&filled.stdout, "password").is_some(), lets_git, "{filled:?}");

        let request = format!("{{\"uri\":\"{}/slm\"}}", sandbox.base_url());
        let line = "curl --silent --output /dev/stderr --write-out '%{http_code}' \
                    --header \"ZSESSIONID: $RALLY_API_KEY\" \"$SERVER/slm/webservice/v2.0/user\"";
        let gateway = ["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c", line];
        let of_tool = |words: &[&str], input: &str| world.client(words, input);
        let (engflow, exec) = (of_tool(&["get"], &request), of_tool(&["exec", "--", "true"], ""));
        let codes = if lets_this { (Some(0), Some(0)) } else { (Some(4), Some(4)) };
        assert_eq!((engflow.code, exec.code), codes, "{engflow:?} {exec:?}");
        let through = of_tool(&gateway, "");
        assert_eq!(through.stdout == "200", lets_this, "{through:?}");
        assert_eq!(
            through.stderr.contains("may not have tokens of profile default"),
            !lets_this,
            "{through:?}"
        );
        if !lets_this {
            assert!(exec.stderr.contains("it is not in `allow`"), "{exec:?}");
            assert!(last_of_audit(&world)["gateway"].as_str().unwrap().starts_with("sh-"));
        }
    }
}
