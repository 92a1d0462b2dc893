//! The socket and the helper's input under bad treatment: each bad thing is refused, and the daemon goes on serving.
//! Does not: test the codecs byte by byte (`proto` does).
//! Used by: `main`.

use std::io::{BufRead, BufReader, Read, Write};
use std::{net::Shutdown, os::unix::fs::PermissionsExt, os::unix::net::UnixStream, thread};

use rally_cred_tests::world::{World, set_mode};

use crate::sign_in::{begin, password, question, signed_in, with_browser, with_daemon};

fn connect(world: &World) -> UnixStream {
    UnixStream::connect(world.socket()).unwrap()
}

/// Sends bytes, closes the sending side, and returns all that comes back.
fn send(world: &World, bytes: &[u8]) -> String {
    let mut stream = connect(world);
    // The daemon may close before it has taken everything.
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8(answer).unwrap()
}

/// Asks, and waits for the result with the sending side open: its end would take the request back.
fn ask(world: &World, line: &str) -> String {
    let mut stream = connect(world);
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

fn assert_still_serving(world: &World) {
    world.token();
}

#[test]
fn bad_frames_are_refused_and_the_daemon_goes_on_serving() {
    let (_sandbox, world, _daemon) = signed_in();
    let long = [b"{\"v\":1,\"op\":\"get\",\"profile\":\"".as_slice(), &vec![b'a'; 70_000], b"\"}\n"].concat();
    let cases: &[(&str, &[u8])] = &[
        ("not JSON", b"hello\n"),
        ("no version", b"{\"op\":\"get\"}\n"),
        ("no operation", b"{\"v\":1}\n"),
        ("wrong type", b"{\"v\":1,\"op\":\"get\",\"wait\":\"long\"}\n"),
        ("invalid UTF-8", b"{\"v\":1,\"op\":\"get\",\"profile\":\"\xff\"}\n"),
        ("line feed in a value", b"{\"v\":1,\"op\":\"get\",\"host\":\"a\\nb\",\"protocol\":\"https\"}\n"),
        ("carriage return in a value", b"{\"v\":1,\"op\":\"get\",\"username\":\"a\\r\"}\n"),
        ("NUL in a value", b"{\"v\":1,\"op\":\"login\",\"profile\":\"a\\u0000\"}\n"),
        ("line feed in a secret", b"{\"v\":1,\"op\":\"erase\",\"token\":\"a\\nb\"}\n"),
        ("half a request", b"{\"v\":1,\"op\":\"ge"),
        ("a frame over 64 KiB", &long),
    ];
    for (name, bytes) in cases {
        let answer = send(&world, bytes);
        assert!(answer.contains(r#""type":"error","kind":"bad_request""#), "{name}: {answer:?}");
        assert_still_serving(&world);
    }
    for newer in [&b"{\"v\":99,\"op\":\"get\"}\n"[..], b"{\"v\":1,\"op\":\"dance\"}\n"] {
        let skew = ask(&world, std::str::from_utf8(newer).unwrap());
        assert!(skew.contains(r#""kind":"version_skew""#), "{skew:?}");
    }
}

#[test]
fn clients_that_say_nothing_or_stop_halfway_keep_nobody_waiting() {
    let (_sandbox, world, _daemon) = signed_in();
    let silent: Vec<_> = (0..200).map(|_| connect(&world)).collect();
    let mut halfway: Vec<_> = (0..50).map(|_| connect(&world)).collect();
    for stream in &mut halfway {
        stream.write_all(b"{\"v\":1,").unwrap();
    }
    assert_still_serving(&world);
    drop((silent, halfway));
    assert_still_serving(&world);
}

#[test]
fn a_client_that_comes_after_a_thousand_silent_ones_takes_the_place_of_the_longest_silent() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    // What each of them has said before it stopped.
    for beginning in ["", "{\"v\":1,\"op\":"] {
        let (_sandbox, world, _daemon) = signed_in();
        let mut silent: Vec<_> = (0..1100).map(|_| connect(&world)).collect();
        for stream in &mut silent {
            // The first may have been dropped by now.
            stream.write_all(beginning.as_bytes()).ok();
        }
        assert_still_serving(&world);
        let mut is_open = |at: usize| {
            silent[at].set_nonblocking(true).unwrap();
            silent[at].read(&mut [0]).is_err_and(|err| err.kind() == std::io::ErrorKind::WouldBlock)
        };
        assert_eq!([is_open(0), is_open(1099)], [false, true], "{beginning}");
        assert_eq!(world.log().matches("the longest idle are dropped").count(), 1, "{}", world.log());
    }
}

#[test]
fn several_requests_follow_each_other_on_one_connection() {
    let (_sandbox, world, _daemon) = signed_in();
    let mut stream = connect(&world);
    let get = "{\"v\":1,\"op\":\"get\"}\n";
    stream.write_all(format!("{get}{get}nonsense\n{get}").as_bytes()).unwrap();
    let answers: Vec<_> = BufReader::new(stream).lines().take(4).map(Result::unwrap).collect();
    let kinds: Vec<_> = answers.iter().map(|line| line.contains(r#""type":"token""#)).collect();
    assert_eq!(kinds, [true, true, false, true], "{answers:?}");
}

#[test]
fn the_socket_is_closed_to_others() {
    let (_sandbox, world, _daemon) = signed_in();
    let mode = |path: &str| std::fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("run/rally-cred"), 0o700);
    assert_eq!(mode("run/rally-cred/agent.sock"), 0o600);
    assert_eq!(mode("state/rally-cred/daemon.log"), 0o600);
}

#[test]
fn a_socket_folder_that_others_can_enter_is_refused_by_name() {
    let (_sandbox, world, _daemon) = signed_in();
    let folder = world.path("run/rally-cred");
    set_mode(&folder, 0o755);
    world
        .client(&["get", "--format", "token"], "")
        .ended_with(1)
        .told(format!("chmod 700 {}", folder.display()));
    set_mode(&folder, 0o700);
    assert_still_serving(&world);
}

#[test]
fn bad_helper_input_is_told_in_a_line_with_a_remedy_and_nothing_on_standard_output() {
    let (sandbox, world, _daemon) = signed_in();
    let question = question(&sandbox);
    let long = format!("{question}path={}\n", "a".repeat(65_536)).replace("\n\n", "\n");
    let cases: &[(&str, Vec<u8>)] = &[
        ("carriage return", question.replacen("\n", "\r\n", 1).into_bytes()),
        ("NUL", question.replacen("host=", "host=\0", 1).into_bytes()),
        ("no equals sign", b"protocol\n\n".to_vec()),
        ("a line over 65,535 bytes", long.into_bytes()),
        ("invalid UTF-8", b"protocol=https\nhost=\xff\n\n".to_vec()),
        ("encoded line feed", b"url=https://a%0ahost=b/\n\n".to_vec()),
        ("broken JSON", b"{\"uri\":".to_vec()),
        ("JSON with invalid UTF-8", b"{\"uri\":\"\xff\"}".to_vec()),
        ("JSON over 64 KiB", format!("{{\"uri\":\"{}\"}}", "a".repeat(65_536)).into_bytes()),
        ("a request over 1 MiB", "a=\n".repeat(400_000).into_bytes()),
    ];
    for (name, bytes) in cases {
        let got = world.client(&["get"], bytes);
        assert_eq!((got.code, got.stdout.as_str()), (Some(1), ""), "{name}: {got:?}");
        assert!(got.stderr.starts_with("rally-cred: "), "{name}: {got:?}");
        assert_eq!(got.stderr.lines().count(), 2, "{name}: {got:?}");
        assert_still_serving(&world);
    }
}

#[test]
fn a_client_that_is_killed_while_it_waits_frees_its_place() {
    let (sandbox, world, _daemon) = with_daemon(&[("PRESS", "nothing")]);
    crate::sign_in::store_client_secret(&world, &sandbox);
    let mut get = world.start(
        "rally-cred",
        &["get", "--interactive", "always", "--profile", "default", "--format", "token"],
    );
    get.wait_for_line("/login/oauth2/auth?");
    let waiting = |world: &World| {
        let status = world.status();
        status.pointer("/profiles/0/waiting").and_then(serde_json::Value::as_u64).unwrap()
    };
    assert_eq!(waiting(&world), 1);
    get.kill();
    while waiting(&world) != 0 {}
}

#[test]
fn a_client_of_another_user_is_refused_and_logged() {
    let (_sandbox, world, _daemon) = signed_in();
    if world.run("id", &["-u"], "").stdout.trim() != "0" {
        // Only root can become somebody else; the check itself is the same for everybody.
        return;
    }
    // The folder and the socket are opened up, so that only the daemon's own check is left.
    for (path, mode) in
        [("", 0o755), ("run", 0o755), ("run/rally-cred", 0o755), ("run/rally-cred/agent.sock", 0o666)]
    {
        set_mode(world.path(path), mode);
    }
    let socket = world.socket().display().to_string();
    // Whatever came back, curl would show it.
    let curl = ["curl", "--silent", "--http0.9", "--max-time", "20", "--unix-socket", &socket, "http://x/"];
    let curl = [&["--reuid=65534", "--clear-groups"][..], &curl].concat();
    let got = world.run("setpriv", &curl, "");
    assert!(got.code != Some(0) && got.stdout.is_empty(), "{got:?}");
    world.logged("refused a connection: it comes from uid 65534");
}

#[test]
fn the_redirect_listener_survives_junk_and_takes_the_right_redirect_once() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    let (login, url) = begin(&world, &sandbox.options().client_secret, &[]);
    let redirect = sandbox.browser().consent(&url, rally_cred_tests::browser::Choice::Allow).unwrap();
    let port = redirect.port().unwrap();
    let state = redirect.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

    let dial = || std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let silent: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(("127.0.0.1", port))).collect();
    let host = format!("localhost:{port}");
    let target = format!("/callback?code=x&state={state}");
    for request in [
        format!("GET /other?code=x&state={state} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /callback?code=x&state=wrong HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /callback?code=x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"),
        format!("HEAD {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "a".repeat(1024 * 1024)),
        "\0\0\0\0\r\n\r\n".to_owned(),
    ] {
        let mut stream = dial();
        // A refused header may be cut off while it is still being sent.
        stream.write_all(request.as_bytes()).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let visit = sandbox.browser().open(redirect.as_str()).unwrap();
    assert_eq!(visit.status, 200, "{visit:?}");
    drop(silent);
    login.end().succeeded();
    assert_eq!(sandbox.counters().tokens(), 1);
    // The listener is gone with its flow, and the code was used.
    assert!(sandbox.browser().open(redirect.as_str()).is_err());
    let pasted = ask(&world, &format!("{{\"v\":1,\"op\":\"paste\",\"redirect\":\"{redirect}\"}}\n"));
    assert!(pasted.contains(r#""kind":"bad_redirect""#), "{pasted}");
    assert!(password(&world, &sandbox).is_some());
}

#[test]
fn a_client_that_can_no_longer_be_told_anything_frees_its_place() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    let mut stream = connect(&world);
    // It goes on sending, so only what is written to it shows that it is gone.
    stream.shutdown(Shutdown::Read).unwrap();
    let secret = sandbox.options().client_secret;
    let login = format!("{{\"v\":1,\"op\":\"login\",\"client_secret\":\"{secret}\",\"can_paste\":true}}\n");
    stream.write_all(login.as_bytes()).unwrap();
    world.logged("began a sign-in");
    let is_free = || {
        let profile = &world.status()["profiles"][0];
        profile["state"] == "signed_out" && profile["waiting"] == 0
    };
    // Each look is a round trip to the daemon, so a hundred are more than it needs.
    assert!((0..100).any(|_| is_free()), "the sign-in goes on for nobody");
}

#[test]
fn twenty_clients_start_one_daemon() {
    let (_sandbox, world) = with_browser();
    let answers: Vec<_> = thread::scope(|scope| {
        let gets: Vec<_> =
            (0..20).map(|_| scope.spawn(|| world.client(&["get", "--format", "token"], ""))).collect();
        gets.into_iter().map(|get| get.join().unwrap()).collect()
    });
    for answer in answers {
        assert_eq!(answer.code, Some(3), "{answer:?}");
    }
    assert_eq!(world.log().matches("ready").count(), 1, "{}", world.log());
}

#[test]
fn a_pipe_on_a_client_that_starts_a_daemon_closes_at_once() {
    let (_sandbox, world) = with_browser();
    // The shell hands the client a descriptor that is not closed on exec, as build tools do. `cat` ends only when the
    // last copy of the pipe is closed, so this hangs if the daemon keeps one.
    let line = "{ rally-cred daemon start 3>&1; rally-cred status >&2; } | cat";
    world.run("sh", &["-c", line], "").succeeded();
    assert!(world.socket().exists());
}

#[test]
fn no_autostart_starts_nothing() {
    let (_sandbox, world) = with_browser();
    world
        .client(&["get", "--no-autostart", "--format", "token"], "")
        .ended_with(6)
        .told("rally-cred daemon start");
    assert!(!world.socket().exists());
}

#[test]
fn a_broken_config_file_is_told_by_the_client_that_started_the_daemon() {
    let world = World::new();
    world.configure("[profile.default]\nclient = \"x\"\n");
    world.client(&["login"], "").ended_with(1).told("config.toml, line 2").told("client");
    world.client(&["config", "check"], "").ended_with(1).told("line 2");
}
