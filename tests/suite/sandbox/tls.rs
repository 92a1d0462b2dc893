//! https with a private CA, and the sandbox's own start and end.
//! Does not: use the machine's certificate store.
//! Used by: the suite.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rally_cred_tests::browser::{Browser, Choice, Trouble};
use rally_cred_tests::sandbox::{Options, Sandbox};

use super::Stage;

#[test]
fn a_client_that_has_the_ca_signs_in_over_tls() {
    let stage = Stage::with(Options { tls: true, ..Options::default() });
    assert!(stage.sandbox.base_url().starts_with("https://127.0.0.1:"));
    let (token, _) = stage.tokens();
    let answer = stage.wsapi(&token, "user");
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[test]
fn a_client_without_the_ca_does_not_get_through() {
    let stage = Stage::with(Options { tls: true, ..Options::default() });
    let another = Stage::with(Options { tls: true, ..Options::default() });
    let url = stage.sandbox.authorization_url("abc");
    for stranger in [Browser::trusting(None), another.sandbox.browser()] {
        match stranger.consent(&url, Choice::Allow) {
            Err(Trouble::Network(causes)) => assert!(causes.contains("certificate"), "{causes}"),
            answer => panic!("{answer:?}"),
        }
    }
    assert_eq!(stage.sandbox.log(), []);
}

#[test]
fn a_dropped_sandbox_frees_its_port() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let port = sandbox.options().port;
    assert!(Sandbox::start(Options { port, ..Options::default() }).is_err());
    drop(sandbox);
    until_ok(|| TcpListener::bind(("127.0.0.1", port)));
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
