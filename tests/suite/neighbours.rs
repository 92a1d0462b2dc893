//! Another user of the same machine, a real one: what they try with our socket, folders, files and ports comes to nothing.
//! Does not: use `sudo` or another user's variables (`ownership` does).
//! Used by: `main`.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::{
    fs::symlink,
    net::{UnixListener, UnixStream},
};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    path::Path,
    thread,
};

use rally_cred_tests::world::{Ended, World, make_private, set_mode};

use crate::sign_in::{opened, password, question, signed_in, with_daemon};

/// The user whom systems call `nobody`.
const NOBODY: u32 = 65_534;

/// Acts as nobody, in a thread of its own. Only root can become somebody else, so elsewhere a test says that it is left
/// out, and ends.
macro_rules! as_nobody {
    ($act:expr) => {
        match become_nobody($act) {
            Some(done) => done,
            None => return,
        }
    };
}

#[expect(clippy::print_stderr, reason = "a test that is left out should not pass in silence")]
fn become_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> Option<T> {
    use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: this test has to run as root, to become another user");
        return None;
    }
    let as_nobody = || {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        act()
    };
    thread::scope(|scope| Some(scope.spawn(as_nobody).join().unwrap()))
}

/// Every command that sends something to a daemon, secrets among it.
fn ask_in_every_way(world: &World) -> Vec<Ended> {
    let question = "protocol=https\nhost=rally1.rallydev.com\n";
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rally_token.py").display().to_string();
    let all: [(&[&str], String); 8] = [
        (&["rally-cred", "get"], format!("{question}\n")),
        (&["rally-cred", "get", "--format", "token"], String::new()),
        (&["rally-cred", "store"], format!("{question}username=me\npassword=canary\n\n")),
        (&["rally-cred", "erase"], format!("{question}password=canary\n\n")),
        (&["rally-cred", "login", "--no-browser", "--client-secret-stdin"], "canary\n".to_owned()),
        (&["rally-cred", "status"], String::new()),
        (&["rally-cred", "daemon", "stop"], String::new()),
        (&["python3", "-I", "-S", &example], String::new()),
    ];
    all.iter().map(|(line, stdin)| world.run("timeout", &[&["20"], *line].concat(), stdin)).collect()
}

#[test]
fn a_socket_that_another_user_serves_gets_not_one_byte() {
    let world = World::new();
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o777);
    let theirs = shared.path().join("socket");
    let listener = as_nobody!(|| UnixListener::bind(&theirs).unwrap());
    // What whoever can rename a folder brings about between a client's look at it and the connection.
    let folder = world.path("run/rally-cred");
    make_private(&folder);
    fs::rename(theirs, folder.join("agent.sock")).unwrap();
    for ended in ask_in_every_way(&world) {
        let mut sent = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut sent).unwrap();
        assert_eq!(String::from_utf8_lossy(&sent), "", "{ended:?}");
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("uid 65534 listens there") && ended.stdout.is_empty(), "{ended:?}");
    }
    world.client(&["doctor", "--no-autostart"], "").showed("uid 65534 listens there");
    // What is said to help, helps.
    world.follow(&world.client(&["status"], ""));
    world.client(&["daemon", "start"], "").succeeded();
}

#[test]
fn another_user_can_neither_reach_nor_read_nor_change_what_is_ours() {
    let (sandbox, world, _daemon) = signed_in();
    world.client(&["get"], question(&sandbox)).succeeded();
    // All that leads there is open, so that only our own folders and files are in the way.
    for above in ["", "run", "state", "config"] {
        set_mode(world.path(above), 0o755);
    }
    let (folder, state) = (world.path("run/rally-cred"), world.path("state/rally-cred"));
    let (socket, log, config) =
        (folder.join("agent.sock"), state.join("daemon.log"), world.path("config/rally-cred/config.toml"));
    let tried = as_nobody!(|| {
        let append = |path: &Path| fs::File::options().append(true).open(path).map(drop);
        let mut tried = vec![
            ("connect", UnixStream::connect(&socket).map(drop)),
            ("read the log", fs::read(&log).map(drop)),
            ("change the log", append(&log)),
            ("change the config", append(&config)),
            ("replace the config", fs::rename(&config, world.path("config/rally-cred/other"))),
            ("replace the folder", fs::rename(&folder, world.path("run/other"))),
            ("read the lock", fs::read(folder.join("agent.lock")).map(drop)),
            ("change the lock", append(&folder.join("agent.lock"))),
        ];
        for place in [&folder, &state] {
            tried.push(("look into a folder", fs::read_dir(place).map(drop)));
            tried.push(("make a file", fs::write(place.join("start.lock"), "")));
            tried.push(("make a link", symlink("/tmp", place.join("link"))));
        }
        for file in [&socket, &log, &config] {
            tried.push(("remove a file", fs::remove_file(file)));
        }
        tried
    });
    for (what, outcome) in tried {
        assert_eq!(outcome.map_err(|err| err.kind()), Err(ErrorKind::PermissionDenied), "{what}");
    }
    world.client(&["get"], question(&sandbox)).succeeded();
}

#[test]
fn what_another_user_has_made_in_our_place_is_refused_with_its_owner_and_nothing_is_put_there() {
    type Make = fn(&Path);
    let folder: Make = |place| fs::create_dir(place).unwrap();
    let link: Make = |place| symlink(place.with_extension("theirs"), place).unwrap();
    for (below, make, why) in [
        ("run/rally-cred", folder, "it belongs to uid 65534, not 0"),
        ("run/rally-cred", link, "it is a link or a file"),
        ("state/rally-cred", folder, "it belongs to uid 65534, and this program runs as uid 0"),
    ] {
        let world = World::new();
        set_mode(world.path(""), 0o755);
        let place = world.path(below);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // As in /tmp, whoever comes first has the name.
        set_mode(place.parent().unwrap(), 0o1777);
        as_nobody!(|| make(&place));
        for command in [&["daemon", "start"][..], &["get", "--profile", "default"]] {
            let ended = world.client(command, "");
            assert_eq!(ended.code, Some(1), "{below} {command:?}: {ended:?}");
            assert!(ended.stderr.contains(why), "{below} {command:?}: {ended:?}");
            assert!(!ended.remedy().is_empty());
        }
        assert_eq!(fs::read_dir(&place).map_or(0, Iterator::count), 0, "{below}");
        assert!(!place.with_extension("theirs").exists());
    }
}

#[test]
fn a_socket_folder_that_others_can_rename_is_refused_with_owner_mode_and_remedy() {
    let (_sandbox, world, _daemon) = signed_in();
    let run = world.path("run");
    for open in [0o777, 0o770] {
        set_mode(&run, open);
        for ended in ask_in_every_way(&world) {
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
            assert!(ended.stderr.contains("not safe"), "{ended:?}");
        }
        let refused = world.client(&["get", "--format", "token"], "");
        let owner = format!(
            "{} belongs to uid {}, mode {open:o}",
            run.display(),
            rustix::process::geteuid().as_raw()
        );
        assert!(refused.stderr.contains(&owner), "{refused:?}");
        world.client(&["doctor", "--no-autostart"], "").showed(&owner);
        world.follow(&refused);
        world.token();
    }
    // As in /tmp, others cannot rename what is not theirs.
    set_mode(&run, 0o1777);
    world.token();
}

/// The lines of the command lines of all processes, which every user can read.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n").collect()
}

/// What a server on loopback answers to a request for this address.
fn ask_loopback(url: &url::Url) -> String {
    let port = url.port().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (path, query) = (url.path(), url.query().map_or_else(String::new, |query| format!("?{query}")));
    let host = url.host_str().unwrap();
    write!(stream, "GET {path}{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn whoever_reads_the_browsers_arguments_gets_neither_the_state_nor_the_sign_in() {
    let (sandbox, mut world, _daemon) = with_daemon(&[]);
    // A browser that stays as long as the sign-in, with its arguments for everybody to read, and opens nothing.
    let browser = world.path("browser");
    let script = "#!/bin/sh\necho $1 > new; mv new opened\ntail --pid=$PPID -f opened\n";
    fs::write(&browser, script).unwrap();
    set_mode(&browser, 0o755);
    world.set("BROWSER", browser.display());
    let mut login = world.start("rally-cred", &["login", "--client-secret-stdin"]);
    login.write(&format!("{}\n", sandbox.options().client_secret));
    let line = login.wait_for_line("/login/oauth2/auth?");
    while opened(&world).is_empty() {
        thread::yield_now();
    }
    let shown = url::Url::parse(&line[line.find("http").unwrap()..]).unwrap();
    let of = |name: &str| shown.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let state = of("state");
    let start = url::Url::parse(&opened(&world)[0]).unwrap();
    assert!(command_lines().contains(start.as_str()), "{start}");
    assert!(!command_lines().contains(&state));

    // They are first at that address, and, should they know the state all the same, with an answer of their own.
    let mut answer = url::Url::parse(&of("redirect_uri")).unwrap();
    answer.query_pairs_mut().append_pair("code", "theirs").append_pair("state", &state);
    for url in [&start, &answer] {
        let got = as_nobody!(|| ask_loopback(url));
        assert!(got.starts_with("HTTP/1.1 403 ") && got.contains("user 65534"), "{got}");
        assert!(!got.contains(&state) && !got.contains("location"), "{got}");
    }
    world.logged("refused another user's request for a sign-in");

    // The address still leads to Rally, once, and the sign-in ends as it should.
    let visit = sandbox.browser().allow(start.as_str()).unwrap();
    assert_eq!(visit.status, 200, "{visit:?}");
    let by = visit.steps.iter().map(|step| step.url.path().to_owned()).collect::<Vec<_>>();
    assert_eq!(by[0], start.path(), "{by:?}");
    login.end().succeeded();
    assert!(password(&world, &sandbox).is_some());
}
