//! The path of the product, on real processes: sign in once, then be served, from memory and after a restart.
//! Does not: look at what goes wrong (`trouble` does).
//! Used by: `main`.

use std::{fs, thread};

use rally_cred_tests::world::{self, Ended, Running, World};
use rally_cred_tests::{
    keyring::KeyringSession,
    sandbox::{Endpoint, Fault, Options, Sandbox},
};

/// git's question for the sandbox.
pub(crate) fn question(sandbox: &Sandbox) -> String {
    let (protocol, host) = sandbox.base_url().split_once("://").unwrap();
    format!("protocol={protocol}\nhost={host}\n\n")
}

/// The value of a line `name=value`.
pub(crate) fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The token that git gets for the sandbox.
pub(crate) fn password(world: &World, sandbox: &Sandbox) -> Option<String> {
    value(&world.client(&["get"], question(sandbox)).stdout, "password").map(str::to_owned)
}

/// Gives the client secret, as a person does who signs in for the first time.
pub(crate) fn log_in(world: &World, sandbox: &Sandbox) -> Ended {
    world.client(&["login", "--client-secret-stdin"], &sandbox.options().client_secret)
}

/// A world whose `$BROWSER` presses "Allow Access" and notes what it opened in `opened`.
pub(crate) fn world_with_browser(sandbox: &Sandbox) -> World {
    let mut world = World::new();
    world.configure_for(sandbox);
    world.set("BROWSER", world::programs().join("press-allow").display());
    world.set("PRESS_LOG", world.path("opened").display());
    world.set("DISPLAY", ":0");
    world
}

/// The same with the sandbox.
pub(crate) fn with_browser() -> (Sandbox, World) {
    with_browser_at(|_| {})
}

/// The same at a sandbox with other options.
pub(crate) fn with_browser_at(change: impl FnOnce(&mut Options)) -> (Sandbox, World) {
    let sandbox = world::sandbox_with(change);
    let world = world_with_browser(&sandbox);
    (sandbox, world)
}

/// The same with a keyring of its own.
pub(crate) fn world_with_keyring() -> (Sandbox, World, KeyringSession) {
    let (sandbox, mut world) = with_browser();
    let keyring = world.with_keyring();
    (sandbox, world, keyring)
}

/// The addresses that the browser was opened with.
pub(crate) fn opened(world: &World) -> Vec<String> {
    fs::read_to_string(world.path("opened")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A world with a browser and these variables, whose daemon runs.
pub(crate) fn with_daemon(variables: &[(&str, &str)]) -> (Sandbox, World, Running) {
    let (sandbox, mut world) = with_browser();
    for (name, value) in variables {
        world.set(name, value);
    }
    let daemon = world.start_daemon();
    (sandbox, world, daemon)
}

/// The same, signed in.
pub(crate) fn signed_in() -> (Sandbox, World, Running) {
    let (sandbox, world, daemon) = with_daemon(&[]);
    sign_in(&world, &sandbox);
    (sandbox, world, daemon)
}

/// The same with a keyring of its own.
pub(crate) fn signed_in_with_keyring() -> (Sandbox, World, KeyringSession, Running) {
    let (sandbox, world, keyring) = world_with_keyring();
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    (sandbox, world, keyring, daemon)
}

/// A user who is signed in, with a keyring and a daemon. Fields are dropped in this order.
pub(crate) struct Scene {
    pub(crate) daemon: Running,
    pub(crate) world: World,
    pub(crate) keyring: KeyringSession,
    pub(crate) sandbox: Sandbox,
}

impl Scene {
    /// In a world that is prepared so.
    pub(crate) fn after(prepare: impl FnOnce(&mut World)) -> Self {
        let (sandbox, mut world, keyring) = world_with_keyring();
        prepare(&mut world);
        let daemon = world.start_daemon();
        sign_in(&world, &sandbox);
        Self { daemon, world, keyring, sandbox }
    }

    /// Kills the daemon without a warning.
    pub(crate) fn crash(&mut self) {
        self.daemon.kill();
    }

    /// Starts another daemon.
    pub(crate) fn restart(&mut self) {
        self.daemon = self.world.start_daemon();
    }
}

/// Signs in, as a person with the client secret on standard input.
pub(crate) fn sign_in(world: &World, sandbox: &Sandbox) {
    let login = log_in(world, sandbox).succeeded();
    assert!(login.said().contains(&sandbox.options().user.user_name), "{login:?}");
}

#[test]
fn a_get_after_login_needs_no_network_no_keyring_and_no_browser() {
    let (sandbox, world, mut keyring, _daemon) = signed_in_with_keyring();
    assert_eq!(opened(&world).len(), 1);
    keyring.kill_keyring();
    let requests = sandbox.log().len();
    let question = question(&sandbox);
    drop(sandbox);
    let got = world.client(&["get"], &question);
    assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""));
    assert!(value(&got.stdout, "password").is_some_and(|token| !token.is_empty()), "{got:?}");
    assert!(value(&got.stdout, "password_expiry_utc").is_some());
    assert_eq!(opened(&world).len(), 1);
    assert!(requests > 0);
}

#[test]
fn a_restarted_daemon_serves_from_the_keyring_without_a_new_sign_in() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let before = world.client(&["get"], question(&sandbox)).stdout;
    daemon.stop();
    assert!(!world.socket().exists());

    let _daemon = world.start_daemon();
    let requests = sandbox.log().len();
    let after = world.client(&["get"], question(&sandbox));
    assert_eq!((after.stdout, after.stderr.as_str()), (before, ""));
    assert_eq!(sandbox.log().len(), requests);
    assert_eq!(opened(&world).len(), 1);
}

#[test]
fn kill_9_of_the_daemon_loses_nothing_that_login_had_reported() {
    let (sandbox, world, _keyring) = world_with_keyring();
    for _ in 0..5 {
        let mut daemon = world.start_daemon();
        let login =
            world.client(&["login", "--force", "--client-secret-stdin"], &sandbox.options().client_secret);
        daemon.kill();
        assert_eq!(login.code, Some(0), "{login:?}");
        let log = sandbox.log();
        let newest = log.iter().rev().find_map(|entry| entry.header("zsessionid"));
        let _daemon = world.start_daemon();
        assert_eq!(password(&world, &sandbox).as_deref(), newest);
    }
}

#[test]
fn kill_9_in_the_middle_of_a_sign_in_leaves_the_old_token_served() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let before = world.client(&["get"], question(&sandbox)).stdout;
    sandbox.fault(Endpoint::Token, Fault::Hang, None);
    let login = world.start("rally-cred", &["login", "--force"]);
    sandbox.until(|counters| counters.code_exchanges() == 2).unwrap();
    daemon.kill();
    assert_ne!(login.end().code, Some(0));
    let _daemon = world.start_daemon();
    assert_eq!(world.client(&["get"], question(&sandbox)).stdout, before);
}

#[test]
fn a_hundred_gets_at_once_make_one_flow_one_tab_one_token_request_and_equal_answers() {
    let (sandbox, world, _daemon) = with_daemon(&[("PRESS", "nothing")]);
    store_client_secret(&world, &sandbox);
    let answers: Vec<_> = thread::scope(|scope| {
        let gets: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| world.client(&["get", "--interactive", "always"], question(&sandbox))))
            .collect();
        // Only when all of them wait, and the browser is open, is the button pressed.
        let url = loop {
            let status = world.status();
            let all_wait =
                status.pointer("/profiles/0/waiting").and_then(|waiting| waiting.as_u64()) == Some(100);
            if let [_, url] = opened(&world).as_slice()
                && all_wait
            {
                break url.clone();
            }
        };
        sandbox.browser().allow(&url).unwrap();
        gets.into_iter().map(|get| get.join().unwrap()).collect()
    });
    let token = value(&answers[0].stdout, "password");
    for answer in &answers {
        let given = value(&answer.stdout, "password");
        assert!(answer.code == Some(0) && given.is_some() && given == token, "{answer:?}");
    }
    let counters = sandbox.counters();
    // One more of each was made to give the client secret.
    assert_eq!((opened(&world).len(), counters.authorizations, counters.tokens()), (2, 2, 2));
}

/// Begins a sign-in that opens no browser, with this client secret; the address that it shows comes with it.
pub(crate) fn begin(world: &World, client_secret: &str, more: &[&str]) -> (Running, String) {
    let arguments = [&["login", "--no-browser", "--client-secret-stdin"], more].concat();
    let mut login = world.start("rally-cred", &arguments);
    login.write(&format!("{client_secret}\n"));
    let line = login.wait_for_line("/login/oauth2/auth?");
    (login, line[line.find("http").unwrap()..].to_owned())
}

/// Signs in and loses the token again, so that only the client secret is left.
pub(crate) fn store_client_secret(world: &World, sandbox: &Sandbox) {
    let (login, url) = begin(world, &sandbox.options().client_secret, &[]);
    fs::write(world.path("opened"), format!("{url}\n")).unwrap();
    sandbox.browser().allow(&url).unwrap();
    login.end().succeeded();
    sandbox.change(|options| options.allow_refresh = false);
    sandbox.revoke_all();
    world.client(&["logout"], "").succeeded();
}

#[test]
fn other_servers_get_nothing_on_either_stream() {
    let (sandbox, world, _daemon) = signed_in();
    let (_, host) = sandbox.base_url().split_once("://").unwrap();
    let (name, port) = host.split_once(':').unwrap();
    for question in [
        "protocol=http\nhost=evil.example\n\n".to_owned(),
        format!("protocol=http\nhost={name}.evil.example:{port}\n\n"),
        format!("protocol=http\nhost={name}\n\n"),
        format!("protocol=http\nhost={name}:1\n\n"),
        format!("protocol=https\nhost={host}\n\n"),
        format!("protocol=http\nhost=user@{host}\n\n"),
        "protocol=http\nhost=\n\n".to_owned(),
        format!("protocol=\nhost={host}\n\n"),
        format!("host={host}\n\n"),
        "protocol=http\n\n".to_owned(),
        format!("url=https://{host}/x\n\n"),
    ] {
        let got = world.client(&["get"], &question);
        assert_eq!((got.code, got.stdout.as_str(), got.stderr.as_str()), (Some(0), "", ""), "{question}");
    }
}

#[test]
fn the_formats_give_the_same_token_in_their_own_ways() {
    let (sandbox, world, _daemon) = signed_in();
    let git = world.client(&["get"], question(&sandbox)).stdout;
    let token = value(&git, "password").unwrap();
    assert_eq!(value(&git, "username"), Some(sandbox.options().user.user_name.as_str()));
    let ask = |arguments: &[&str], stdin: &str| {
        let ended = world.client(arguments, stdin);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    assert_eq!(ask(&["get", "--format", "token"], ""), format!("{token}\n"));
    assert_eq!(ask(&["get", "--format", "header"], ""), format!("ZSESSIONID: {token}\n"));
    let engflow = ask(&["get"], &format!(r#"{{"uri":"{}/slm/x","unknown":1}}"#, sandbox.base_url()));
    let engflow: serde_json::Value = serde_json::from_str(&engflow).unwrap();
    assert_eq!(engflow["headers"]["ZSESSIONID"][0], token);
    assert!(engflow["expires"].as_str().unwrap().ends_with('Z'));
    let json: serde_json::Value = serde_json::from_str(&ask(&["get", "--format", "json"], "")).unwrap();
    assert_eq!((json["token"].as_str(), json["version"].as_u64()), (Some(token), Some(1)));
    world.client(&["get"], r#"{"uri":"https://evil.example/"}"#).refused(1);
}

#[test]
fn the_second_name_behaves_the_same() {
    let (sandbox, world, _daemon) = signed_in();
    let first = world.run("rally-cred", &["get"], question(&sandbox)).stdout;
    let second = world.run("git-credential-rally", &["get"], question(&sandbox)).stdout;
    assert_eq!(first, second);
    assert!(!second.is_empty());
}

#[test]
fn the_client_secret_is_asked_for_on_a_terminal_without_echo_and_only_once() {
    let (_sandbox, world) = with_browser_at(|options| options.client_secret = "typed-by-hand".to_owned());
    let _daemon = world.start_daemon();
    let mut login = world.at_terminal("rally-cred login");
    let before = login.wait_for_text("Client secret for ");
    login.write("typed-by-hand\n");
    let ended = login.end().succeeded().showed("signed in as");
    assert!(!before.contains("typed-by-hand") && !ended.stdout.contains("typed-by-hand"), "{ended:?}");

    world.client(&["login", "--force"], "").succeeded();
}

#[test]
fn signals_stop_the_daemon_in_order_or_have_it_read_its_config_again() {
    let (sandbox, world, mut daemon) = signed_in();
    let profiles = || {
        let status = world.status();
        status["profiles"].as_array().unwrap().len()
    };
    let one = world::profile_for(&sandbox);
    world.configure(&format!("{one}{}", one.replace("profile.default", "profile.second")));
    daemon.signal("HUP");
    while profiles() != 2 {}
    let got = world.client(&["get", "--profile", "default", "--format", "token"], "");
    assert_eq!(got.code, Some(0), "a reload keeps what it may: {got:?}");

    world.configure("no config");
    daemon.signal("HUP");
    world.logged("the old configuration stays in force");
    assert_eq!(profiles(), 2);
    daemon.signal("INT");
    assert!(daemon.wait().success());
    assert!(world.log().ends_with("stopped\n"), "{}", world.log());
}

#[test]
fn the_demo_succeeds_and_leaves_nothing_in_the_keyring() {
    let mut world = World::new();
    let _keyring = world.with_keyring();
    world.set(world::PROGRAMS, world::programs().display());
    world.run("demo", &[], "").succeeded().showed("the OS keyring keeps the token");
    let left = world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "");
    assert_eq!(left.stdout, "", "{left:?}");
}

#[test]
fn erase_by_hand_is_about_the_profile() {
    let (sandbox, world, _daemon) = signed_in();
    let get = || world.client(&["get", "--profile", "default", "--format", "token"], "").stdout;
    let token = get();
    assert!(sandbox.revoke(token.trim()));
    world.client(&["erase"], "").succeeded();
    assert_ne!(get(), token);
}
