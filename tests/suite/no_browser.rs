//! A sign-in on a machine without a browser: over SSH and in tmux, and whatever people paste.
//! Does not: go through a real SSH connection, or look at the terminal's modes (`terminal` does).
//! Used by: `main`.

use rally_cred_tests::browser::Choice;
use rally_cred_tests::sandbox::{Endpoint, Fault, Sandbox};
use rally_cred_tests::world::{Running, World};

use crate::sign_in::{store_client_secret, with_daemon};

/// A world without a browser and with a terminal, whose daemon runs.
fn without_browser(variables: &[(&str, &str)]) -> (Sandbox, World, Running) {
    let mut all = vec![("BROWSER", ""), ("DISPLAY", ""), ("TERM", "xterm")];
    all.extend(variables);
    let (sandbox, world, daemon) = with_daemon(&all);
    store_client_secret(&world, &sandbox);
    (sandbox, world, daemon)
}

/// Reads up to the countdown, and presses "Allow Access" at the address shown last; where that led.
fn allow(login: &mut Running, sandbox: &Sandbox) -> (String, String) {
    let seen = login.wait_for_text(" left");
    let at = seen.rfind("http://127.0.0.1").unwrap();
    let address = seen[at..].split(|letter: char| letter.is_whitespace() || letter == '\\').next().unwrap();
    let redirect = sandbox.browser().consent(address, Choice::Allow).unwrap();
    (seen, redirect.to_string())
}

#[test]
fn whatever_wrong_is_pasted_is_answered_in_plain_words_and_the_next_try_counts() {
    let (sandbox, world, _daemon) = without_browser(&[]);
    let mut login = world.at_terminal("rally-cred login; echo code=$?");
    let (shown, redirect) = allow(&mut login, &sandbox);
    assert!(shown.contains(": open this address to sign in"), "{shown:?}");
    let (before, state) = redirect.rsplit_once("state=").unwrap();
    let code = before.split_once("code=").map_or(redirect.as_str(), |(_, code)| code.trim_end_matches('&'));
    for (pasted, why) in [
        (
            format!("{before}state={}", state.chars().rev().collect::<String>()),
            "not that of the pending sign-in",
        ),
        (redirect[..redirect.len() - 7].to_owned(), "its end is missing"),
        (code.to_owned(), "the code alone"),
        ("yes, I did".to_owned(), "not a whole address"),
        (redirect.replacen("localhost", "other.example", 1), "another server"),
    ] {
        login.write(&format!("{pasted}\n"));
        let answer = login.wait_for_text("try:");
        assert!(answer.contains(why), "{pasted}: {answer:?}");
        assert!(!answer.contains(code), "{answer:?}");
    }
    // In quotes and brackets, and broken by a narrow window.
    let (first, second) = redirect.split_at(redirect.len() / 2);
    login.write(&format!("\n  \"<{first}\n"));
    login.wait_for_text("try:");
    login.write(&format!("{second}>\"  \n\n"));
    let ended = login.end().stdout;
    for text in ["the address is right", "signed in as dana@example.com", "code=0\r\n"] {
        assert!(ended.contains(text), "{text} is not in {ended:?}");
    }
}

#[test]
fn a_pasted_code_that_has_ended_is_told_and_the_new_address_signs_in() {
    let (sandbox, world, _daemon) = without_browser(&[]);
    let mut login = world.at_terminal("rally-cred login; echo code=$?");
    let (_, redirect) = allow(&mut login, &sandbox);
    let ended = r#"{"error":"invalid_grant","error_description":"Authorization code has expired"}"#;
    sandbox.fault(Endpoint::Token, Fault::json(400, ended), Some(1));
    login.write(&format!("{redirect}\n"));
    let told = login.wait_for_text("Rally does not accept the authorization code");
    assert!(told.contains("the address is right"), "{told:?}");
    let (told, second) = allow(&mut login, &sandbox);
    assert!(told.contains("try: open the new address below"), "{told:?}");
    assert!(!told.contains("redirect port"), "{told:?}");
    assert_ne!(second, redirect);
    login.write(&format!("{second}\n"));
    let ended = login.end().stdout;
    assert!(ended.contains("signed in as dana@example.com") && ended.contains("code=0\r\n"), "{ended:?}");
}

#[test]
fn over_ssh_the_command_for_the_redirect_port_is_shown_and_names_the_port_that_is_open() {
    let (sandbox, world, _daemon) =
        without_browser(&[("SSH_CONNECTION", "192.0.2.7 50222 192.0.2.8 2222"), ("LOGNAME", "dana")]);
    let mut login = world.at_terminal("rally-cred login; echo code=$?");
    let (shown, redirect) = allow(&mut login, &sandbox);
    let port = url::Url::parse(&redirect).unwrap().port().unwrap();
    let command = format!("\r\n  ssh -N -L {port}:127.0.0.1:{port} -p 2222 dana@");
    assert!(shown.contains(&command), "{shown:?}");
    // What comes through the tunnel is a browser at this port.
    world.run("curl", &["--silent", "--show-error", "--fail", &redirect], "").succeeded();
    assert!(login.end().stdout.contains("code=0\r\n"));
}

#[test]
fn an_address_that_tmux_broke_into_lines_is_pasted_from_its_buffer() {
    let (sandbox, world, _daemon) = without_browser(&[]);
    let socket = world.path("tmux").display().to_string();
    let mut options = vec!["-S", &socket, "-f", "/dev/null", "-C", "new-session", "-x", "60", "-y", "20"];
    // The session lives until its last line has been seen.
    options.push("rally-cred login; read -r _");
    let mut tmux = world.start("tmux", &options);
    let (_, redirect) = allow(&mut tmux, &sandbox);
    let lines: Vec<_> = redirect.as_bytes().chunks(60).map(|line| str::from_utf8(line).unwrap()).collect();
    assert!(lines.len() > 1, "{redirect}");
    tmux.write(&format!("set-buffer \"{}\\n\"\npaste-buffer -p\n", lines.join("\\n")));
    tmux.wait_for_text("signed in as dana@example.com");
    tmux.write("send-keys Enter\n");
    assert!(tmux.end().stdout.contains("%exit"));
}

#[test]
fn a_telephone_reads_the_address_from_the_terminal() {
    let (sandbox, world, _daemon) = without_browser(&[]);
    let mut login = world.at_terminal("stty columns 100; rally-cred login --qr; echo code=$?");
    let (shown, redirect) = allow(&mut login, &sandbox);
    assert!(shown.contains("\x1b[38;5;16;48;5;231m"), "{shown:?}");
    login.write(&format!("{redirect}\n"));
    assert!(login.end().stdout.contains("code=0\r\n"));
}
