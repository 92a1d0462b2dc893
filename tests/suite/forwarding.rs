//! Forwarding over a real sshd: what the far side gets, what it may not do, and what becomes of a broken connection.
//! Does not: try each move of the socket (`broker_tests::forwarding` does).
//! Used by: `main`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::{fs::PermissionsExt, net::UnixStream};
use std::{fs, thread, time::Duration};

use rally_cred_proto::forwarding::near;
use rally_cred_tests::sshd::{FarSide, HOST};
use rally_cred_tests::world::{Ended, Running, World, profile_for, set_mode};

use crate::sign_in::{opened, question, sign_in, signed_in, signed_in_with_keyring, with_browser};
use crate::{setup::newcomer, tidy::document, transcript::is_alike};

/// A config file that a host's user may have.
const OWN: &str = "keyring = \"memory\"\n[profile.default]\nclient_id = \"id\"\nredirect_uri = \"http://localhost:8477/callback\"\n";

const TOKEN: [&str; 4] = ["rally-cred", "get", "--format", "token"];

/// Forwards to the far side, and waits until it is ready.
fn forward(near: &World) -> Running {
    let mut forward = near.start("rally-cred", &["forward", HOST]);
    wait_until_ready(&mut forward);
    forward
}

fn wait_until_ready(forward: &mut Running) {
    let line = forward.next_line_of_stdout();
    let is_ready = line.as_ref().is_some_and(|line| line.starts_with("default is forwarded to build, at /"));
    assert!(is_ready, "{line:?} {:?}", forward.next_line_of_stderr());
}

fn token_of(near: &World) -> String {
    near.client(&["get", "--format", "token"], "").succeeded().stdout
}

/// Asks until there is a token, as after a moment in which something is being started.
fn token_in_the_end(far: &FarSide) -> String {
    loop {
        let got = far.run(&TOKEN, "");
        if got.code == Some(0) {
            return got.stdout;
        }
        assert_eq!(got.code, Some(6), "{got:?}");
        thread::yield_now();
    }
}

/// Asks until nobody answers any more.
fn gone_in_the_end(far: &FarSide) -> Ended {
    loop {
        let got = far.run(&TOKEN, "");
        if got.code == Some(6) {
            return got;
        }
        assert_eq!(got.code, Some(0), "{got:?}");
        thread::yield_now();
    }
}

fn ask(world: &World, line: &str) -> String {
    let mut stream = UnixStream::connect(world.path("run/rally-cred/forward.sock")).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let results = ["error", "token", "no_match", "status"].map(|name| format!("\"type\":\"{name}\""));
    let mut answer = String::new();
    let mut lines = BufReader::new(stream);
    while !results.iter().any(|result| answer.contains(result)) && lines.read_line(&mut answer).unwrap() > 0 {
    }
    answer
}

#[test]
fn every_request_of_the_protocol_but_get_and_status_is_refused_by_the_forwarded_socket() {
    let (sandbox, world) = with_browser();
    let profile = profile_for(&sandbox);
    world.configure(&format!(
        "{profile}[static]\nhosts = [\"https://git.example.com\"]\n[forward]\nprofiles = [\"default\"]\n"
    ));
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let mode = fs::metadata(world.path("run/rally-cred/forward.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let token = token_of(&world);
    let (page, rest) = (document("proto/PROTOCOL.md"), "git.example.com");
    let (_, requests) = page.split_once("\n## Requests\n").unwrap();
    let (requests, _) = requests.split_once("\n## Events\n").unwrap();
    let (mut refused, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for example in requests.split("```json\n").skip(1).filter_map(|rest| rest.split_once("```")) {
        for request in example.0.split('→').skip(1) {
            let request = request.replace('\n', " ");
            let parsed: serde_json::Value = serde_json::from_str(&request).unwrap();
            let answer = ask(&world, &request);
            let op = parsed["op"].as_str().unwrap().to_owned();
            let is_refused = answer.contains("is not done by a forwarded socket");
            let is_asked_for = op == "get" || op == "status" && parsed["check"] != true;
            assert_eq!(is_refused, !is_asked_for, "{request}: {answer}");
            assert!(!answer.contains(rest), "{request}: {answer}");
            if is_refused {
                assert!(answer.contains(&format!("\"try\":\"on {}: ", near())), "{request}: {answer}");
                refused.insert(op);
            } else {
                answered.insert(op);
            }
        }
    }
    assert_eq!(answered.into_iter().collect::<Vec<_>>(), ["get", "status"]);
    assert_eq!(refused.len(), requests.matches("\n### `").count() - 1, "{refused:?}");
    // Nothing has become of any of them.
    assert_eq!((opened(&world).len(), token_of(&world)), (1, token));
    let log = world.logged("refused by the forwarded socket: a sign-in is not done");
    assert_eq!(log.matches("began a sign-in").count(), 1, "{log}");
    for bad in ["hello", r#"{"v":1,"op":"dance"}"#, r#"{"v":99,"op":"get"}"#, r#"{"v":99,"op":"stop"}"#] {
        assert!(ask(&world, bad).contains(r#""type":"error""#), "{bad}");
    }
    world.client(&["status"], "").succeeded();
}

#[test]
fn the_forwarded_socket_is_there_while_its_section_is_and_comes_again_if_it_is_removed() {
    let (sandbox, world) = with_browser();
    let without = format!("keyring = \"memory\"\n{}", profile_for(&sandbox));
    let with = format!("{without}[forward]\nprofiles = [\"default\"]\n");
    let socket = world.path("run/rally-cred/forward.sock");
    let reload = |config: &str| {
        world.reconfigure(config);
    };
    let expect_served = || {
        while UnixStream::connect(&socket).is_err() {}
        assert!(ask(&world, r#"{"v":1,"op":"status"}"#).contains("forwarded_by"));
    };
    world.configure(&with);
    let mut daemon = world.start_daemon();
    expect_served();
    fs::remove_file(&socket).unwrap();
    expect_served();

    let mut connected = UnixStream::connect(&socket).unwrap();
    connected.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    connected.write_all(b"hello\n").unwrap();
    let mut answers = BufReader::new(connected).lines();
    assert!(answers.next().unwrap().unwrap().contains("bad_request"));
    reload(&without);
    assert!(!socket.exists());
    assert!(answers.next().is_none(), "a connection outlives its socket");
    reload(&with);
    expect_served();
    daemon.stop();
    assert!(!socket.exists());

    // What is in its place stays, and a folder that others may write to is none for it.
    fs::write(&socket, "").unwrap();
    let mut daemon = world.start_daemon();
    world.logged("something that is no socket is in its place");
    assert!(fs::metadata(&socket).unwrap().is_file());
    fs::remove_file(&socket).unwrap();
    set_mode(world.path("run/rally-cred"), 0o770);
    daemon.signal("HUP");
    world.logged("its mode is 770");
    assert!(!socket.exists());
    set_mode(world.path("run/rally-cred"), 0o700);
    daemon.stop();
}

#[test]
fn a_host_without_any_configuration_gets_the_near_sides_token_and_can_do_nothing_else() {
    let (sandbox, mut near_side, _daemon) = signed_in();
    let far = FarSide::start(&mut near_side);
    let forward = forward(&near_side);
    let got = far.run(&TOKEN, "").succeeded();
    assert_eq!(got.stdout, token_of(&near_side));
    far.run(&["rally-cred", "get"], &question(&sandbox)).succeeded().showed("password=");
    near_side.logged("handed out a token by the forwarded socket");
    far.run(&["rally-cred", "status"], "")
        .succeeded()
        .showed(format!("machine  {}, by the forwarded socket", near()));
    near_side.client(&["status"], "").succeeded().showed("forward  default (by the forwarded socket)");

    for line in [
        &["login", "--no-browser"][..],
        &["logout"],
        &["erase"],
        &["watch"],
        &["daemon", "reload"],
        &["gateway", "--", "true"],
        &["status", "--check"],
        &["forward", "elsewhere"],
    ] {
        let refused = far.run(&[&["rally-cred"], line].concat(), "");
        assert_ne!(refused.code, Some(0), "{line:?}: {refused:?}");
        let is_told = refused.stderr.contains("is not done by a forwarded socket");
        // There is no ssh on this far side's path that leads anywhere.
        assert!(is_told || refused.stderr.contains("forward"), "{line:?}: {refused:?}");
        assert!(refused.stderr.contains(&format!("try: on {}: ", near())), "{line:?}: {refused:?}");
    }
    // git stores what it has used after each use, and is not bothered.
    let stored = far
        .run(&["rally-cred", "store"], &question(&sandbox).replace("\n\n", "\nusername=a\npassword=b\n\n"));
    assert_eq!(stored, Ended::in_silence());
    assert!(!far.world.socket().exists(), "nothing was started there");
    drop(forward);
}

#[test]
fn a_get_from_afar_that_needs_a_sign_in_names_the_machine_where_that_is_done() {
    let (sandbox, mut near_side) = with_browser();
    near_side.configure(&format!("keyring = \"memory\"\n{}", profile_for(&sandbox)));
    let far = FarSide::start(&mut near_side);
    let _forward = forward(&near_side);
    far.run(&[&TOKEN[..], &["--interactive", "always"]].concat(), "")
        .ended_with(3)
        .told(format!("try: on {}: rally-cred login", near()));
    assert!(opened(&near_side).is_empty());
}

#[test]
fn a_broken_connection_is_made_again() {
    let (_sandbox, mut near_side, _daemon) = signed_in();
    let far = FarSide::start(&mut near_side);
    let mut forward = forward(&near_side);
    for _ in 0..2 {
        far.break_network();
        wait_until_ready(&mut forward);
        assert_eq!(far.run(&TOKEN, "").succeeded().stdout, token_of(&near_side));
    }
}

#[test]
fn a_host_that_falls_silent_is_noticed_and_the_connection_is_made_again_once_it_speaks() {
    let (_sandbox, mut near_side, _daemon) = signed_in();
    let far = FarSide::start(&mut near_side);
    // The times that ssh is given otherwise add up to a minute.
    let quick = ["ServerAliveInterval", "ServerAliveCountMax", "ConnectTimeout"];
    let quick = quick.map(|name| format!("--ssh=-o{name}=1"));
    let words = ["forward", &quick[0], &quick[1], &quick[2], HOST];
    let mut forward = near_side.start("rally-cred", &words);
    wait_until_ready(&mut forward);
    far.fall_silent(true);
    // The second is the one that nobody has answered at all.
    for _ in 0..2 {
        forward.wait_for_line("the connection to build has ended");
    }
    far.fall_silent(false);
    wait_until_ready(&mut forward);
    assert_eq!(far.run(&TOKEN, "").succeeded().stdout, token_of(&near_side));
}

#[test]
fn a_near_side_that_is_gone_is_named_with_the_command_that_brings_it_back() {
    let (_sandbox, mut near_side, mut daemon) = signed_in();
    let far = FarSide::start(&mut near_side);
    let mut first = forward(&near_side);
    let expected = format!("try: on {}: rally-cred forward {HOST}", near());
    daemon.stop();
    gone_in_the_end(&far).told(&expected);
    first.kill();
    gone_in_the_end(&far).told(&expected);
    assert!(!far.world.socket().exists(), "nothing was started there");
    // Whoever has sign-ins of their own there is not kept from them.
    fs::create_dir_all(far.world.path("config/rally-cred")).unwrap();
    far.world.configure(OWN);
    far.world.give_to(&fs::metadata(far.world.path("run")).map(owner_of).unwrap());
    far.run(&TOKEN, "").ended_with(3).told("try: rally-cred login");
}

fn owner_of(found: fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}:{}", found.uid(), found.gid())
}

#[test]
fn the_far_side_is_served_again_when_the_near_sides_daemon_was_restarted_or_killed() {
    let (_sandbox, mut near_side, _keyring, mut daemon) = signed_in_with_keyring();
    let far = FarSide::start(&mut near_side);
    let _forward = forward(&near_side);
    let token = token_of(&near_side);
    near_side.client(&["daemon", "restart"], "").succeeded();
    daemon.wait();
    assert_eq!(token_in_the_end(&far), token);
    let pid = near_side.status()["pid"].to_string();
    near_side.run("kill", &["-KILL", &pid], "").succeeded();
    assert_eq!(token_in_the_end(&far), token);
    assert_eq!(opened(&near_side).len(), 1);
}

#[test]
fn a_program_on_the_far_side_gets_its_tokens_from_here_and_its_exit_code_is_passed_on() {
    let (_sandbox, mut near_side, _daemon) = signed_in();
    let far = FarSide::start(&mut near_side);
    // A host with a configuration of its own, which the program's variable is above.
    far.world.configure(OWN);
    far.world.give_to(&fs::metadata(far.world.path("run")).map(owner_of).unwrap());
    let line = "cat; rally-cred get --profile default --format token; printf '%s|' \"$@\"; exit 7";
    let words = ["forward", HOST, "--", "sh", "-c", line, "sh", "a b", "it's", "$HOME", ""];
    let ended = near_side.client(&words, "from here\n").ended_with(7);
    assert_eq!(ended.stdout, format!("from here\n{}a b|it's|$HOME||", token_of(&near_side)));
    near_side.client(&["forward", HOST, "--", "no-such-program"], "").ended_with(127);
}

/// The sessions in docs/remote.md.
fn transcripts() -> Vec<String> {
    let page = document("docs/remote.md");
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    blocks.collect()
}

/// Plays a session, of which each command is run by `run`, and holds what it prints to what is shown, up to a `…`.
fn play(session: &str, run: impl Fn(&str) -> Ended) {
    for part in session.split("$ ").skip(1) {
        let (line, shown) = part.split_once('\n').unwrap();
        let printed = run(line).said();
        let mut lines = printed.lines();
        for expected in shown.lines().take_while(|line| *line != "…") {
            let found = lines.next().unwrap_or_default();
            assert!(is_alike(found, expected), "{found:?} is not {expected:?} of {line:?} in\n{printed}");
        }
    }
}

#[test]
fn from_nothing_to_a_token_on_the_far_side_it_takes_the_two_commands_of_the_documents() {
    let [first, forwarding, there, gone] = <[String; 4]>::try_from(transcripts()).unwrap();
    let (sandbox, mut near_side, _keyring) = newcomer();
    let far = FarSide::start(&mut near_side);
    let options = sandbox.options();
    let (setup, second) = first.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
    assert_eq!(second.matches("$ ").count(), 1);
    // What it asks, `transcript` answers at a terminal.
    let answers = format!(
        "{setup} --base-url {} --client-id {} --callback {} --client-secret-stdin --units no --git no --completions no",
        sandbox.base_url(),
        options.client_id,
        options.redirect_uri,
    );
    near_side.run("sh", &["-c", &answers], &options.client_secret).succeeded();
    play(second, |line| near_side.run("sh", &["-c", line], "").succeeded());

    let (line, shown) = forwarding.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let mut forward = near_side.start(words[0], &words[1..]);
    let ready = forward.next_line_of_stdout().unwrap();
    assert!(is_alike(&ready, shown.trim_end()), "{ready}");
    play(&there, |line| far.run(&["sh", "-c", line], "").succeeded());
    forward.kill();
    gone_in_the_end(&far);
    play(&gone, |line| far.run(&["sh", "-c", line], ""));
}

#[test]
fn a_host_that_cannot_be_reached_ends_the_command_with_what_ssh_says() {
    let (_sandbox, mut near_side, _daemon) = signed_in();
    let _far = FarSide::start(&mut near_side);
    near_side
        .client(&["forward", "--ssh=-oPort=1", HOST], "")
        .ended_with(1)
        .told("Connection refused")
        .told("try: ssh build true");
}
