//! Programs of different versions: recorded sessions of each version of the protocol, played as a client against today's
//! daemon and as a daemon against today's client.
//! Does not: build older programs; what they said is in `tests/fixtures/wire`, a folder for each version.
//! Used by: `main`. A change of what is said fails here until it is recorded, by `UPDATE_EXPECT=1` beside what is there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::{fs, net::Shutdown, path::Path, path::PathBuf, thread, time::Duration};

use rally_cred_proto::{Answer, Ask, VERSION, message::Versioned};
use rally_cred_tests::{
    generated,
    sandbox::Sandbox,
    world::{Ended, Running, World, make_private, profile_for, set_mode},
};
use serde_json::Value;

use crate::sign_in::with_browser;
use crate::tidy::document;

/// The server of Rally in what is recorded.
const SERVER: &str = "127.0.0.1:8999";

/// One line of JSON on the wire.
#[derive(Clone, Debug)]
struct Frame {
    is_ask: bool,
    text: String,
}

impl Frame {
    fn parse(line: &str) -> Option<Self> {
        let (arrow, text) = line.split_once(' ')?;
        let is_ask = ["←", "→"].iter().position(|known| *known == arrow)? == 1;
        Some(Self { is_ask, text: text.to_owned() })
    }

    fn shown(&self) -> String {
        format!("{} {}", if self.is_ask { "→" } else { "←" }, self.text)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// What it is: its operation, or the type of the answer.
    fn name(&self) -> String {
        self.json()[if self.is_ask { "op" } else { "type" }].as_str().unwrap().to_owned()
    }

    /// Each field that it has, with its kind of value.
    fn shape(&self) -> BTreeSet<String> {
        let mut shape = BTreeSet::new();
        let arrow = if self.is_ask { "→" } else { "←" };
        add_shape(&self.json(), &format!("{arrow} {}", self.name()), &mut shape);
        shape
    }
}

fn add_shape(value: &Value, path: &str, shape: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            items.iter().for_each(|item| add_shape(item, &format!("{path}[]"), shape));
            "list"
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| add_shape(field, &format!("{path}.{name}"), shape));
            "object"
        }
    };
    shape.insert(format!("{path}: {kind}"));
}

/// What a command and the daemon said to each other, and how it ended.
#[derive(Clone, Debug, Default)]
struct Session {
    command: String,
    stdin: String,
    connections: Vec<Vec<Frame>>,
    code: i32,
    stdout: String,
}

impl Session {
    fn parse(text: &str) -> Self {
        let mut session = Self::default();
        for line in text.lines() {
            match (line.split_once(' '), Frame::parse(line)) {
                (_, Some(frame)) => session.connections.last_mut().unwrap().push(frame),
                (Some(("$", command)), _) => session.command = command.to_owned(),
                (Some(("<", line)), _) => session.stdin += &format!("{line}\n"),
                (Some((">", line)), _) => session.stdout += &format!("{line}\n"),
                (Some(("=", code)), _) => session.code = code.parse().unwrap(),
                _ => session.connections.push(Vec::new()),
            }
        }
        session
    }

    fn shown(&self) -> String {
        let mut text = format!("$ {}\n", self.command);
        let mut add = |mark: &str, lines: &str| {
            lines.lines().for_each(|line| writeln!(text, "{mark} {line}").unwrap());
        };
        add("<", &self.stdin);
        for connection in &self.connections {
            add("connection", "\n");
            connection.iter().for_each(|frame| {
                let shown = frame.shown();
                let (arrow, frame) = shown.split_once(' ').unwrap();
                add(arrow, frame);
            });
        }
        add("=", &self.code.to_string());
        add(">", &self.stdout);
        text
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        // Whether something takes long enough to be told is a matter of the machine.
        self.connections.iter().flatten().filter(|frame| frame.name() != "waiting")
    }

    fn shape(&self) -> BTreeSet<String> {
        self.frames()
            .flat_map(|frame| frame.shape())
            .map(|field| format!("{}: {field}", self.command))
            .collect()
    }

    fn run(&self, world: &World) -> Ended {
        let words: Vec<_> = self.command.split(' ').collect();
        world.run(words[0], &words[1..], &self.stdin)
    }

    /// The same, with each frame changed.
    fn changed(&self, change: impl Fn(&Frame) -> Vec<Frame>) -> Self {
        let connections = self.connections.iter().map(|frames| frames.iter().flat_map(&change).collect());
        Self { connections: connections.collect(), ..self.clone() }
    }
}

fn folder(version: u32) -> PathBuf {
    generated::root().join(format!("tests/fixtures/wire/v{version}"))
}

/// The recordings of a version, each with its sessions in order.
fn recordings(version: u32) -> Vec<Vec<Session>> {
    let entries = fs::read_dir(folder(version)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "sessions")).collect();
    paths.sort();
    let sessions = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.split("\n\n").map(Session::parse).collect()
    };
    paths.iter().map(sessions).collect()
}

/// What is recorded, in this order, in a world that is not signed in. Only the first one takes a person.
fn plan(sandbox: &Sandbox) -> Vec<Session> {
    let rally = crate::sign_in::question(sandbox);
    let (rally, other) = (rally.trim_end(), "protocol=https\nhost=git.example.com");
    let secret = sandbox.options().client_secret;
    let session = |command: &str, stdin: &str| Session {
        command: command.to_owned(),
        stdin: stdin.to_owned(),
        ..Session::default()
    };
    vec![
        session("rally-cred get --interactive never --format token", ""),
        session("rally-cred login --client-secret-stdin", &format!("{secret}\n")),
        session("rally-cred get --format token", ""),
        session("rally-cred get --format json", ""),
        session("rally-cred get", &format!("{rally}\n\n")),
        session("rally-cred get", &format!("{{\"uri\":\"{}/slm\"}}\n", sandbox.base_url())),
        session("rally-cred get", "protocol=https\nhost=elsewhere.example.com\n\n"),
        session("rally-cred store", &format!("{other}\nusername=me\npassword=fakePassword\n\n")),
        session("rally-cred get", &format!("{other}\n\n")),
        session("rally-cred erase", &format!("{other}\nusername=me\npassword=fakePassword\n\n")),
        session("rally-cred erase", &format!("{rally}\npassword=_fakeAccessToken\n\n")),
        session("rally-cred status", ""),
        session("rally-cred daemon start", ""),
        session("rally-cred daemon reload", ""),
        session("rally-cred exec -- true", ""),
        session("rally-cred gateway -- true", ""),
        session("rally-cred lock", ""),
        session("rally-cred get --wait 1 --format token", ""),
        session("rally-cred unlock", ""),
        session("rally-cred logout --all", ""),
        session("rally-cred daemon stop", ""),
    ]
}

/// A signed-out user with a daemon of today's.
fn with_todays_daemon() -> (Sandbox, World, Running) {
    let (sandbox, world) = with_browser();
    let profile = profile_for(&sandbox);
    world.configure(&format!(
        "keyring = \"memory\"\n[static]\nhosts = [\"https://git.example.com\"]\n{profile}"
    ));
    let daemon = world.start_daemon();
    (sandbox, world, daemon)
}

fn private_folder(folder: &Path) {
    make_private(folder);
}

fn listen(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    set_mode(path, 0o600);
    listener
}

/// Passes lines on until their end, and keeps them.
fn pass_on(from: &UnixStream, mut to: UnixStream, keep: impl Fn(&str)) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        keep(&line);
        writeln!(to, "{line}").ok();
    }
    to.shutdown(Shutdown::Write).ok();
}

/// Records the plan of today.
fn record() -> Vec<Session> {
    let (sandbox, mut world, daemon) = with_todays_daemon();
    let socket = world.socket();
    private_folder(&world.path("relay"));
    let listener = listen(&world.path("relay/agent.sock"));
    world.set("RALLY_CRED_SOCKET", world.path("relay/agent.sock").display());
    let heard: Arc<Mutex<Vec<Vec<Frame>>>> = Arc::default();
    let to = Arc::clone(&heard);
    // It ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(daemon) = UnixStream::connect(&socket) else { continue };
            let at = to.lock().unwrap().len();
            to.lock().unwrap().push(Vec::new());
            let keep = |is_ask| {
                let to = Arc::clone(&to);
                move |text: &str| to.lock().unwrap()[at].push(Frame { is_ask, text: text.to_owned() })
            };
            let ways = [(&client, &daemon, keep(true)), (&daemon, &client, keep(false))];
            for (from, to, keep) in ways {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || pass_on(&from, to, keep));
            }
        }
    });
    let server = sandbox.base_url().split_once("://").unwrap().1;
    let home = world.path("").display().to_string();
    let as_recorded = |text: &str| text.replace(server, SERVER).replace(&home, "/users/me/");
    let mut sessions = Vec::new();
    for mut session in plan(&sandbox) {
        let ended = session.run(&world);
        let connections: Vec<Vec<Frame>> = std::mem::take(&mut *heard.lock().unwrap());
        // Some connect only to see that a daemon runs.
        session.connections = connections;
        let session =
            session.changed(|frame| vec![Frame { text: as_recorded(&frame.text), ..frame.clone() }]);
        let is_for_programs = session.command.starts_with("rally-cred get");
        sessions.push(Session {
            stdin: as_recorded(&session.stdin),
            code: ended.code.unwrap(),
            stdout: if is_for_programs { as_recorded(&ended.stdout) } else { String::new() },
            ..session
        });
    }
    daemon.end().succeeded();
    sessions
}

#[test]
fn what_programs_say_today_is_recorded() {
    let today = record();
    let recorded = recordings(VERSION);
    let known: BTreeSet<_> = recorded.iter().flatten().flat_map(Session::shape).collect();
    let new: Vec<_> = today.iter().flat_map(Session::shape).filter(|field| !known.contains(field)).collect();
    if !new.is_empty() && generated::is_update() {
        let text: Vec<_> = today.iter().map(Session::shown).collect();
        let path = folder(VERSION).join(format!("{}.sessions", recorded.len() + 1));
        fs::write(path, text.join("\n")).unwrap();
        return;
    }
    assert!(new.is_empty(), "not recorded yet: {new:#?}\n{}", generated::HOW);
}

/// Plays the daemon's part of a session in a world of its own, and returns what today's client made of it.
fn played_to_client(session: &Session) -> Ended {
    let (_sandbox, mut world) = with_browser();
    // Nothing comes up in the place of the one that is played.
    world.set("RALLY_CRED_SOCKET", world.path("played/agent.sock").display());
    private_folder(&world.path("played"));
    let listener = listen(&world.path("played/agent.sock"));
    let connections = session.connections.clone();
    let playing = thread::spawn(move || {
        for frames in connections {
            let ends_unanswered = frames.last().is_some_and(|frame| frame.is_ask);
            let mut client = listener.accept().unwrap().0;
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap());
            for frame in frames {
                if !frame.is_ask {
                    writeln!(client, "{}", frame.text).ok();
                    continue;
                }
                let mut text = String::new();
                lines.read_line(&mut text).unwrap();
                let asked = Frame { is_ask: true, text };
                let missing: Vec<_> = frame.shape().difference(&asked.shape()).cloned().collect();
                assert!(missing.is_empty(), "{asked:?} lacks {missing:?}");
            }
            // A daemon that was told to stop has the last word by ending.
            if !ends_unanswered {
                let more = lines.fill_buf().map(<[u8]>::len).unwrap_or_default();
                assert_eq!(more, 0, "it says more than was recorded: {:?}", lines.lines().next());
            }
        }
    });
    let ended = session.run(&world);
    assert!(playing.join().is_ok(), "{}: {ended:?}", session.command);
    ended
}

fn check_played_to_client(session: &Session) {
    let ended = played_to_client(session);
    assert_eq!(ended.code, Some(session.code), "{}: {ended:?}", session.command);
    if !session.stdout.is_empty() {
        assert_eq!(ended.stdout, session.stdout, "{}: {ended:?}", session.command);
    }
}

#[test]
fn todays_client_is_served_by_a_daemon_of_each_version() {
    for session in (1..=VERSION).flat_map(recordings).flatten() {
        check_played_to_client(&session);
    }
}

/// Adds to every object what only a newer program knows.
fn of_tomorrow(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Its fields are names of variables.
            fields
                .iter_mut()
                .filter(|(name, _)| *name != "network")
                .for_each(|(_, field)| of_tomorrow(field));
            fields.insert("of_tomorrow".to_owned(), serde_json::json!({"deep": [1, null, "x"]}));
        }
        Value::Array(items) => items.iter_mut().for_each(of_tomorrow),
        _ => {}
    }
}

/// A frame as a newer program of the same version may write it.
fn grown(frame: &Frame) -> Frame {
    let mut grown = frame.json();
    of_tomorrow(&mut grown);
    Frame { text: grown.to_string(), ..frame.clone() }
}

#[test]
fn todays_client_passes_over_what_a_newer_daemon_of_its_version_adds() {
    for session in recordings(VERSION).into_iter().flatten() {
        let event = r#"{"type":"of_tomorrow","profile":"default"}"#;
        let event = Frame { is_ask: false, text: event.to_owned() };
        check_played_to_client(&session.changed(|frame| match frame.is_ask {
            true => vec![frame.clone()],
            false => vec![event.clone(), grown(frame)],
        }));
    }
}

/// Plays the client's part of a recording to a daemon of today's, and hands each answer to `check`.
fn play_to_daemon(sessions: &[Session], change: impl Fn(&Frame) -> Frame, check: impl Fn(&Frame, &Frame)) {
    let (sandbox, world, mut daemon) = with_todays_daemon();
    let server = sandbox.base_url().split_once("://").unwrap().1;
    for session in sessions {
        for frames in &session.connections {
            let mut stream = UnixStream::connect(world.socket()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
            for frame in frames.iter().filter(|frame| frame.is_ask || frame.name() != "waiting") {
                if frame.is_ask {
                    let text = change(frame).text.replace(SERVER, server);
                    // The end of a `stop` may be quicker than what is sent after it.
                    writeln!(stream, "{text}").ok();
                    continue;
                }
                let mut answers = answers.by_ref().map(|line| Frame { is_ask: false, text: line.unwrap() });
                let answer = answers.find(|answer| answer.name() != "waiting");
                assert!(answer.is_some(), "no answer like {frame:?}");
                let answer = answer.unwrap();
                if answer.name() == "authorize" {
                    sandbox.browser().allow(answer.json()["url"].as_str().unwrap()).unwrap();
                }
                check(frame, &answer);
            }
        }
    }
    if daemon.0.try_wait().unwrap().is_none() {
        daemon.stop();
    }
}

#[test]
fn todays_daemon_serves_a_client_of_each_version_and_passes_over_what_a_newer_one_adds() {
    for sessions in (1..=VERSION).flat_map(recordings) {
        for change in [Frame::clone, grown] {
            play_to_daemon(&sessions, change, |recorded, answer| {
                let missing: Vec<_> = recorded.shape().difference(&answer.shape()).cloned().collect();
                assert!(missing.is_empty(), "{answer:?} lacks {missing:?}");
            });
        }
    }
}

/// The same frame from a program that speaks another version.
fn of_version(frame: &Frame, version: u32) -> Frame {
    let mut json = frame.json();
    json["v"] = version.into();
    Frame { text: json.to_string(), ..frame.clone() }
}

#[test]
fn a_client_of_another_version_is_told_what_to_do_and_can_end_the_daemon() {
    let sessions = recordings(VERSION).pop().unwrap();
    for (version, remedy) in [
        (VERSION + 1, "rally-cred daemon restart"),
        (VERSION - 1, "run the program anew, and update it if it is still older than the daemon"),
    ] {
        let asks = sessions.iter().map(|session| {
            let ask = session.frames().find(|frame| frame.is_ask).unwrap().clone();
            let result = Frame { is_ask: false, text: format!("{{\"type\":\"{}\"}}", ask.name()) };
            Session { connections: vec![vec![ask, result]], ..session.clone() }
        });
        let asks: Vec<_> = asks.collect();
        play_to_daemon(
            &asks,
            |frame| of_version(frame, version),
            |asked, answer| {
                let answer = answer.json();
                match asked.name().as_str() {
                    "stop" => assert_eq!(answer["type"], "done"),
                    op => assert_eq!(
                        (answer["kind"].as_str(), answer["try"].as_str()),
                        (Some("version_skew"), Some(remedy)),
                        "{op}"
                    ),
                }
            },
        );
        assert_eq!(asks.last().unwrap().command, "rally-cred daemon stop", "the one that is understood");
    }
}

#[test]
fn a_daemon_makes_way_for_a_client_of_a_newer_version_and_not_of_an_older_one() {
    for (version, makes_way) in [(VERSION - 1, false), (VERSION, true), (VERSION + 1, true)] {
        let (_sandbox, world, mut daemon) = with_todays_daemon();
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        writeln!(stream, r#"{{"v":{version},"op":"make_way"}}"#).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        let expected = if makes_way { r#"{"type":"done"}"# } else { r#""kind":"version_skew""# };
        assert!(answer.contains(expected), "{version}: {answer}");
        match makes_way {
            true => assert!(daemon.wait().success()),
            false => world.client(&["daemon", "stop"], "").succeeded().stdout.clear(),
        }
    }
}

const SKEW: &str = r#"{"type":"error","kind":"version_skew","what":"client and daemon are of different versions","why":"the client speaks version 1, the daemon 2","try":"run the program anew, and update it if it is still older than the daemon"}"#;

/// A daemon that answers each request by what `answer` says of its operation, until that is nothing.
fn stand_in(
    world: &World,
    answer: impl Fn(&str) -> Option<&'static str> + Send + 'static,
) -> thread::JoinHandle<()> {
    private_folder(&world.path("run/rally-cred"));
    let socket = world.socket();
    let listener = listen(&socket);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut to = client.try_clone().unwrap();
            for line in BufReader::new(client).lines().map_while(Result::ok) {
                match answer(&Frame { is_ask: true, text: line }.name()) {
                    Some(answer) => writeln!(to, "{answer}").unwrap(),
                    None => return fs::remove_file(&socket).unwrap(),
                }
            }
        }
    })
}

#[test]
fn a_client_that_is_older_than_the_daemon_says_in_one_line_what_to_do_and_ends_nothing() {
    let (sandbox, world) = with_browser();
    // It ends with the test's process.
    let _daemon = stand_in(&world, |op| (op != "stop").then_some(SKEW));
    for session in plan(&sandbox).iter().filter(|session| session.command != "rally-cred daemon stop") {
        let ended = session.run(&world);
        assert_eq!(ended.code, Some(6), "{}: {ended:?}", session.command);
        let is_told_as_json = session.command.ends_with("--format json");
        assert_eq!(ended.stdout.is_empty(), !is_told_as_json, "{}", session.command);
        assert_eq!(ended.stderr.matches("\n  try: ").count(), 1, "{}: {ended:?}", session.command);
        assert!(ended.remedy().starts_with("run the program anew"), "{}: {ended:?}", session.command);
    }
    assert!(world.socket().exists());
    // Which is not a daemon that anything could be asked of at the end.
    fs::remove_file(world.socket()).unwrap();
}

#[test]
fn a_get_replaces_an_idle_daemon_of_an_older_version_by_itself() {
    let (_sandbox, world) = with_browser();
    let old = stand_in(&world, |op| match op {
        "make_way" => Some(r#"{"type":"done"}"#),
        "stop" => None,
        _ => Some(SKEW),
    });
    let got = world.client(&["get", "--interactive", "never", "--format", "token"], "");
    old.join().unwrap();
    // The new one knows of no sign-in, and says so.
    assert_eq!(got.code, Some(3), "{got:?}");
    assert_eq!(world.status()["release"], env!("CARGO_PKG_VERSION"));
}

/// The messages of a text that begins each with an arrow.
fn messages(text: &str) -> Vec<Frame> {
    let starts: Vec<_> = text.match_indices(['→', '←']).map(|(at, _)| at).chain([text.len()]).collect();
    let pieces = starts.windows(2).map(|bounds| Frame::parse(&text[bounds[0]..bounds[1]]).unwrap());
    pieces.map(|frame| Frame { text: frame.json().to_string(), ..frame }).collect()
}

/// The examples in the protocol's page, which show every message with every field.
fn examples() -> Vec<Frame> {
    let page = document("proto/PROTOCOL.md");
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    blocks.flat_map(|block| messages(&block)).filter(|frame| !frame.text.contains("of_tomorrow")).collect()
}

const MESSAGES: &str = "messages";

/// A message as today's program reads and writes it.
fn as_read_today(frame: &Frame) -> Result<Frame, String> {
    let text = match frame.is_ask {
        true => serde_json::from_str(&frame.text)
            .and_then(|ask: Ask| serde_json::to_string(&Versioned { v: VERSION, ask: &ask })),
        false => serde_json::from_str(&frame.text).and_then(|answer: Answer| serde_json::to_string(&answer)),
    };
    text.map(|text| Frame { text, ..frame.clone() }).map_err(|err| err.to_string())
}

#[test]
fn every_message_that_this_version_ever_had_is_recorded_and_still_read_in_full() {
    let path = folder(VERSION).join(MESSAGES);
    let mut recorded = messages(&fs::read_to_string(&path).unwrap_or_default());
    let mut known: BTreeSet<_> = recorded.iter().flat_map(Frame::shape).collect();
    for example in examples() {
        if !example.shape().is_subset(&known) {
            known.extend(example.shape());
            assert!(generated::is_update(), "not recorded yet: {}\n{}", example.shown(), generated::HOW);
            recorded.push(example);
        }
    }
    if generated::is_update() {
        let lines: Vec<_> = recorded.iter().map(Frame::shown).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    for frame in &recorded {
        let read = as_read_today(frame).unwrap_or_else(|err| panic!("{err}: {}", frame.shown()));
        let lost: Vec<_> = frame.shape().difference(&read.shape()).cloned().collect();
        assert!(lost.is_empty(), "{lost:?} is lost of {}: that takes another version", frame.shown());
    }
}
