//! Programs that nobody here wrote: each gets its credential from rally-cred and the rest by its own usual variables,
//! and works against the sandbox over TLS with a private CA.
//! Does not: test the helper protocols (`git` does).
//! Used by: `main`. `tests/run` installs the toolkits, `tests/tools/` pins them and has the scripts that use them.

mod mcp;
mod other_languages;
mod plain;
mod pyral;
mod rally_node;

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Options, Sandbox};
use rally_cred_tests::toolkits::installed;
use rally_cred_tests::world::{self, Ended, Running, World};

use crate::sign_in::{sign_in, world_with_browser};

/// A signed-in world, and variables by which its programs find and trust the sandbox.
pub(crate) struct Stage {
    // Dropped first, so that the world need not ask it to stop.
    daemon: Running,
    pub(crate) world: World,
    pub(crate) sandbox: Sandbox,
    _keyring: Option<KeyringSession>,
}

/// A gateway is back at its port once its command has found or started a daemon.
pub(crate) fn wait_for_gateway(world: &World) {
    while !world.client(&["gateway", "list"], "").stdout.contains("127.0.0.1:") {}
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Stage {
        Stage::with_keyring(change, None)
    }

    pub(crate) fn with_keyring(change: impl FnOnce(&mut Options), keyring: Option<KeyringSession>) -> Stage {
        let sandbox = world::sandbox_with(|options| {
            options.tls = true;
            change(options);
        });
        let mut world = world_with_browser(&sandbox);
        let authority = world.path("ca.pem");
        std::fs::write(&authority, sandbox.ca_pem().unwrap()).unwrap();
        world.configure(&format!("{}ca_file = \"{}\"\n", world::profile_for(&sandbox), authority.display()));
        // The stand-in for the browser, OpenSSL's users in Python, Node and curl each have their own name for it.
        for variable in ["PRESS_CA", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"] {
            world.set(variable, authority.display());
        }
        world.set("NODE_PATH", installed("node_modules").display());
        if let Some(keyring) = &keyring {
            world.join(keyring);
        }
        let daemon = world.start_daemon();
        sign_in(&world, &sandbox);
        Stage { daemon, world, sandbox, _keyring: keyring }
    }

    /// Another daemon, which those who are connected take up again.
    fn restart_daemon(&mut self) {
        self.daemon.stop();
        self.daemon = self.world.start_daemon();
        wait_for_gateway(&self.world);
    }

    /// Runs a program with a token, as `exec` does with these flags.
    fn run(&self, flags: &[&str], program: &[&str]) -> Ended {
        self.world.client(&[&["exec"], flags, &["--"], program].concat(), "")
    }

    /// Runs a program behind a gateway of these flags.
    fn run_behind(&self, flags: &[&str], program: &[&str]) -> Ended {
        self.world.client(&[&["gateway"], flags, &["--"], program].concat(), "").succeeded()
    }

    /// The same as `run`, left running.
    fn start(&self, flags: &[&str], program: &[&str]) -> Running {
        self.world.start("rally-cred", &[&["exec"], flags, &["--"], program].concat())
    }

    /// Makes the token useless that is in use, without the daemon's knowledge, and returns it.
    fn spoil_token(&self) -> String {
        let token = self.world.token();
        self.sandbox.expire_tokens();
        token
    }

    /// Holds that every request to WSAPI since the sign-in carried this token and no cookie.
    pub(crate) fn check_requests(&self, token: &str, at_least: usize) {
        let log = self.sandbox.log();
        let requests: Vec<_> = log.iter().filter(|entry| entry.path.starts_with("/slm/")).collect();
        assert!(requests.len() >= at_least, "{requests:#?}");
        for request in requests {
            assert_eq!(request.header("zsessionid"), Some(token), "{request:#?}");
            assert_eq!(request.header("cookie"), None, "{request:#?}");
        }
    }
}

/// Holds that a program failed and said this, and that it did not say the token.
fn check_failed(ended: &Ended, code: i32, words: &str, token: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
    assert!(!ended.stderr.contains(token) && !ended.stdout.contains(token), "{ended:?}");
}

/// Holds that a program worked, said exactly this, and warned of nothing.
fn check_worked(ended: &Ended, output: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), output), "{ended:?}");
    // rally-cred says when it waits for Rally.
    let of_program = ended.stderr.lines().find(|line| !line.starts_with("rally-cred: "));
    assert_eq!(of_program, None);
}
