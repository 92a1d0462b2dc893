//! A sign-in on a terminal: the line that counts down, a pasted address, an interruption, and the terminal afterwards.
//! Does not: look at what is said without a terminal, which the client's own tests do.
//! Used by: `main`.

use std::net::TcpListener;

use rally_cred_tests::world::{Running, World};
use rally_cred_tests::{browser::Choice, sandbox::Sandbox};

use crate::sign_in::{log_in, store_client_secret, with_daemon, world_with_keyring};

/// Runs a command in a pseudo-terminal, and shows its exit code and the terminal's modes behind it.
fn start(world: &World, command: &str) -> Running {
    // The shell outlives an interruption to tell about it.
    let line = format!("trap : INT; {command}; echo code=$?; stty -a");
    world.at_terminal(&line)
}

fn terminal() -> (Sandbox, World, Running) {
    with_daemon(&[("TERM", "xterm")])
}

fn shown_url(text: &str) -> &str {
    let at = text.find("http://127.0.0.1").unwrap();
    text[at..].split_whitespace().next().unwrap()
}

#[test]
fn an_address_is_pasted_while_a_line_counts_down_and_is_not_shown() {
    let (sandbox, world, _daemon) = terminal();
    store_client_secret(&world, &sandbox);
    let mut login = start(&world, "rally-cred login --no-browser");
    let before = login.wait_for_text(" left");
    assert!(before.contains("\x1b[2mwaiting for \"Allow Access\" in the browser, "), "{before:?}");
    assert!(before.contains("paste its address here and press Enter (it stays hidden); Ctrl-C cancels"));
    // The clock goes on while nothing happens.
    login.wait_for_text("4:5");

    let redirect = sandbox.browser().consent(shown_url(&before), Choice::Allow).unwrap();
    login.write("http://localhost/nonsense\n");
    let refused = login.wait_for_text("try:");
    assert!(!refused.contains("nonsense"), "{refused:?}");
    login.write(&format!("{redirect}\n"));
    let ended = login.end().stdout;
    for text in ["the address is right", "signed in as dana@example.com", "code=0\r\n", " echo "] {
        assert!(ended.contains(text), "{text} is not in {ended:?}");
    }
    assert!(!ended.contains(redirect.query().unwrap()), "{ended:?}");
}

#[test]
fn a_pasted_address_that_the_browser_turned_into_https_completes_the_sign_in() {
    let (sandbox, world, _daemon) = terminal();
    store_client_secret(&world, &sandbox);
    for change in [("http://localhost:", "https://localhost:"), ("http://localhost:", "<https://127.0.0.1:")]
    {
        let mut login = start(&world, "rally-cred login --force --no-browser --timeout 20s");
        let before = login.wait_for_text(" left");
        let redirect = sandbox.browser().consent(shown_url(&before), Choice::Allow).unwrap();
        let end = if change.1.starts_with('<') { ">" } else { "" };
        login.write(&format!("{}{end}\n", redirect.as_str().replacen(change.0, change.1, 1)));
        let ended = login.end().stdout;
        assert!(ended.contains("the address is right") && ended.contains("code=0\r\n"), "{ended:?}");
    }
}

#[test]
fn an_interruption_ends_the_sign_in_and_leaves_the_terminal_as_it_was() {
    let (sandbox, mut world, _daemon) = terminal();
    store_client_secret(&world, &sandbox);
    world.set("NO_COLOR", "1");
    let ended_before = world.log().matches("a sign-in failed").count();
    let mut login = start(&world, "rally-cred login --no-browser");
    let before = login.wait_for_text(" left");
    assert!(!before.contains("\x1b[2m"), "{before:?}");
    login.write("\x03");
    let ended = login.end().stdout;
    for text in ["\r\x1b[Krally-cred: sign-in cancelled", "code=130\r\n", " echo "] {
        assert!(ended.contains(text), "{text} is not in {ended:?}");
    }
    // The daemon ends the flow with its client, and gives the port back.
    while world.log().matches("a sign-in failed").count() == ended_before {}
    let port = url::Url::parse(&sandbox.options().redirect_uri).unwrap().port().unwrap();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[test]
fn an_interruption_while_a_secret_is_typed_leaves_the_terminal_as_it_was() {
    let (_sandbox, world, _daemon) = terminal();
    let mut login = start(&world, "rally-cred login --no-browser");
    login.wait_for_text("Client secret for ");
    login.write("\x03");
    let ended = login.end().stdout;
    assert!(ended.contains("code=130\r\n") && ended.contains(" echo "), "{ended:?}");
}

/// Runs a command in a pseudo-terminal as a job that can be stopped, and shows the terminal's modes when it is; then goes
/// on with the job. This shell leaves the modes alone, as not every one does.
fn start_as_job(world: &World, command: &str) -> Running {
    start(world, &format!("set -m; {command}; stty -a; echo stopped; fg"))
}

#[test]
fn a_job_that_is_stopped_while_a_secret_is_typed_gives_the_terminal_back_and_asks_again() {
    let (sandbox, world, _daemon) = terminal();
    let mut login = start_as_job(&world, "rally-cred login");
    login.wait_for_text("Client secret for ");
    login.write("\x1a");
    let stopped = login.wait_for_text("stopped");
    assert!(stopped.contains(" echo "), "{stopped:?}");
    login.wait_for_text("Client secret for ");
    let secret = sandbox.options().client_secret;
    login.write(&format!("{secret}\n"));
    let ended = login.end().stdout;
    for text in ["signed in as dana@example.com", "code=0\r\n", " echo "] {
        assert!(ended.contains(text), "{text} is not in {ended:?}");
    }
    assert!(!ended.contains(&secret), "{ended:?}");
}

#[test]
fn a_job_that_is_stopped_while_it_counts_down_gives_the_terminal_back_and_counts_on() {
    let (sandbox, world, _daemon) = terminal();
    store_client_secret(&world, &sandbox);
    let mut login = start_as_job(&world, "rally-cred login --no-browser");
    login.wait_for_text(" left");
    login.write("\x1a");
    let stopped = login.wait_for_text("stopped");
    assert!(stopped.contains(" echo "), "{stopped:?}");
    login.wait_for_text(" left");
    login.write("\x03");
    let ended = login.end().stdout;
    assert!(ended.contains("code=130\r\n") && ended.contains(" echo "), "{ended:?}");
}

#[test]
fn a_sign_in_that_no_shell_could_have_go_on_is_not_stopped() {
    let (sandbox, world, _daemon) = terminal();
    store_client_secret(&world, &sandbox);
    let mut login = start(&world, "rally-cred login --no-browser");
    login.wait_for_text(" left");
    login.write("\x1a");
    // One may have been on its way before.
    for _ in 0..3 {
        login.wait_for_text(" left");
    }
    login.write("\x03");
    assert!(login.end().stdout.contains("code=130\r\n"));
}

#[test]
fn a_keyring_is_spoken_of_only_if_it_keeps_somebody_waiting() {
    let (sandbox, world, keyring) = world_with_keyring();
    let _daemon = world.start_daemon();
    let quick = log_in(&world, &sandbox);
    assert!(quick.code == Some(0) && !quick.stderr.contains("the keyring"), "{quick:?}");

    // The next client starts a daemon that has read nothing yet.
    world.client(&["daemon", "stop"], "").succeeded();
    keyring.pause_keyring();
    let mut slow = world.start("rally-cred", &["login"]);
    slow.wait_for_line("waiting for the keyring; it may ask to be unlocked");
    keyring.resume_keyring();
    slow.end().succeeded();
}
