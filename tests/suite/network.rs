//! The way to Rally, on real processes: certificates that are wrong in different ways, portals in its place, and proxies
//! that organisations have. Each trouble is told with what mends it, and passwords of proxies are seen nowhere.
//! Does not: leave this machine.
//! Used by: `main`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use rally_cred_tests::connect_proxy::{ConnectProxy, Manner, PASSWORD};
use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Certificate, Endpoint, Fault, HOST, Sandbox};
use rally_cred_tests::world::{self, Ended, World};
use serde_json::Value;

use crate::sign_in::{begin, signed_in_with_keyring, with_browser, with_browser_at, world_with_browser};

/// The fault of one check of `doctor`, or null.
fn fault_of(world: &World, check: &str) -> Value {
    let json = world.client(&["doctor", "--json"], "").json();
    let checks = json["checks"].as_array().unwrap();
    checks.iter().find(|found| found["check"] == check).unwrap()["fault"].clone()
}

/// A sandbox with this certificate, and a user who has its authority in `ca_file`.
fn behind_tls(certificate: Certificate) -> (Sandbox, World) {
    let sandbox = world::sandbox_with(|options| {
        options.tls = true;
        options.certificate = certificate;
    });
    let mut world = world_with_browser(&sandbox);
    world.trust(&sandbox);
    (sandbox, world)
}

#[test]
fn each_mistake_in_tls_is_told_with_its_own_remedy() {
    let mut remedies = Vec::new();
    for (certificate, why, remedy) in [
        (Certificate::OtherHost, "is for elsewhere.test, and not for 127.0.0.1", "check base_url"),
        (Certificate::Expired, "its certificate ended at 2000-01-01", "timedatectl"),
        (Certificate::NotYetValid, "its certificate begins at 3000-01-01", "timedatectl"),
    ] {
        let (_sandbox, world) = behind_tls(certificate);
        let fault = fault_of(&world, "tls");
        assert_eq!(fault["kind"], "tls_failed", "{fault:#}");
        assert!(fault["why"].as_str().unwrap().contains(why), "{fault:#}");
        assert!(fault["try"].as_str().unwrap().contains(remedy), "{fault:#}");
        remedies.push(fault["try"].clone());
    }
    // An authority that nobody told this machine about, and a server that speaks plain http.
    let sandbox = world::sandbox_with(|options| options.tls = true);
    let fault = fault_of(&world_with_browser(&sandbox), "tls");
    assert!(fault["try"].as_str().unwrap().contains("ca_file"), "{fault:#}");
    remedies.push(fault["try"].clone());
    let (sandbox, world) = with_browser();
    world.configure(&world::profile_for(&sandbox).replace("\"http://127", "\"https://127"));
    let fault = fault_of(&world, "tls");
    assert!(fault["try"].as_str().unwrap().contains("the port in base_url"), "{fault:#}");
    remedies.push(fault["try"].clone());
    remedies.sort_by_key(Value::to_string);
    remedies.dedup();
    assert_eq!(remedies.len(), 5, "{remedies:#?}");
}

/// A user whose Rally is a host that only a proxy leads to, with this variable for the programs.
fn behind_proxy(variable: &str, proxy: &str) -> (Sandbox, World, KeyringSession) {
    let (sandbox, mut world) = behind_tls(Certificate::Sound);
    let config = fs::read_to_string(world.path("config/rally-cred/config.toml")).unwrap();
    world.configure(&config.replace("https://127.0.0.1", &format!("https://{HOST}")));
    let keyring = world.with_keyring();
    world.set(variable, proxy);
    (sandbox, world, keyring)
}

/// Signs in where the browser has a way of its own to Rally.
fn sign_in(world: &World, sandbox: &Sandbox) -> Ended {
    let (login, url) = begin(world, &sandbox.options().client_secret, &[]);
    sandbox.browser().allow(&url.replace(HOST, "127.0.0.1")).unwrap();
    login.end()
}

#[test]
fn a_sign_in_behind_a_proxy_works_by_each_variable_that_other_tools_read() {
    let ways = [
        ("HTTPS_PROXY", "http://"),
        ("https_proxy", ""),
        ("ALL_PROXY", "socks5h://"),
        ("all_proxy", "http://"),
    ];
    for (variable, scheme) in ways {
        let proxy = ConnectProxy::start(Manner::Open);
        let (sandbox, mut world, _keyring) = behind_proxy(variable, &format!("{scheme}{}", proxy.address()));
        if variable == "https_proxy" {
            // An empty variable counts as none.
            world.set("HTTPS_PROXY", "");
        }
        let signed_in = sign_in(&world, &sandbox);
        assert_eq!(signed_in.code, Some(0), "{variable}: {signed_in:?}");
        let port = sandbox.options().port;
        assert!(proxy.asked().contains(&format!("{HOST}:{port}")), "{variable}: {:?}", proxy.asked());
    }
}

#[test]
fn a_proxy_that_is_in_the_way_is_told_as_such_and_its_password_is_shown_nowhere() {
    let dead = format!("127.0.0.1:{}", world::free_port());
    let proxy = |manner| ConnectProxy::start(manner).address();
    for (address, what, remedy) in [
        (
            proxy(Manner::AsksForPassword),
            "wants a user name and a password",
            "http://USER:PASSWORD@HOST:PORT",
        ),
        (
            format!("user:wrong-{PASSWORD}@{}", proxy(Manner::AsksForPassword)),
            "does not accept the user name and password",
            "HTTPS_PROXY",
        ),
        (proxy(Manner::Refuses), "does not let rally-cred through", "NO_PROXY"),
        (proxy(Manner::HangsUp), "does not answer as a proxy does", "correct or unset HTTPS_PROXY"),
        (dead, "cannot be reached", "correct or unset HTTPS_PROXY"),
        (format!("user:{PASSWORD}@proxy.invalid:1"), "cannot be reached", "correct or unset HTTPS_PROXY"),
    ] {
        let (_sandbox, world, _keyring) = behind_proxy("HTTPS_PROXY", &format!("http://{address}"));
        let fault = fault_of(&world, "rally");
        assert_eq!(fault["kind"], "unreachable", "{address}: {fault:#}");
        let shown = address.rsplit('@').next().unwrap();
        let told = fault["what"].as_str().unwrap();
        assert!(told.contains(what) && told.contains(&format!("the proxy http://{shown} ")), "{fault:#}");
        assert!(fault["try"].as_str().unwrap().contains(remedy), "{fault:#}");
        let everything = format!(
            "{fault} {:?} {:?} {}",
            world.client(&["doctor", "--report", "report.txt"], ""),
            world.client(&["status", "--json"], ""),
            fs::read_to_string(world.path("report.txt")).unwrap() + &world.log(),
        );
        assert!(!everything.contains(PASSWORD), "{everything}");
    }
    let (_sandbox, world, _keyring) = behind_proxy("HTTPS_PROXY", "ftp://proxy.example.com");
    let fault = fault_of(&world, "rally");
    assert_eq!(fault["what"], "HTTPS_PROXY names no proxy that can be used");
    assert!(fault["try"].as_str().unwrap().contains("HTTPS_PROXY"), "{fault:#}");
}

#[test]
fn the_right_password_of_a_proxy_is_given_and_shown_nowhere() {
    let proxy = ConnectProxy::start(Manner::AsksForPassword);
    let (sandbox, world, _keyring) =
        behind_proxy("HTTPS_PROXY", &format!("http://user:{PASSWORD}@{}", proxy.address()));
    sign_in(&world, &sandbox).succeeded();
    let doctor = world.client(&["doctor", "--report", "report.txt"], "");
    let report = fs::read_to_string(world.path("report.txt")).unwrap();
    let status = world.client(&["status", "--json"], "").showed(format!("http://…@{}", proxy.address()));
    assert!(!format!("{doctor:?} {status:?} {report} {}", world.log()).contains(PASSWORD));
}

#[test]
fn a_portal_in_rallys_place_is_told_as_such_and_costs_nobody_a_grant() {
    let (sandbox, world, _keyring, _daemon) = signed_in_with_keyring();
    let authorizations = sandbox.counters().authorizations;
    let page =
        "<html><title>Free Wi-Fi</title><form action=/login>{\"error\": \"invalid_grant\"}</form></html>";
    let location = "http://portal.example/login?error=invalid_grant".to_owned();
    for (fault, why) in [
        (
            Fault::Redirect { location },
            "a redirect came (status 302), as a proxy or a network's sign-in page sends",
        ),
        (Fault::page(200, page), "a page came in place of JSON (status 200)"),
        (Fault::page(400, page), "a page came in place of JSON (status 400)"),
        (Fault::page(403, page), "a page came in place of JSON (status 403)"),
        (Fault::page(511, page), "it answered with status 511"),
    ] {
        // A new daemon, which has failed at nothing yet and makes no pause.
        world.client(&["daemon", "restart"], "").succeeded();
        let token = world.token();
        assert!(sandbox.revoke(&token));
        sandbox.fault(Endpoint::Token, fault, None);
        world.reject(sandbox.base_url(), &token);
        let got = world.get();
        assert_eq!((got.code, got.stdout.as_str()), (Some(8), ""), "{why}: {got:?}");
        assert!(got.stderr.contains(why), "{why}: {got:?}");
        let told = format!("{} {}", got.stderr, world.client(&["status"], "").stdout);
        assert!(!told.contains("invalid_grant") && !told.contains("no longer accepts"), "{why}: {told}");
        // Once Rally itself answers, the grant that the portal seemed to refuse gives a new token.
        sandbox.clear_faults();
        world.client(&["daemon", "restart"], "").succeeded();
        world.reject(sandbox.base_url(), &token);
        assert_ne!(world.get().succeeded().stdout.trim_end(), token, "{why}");
    }
    assert_eq!(sandbox.counters().authorizations, authorizations);
    assert!(!world.log().contains("invalid_grant"), "{}", world.log());
}

#[test]
fn a_server_that_promises_an_answer_without_pause_keeps_no_other_profile_waiting() {
    let (_sandbox, world, _keyring, _daemon) = signed_in_with_keyring();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let promising = format!(
        "[profile.promising]\nclient_id = \"x\"\nredirect_uri = \"http://localhost:1/x\"\nbase_url = \"http://{address}\"\n"
    );
    world.reconfigure(&format!("{}{promising}", world.config()));
    let mut doctor = world.start("rally-cred", &["doctor"]);
    let (mut rally, _) = listener.accept().unwrap();
    let promises = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4096);
    // Nothing may be promised before it was asked for.
    BufReader::new(&rally).lines().find(|line| line.as_ref().unwrap().is_empty()).unwrap().unwrap();
    rally.write_all(promises.as_bytes()).unwrap();
    let endless = thread::spawn(move || while rally.write_all(promises.as_bytes()).is_ok() {});
    for _ in 0..10 {
        world.get().succeeded();
    }
    assert!(!endless.is_finished() && !doctor.has_ended(), "{:?}", doctor.end());
    doctor.kill();
}

#[test]
fn an_empty_variable_for_certificates_counts_as_none_and_a_wrong_one_is_named() {
    let (sandbox, mut world) = with_browser_at(|options| options.tls = true);
    let authority = world.path("ca.pem");
    fs::write(&authority, sandbox.ca_pem().unwrap()).unwrap();
    world.set("SSL_CERT_FILE", authority.display());
    assert_eq!(fault_of(&world, "tls"), Value::Null);
    world.set("SSL_CERT_FILE", "").set("SSL_CERT_DIR", "");
    world.client(&["daemon", "restart"], "").succeeded();
    let fault = fault_of(&world, "tls");
    assert!(
        fault["why"].as_str().unwrap().contains("an authority that this machine does not know"),
        "{fault:#}"
    );
    world.set("SSL_CERT_FILE", "/absent.pem");
    world.client(&["daemon", "restart"], "").succeeded();
    let fault = fault_of(&world, "tls");
    assert!(fault["try"].as_str().unwrap().contains("correct SSL_CERT_FILE"), "{fault:#}");
}

#[test]
fn a_daemon_that_goes_another_way_than_the_shell_is_told_and_a_restart_mends_it() {
    let proxy = ConnectProxy::start(Manner::Open);
    let (_sandbox, mut world, _keyring) = behind_proxy("DISPLAY", ":0");
    let _daemon = world.start_daemon();
    world.set("HTTPS_PROXY", format!("http://user:{PASSWORD}@{}", proxy.address()));
    let fault = fault_of(&world, "network");
    let why = fault["why"].as_str().unwrap();
    assert!(why.contains(&format!("HTTPS_PROXY is http://…@{} in this shell", proxy.address())), "{fault:#}");
    assert!(why.contains("not set for the daemon") && !why.contains(PASSWORD), "{fault:#}");
    world.run("sh", &["-c", fault["try"].as_str().unwrap()], "").succeeded();
    assert_eq!((fault_of(&world, "network"), fault_of(&world, "rally")), (Value::Null, Value::Null));
    // Where Rally answers all the same, a difference is worth a word and no more.
    let sandbox = world::sandbox();
    world.reconfigure(&world::profile_for(&sandbox));
    world.unset("HTTPS_PROXY");
    let doctor = world.client(&["doctor"], "");
    let line = doctor.stdout.lines().find(|line| line.contains("network ")).unwrap();
    assert!(line.starts_with("ok") && line.contains("Rally answers anyway"), "{doctor:?}");
}

/// Whether something listens on this port at an address of this machine.
fn is_open(address: [u8; 4], port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::from(address), port)).is_ok()
}

#[test]
fn neither_a_gateway_nor_the_redirect_port_is_open_to_other_addresses() {
    let (sandbox, world) = with_browser();
    world.configure(&format!("{}[gateway.mcp]\n", world::profile_for(&sandbox)));
    let _daemon = world.start_daemon();
    let (_login, _) = begin(&world, &sandbox.options().client_secret, &[]);
    let gateway = world.client(&["gateway", "show", "mcp", "--json"], "").succeeded().json();
    let redirect = url::Url::parse(&sandbox.options().redirect_uri).unwrap().port().unwrap();
    for port in [u16::try_from(gateway["port"].as_u64().unwrap()).unwrap(), redirect] {
        assert!(is_open([127, 0, 0, 1], port), "{port}");
        // Another address of this machine, which only a listener on all of them answers at.
        assert!(!is_open([127, 0, 0, 2], port), "{port}");
    }
}
