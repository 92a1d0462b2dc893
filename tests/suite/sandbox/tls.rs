//! https with a private CA, and the sandbox's own start and end.
//! Does not: use the machine's certificate store.
//! Used by: the suite.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rally_cred_tests::browser::{Browser, Choice, Trouble};
use rally_cred_tests::sandbox::{Options, Sandbox};

use super::Stage;

#[tokio::test]
async fn a_client_that_has_the_ca_signs_in_over_tls() {
    let stage = Stage::with(Options { tls: true, ..Options::default() }).await;
    assert!(stage.sandbox.base_url().starts_with("https://127.0.0.1:"));
    let token = stage.tokens().await["access_token"].as_str().unwrap().to_owned();
    let answer = stage.wsapi(&token, "user").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn a_client_without_the_ca_does_not_get_through() {
    let stage = Stage::with(Options { tls: true, ..Options::default() }).await;
    let another = Stage::with(Options { tls: true, ..Options::default() }).await;
    let url = stage.sandbox.authorization_url("abc");
    for stranger in [Browser::trusting(None), another.sandbox.browser()] {
        match stranger.consent(&url, Choice::Allow).await {
            Err(Trouble::Network(causes)) => assert!(causes.contains("certificate"), "{causes}"),
            answer => panic!("{answer:?}"),
        }
    }
    assert_eq!(stage.sandbox.log(), []);
}

#[test]
fn a_sandbox_in_a_thread_serves_tests_that_are_not_async() {
    let sandbox = Sandbox::start_in_thread(Options::default()).unwrap();
    let browser = sandbox.browser();
    let url = sandbox.authorization_url("abc");
    assert!(browser.consent_blocking(&url, Choice::Allow).unwrap().as_str().contains("code="));
    assert_eq!(browser.open_blocking(&url).unwrap().status, 200);
    let counters = sandbox.until_blocking(|counters| counters.finished == 3).unwrap();
    assert_eq!((counters.authorizations, counters.consents), (2, 1));
}

#[test]
fn a_dropped_sandbox_frees_its_port() {
    let sandbox = Sandbox::start_in_thread(Options::default()).unwrap();
    let port = sandbox.options().port;
    assert!(Sandbox::start_in_thread(Options { port, ..Options::default() }).is_err());
    drop(sandbox);
    until_ok(|| TcpListener::bind(("127.0.0.1", port)));
}

#[test]
fn a_stopped_sandbox_can_start_again_on_its_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = runtime.block_on(Sandbox::start(Options::default())).unwrap();
    let port = sandbox.options().port;
    runtime.block_on(sandbox.stop());
    let again = until_ok(|| runtime.block_on(Sandbox::start(Options { port, ..Options::default() })));
    assert_eq!(again.base_url(), format!("http://127.0.0.1:{port}"));
}

/// Tries to bind until it works. A process that another test is starting at this very moment holds a copy of every
/// socket until it runs its own program, so the first try may come too early.
fn until_ok<T>(mut bind: impl FnMut() -> io::Result<T>) -> T {
    let given_up = Instant::now() + Duration::from_secs(60);
    loop {
        match bind() {
            Ok(bound) => return bound,
            Err(error) => assert!(Instant::now() < given_up, "{error}"),
        }
        std::thread::yield_now();
    }
}
