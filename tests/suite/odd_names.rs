//! What would steer a terminal, in names of folders, files, arguments and clients, in the config file, and in Rally's words:
//! none of that reaches it, a log or a page, and what helps still helps.
//! Does not: try each way of writing it (`plain` does).
//! Used by: `main`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rally_cred_proto::plain::plain;
use rally_cred_tests::desktop::{Call, Desktop};
use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Endpoint, Fault};
use rally_cred_tests::world::{self, Ended, World};

use crate::sign_in::{begin, question, sign_in, signed_in, with_browser, with_daemon, world_with_browser};

/// A name that sets a title, turns red, goes up a line, and reverses what follows.
const ODD: &str = "a\u{1b}]0;x\u{7}\u{1b}[31m\u{9b}A\u{202e}b's\nok   daemon";

/// Whether a text shows nothing but itself, line by line.
fn is_plain(text: &str) -> bool {
    text.lines().all(|line| line.chars().all(|c| plain(&c.to_string()).contains(c)))
}

/// Holds a text to showing nothing but itself, with none of its lines made up by an odd name.
fn check(place: &str, text: &str) {
    assert!(is_plain(text), "{place}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("ok   daemon")), "{place}: {text:?}");
}

fn check_ended(place: &str, ended: &Ended) {
    check(place, &ended.stdout);
    check(place, &ended.stderr);
}

/// A world whose config and state lie in such a folder.
fn odd_world() -> World {
    let (_sandbox, mut world) = with_browser();
    let folder = world.path(ODD);
    fs::rename(world.path("config"), &folder).unwrap();
    world.set("XDG_CONFIG_HOME", folder.display()).set("XDG_STATE_HOME", folder.display());
    world.set("XDG_RUNTIME_DIR", folder.display());
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    world
}

#[test]
fn names_that_would_steer_a_terminal_are_shown_and_do_nothing() {
    let world = odd_world();
    let file = world.path("x.toml").display().to_string() + ODD;
    let report = world.path("report").display().to_string() + ODD;
    for line in [
        ["rally-cred", "doctor"].as_slice(),
        &["rally-cred", "doctor", "--json"],
        &["rally-cred", "doctor", "--report", &report],
        &["rally-cred", "doctor", "--report", &report],
        &["rally-cred", "config", "check"],
        &["rally-cred", "config", "check", &file],
        &["rally-cred", "config", ODD],
        &["rally-cred", "setup", "--dry-run", "--git", "yes", "--completions", "bash", "--client-id", "x"],
        &["rally-cred", "setup", "--dry-run", "--client-id", "x", "--base-url", ODD],
        &["rally-cred", "setup", ODD, "--dry-run", "--client-id", "x"],
        &["rally-cred", "setup", "--units", ODD],
        &["rally-cred", "login", ODD, "--no-autostart"],
        &["rally-cred", "login", "--timeout", ODD],
        &["rally-cred", "status", "--json"],
        &["rally-cred", "status", ODD],
        &["rally-cred", "get", "--profile", ODD],
        &["rally-cred", "get", ODD],
        &["rally-cred", "get", "--format", ODD],
        &["rally-cred", ODD, "--help"],
        &["rally-cred", "--colour", ODD],
        &["rally-cred", "exec", "--set", ODD, "--", "true"],
        &["rally-cred", "completions", ODD],
        &["rally-credd", "--check-config"],
        &["rally-credd", "--check-config", &file],
        &["rally-credd", ODD],
        &["rally-credd", "--idle-exit", ODD],
    ] {
        check_ended(&format!("{line:?}"), &world.run(line[0], &line[1..], ""));
    }
    check("the report", &fs::read_to_string(&report).unwrap());
    fs::set_permissions(world.path(ODD).join("rally-cred"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut daemon = world.start("rally-credd", &[]);
    let ready = daemon.wait_for_line("ready");
    assert!(is_plain(&ready) && ready.ends_with("agent.sock"), "{ready}");
    let status = world.client(&["status", "--json"], "");
    check_ended("the status of a daemon", &status);
    assert!(status.stdout.contains(r"\u009bA\u202eb's"), "{status:?}");
}

#[test]
fn a_script_gets_the_path_as_it_is_and_a_terminal_what_it_may_show() {
    let mut world = odd_world();
    let whole = format!("{}/rally-cred/config.toml\n", world.path(ODD).display());
    assert_eq!(world.client(&["config", "path"], "").stdout, whole);
    let shown = world.at_terminal("rally-cred config path").end().stdout;
    assert!(is_plain(shown.trim_end()) && shown.lines().count() == 1 && shown.contains("31m"), "{shown:?}");
    // What is no text in any language is a path all the same.
    let bytes = b"/no\xfftext/config.toml";
    let mut command = world.command("rally-cred");
    command.args(["config", "path"]).env("RALLY_CRED_CONFIG", OsStr::from_bytes(bytes));
    assert_eq!(command.output().unwrap().stdout, [bytes.as_slice(), b"\n"].concat());
    world.unset("XDG_RUNTIME_DIR");
}

#[test]
fn a_remedy_for_an_odd_name_is_for_that_name() {
    let world = odd_world();
    let folder = world.path(ODD).join("rally-cred");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let shown = world.client(&["doctor", "--no-autostart"], "").stdout;
    let remedy = shown.lines().find_map(|line| line.trim().strip_prefix("try: chmod")).unwrap();
    assert_eq!(world.run("sh", &["-c", &format!("chmod{remedy}")], "").code, Some(0), "{remedy}");
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_client_whose_name_would_steer_a_terminal_is_named_plainly_in_the_log() {
    let (sandbox, world, _daemon) = signed_in();
    let odd = world.path(ODD).display().to_string();
    world.run("cp", &[&world::programs().join("rally-cred").display().to_string(), &odd], "").succeeded();
    // A client that ends before it is looked up has no name.
    let is_named = (0..100).any(|_| {
        world.run(&odd, &["get"], question(&sandbox)).succeeded();
        world.log().contains("/a]0;x[31mAb'sok   daemon")
    });
    assert!(is_named, "{:?}", world.log());
    check("the log", &world.log());
}

#[test]
fn a_config_file_that_would_steer_a_terminal_is_told_and_does_nothing() {
    let (sandbox, world, _daemon) = with_daemon(&[("RALLY_CRED_LOG", "trace")]);
    let odd = serde_json::to_string(ODD).unwrap();
    let profile = world::profile_for(&sandbox);
    for text in [
        format!("{odd} = 1\n"),
        format!("keyring = {odd}\n"),
        format!("[profile.{odd}]\n"),
        format!("[profile.default]\n{odd} = 1\n"),
        format!("[profile.default]\nbase_url = {odd}\n"),
        format!("{profile}username = {odd}\n"),
        format!("{profile}client_secret_command = [{odd}]\n"),
        format!("notify_command = [{odd}]\n{profile}"),
        format!("default_profile = {odd}\n{profile}"),
        // As it is, which TOML does not allow.
        format!("{ODD} = 1\n"),
        format!("keyring = \"{ODD}\"\n"),
    ] {
        world.configure(&text);
        for line in [
            ["rally-cred", "config", "check"].as_slice(),
            &["rally-credd", "--check-config"],
            &["rally-cred", "daemon", "reload"],
            &["rally-cred", "login", "--timeout", "1s"],
            &["rally-cred", "status"],
            &["rally-cred", "status", "--json"],
            &["rally-cred", "doctor"],
        ] {
            check_ended(&format!("{line:?} of {text:?}"), &world.run(line[0], &line[1..], ""));
        }
    }
    check("the log", &world.log());
}

#[test]
fn what_rally_says_steers_no_terminal_log_or_page() {
    let sandbox = world::sandbox_with(|options| {
        options.user.user_name = ODD.to_owned();
        options.user.display_name = ODD.to_owned();
    });
    let mut world = world_with_browser(&sandbox);
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    world.set("RALLY_CRED_LOG", "trace");
    let _daemon = world.start_daemon();
    let secret = sandbox.options().client_secret;
    // What is left of it, by which each place shows that it has Rally's words.
    let left = "[31mAb's";
    let says = |body: serde_json::Value| Fault::json(400, &body.to_string());
    for fault in [
        says(serde_json::json!({"error": ODD, "error_description": ODD})),
        says(serde_json::json!({"error": "invalid_client", "error_description": ODD})),
        Fault::page(403, &format!("<p>Your IP address, 192.0.2.7, may not use {ODD}. Ask.</p>")),
    ] {
        let place = format!("{fault:?}");
        sandbox.fault(Endpoint::Token, fault, Some(1));
        let (login, url) = begin(&world, &secret, &["--force"]);
        let page = sandbox.browser().allow(&url).unwrap().text;
        let ended = login.end();
        check_ended(&place, &ended);
        check(&place, &page);
        assert!(ended.stderr.contains(left) || ended.stdout.contains(left), "{place}: {ended:?}");
        assert!(page.contains("[31mAb&#39;s"), "{place}: {page}");
        for command in [&["status"][..], &["status", "--json"], &["doctor"], &["doctor", "--json"]] {
            check_ended(&place, &world.client(command, ""));
        }
    }

    // A name, which only a user name that is plain is taken for.
    let login = world.client(&["login", "--client-secret-stdin"], &secret).succeeded();
    check_ended("a sign-in", &login);
    for command in [&["status"][..], &["status", "--json"], &["get"]] {
        check_ended("signed in", &world.client(command, question(&sandbox)));
    }

    // A redirect that carries words, and a renewal that is refused with some.
    let (login, url) = begin(&world, &secret, &["--force"]);
    let asked = url::Url::parse(&url).unwrap();
    let of = |name: &str| asked.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let mut answer = url::Url::parse(&of("redirect_uri")).unwrap();
    answer.query_pairs_mut().extend_pairs([
        ("error", ODD),
        ("error_description", ODD),
        ("state", &of("state")),
    ]);
    check("the page of a refusal", &sandbox.browser().open(answer.as_str()).unwrap().text);
    let refused = login.end();
    check_ended("a refusal", &refused);
    assert!(refused.stderr.contains(left), "{refused:?}");

    let body = serde_json::json!({"error": "invalid_grant", "error_description": ODD});
    sandbox.fault(Endpoint::Token, says(body), None);
    let token = world.token();
    sandbox.revoke_all();
    world.reject(sandbox.base_url(), &token);
    let got = world.client(&["get", "--interactive", "never"], "").ended_with(3);
    check_ended("a get", &got);
    check("the log", &world.log());
}

/// The text of the next notification, which steers nothing, whoever shows it, and has no markup.
#[expect(clippy::panic, reason = "a test without its notification fails")]
fn notified(desktop: &Desktop) -> String {
    let Call::Show { summary, body, actions, .. } = desktop.next() else { panic!("no notification") };
    let all = format!("{summary}{body}{actions:?}");
    let steers = |c: char| c.is_control() && c != '\n' || "\u{202e}<>&".contains(c);
    assert!(!all.contains(steers) && !body.contains("\nok "), "{body:?}");
    body
}

#[test]
fn what_programs_are_called_steers_no_notification() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let (sandbox, mut world) = with_browser();
    let confirming = world::profile_for(&sandbox).replace("default", "asks") + "confirm = \"new\"\n";
    let profiles = format!("{}{confirming}", world::profile_for(&sandbox));
    world.configure(&format!("keyring = \"memory\"\ndefault_profile = \"default\"\n{profiles}"));
    world.join(&bus);
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);

    let ask = |program: &Path| {
        let line = "rally-cred get --profile asks --format token --interactive never </dev/null; exit $?";
        world.run(program.to_str().unwrap(), &["-c", line], "")
    };
    let copy = |name: &str| -> PathBuf {
        let copy = fs::canonicalize(world.path("")).unwrap().join(name);
        World::copy_program(Path::new("/bin/sh"), &copy);
        copy
    };
    let (marked, odd) = (copy("a<b>&"), copy(ODD));
    assert_eq!(ask(&marked).code, Some(3));
    assert!(notified(&desktop).ends_with("/a b   asks for a token of profile asks."));
    // Another program may be called what is left of its name.
    let refused = ask(&odd);
    check_ended("a program that is not certain", &refused);
    assert_eq!((refused.code, desktop.calls()), (Some(4), vec![]), "{refused:?}");
}

#[test]
fn what_rally_says_steers_no_notification() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let sandbox = world::sandbox_with(|options| {
        options.user.user_name = "a<b>&c@example.com".to_owned();
        options.user.display_name = format!("<b>{ODD}</b>");
    });
    let mut world = world_with_browser(&sandbox);
    let profile = world::profile_for(&sandbox);
    let configure =
        |world: &World, more: &str| world.configure(&format!("keyring = \"memory\"\n{profile}{more}"));
    configure(&world, "");
    world.join(&bus);
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);

    // The words of an error.
    let body = serde_json::json!({"error": "invalid_grant", "error_description": format!("<b>{ODD}</b>&")});
    sandbox.fault(Endpoint::Token, Fault::json(400, &body.to_string()), Some(1));
    sandbox.revoke_all();
    crate::alerts::lose(&world);
    let why = "Rally no longer accepts the stored refresh token";
    assert_eq!(notified(&desktop), format!("Profile default: {why}.\nTry: rally-cred login --force"));

    // The name of a user, who is not the one of the profile. While a person is there, Rally does not say whose it is.
    configure(&world, "username = \"b@example.com\"\n");
    world.client(&["daemon", "restart"], "").succeeded();
    assert!(matches!(desktop.next(), Call::Close(_)), "a notification whose button is dead");
    sandbox.fault(Endpoint::User, Fault::page(503, ODD), Some(1));
    let login = crate::sign_in::log_in(&world, &sandbox);
    assert_ne!(login.code, Some(0), "{login:?}");
    let tool = "while curl --silent --output body --header \"ZSESSIONID: $RALLY_API_KEY\" \
                \"$SERVER/slm/webservice/v2.0/user\"; do :; done";
    let gateway = ["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c", tool];
    let _tool = world.start("rally-cred", &gateway);
    let by = "the sign-in was by a b  c@example.com";
    while notified(&desktop) != format!("Profile default: {by}.\nTry: rally-cred login --force") {}
}
