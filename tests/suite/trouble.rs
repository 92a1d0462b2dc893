//! What goes wrong at a sign-in or a get, on real processes: each has its own plain error, remedy and exit code, and
//! nothing that was stored is lost.
//! Does not: repeat what unit tests pin; it shows that a person gets to see it.
//! Used by: `main`.

use std::net::TcpListener;

use rally_cred_tests::sandbox::{Endpoint, Fault, Sandbox};
use rally_cred_tests::world::{self, Ended, Running, World};
use rally_cred_tests::{browser::Choice, keyring::KeyringSession};

use crate::sign_in::{
    begin, log_in, password, question, sign_in, signed_in_with_keyring, value, with_browser, with_browser_at,
    with_daemon, world_with_browser, world_with_keyring,
};

/// Signs in once, provokes the trouble, signs in again by force, and checks what the person sees; then the first token
/// must still be served.
fn check(provoke: impl FnOnce(&Sandbox, &mut World), code: i32, what: &str, remedy: &str) {
    let (sandbox, mut world, _keyring, _daemon) = signed_in_with_keyring();
    let before = world.client(&["get"], question(&sandbox)).stdout;
    provoke(&sandbox, &mut world);
    let login = world.client(&["login", "--force", "--timeout", "20s"], "");
    expect(&login, code, what, remedy);
    sandbox.clear_faults();
    assert_eq!(world.client(&["get"], question(&sandbox)).stdout, before, "the old token is still served");
}

/// The error as a person sees it: what, then why, then what to try.
fn expect(ended: &Ended, code: i32, what: &str, remedy: &str) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    assert_eq!(ended.stdout, "", "nothing but answers on standard output");
    let line = ended.stderr.lines().find(|line| line.starts_with("rally-cred: ") && line.contains(what));
    assert!(line.is_some(), "no line with {what:?} in {ended:#?}");
    let tries: Vec<_> = ended.stderr.lines().filter_map(|line| line.strip_prefix("  try: ")).collect();
    assert!(tries.iter().any(|line| line.contains(remedy)), "no remedy with {remedy:?} in {ended:#?}");
}

#[test]
fn the_user_denies() {
    check(|_, world| _ = world.set("PRESS", "deny"), 4, "denied", "rally-cred login");
}

#[test]
fn nobody_answers() {
    let (sandbox, world, _daemon) = with_daemon(&[("PRESS", "nothing")]);
    let arguments = ["login", "--client-secret-stdin", "--timeout", "1s"];
    let login = world.client(&arguments, &sandbox.options().client_secret);
    expect(&login, 5, "timed out", "rally-cred login");
}

#[test]
fn a_client_id_or_callback_url_that_rally_does_not_know_is_what_a_sign_in_without_an_answer_asks_about() {
    for (key, wrong) in [("client_id", "mistyped"), ("redirect_uri", "http://localhost:8477/mistyped")] {
        let (sandbox, world) = with_browser();
        let config = world::profile_for(&sandbox);
        let right = config.lines().find(|line| line.starts_with(key)).unwrap();
        world.configure(&config.replace(right, &format!("{key} = \"{wrong}\"")));
        let _daemon = world.start_daemon();
        let login = world
            .client(&["login", "--client-secret-stdin", "--timeout", "1s"], &sandbox.options().client_secret);
        expect(&login, 5, "timed out", &format!("{key} {wrong}"));
        let page = format!("{}/login/accounts/index.html#/clients", sandbox.base_url());
        expect(&login, 5, "timed out", &page);
        assert!(login.stderr.contains("or Rally's page showed an error"), "{login:?}");
        // Nor does a tool that waited learn less.
        let get =
            ["get", "--interactive", "always", "--format", "token", "--profile", "default", "--wait", "1s"];
        assert!(!world.client(&get, "").stderr.is_empty());
    }
}

#[test]
fn a_rally_that_is_busy_or_out_of_order_says_when_to_ask_again() {
    for (status, retry_after, what, remedy) in [
        (503, None, "Rally is out of order", "ask again in a few minutes"),
        (429, Some(7), "Rally takes no more requests", "ask again in 7 s"),
    ] {
        let fault = Fault::Status { status, retry_after };
        check(|sandbox, _| sandbox.fault(Endpoint::Token, fault, None), 8, what, remedy);
    }
}

#[test]
fn an_unknown_profile_is_told_with_those_that_there_are_the_nearest_first() {
    let (sandbox, world) = with_browser();
    let base = world::profile_for(&sandbox);
    let of = |name: &str| base.replace("profile.default", &format!("profile.{name}"));
    world.configure(&format!("default_profile = \"home\"\n{}{}", of("home"), of("work")));
    for command in [["login", "wrok"], ["logout", "wrok"], ["status", "wrok"], ["get", "--profile=wrok"]] {
        world.client(&["daemon", "start"], "");
        let ended = world.client(&command, "");
        expect(&ended, 2, "there is no profile wrok", "rally-cred setup wrok");
        assert!(ended.stderr.contains("there are: work, home"), "{ended:?}");
    }
    let many: String = (0..50).map(|number| of(&format!("p{number}"))).collect();
    world.reconfigure(&format!("default_profile = \"p0\"\n{many}"));
    world.client(&["login", "p5x"], "").told("there are: p5, ").told(", 45 more");
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_of_an_answer_is_told_as_such() {
    let (sandbox, world, mut daemon) = with_daemon(&[]);
    let (login, _) = begin(&world, &sandbox.options().client_secret, &[]);
    daemon.kill();
    let ended = login.end();
    expect(&ended, 6, "the daemon went away before it had answered", "ask again");
    assert!(!ended.stderr.contains("version") && !ended.stderr.contains("understand"), "{ended:?}");
}

#[test]
fn a_socket_path_that_is_too_long_is_told_with_the_limit_and_the_remedy_finds_a_shorter_one() {
    let (_sandbox, mut world) = with_browser();
    let long = world.path(&"a".repeat(107));
    let short = world.path("t");
    std::fs::create_dir(&short).unwrap();
    world.set("XDG_RUNTIME_DIR", long.display()).set("TMPDIR", short.display());
    for command in [&["status"][..], &["get", "--profile=default", "--format=token"], &["daemon", "start"]] {
        let ended = world.client(command, "");
        expect(&ended, 1, "is too long", "export RALLY_CRED_SOCKET=");
        assert!(ended.stderr.contains("room for 107"), "{ended:?}");
    }
    world.run("rally-credd", &[], "").ended_with(1).told("room for 107");
    let doctor = world.client(&["doctor"], "");
    assert!(doctor.stdout.lines().any(|line| line.starts_with("FAIL  socket")), "{doctor:?}");
    let ended = world.client(&["daemon", "start"], "");
    let remedy = ended.stderr.lines().find_map(|line| line.strip_prefix("  try: ")).unwrap();
    let script = format!("{remedy}; rally-cred daemon start && rally-cred daemon stop");
    let mended = world.run("sh", &["-c", &script], "");
    assert_eq!(mended.code, Some(0), "{remedy}: {mended:?}");
}

#[test]
fn rally_does_not_take_the_code() {
    let body = r#"{"client_id":"c","client_secret":"canary","error_description":"Invalid authorization code","error":"invalid_grant"}"#;
    let answer = Fault::json(400, body);
    check(|sandbox, _| sandbox.fault(Endpoint::Token, answer, None), 4, "code", "rally-cred login");
}

#[test]
fn rally_does_not_know_the_client() {
    let (_sandbox, world, _daemon) = with_daemon(&[]);
    let login = world.client(&["login", "--client-secret-stdin"], "not-the-secret\n");
    expect(&login, 4, "client", "--client-secret-stdin");
    assert!(!login.stderr.contains("not-the-secret"));
}

#[test]
fn a_maintenance_page_comes_in_place_of_json_or_the_connection_breaks() {
    for (fault, what, remedy) in [
        (Fault::Html, "not one of Rally's API", "try again later"),
        (Fault::Drop, "cannot be reached", "network"),
    ] {
        check(|sandbox, _| sandbox.fault(Endpoint::Token, fault, None), 8, what, remedy);
    }
}

#[test]
fn the_subscription_does_not_allow_this_address() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    sandbox.change(|options| options.address_refused = true);
    let login = log_in(&world, &sandbox);
    expect(&login, 4, "address", "");
    // The token itself is good, and is served where the address is allowed.
    sandbox.change(|options| options.address_refused = false);
    assert!(password(&world, &sandbox).is_some());
}

#[test]
fn the_certificate_is_not_trusted_until_ca_file_names_its_authority() {
    let (sandbox, mut world) = with_browser_at(|options| options.tls = true);
    // The browser trusts the authority from the start.
    world.trust(&sandbox);
    world.configure_for(&sandbox);
    let _daemon = world.start_daemon();
    let secret = sandbox.options().client_secret;
    let login = world.client(&["login", "--client-secret-stdin"], &secret);
    expect(&login, 8, "trusted", "ca_file");
    world.trust(&sandbox);
    world.client(&["daemon", "reload"], "").succeeded();
    world.client(&["login", "--client-secret-stdin"], &secret).succeeded();
}

#[test]
fn the_keyring_is_locked() {
    let (sandbox, world, mut keyring, mut daemon) = signed_in_with_keyring();
    let before = world.client(&["get"], question(&sandbox)).stdout;
    daemon.kill();
    keyring.lock();
    let _daemon = world.start_daemon();
    let got = world.client(&["get", "--format", "token"], "");
    expect(&got, 7, "locked", "unlock");
    let login = world.client(&["login"], "");
    expect(&login, 7, "locked", "unlock");
    // A locked keyring has lost nothing.
    keyring.restart_keyring(true);
    assert_eq!(world.client(&["get"], question(&sandbox)).stdout, before);
}

#[test]
fn the_keyring_is_absent() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    log_in(&world, &sandbox).succeeded().told("no keyring answers");
    world.client(&["status"], "").showed("memory");

    world.configure(&format!("keyring = \"os\"\n{}", world::profile_for(&sandbox)));
    world.client(&["daemon", "restart"], "").succeeded();
    let login = log_in(&world, &sandbox);
    expect(&login, 7, "no keyring answers", "keyring");
}

#[test]
fn the_redirect_port_is_taken_and_a_pasted_address_does_it() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    crate::sign_in::store_client_secret(&world, &sandbox);
    let port = url::Url::parse(&sandbox.options().redirect_uri).unwrap().port().unwrap();
    let _other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // Without a terminal nobody can paste, so this is the end of it.
    let login = world.client(&["login"], "");
    expect(&login, 1, "port", &port.to_string());
    let got = world.client(&["get", "--interactive", "always", "--format", "token"], "");
    expect(&got, 1, "port", "rally-cred login");

    // `script` gives the client a terminal.
    let mut login = world.at_terminal("rally-cred login --no-browser");
    let url = loop {
        let line = login.next_line_of_stdout().expect("the address is shown");
        if let Some(at) = line.find("http").filter(|_| line.contains("/login/oauth2/auth?")) {
            break line[at..].trim().to_owned();
        }
    };
    let redirect = sandbox.browser().consent(&url, Choice::Allow).unwrap();
    let mut wrong = redirect.clone();
    wrong.set_query(Some("code=x&state=y"));
    login.write(&format!("{wrong}\n"));
    login.write(&format!("{redirect}\n"));
    login.end().succeeded().showed("signed in");
    world.token();
}

/// Root may listen on low ports, so the right to do so is taken from the daemon.
pub(crate) fn start_daemon_without_low_ports(world: &World) -> Running {
    let is_root = world.run("id", &["-u"], "").stdout.trim() == "0";
    let mut daemon = if is_root {
        let program = world::programs().join("rally-credd");
        world.start(
            "setpriv",
            &["--bounding-set=-net_bind_service", &program.display().to_string(), "--detach"],
        )
    } else {
        world.start("rally-credd", &["--detach"])
    };
    assert_eq!(daemon.next_line_of_stdout().as_deref(), Some(r#"{"type":"done"}"#));
    daemon
}

#[test]
fn port_80_is_not_permitted() {
    let sandbox =
        world::sandbox_with(|options| options.redirect_uri = "http://localhost/callback".to_owned());
    let world = world_with_browser(&sandbox);
    let _daemon = start_daemon_without_low_ports(&world);
    let login = log_in(&world, &sandbox);
    expect(&login, 1, "port 80", "1023");
}

#[test]
fn a_person_is_not_asked_where_nobody_can_answer() {
    let (sandbox, mut world, _daemon) = with_daemon(&[]);
    crate::sign_in::store_client_secret(&world, &sandbox);
    let opened = crate::sign_in::opened(&world).len();
    for (name, setting) in [("CI", "true"), ("GIT_TERMINAL_PROMPT", "0")] {
        world.set(name, setting);
        let got = world.client(&["get", "--format", "token"], "");
        expect(&got, 3, "no sign-in", "rally-cred login");
        let git = world.client(&["get"], question(&sandbox));
        assert_eq!(value(&git.stdout, "quit"), Some("1"), "{git:?}");
        world.unset(name);
    }
    assert_eq!(crate::sign_in::opened(&world).len(), opened);
}

/// Puts a text into the keyring in the place of the default profile's token.
fn plant_record(keyring: &KeyringSession, world: &World, text: &str) {
    let arguments = ["store", "--label=x", "service", "rally-cred", "username", "token:default"];
    let stored = world.run("secret-tool", &arguments, text);
    assert_eq!(stored.code, Some(0), "{stored:?} {keyring:?}");
}

#[test]
fn a_damaged_record_is_told_and_the_next_login_mends_it() {
    let (sandbox, world, keyring) = world_with_keyring();
    plant_record(&keyring, &world, "{\"v\":1,\"access_tok");
    let _daemon = world.start_daemon();
    let got = world.get();
    expect(&got, 3, "no sign-in", "rally-cred login");
    assert!(got.stderr.contains("damaged"), "{got:?}");
    sign_in(&world, &sandbox);
    assert!(password(&world, &sandbox).is_some());
}

#[test]
fn a_record_of_a_later_version_is_left_untouched() {
    let (sandbox, world, keyring) = world_with_keyring();
    let later = r#"{"v":99,"everything":"is different"}"#;
    plant_record(&keyring, &world, later);
    let _daemon = world.start_daemon();
    let login = log_in(&world, &sandbox);
    expect(&login, 7, "not understood", "rally-cred logout");
    let found =
        world.run("secret-tool", &["lookup", "service", "rally-cred", "username", "token:default"], "");
    assert_eq!(found.stdout, later);
    // Logout is the way out for one who does not want that version back.
    world.client(&["logout"], "").succeeded();
    sign_in(&world, &sandbox);
}

#[test]
fn the_keyring_comes_back_while_the_daemon_runs_and_takes_what_waited_for_it() {
    let (sandbox, mut world) = with_browser();
    let mut keyring = KeyringSession::start_without_keyring();
    world.join(&keyring);
    let mut daemon = world.start_daemon();
    log_in(&world, &sandbox).told("no keyring answers");
    keyring.restart_keyring(true);
    let token = world.client(&["get", "--format", "token"], "").stdout;
    // The daemon tries again by itself within seconds.
    while !world.client(&["status"], "").stdout.contains("keeps tokens") {}
    daemon.kill();
    let _daemon = world.start_daemon();
    assert_eq!(world.client(&["get", "--format", "token"], "").stdout, token);
}

#[test]
fn a_keyring_that_does_not_answer_keeps_nobody_longer_than_they_want_to_wait() {
    let (sandbox, world, keyring, mut daemon) = signed_in_with_keyring();
    let before = world.client(&["get"], question(&sandbox)).stdout;
    daemon.kill();
    keyring.pause_keyring();
    let _daemon = world.start_daemon();
    let got = world.client(&["get", "--profile", "default", "--format", "token", "--wait", "1s"], "");
    expect(&got, 5, "no token for profile default in time", "rally-cred status");
    assert!(got.stderr.contains("the keyring did not answer"), "{got:?}");
    // Once it answers, the next caller is served as if nothing had been.
    keyring.resume_keyring();
    assert_eq!(world.client(&["get"], question(&sandbox)).stdout, before);
}

#[test]
fn a_full_disk_leaves_the_token_in_memory_until_there_is_room_again() {
    let (sandbox, world, keyring) = world_with_keyring();
    let mut daemon = world.start_daemon();
    keyring.set_disk_full(true);
    let login = log_in(&world, &sandbox).succeeded();
    for told in ["warning: the keyring failed", "until the daemon stops"] {
        assert!(login.said().contains(told), "{login:?}");
    }
    let token = world.client(&["get", "--format", "token"], "").stdout;
    assert!(!token.is_empty());
    keyring.set_disk_full(false);
    while !world.client(&["status"], "").stdout.contains("keeps tokens") {}
    daemon.kill();
    let _daemon = world.start_daemon();
    assert_eq!(world.client(&["get", "--format", "token"], "").stdout, token);
}

#[test]
fn two_users_of_one_server_are_told_apart_by_user_name_and_by_profile() {
    let (sandbox, world) = with_browser();
    let base = world::profile_for(&sandbox);
    let dana = sandbox.options().user.user_name;
    let of = |name: &str, user: &str| {
        format!("{}username = \"{user}\"\n", base.replace("profile.default", &format!("profile.{name}")))
    };
    let profiles = of("first", &dana) + &of("second", "erin@example.com");
    world.configure(&format!("default_profile = \"first\"\n{profiles}"));
    let _daemon = world.start_daemon();
    let secret = sandbox.options().client_secret;
    world.client(&["login", "--client-secret-stdin"], &secret).succeeded();

    // The browser is still signed in as the first user, which the second profile does not take.
    let wrong = world.client(&["login", "second", "--client-secret-stdin"], &secret);
    expect(&wrong, 4, "the sign-in was by", "sign out of Rally in the browser");
    sandbox.change(|options| options.user.user_name = "erin@example.com".to_owned());
    world.client(&["login", "second", "--client-secret-stdin"], &secret).succeeded();

    let asked_by = |user: &str| {
        let question = question(&sandbox).replace("\n\n", &format!("\nusername={user}\n\n"));
        value(&world.client(&["get"], question).stdout, "password").map(str::to_owned)
    };
    let by_profile = |name: &str| {
        Some(world.client(&["get", "--profile", name, "--format", "token"], "").stdout.trim().to_owned())
    };
    assert_eq!(asked_by(&dana), by_profile("first"));
    assert_eq!(asked_by("erin@example.com"), by_profile("second"));
    assert_ne!(by_profile("first"), by_profile("second"));
    assert_eq!(asked_by("nobody@example.com"), None);
}

#[test]
fn a_thousand_profiles_work_and_one_in_trouble_delays_no_other() {
    let (sandbox, world) = with_browser();
    let base = world::profile_for(&sandbox);
    let profiles: String =
        (0..1000).map(|number| base.replace("profile.default", &format!("profile.p{number}"))).collect();
    world.configure(&format!("keyring = \"memory\"\ndefault_profile = \"p0\"\n{profiles}"));
    let _daemon = world.start_daemon();
    let secret = sandbox.options().client_secret;
    world.client(&["login", "p999", "--client-secret-stdin"], &secret).succeeded();

    // Another profile waits for a person who is not there.
    let _waits = begin(&world, &secret, &["p1"]);
    world.client(&["get", "--profile", "p999", "--format", "token"], "").succeeded();
    let status = world.status();
    let shown = status["profiles"].as_array().unwrap();
    let in_state = |state: &str| shown.iter().filter(|profile| profile["state"] == state).count();
    assert_eq!(
        (shown.len(), in_state("signed_in"), in_state("signing_in"), in_state("signed_out")),
        (1000, 1, 1, 998)
    );
}
