//! The service manager: the socket that it passes on, what it is told, the end of an idle daemon, and the units themselves,
//! judged by systemd's tools and, where this machine can have one, run by a service manager of a user.
//! Does not: meet the service manager of this machine.
//! Used by: `main`.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::{fs, os::fd::OwnedFd, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio, time::Duration};

use rally_cred_tests::desktop::{Call, Desktop};
use rally_cred_tests::machine::Machine;
use rally_cred_tests::tpm::Tpm;
use rally_cred_tests::user_manager::{UserManager, install_programs, install_units, units_folder};
use rally_cred_tests::world::{self, Ended, Running, World, make_private, set_mode};
use rally_cred_tests::{keyring::KeyringSession, sandbox::Sandbox};
use serde_json::Value;

use crate::gateway::{ask_once, check_that_rally_saw_tokens_only, shown};
use crate::sign_in::{question, sign_in, signed_in_with_keyring, value, with_browser, world_with_keyring};

/// Longest wait for something that is sure to come; only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A test in the place of the service manager: it holds the socket, and hears what the daemon says.
struct Manager {
    listener: UnixListener,
    told: UnixDatagram,
    world: World,
    _keyring: KeyringSession,
    sandbox: Sandbox,
}

impl Manager {
    fn new() -> Self {
        let (sandbox, mut world, keyring) = world_with_keyring();
        let told = UnixDatagram::bind(world.path("notify")).unwrap();
        told.set_read_timeout(Some(PATIENCE)).unwrap();
        world.set("NOTIFY_SOCKET", world.path("notify").display());
        let listener = listen(&world);
        Self { listener, told, world, _keyring: keyring, sandbox }
    }

    /// Starts the daemon with the socket as its descriptor 3, as a service manager does.
    fn start(&self, arguments: &str) -> Running {
        let mut command = self.world.command("sh");
        let line = format!(
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$ exec rally-credd {arguments}"
        );
        command.args(["-c", &line]).stdin(OwnedFd::from(self.listener.try_clone().unwrap()));
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The next message that has this line's beginning in it.
    fn hear(&self, wanted: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let count = self.told.recv(&mut message).unwrap();
            let text = String::from_utf8_lossy(&message[..count]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.world.socket()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Else the world would ask a daemon to stop that is gone.
        fs::remove_file(self.socket()).ok();
    }
}

fn listen(world: &World) -> UnixListener {
    let folder = world.path("run/rally-cred");
    fs::create_dir_all(&folder).unwrap();
    set_mode(&folder, 0o700);
    let listener = UnixListener::bind(world.socket()).unwrap();
    set_mode(world.socket(), 0o600);
    listener
}

/// Sends a request now; the answer may be read much later.
fn ask(world: &World, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    stream
}

/// The first answer that is no event.
fn result(stream: UnixStream) -> Value {
    let mut lines = BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    lines.find(|answer: &Value| answer["type"] != "waiting").unwrap()
}

const GET: &str = r#"{"v":1,"op":"get"}"#;

#[test]
fn the_service_manager_hears_of_readiness_reloads_failed_ones_and_the_end() {
    let manager = Manager::new();
    let mut daemon = manager.start("");
    assert_eq!(manager.hear("READY=1"), "READY=1\nSTATUS=serving 1 profile");
    let reload = || manager.world.client(&["daemon", "reload"], "");
    reload().succeeded();
    let told = manager.hear("RELOADING=1");
    let since_boot = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0, "{told}");
    assert_eq!(manager.hear("READY=1"), "READY=1\nSTATUS=serving 1 profile");

    manager.world.configure("nonsense = 1\n");
    assert_eq!(reload().code, Some(1));
    manager.hear("RELOADING=1");
    let told = manager.hear("READY=1");
    assert!(told.contains("so the old configuration stays in force"), "{told}");

    manager.world.configure_for(&manager.sandbox);
    daemon.signal("HUP");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    sign_in(&manager.world, &manager.sandbox);
    manager.hear("STATUS=profile default: began a sign-in");
    manager.hear("STATUS=profile default: signed in");

    daemon.signal("TERM");
    manager.hear("STOPPING=1");
    assert!(daemon.wait().success());
    assert!(manager.socket().exists(), "the socket is the service manager's to take away");
}

#[test]
fn a_daemon_that_a_client_started_tells_nobody_elses_service_manager() {
    let manager = Manager::new();
    fs::remove_file(manager.socket()).unwrap();
    let mut daemon = manager.world.start_daemon();
    daemon.stop();
    manager.told.set_nonblocking(true).unwrap();
    assert!(manager.told.recv(&mut [0; 4096]).is_err());
}

#[test]
fn the_watchdog_hears_from_a_loop_that_has_nothing_to_do() {
    let mut manager = Manager::new();
    manager.world.set("WATCHDOG_USEC", 400_000);
    let _daemon = manager.start("");
    for _ in 0..4 {
        manager.hear("WATCHDOG=1");
    }
}

#[test]
fn an_idle_daemon_ends_and_no_request_is_lost_on_the_way_to_the_next_one() {
    let manager = Manager::new();
    let daemon = manager.start("--idle-exit 1s");
    sign_in(&manager.world, &manager.sandbox);
    let mut daemon = Some(daemon);
    let mut pids = Vec::new();
    for _ in 0..4 {
        manager.hear("STATUS=nothing to do");
        // The daemon is on its way out; this is for the next one.
        let waiting = [ask(&manager.world, GET), ask(&manager.world, GET)];
        daemon.take().unwrap().end().succeeded();
        let next = manager.start("--idle-exit 1s");
        pids.push(next.0.id());
        daemon = Some(next);
        for stream in waiting {
            assert_eq!(result(stream)["type"], "token");
        }
    }
    assert!(pids.is_sorted_by(|one, other| one != other));
    assert_eq!(manager.sandbox.counters().tokens(), 1);
}

#[test]
fn a_connected_client_and_a_token_in_memory_only_keep_a_daemon_running() {
    let mut manager = Manager::new();
    let mut daemon = manager.start("--idle-exit 1s");
    let connected = ask(&manager.world, r#"{"v":1,"op":"status"}"#);
    manager.hear("READY=1");
    let mut answers = BufReader::new(&connected);
    let mut line = String::new();
    while !line.contains(r#""type":"status""#) {
        line.clear();
        answers.read_line(&mut line).unwrap();
    }
    // Nothing says "I stay", so this looks at what comes next: the watchdog's beats go on, and no end is among them.
    manager.told.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    let mut message = [0; 4096];
    assert!(manager.told.recv(&mut message).is_err(), "the daemon left its client");
    drop(connected);
    manager.told.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.hear("STOPPING=1");
    assert!(daemon.wait().success());

    manager.world.set("DBUS_SESSION_BUS_ADDRESS", "disabled:");
    let _daemon = manager.start("--idle-exit 1s");
    sign_in(&manager.world, &manager.sandbox);
    manager.hear("STATUS=profile default: the vault did not keep it");
    manager.told.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    while let Ok(count) = manager.told.recv(&mut message) {
        let told = String::from_utf8_lossy(&message[..count]);
        assert!(!told.contains("STOPPING"), "{told}");
    }
}

#[test]
fn a_socket_that_others_could_use_or_that_clients_do_not_come_to_is_refused() {
    let mut manager = Manager::new();
    let refusal = |manager: &Manager, why: &str| {
        let waiting = ask(&manager.world, GET);
        let daemon = manager.start("--idle-exit 1s");
        assert_eq!(result(waiting)["kind"], "failed");
        daemon.end().ended_with(1).told(why);
    };
    let set_mode = |path: PathBuf, mode| {
        set_mode(path, mode);
    };
    set_mode(manager.socket(), 0o666);
    refusal(&manager, "its mode is 666");
    set_mode(manager.socket(), 0o600);
    set_mode(manager.world.path("run/rally-cred"), 0o770);
    refusal(&manager, "the socket folder");
    set_mode(manager.world.path("run/rally-cred"), 0o700);
    if rustix::process::geteuid().is_root() {
        let give_to = |user| chown(manager.socket(), Some(user), None).unwrap();
        give_to(48274);
        refusal(&manager, "is not a socket of uid 0");
        give_to(0);
    }
    manager.world.set("RALLY_CRED_SOCKET", manager.world.path("run/other.sock").display());
    refusal(&manager, "and it is elsewhere");
    manager.world.unset("RALLY_CRED_SOCKET");
    let other_host = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    for (inherited, why) in [
        (OwnedFd::from(UnixDatagram::unbound().unwrap()), "not a listening stream socket"),
        (OwnedFd::from(other_host), "a gateway listens on 127.0.0.1, and it is at 127.0.0.2:"),
    ] {
        let mut command = manager.world.command("sh");
        command.args(["-c", "exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec rally-credd"]);
        let output = command.stdin(inherited).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn clients_of_a_service_manager_with_two_sockets_are_told_that_they_are_too_many() {
    let manager = Manager::new();
    let other = UnixListener::bind(manager.world.path("run/other.sock")).unwrap();
    let waiting = ask(&manager.world, GET);
    let mut command = manager.world.command("sh");
    command.args(["-c", "exec 3<&0 4<&1 </dev/null >&2; LISTEN_FDS=2 LISTEN_PID=$$ exec rally-credd"]);
    command.stdin(OwnedFd::from(manager.listener.try_clone().unwrap())).stdout(OwnedFd::from(other));
    let daemon = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(result(waiting)["kind"], "failed");
    daemon.end().told("there is more than one for clients");
}

#[test]
fn clients_that_wait_for_a_daemon_that_cannot_start_are_told_why() {
    let manager = Manager::new();
    manager.world.configure("[profile.default]\nclient = \"x\"\n");
    let waiting = [ask(&manager.world, GET), ask(&manager.world, GET)];
    manager.start("").end().ended_with(1);
    for stream in waiting {
        assert_eq!(result(stream)["kind"], "config_broken");
    }
    manager.world.configure_for(&manager.sandbox);
    let waiting = ask(&manager.world, r#"{"v":1,"op":"get","interactive":false}"#);
    let _daemon = manager.start("");
    assert_eq!(result(waiting)["kind"], "sign_in_needed");
}

#[test]
fn a_daemon_that_a_client_started_makes_way_for_the_service_managers() {
    let mut manager = Manager::new();
    fs::remove_file(manager.socket()).unwrap();
    let mut old = manager.world.start_daemon();
    sign_in(&manager.world, &manager.sandbox);
    // A service manager puts its socket in the place of the one that it finds.
    fs::remove_file(manager.socket()).unwrap();
    manager.listener = listen(&manager.world);
    let waiting = ask(&manager.world, GET);
    let _daemon = manager.start("");
    assert!(old.wait().success());
    assert_eq!(result(waiting)["type"], "token");
    assert!(manager.socket().exists(), "the old daemon took away a socket that was not its own");
}

#[test]
fn a_service_managers_daemon_whose_socket_is_removed_by_hand_ends_and_clients_go_on_without_it() {
    let manager = Manager::new();
    let mut daemon = manager.start("");
    manager.hear("READY=1");
    sign_in(&manager.world, &manager.sandbox);
    fs::remove_file(manager.socket()).unwrap();
    manager.hear("STOPPING=1");
    assert!(daemon.wait().success());
    let got = manager.world.client(&["get"], question(&manager.sandbox));
    assert!(value(&got.stdout, "password").is_some(), "from the keyring, by a daemon of its own: {got:?}");
    assert_eq!(manager.world.client(&["daemon", "stop"], "").stdout, "the daemon stopped\n");
}

#[test]
fn a_notifications_button_has_the_service_manager_start_the_sign_in_outside_of_the_daemons_sandbox() {
    let mut manager = Manager::new();
    let desktop = Desktop::start(manager.world.variable("DBUS_SESSION_BUS_ADDRESS"));
    // In the place of systemd's program: it shows what it is asked, and does it.
    let asked = manager.world.path("asked");
    let script = "echo \"$@\" >\"$HOME/asked\"\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";
    manager.world.stand_in("systemd-run", script);
    let _daemon = manager.start("");
    sign_in(&manager.world, &manager.sandbox);
    manager.sandbox.revoke_all();
    crate::alerts::lose(&manager.world);
    let Call::Show { id, .. } = desktop.next() else { unreachable!("nothing was shown") };
    let before = manager.sandbox.counters().code_exchanges();
    desktop.press(id, "login");
    manager.sandbox.until(|counters| counters.code_exchanges() > before).unwrap();
    let asked = fs::read_to_string(asked).unwrap();
    assert!(
        asked.starts_with("--user ") && asked.contains(" --setenv=XDG_ACTIVATION_TOKEN=to-the-front "),
        "{asked}"
    );
    assert!(asked.trim().ends_with("rally-cred login --force -- default"), "{asked}");
}

/// Has systemd's own tool hold the socket of clients and these ports, and start the daemon at the first connection.
fn activate(world: &World, ports: &[u16], arguments: &str) -> Running {
    let ports: String = ports.iter().map(|port| format!(" --listen=127.0.0.1:{port}")).collect();
    let line = format!(
        "exec systemd-socket-activate --listen=\"$XDG_RUNTIME_DIR/rally-cred/agent.sock\"{ports} \
        --setenv=XDG_RUNTIME_DIR --setenv=XDG_CONFIG_HOME --setenv=DBUS_SESSION_BUS_ADDRESS \
        rally-credd {arguments}"
    );
    let mut daemon = world.start("sh", &["-c", &line]);
    daemon.wait_for_line(&format!("as {}", 3 + ports.matches("--listen").count()));
    // It makes every socket readable for everyone, which the daemon does not take.
    set_mode(world.socket(), 0o600);
    daemon
}

/// Two ports that nobody listens on.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[test]
fn a_tool_that_comes_before_the_daemon_starts_it_and_finds_its_gateway() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let [port, strange] = free_ports();
    world.reconfigure(&format!("{}[gateway.mcp]\nport = {port}\n", world::profile_for(&sandbox)));
    let key = shown(&world, "mcp")["key"].as_str().unwrap().to_owned();
    while !world.client(&["gateway", "list"], "").stdout.contains("the same after a restart") {}
    daemon.stop();

    let mut daemon = activate(&world, &[port, strange], "");
    let ask = |port: u16, key: &str| ask_once(&world, &format!("http://127.0.0.1:{port}"), key);
    assert_eq!(ask(port, &key), "200");
    assert_eq!(shown(&world, "mcp")["port"], port);
    // A revoked key opens nothing, and its port stays where it is.
    world.client(&["gateway", "revoke", "mcp"], "").succeeded();
    shown(&world, "mcp");
    assert_eq!(ask(port, &key), "401");

    // At a port that no gateway has, a tool is told so, from the start or since then.
    daemon.wait_for_line(&format!("systemctl --user disable --now rally-cred-gateway@{strange}.socket"));
    let told = || world.run("curl", &["--silent", &format!("http://127.0.0.1:{port}/slm/")], "").stdout;
    assert_eq!(ask(strange, &key), "503");
    world.reconfigure(&world::profile_for(&sandbox));
    while told() != format!("no gateway of rally-cred has port {port}") {}
    check_that_rally_saw_tokens_only(&sandbox);
    daemon.stop();
    fs::remove_file(world.socket()).unwrap();
}

#[test]
fn systemds_own_tool_passes_the_socket_on() {
    let (_sandbox, world) = with_browser();
    make_private(world.path("run/rally-cred"));
    let mut daemon = activate(&world, &[], "--idle-exit 1s");
    world.client(&["status", "--json"], "").showed(format!("\"pid\":{}", daemon.0.id()));
    daemon.wait_for_line("nothing to do");
    assert!(daemon.wait().success());
    fs::remove_file(world.socket()).unwrap();
}

/// The units as a package would have them checked: `systemd-analyze` of systemd 252 does not look at `ExecSearchPath=`.
fn units_with_whole_paths() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let named = |name| (name, name);
    let gateway = ("rally-cred-gateway@.socket", "rally-cred-gateway@20500.socket");
    for (source, name) in [named("rally-cred.service"), named("rally-cred.socket"), gateway] {
        let mut text = fs::read_to_string(units_folder().join(source)).unwrap();
        for line in ["ExecStart=", "ExecReload="] {
            text = text.replace(line, &format!("{line}{}/", world::programs().display()));
        }
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let (world, units) = (World::new(), units_with_whole_paths());
    let unit = |name: &str| units.path().join(name).display().to_string();
    let (service, socket) = (unit("rally-cred.service"), unit("rally-cred.socket"));
    let gateway = unit("rally-cred-gateway@20500.socket");
    let verify = ["verify", "--user", "--man=no", &service, &socket, &gateway];
    let verified = world.run("systemd-analyze", &verify, "");
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""));

    // Its verdict counts what only the system's manager can do, so it is bounded and not admired.
    let judged = world.run("systemd-analyze", &["security", "--user", "--offline=true", &service], "");
    let verdict = judged.stdout.lines().rev().find(|line| line.contains("exposure level")).unwrap();
    println!("{verdict}");
    let score = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
    assert!(score <= 6.0, "{verdict}");
}

#[test]
fn the_agent_for_launchd_is_a_property_list() {
    let agent = units_folder().join("../contrib/launchd/rally-cred.plist").display().to_string();
    let script = "import plistlib, sys; print(plistlib.load(open(sys.argv[1], 'rb'))['Label'])";
    let read = World::new().run("python3", &["-c", script, &agent], "");
    assert_eq!((read.stdout.trim(), read.stderr.as_str()), ("rally-cred", ""));
}

/// A service manager of a user, who has this world; `None` if this machine cannot have one.
#[expect(clippy::print_stdout, reason = "a test that is passed over says so")]
fn user_manager(world: World) -> Option<UserManager> {
    let why = match UserManager::start(world) {
        Ok(manager) => return Some(manager),
        Err(why) => why,
    };
    println!("passed over: this machine cannot have a service manager of a user: {why}");
    None
}

/// Writes the config file where a user has it whose variables name no folder.
fn configure_at_home(world: &World, text: &str) -> PathBuf {
    let path = world.path(".config/rally-cred/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_daemon_that_systemd_starts_has_the_proxy_that_setup_was_run_with_to_the_letter() {
    let world = World::new();
    let profile = "[profile.default]\nclient_id = \"x\"\nredirect_uri = \"http://localhost:1/x\"\n";
    configure_at_home(&world, &format!("keyring = \"memory\"\n{profile}"));
    let Some(manager) = user_manager(world) else { return };
    let program = manager.world().path(".cargo/bin/rally-cred").display().to_string();
    let proxy = "HTTPS_PROXY=http://me:canary%40@proxy.example.com:3128";
    let spared = r#"NO_PROXY=a,"b",c\d,100%h"#;
    // There is no client secret, so the sign-in at the end comes to nothing.
    let setup = manager
        .run("env", &[proxy, spared, &program, "setup", "--network", "yes", "--units", "yes"])
        .showed("network.conf");
    let status = manager.run("rally-cred", &["status", "--json"]);
    let status = status.json();
    assert_eq!(status["network"]["HTTPS_PROXY"], "http://…@proxy.example.com:3128", "{setup:?} {status:#}");
    assert_eq!(status["network"]["NO_PROXY"], r#"a,"b",c\d,100%h"#);
    let pid = status["pid"].as_u64().unwrap();
    assert_eq!(manager.property("MainPID"), pid.to_string(), "{setup:?}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.split(|byte| *byte == 0).any(|variable| variable == proxy.as_bytes()));
}

#[test]
fn the_units_work_under_a_service_manager_of_an_ordinary_user() {
    let world = World::new();
    let profile = "client_id = \"c\"\nredirect_uri = \"http://localhost:8477/callback\"\n";
    let config = format!("[profile.default]\n{profile}");
    let path = configure_at_home(&world, &config);
    let Some(manager) = user_manager(world) else { return };
    let done = |arguments: &[&str]| {
        let ended = manager.systemctl(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    };
    // The process that answers; the socket has one started if there is none.
    let served_by = || {
        let status = manager.run("rally-cred", &["status", "--json"]);
        let status = status.json();
        let pid = status["pid"].as_u64().unwrap();
        assert_eq!(manager.property("MainPID"), pid.to_string());
        pid
    };

    done(&["enable", "--now", "rally-cred.socket"]);
    let mode = fs::metadata(manager.world().socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(manager.property("ActiveState"), "inactive");
    let first = served_by();
    assert_eq!(manager.property("StatusText"), "serving 1 profile");
    let sandbox = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let field = |name: &str| sandbox.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:"), field("CapEff:")), ("1", "2", "0000000000000000"));

    done(&["reload", "rally-cred.service"]);
    fs::write(&path, "nonsense = 1\n").unwrap();
    assert_ne!(manager.systemctl(&["reload", "rally-cred.service"]).code, Some(0));
    assert!(manager.property("StatusText").contains("the old configuration stays in force"));
    assert_eq!(served_by(), first);

    // Started with a broken file, it tells whoever waits, and is not started over and over.
    done(&["stop", "rally-cred.service"]);
    manager.run("rally-cred", &["status"]).ended_with(1).told("config.toml");
    assert_eq!([manager.property("Result"), manager.property("NRestarts")], ["exit-code", "0"]);
    fs::write(&path, &config).unwrap();
    let second = served_by();

    done(&["kill", "--signal=KILL", "rally-cred.service"]);
    let third = served_by();
    assert_ne!(second, third);

    let quickly = manager.world().path(".config/systemd/user/rally-cred.service.d");
    fs::create_dir(&quickly).unwrap();
    // A daemon that no longer comes round is replaced. `NRestarts` counts from here.
    fs::write(quickly.join("watchdog.conf"), "[Service]\nWatchdogSec=1s\n").unwrap();
    done(&["daemon-reload"]);
    done(&["restart", "rally-cred.service"]);
    let stuck = served_by();
    done(&["kill", "--signal=STOP", "--kill-who=main", "rally-cred.service"]);
    while manager.property("NRestarts") != "1" {}
    assert_ne!(served_by(), stuck);
    fs::remove_file(quickly.join("watchdog.conf")).unwrap();

    fs::write(quickly.join("idle.conf"), "[Service]\nExecStart=\nExecStart=rally-credd --idle-exit 1s\n")
        .unwrap();
    done(&["daemon-reload"]);
    done(&["restart", "rally-cred.service"]);
    let fourth = served_by();
    while manager.property("ActiveState") != "inactive" {}
    assert_eq!(manager.property("Result"), "success");
    assert_ne!(served_by(), fourth);

    // Removed by hand, its socket is out of reach. Clients go on without it, and what doctor says brings it back.
    fs::remove_file(quickly.join("idle.conf")).unwrap();
    done(&["daemon-reload"]);
    fs::remove_file(manager.world().socket()).unwrap();
    while manager.property("ActiveState") != "inactive" {}
    manager.run("rally-cred", &["daemon", "start"]).succeeded();
    let checked = manager.run("rally-cred", &["doctor"]).stdout;
    assert!(checked.contains("clients do not come to rally-cred.socket"), "{checked}");
    assert!(checked.contains("try: systemctl --user restart rally-cred.socket"), "{checked}");
    done(&["restart", "rally-cred.socket"]);
    served_by();
    let checked = manager.run("rally-cred", &["doctor"]).stdout;
    assert!(checked.contains("rally-cred.socket is enabled"), "{checked}");
    done(&["stop", "rally-cred.socket", "rally-cred.service"]);
    assert!(!manager.world().socket().exists());
}

/// A user of encrypted files, by these lines of the config file, with the socket's unit enabled. `None` if this machine
/// cannot have a service manager of a user.
fn user_of_encrypted_files(world: World, lines: &str) -> Option<UserManager> {
    configure_at_home(&world, &format!("keyring = \"file\"\n{lines}[static]\nhosts = [\"*\"]\n"));
    let manager = user_manager(world)?;
    manager.systemctl(&["enable", "--now", "rally-cred.socket"]).succeeded();
    Some(manager)
}

/// A password of another server, which a daemon of the service manager keeps in the encrypted files, or finds there.
fn ask_for_a_password(manager: &UserManager, operation: &str, more: &str) -> Ended {
    let line = format!("printf 'protocol=https\\nhost=git.example.com\\n{more}\\n' | rally-cred {operation}");
    let ended = manager.run("sh", &["-c", &format!("PATH=$HOME/.cargo/bin:$PATH; {line}")]);
    let status = manager.run("rally-cred", &["status", "--json"]).json();
    assert_eq!(status["pid"].to_string(), manager.property("MainPID"), "{ended:?}");
    ended
}

const PASSWORD: &str = "username=me\\npassword=kept\\n";

#[test]
fn at_a_logout_without_linger_the_units_end_and_the_next_login_finds_what_was_kept() {
    let world = World::new();
    fs::write(world.path("the-key"), [7; 32]).unwrap();
    let line = format!("keyring_key = \"{}\"\n", world.path("the-key").display());
    let Some(manager) = user_of_encrypted_files(world, &line) else { return };
    ask_for_a_password(&manager, "store", PASSWORD).succeeded();
    let first = PathBuf::from("/proc").join(manager.property("MainPID"));
    assert!(first.exists());
    let world = manager.log_out();
    assert!(!first.exists());
    let manager = UserManager::start(world).unwrap();
    let found = ask_for_a_password(&manager, "get", "").succeeded();
    assert_eq!(value(&found.stdout, "password"), Some("kept"));
}

/// A user who keeps passwords in memory only, with our programs, and with the units or without.
fn user_of_memory(has_units: bool) -> World {
    let world = World::new();
    install_programs(&world);
    if has_units {
        install_units(&world);
    }
    configure_at_home(&world, "keyring = \"memory\"\n[static]\nhosts = [\"*\"]\n");
    world
}

#[test]
fn at_a_logout_a_user_who_lingers_keeps_the_daemon_and_another_only_one_that_no_unit_started() {
    let users = [("lingers", true), ("no-units", false), ("leaves", true)];
    let booted = users.map(|(name, has_units)| (name, user_of_memory(has_units)));
    let machine = match Machine::boot(Vec::from(booted)) {
        Ok(machine) => machine,
        Err(why) => {
            println!("passed over: no machine can be booted in this one: {why}");
            return;
        }
    };
    machine.loginctl(&["enable-linger", "lingers"]).succeeded();
    // By a job of cron or over a forwarded socket: outside of every session.
    let ask = |user: &str| {
        let found = machine.run(user, "rally-cred", &["get"], "protocol=https\nhost=git.example.com\n\n");
        assert_eq!(value(&found.stdout, "password"), Some("kept"), "{found:?}");
        machine.run(user, "rally-cred", &["status", "--json"], "").json()["pid"].to_string()
    };
    let log_in = |(user, has_units)| {
        let mut session = machine.log_in(user);
        let mut done = |line: &str| session.try_ask(&format!("({line}) </dev/null && echo done"));
        if has_units {
            let enabled = done("systemctl --user enable --quiet --now rally-cred.socket");
            assert_eq!(enabled.as_deref(), Some("done"));
        }
        let lines = format!("protocol=https\\nhost=git.example.com\\n{PASSWORD}\\n");
        let stored = done(&format!("printf '{lines}' | $HOME/.cargo/bin/rally-cred store"));
        assert_eq!(stored.as_deref(), Some("done"));
        let pid = ask(user);
        let of_unit = session.try_ask("systemctl --user show --property=MainPID --value rally-cred.service");
        assert_eq!(of_unit.as_deref(), Some(if has_units { &*pid } else { "0" }));
        (session, pid)
    };
    let [lingers, no_units, leaves] = users.map(log_in);
    let is_there = |user| machine.runtime_folder(user).exists();
    let [pid_of_lingers, pid_of_no_units, pid_of_leaves] =
        [lingers, no_units, leaves].map(|(session, pid)| {
            session.end().succeeded();
            pid
        });

    // Whoever logs out last is the clock: what the others still have once logind has put this away, they keep.
    while is_there("leaves") {}
    assert!(!machine.process(&pid_of_leaves).exists());
    assert_eq!(machine.state("lingers"), "lingering");
    assert_eq!(ask("lingers"), pid_of_lingers);
    // Its session is not over for logind while a process of it runs.
    assert_eq!(machine.state("no-units"), "closing");
    assert_eq!(ask("no-units"), pid_of_no_units);

    machine.loginctl(&["disable-linger", "lingers"]).succeeded();
    machine.run("no-units", "rally-cred", &["daemon", "stop"], "").succeeded();
    while is_there("lingers") || is_there("no-units") {}
    assert!(!machine.process(&pid_of_lingers).exists());
}

#[test]
fn the_documented_lines_give_the_daemon_a_key_that_only_the_tpm_opens() {
    let tpm = Tpm::start();
    let mut world = World::new();
    world.set("SYSTEMD_TPM2_DEVICE", tpm.device());
    let Some(manager) = user_of_encrypted_files(world, "") else { return };
    let page = fs::read_to_string(units_folder().join("../docs/reference.md")).unwrap();
    let (_, below) =
        page.split_once("A key for `keyring = \"file\"` that only this machine's TPM can open").unwrap();
    let lines = below.split("```").nth(1).unwrap();
    manager.run("sh", &["-ec", lines]).succeeded();
    ask_for_a_password(&manager, "store", PASSWORD).succeeded();
    manager.systemctl(&["stop", "rally-cred.service"]).succeeded();
    let found = ask_for_a_password(&manager, "get", "").succeeded();
    assert_eq!(value(&found.stdout, "password"), Some("kept"));
    // Another machine's opens nothing.
    let other = Tpm::start();
    let variable = format!("SYSTEMD_TPM2_DEVICE={}", other.device());
    let key = manager.world().path(".config/rally-cred.key").display().to_string();
    let opened = manager.run("env", &[&variable, "systemd-creds", "decrypt", &key, "-"]);
    assert_ne!((opened.code, opened.stdout.len()), (Some(0), 32), "{opened:?}");
}
