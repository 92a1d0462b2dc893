//! What docs/setup.md shows of the terminal, played: the set-up of a new user, and a session, of which README.md has a
//! picture.
//! Does not: try other answers (`setup` does).
//! Used by: `main`.

use rally_cred_tests::{generated, picture, sandbox::Sandbox};

use crate::{setup::newcomer, sign_in::signed_in_with_keyring, tidy::document};

/// The lines of the block in docs/setup.md that begins like this.
fn shown(beginning: &str) -> Vec<String> {
    let page = document("docs/setup.md");
    let (_, rest) = page.split_once(beginning).unwrap();
    let (shown, _) = rest.split_once("\n```").unwrap();
    shown.lines().map(str::to_owned).collect()
}

/// Holds what was printed to what is shown. `…` stands for anything, and a number for any other.
fn compare(printed: &str, shown: &[String]) {
    // Which a machine with much else to do may say of its keyring.
    let is_slow = |line: &str| line.contains("waiting for the keyring");
    let mut lines = printed.lines().filter(|line| !line.is_empty() && !is_slow(line));
    for expected in shown.iter().filter(|line| !line.is_empty()) {
        let line = lines.next().unwrap_or_default();
        // How far depends on the kernel.
        let is_confined = |line: &str| line.starts_with("confined ");
        let same =
            is_alike(&numberless(line), &numberless(expected)) || is_confined(line) && is_confined(expected);
        assert!(same, "{line:?} is not {expected:?} in\n{printed}");
    }
    assert_eq!(lines.next(), None);
}

pub(crate) fn is_alike(line: &str, expected: &str) -> bool {
    let mut rest = line;
    for (at, piece) in expected.split('…').enumerate() {
        match rest.find(piece) {
            Some(found) if found == 0 || at > 0 => rest = &rest[found + piece.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || expected.ends_with('…')
}

fn numberless(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }) {
        if c != '0' || !text.ends_with('0') {
            text.push(c);
        }
    }
    text
}

/// What was printed, with the names of this test's servers and folders as the document has them.
fn as_in_the_document(printed: &str, sandbox: &Sandbox, server: &str, home: &str) -> String {
    let redirect = sandbox.options().redirect_uri;
    let escaped: String = url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
    printed
        .replace(sandbox.base_url(), server)
        .replace(&redirect, "http://localhost:8477/callback")
        .replace(&escaped, "…")
        .replace(home, "~/")
}

#[test]
fn the_set_up_in_the_documents_is_what_a_new_user_sees() {
    const SERVER: &str = "http://127.0.0.1:8999";
    let transcript = shown("$ rally-cred setup\n");
    let (sandbox, mut world, _keyring) = newcomer();
    let options = sandbox.options();
    world.unset("XDG_CONFIG_HOME").unset("XDG_STATE_HOME").set("TERM", "xterm").set("NO_COLOR", "1");
    let mut setup = world.at_terminal("rally-cred setup");
    let mut printed = String::new();
    for line in &transcript {
        let Some((question, answer)) = line.split_once("]:").or_else(|| line.split_once(" ID:")) else {
            if line.starts_with("Client secret") {
                printed += &setup.wait_for_text("Client secret for profile default: ");
                setup.write(&format!("{}\n", options.client_secret));
            }
            continue;
        };
        // The port of the day is none that a text can know.
        let question = if question.starts_with("Callback") { "/callback" } else { question };
        printed += &setup.wait_for_text(&question.replace(SERVER, sandbox.base_url()));
        let answer = match question {
            "/callback" => options.redirect_uri.clone(),
            _ => answer.trim().replace(SERVER, sandbox.base_url()),
        };
        setup.write(&format!("{answer}\n"));
    }
    let ended = setup.end().succeeded();
    printed += &ended.stdout;
    let printed = as_in_the_document(&printed, &sandbox, SERVER, world.path("").to_str().unwrap());
    let lines = printed.lines().map(|line| {
        let line = line.rsplit("\x1b[K").next().unwrap_or_default().trim_end();
        // Where the document takes the port that is proposed, this test types its own.
        line.split_inclusive("]:").next().filter(|line| line.starts_with("Callback")).unwrap_or(line)
    });
    compare(&lines.collect::<Vec<_>>().join("\n"), &transcript);
}

#[test]
fn the_session_in_the_documents_and_in_the_picture_is_what_a_user_sees() {
    let session = shown("```console\n");
    generated::check("docs/terminal.svg", &picture::terminal(&session.join("\n")));

    let (sandbox, world, _keyring, _daemon) = signed_in_with_keyring();
    world.client(&["logout"], "").succeeded();
    let mut printed = String::new();
    for command in session.iter().filter_map(|line| line.strip_prefix("$ ")) {
        let ended = world.run("bash", &["-c", &format!("exec 2>&1; {command}")], "");
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        printed += &format!("$ {command}\n{}", ended.stdout);
    }
    let config = world.path("config");
    let printed = printed.replace(config.to_str().unwrap(), "~/.config");
    let home = world.path("");
    compare(
        &as_in_the_document(&printed, &sandbox, "https://rally1.rallydev.com", home.to_str().unwrap()),
        &session,
    );
}
