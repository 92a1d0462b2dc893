//! The set-up that README.md shows, played: what a new user types and sees.
//! Does not: try other answers (`setup` does).
//! Used by: `main`.

use std::{fs, path::Path};

use rally_cred_tests::world;

use crate::setup::newcomer;

/// The set-up that README.md shows, without what is typed before it.
fn transcript() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (_, rest) = readme.split_once("$ rally-cred setup\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let lines = shown.lines().map(|line| line.strip_prefix("   ").unwrap_or(line).to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_transcript_in_the_readme_is_what_a_new_user_sees() {
    let sandbox = world::sandbox();
    let (mut world, _keyring) = newcomer(&sandbox);
    let options = sandbox.options();
    world.unset("XDG_CONFIG_HOME").unset("XDG_STATE_HOME").set("TERM", "xterm").set("NO_COLOR", "1");
    let command = ["--quiet", "--return", "--command", "rally-cred setup", "/dev/null"];
    let mut setup = world.start("script", &command);
    let mut shown = String::new();
    for line in transcript() {
        let Some((question, answer)) = line.split_once("]:").or_else(|| line.split_once(" ID:")) else {
            if line.starts_with("Client secret") {
                shown += &setup.wait_for_text("Client secret for profile default: ");
                setup.write(&format!("{}\n", options.client_secret));
            }
            continue;
        };
        // The port of the day is none that a text can know.
        let question = if question.starts_with("Callback") { "/callback" } else { question };
        shown += &setup.wait_for_text(&question.replace("http://127.0.0.1:8999", sandbox.base_url()));
        let answer = match question {
            "/callback" => options.redirect_uri.clone(),
            _ => answer.trim().replace("http://127.0.0.1:8999", sandbox.base_url()),
        };
        setup.write(&format!("{answer}\n"));
    }
    let ended = setup.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    shown += &ended.stdout;
    let home = world.path("");
    let shown = shown
        .replace(sandbox.base_url(), "http://127.0.0.1:8999")
        .replace(&options.redirect_uri, "http://localhost:8477/callback")
        .replace(
            &*url::form_urlencoded::byte_serialize(options.redirect_uri.as_bytes()).collect::<String>(),
            "…",
        )
        .replace(home.to_str().unwrap(), "~/");
    let mut lines = shown.lines().map(|line| line.rsplit("\x1b[K").next().unwrap_or_default().trim_end());
    for expected in transcript() {
        let line = lines.next().unwrap_or_default();
        match expected.split_once("valid until ") {
            Some((before, _)) => assert!(line.starts_with(before), "{line:?} is not {expected:?}"),
            None if expected.starts_with("Callback") => assert!(line.starts_with("Callback"), "{line:?}"),
            None => {
                let mut rest = line;
                for piece in expected.split('…') {
                    let at = rest.find(piece);
                    assert!(at.is_some(), "{line:?} is not {expected:?}");
                    rest = &rest[at.unwrap() + piece.len()..];
                }
                assert!(rest.is_empty() || expected.ends_with('…'), "{line:?} is not {expected:?}");
            }
        }
    }
    assert_eq!(lines.next(), None);
}
