//! Rally quotes in its errors what it was sent. Whatever it quotes, however it writes it, nobody gets to see it: not on
//! the terminal, in the browser, in `status`, `doctor`, its report or the log, and not in an alert.
//! Does not: go through every way of writing a secret (`core::sent` does).
//! Used by: `main`.

use std::{fs, process::Command};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use rally_cred_tests::sandbox::{Endpoint, Fault, Planted, Sandbox};
use rally_cred_tests::world::{self, World};

use crate::sign_in::{begin, sign_in, with_browser, with_browser_at};

/// Secrets that do not look like one: without a digit, short, and with characters that end a word.
const SECRETS: [&str; 4] =
    ["correct-horse-battery-staple", "sesame", "aB3/xY9+kL/N0pQ/r8s==", "p%41 ss&<\"w/rd"];

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The ways of writing a secret that a server is likely to have.
fn writings(client_id: &str, secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![
        secret.to_owned(),
        form.clone(),
        percent_encoded(secret),
        secret.bytes().map(|byte| format!("&#x{byte:X};")).collect(),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD.encode(format!("{client_id}:{secret}")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("{client_id}:{form}")),
    ]
}

fn oauth_error(status: u16, words: &str) -> Fault {
    let body = serde_json::json!({"error": "invalid_client", "error_description": words});
    Fault::json(status, &body.to_string())
}

fn address_page(status: u16, words: &str) -> Fault {
    let body = format!("<html><p>Your IP address, 192.0.2.7, may not use {words}. Ask.</p></html>");
    Fault::page(status, &body)
}

/// Everything that a person can look at, and everything below the home folder.
fn look_everywhere(world: &World) -> Vec<(String, String)> {
    let report = world.path("report.txt");
    fs::remove_file(&report).ok();
    let mut seen = Vec::new();
    for arguments in [
        &["status"][..],
        &["status", "--json", "--check"],
        &["doctor"],
        &["doctor", "--json"],
        &["doctor", "--report", report.to_str().unwrap()],
        &["get", "--interactive", "never", "--format", "json"],
    ] {
        let ended = world.client(arguments, "");
        seen.push((arguments.join(" "), ended.stdout + &ended.stderr));
    }
    for (path, bytes) in world.files() {
        seen.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    seen
}

fn assert_unseen(seen: &[(String, String)], writings: &[String], shown: &str) {
    for (place, text) in seen {
        for writing in writings {
            assert!(!text.contains(writing), "{writing} is in {place}: {text}");
            // A page escapes what it shows.
            let escaped = writing.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            assert!(!text.contains(&escaped), "{escaped} is in {place}: {text}");
        }
    }
    let said = |place: &str| seen.iter().any(|(name, text)| name.contains(place) && text.contains(shown));
    for place in ["terminal", "page", "status", "daemon.log", "report.txt"] {
        assert!(said(place), "{shown} is not in {place}: {seen:?}");
    }
}

/// Signs in with this secret, which Rally refuses with this answer; then looks everywhere.
fn refused_sign_in(world: &World, sandbox: &Sandbox, secret: &str, answer: Fault) -> Vec<(String, String)> {
    sandbox.clear_faults();
    sandbox.fault(Endpoint::Token, answer, Some(1));
    let (login, url) = begin(world, secret, &["--force"]);
    let page = sandbox.browser().allow(&url).unwrap();
    let ended = login.end();
    assert_ne!(ended.code, Some(0));
    let mut seen = look_everywhere(world);
    seen.extend([("terminal".to_owned(), ended.stdout + &ended.stderr), ("page".to_owned(), page.text)]);
    seen
}

#[test]
fn a_client_secret_or_a_code_that_rally_quotes_is_seen_nowhere() {
    const CODE: &str = "a-code-of-words-only";
    for secret in SECRETS {
        let (sandbox, world) = with_browser_at(|options| options.client_secret = secret.to_owned());
        let _daemon = world.start_daemon();
        let client_id = sandbox.options().client_id;
        for quoted in [secret, CODE] {
            let writings = writings(&client_id, quoted);
            let answers = writings.iter().enumerate().map(|(at, writing)| match at % 4 {
                0 => oauth_error(401, &format!("bad client_secret {writing}, sorry")),
                1 => oauth_error(400, &format!("sent: client_secret={writing}&client_id=x")),
                2 => address_page(403, writing),
                _ => address_page(404, writing),
            });
            for answer in answers {
                sandbox.plant(Planted { code: Some(CODE.to_owned()), ..Planted::default() });
                let seen = refused_sign_in(&world, &sandbox, secret, answer);
                assert_unseen(&seen, &writings, "…");
            }
        }
    }
}

#[test]
fn a_token_that_rally_quotes_is_seen_nowhere_not_even_in_an_alert() {
    let (sandbox, mut world) = with_browser();
    let pipe = world.path("told");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let notify = format!("notify_command = [\"sh\", \"-c\", \"env >\\\"$0\\\"\", \"{}\"]\n", pipe.display());
    world.configure(&format!("keyring = \"memory\"\n{notify}{}", world::profile_for(&sandbox)));
    world.set("RALLY_CRED_LOG", "trace");
    let _daemon = world.start_daemon();
    let plant = || {
        sandbox.plant(Planted {
            access_token: Some("an/access/token/of/words".to_owned()),
            refresh_token: Some("a/refresh/token/of/words".to_owned()),
            ..Planted::default()
        });
    };
    plant();
    sign_in(&world, &sandbox);

    // A renewal that is refused, with the refresh token in its words.
    let body = r#"{"error":"invalid_grant","error_description":"a\/refresh\/token\/of\/words is over"}"#;
    sandbox.fault(Endpoint::Token, Fault::json(400, body), Some(1));
    assert!(sandbox.revoke("an/access/token/of/words"));
    let erase = format!("url={}\npassword=an/access/token/of/words\n", sandbox.base_url());
    world.client(&["erase"], erase).succeeded();
    let got = world.client(&["get", "--interactive", "never"], "").ended_with(3);
    assert!(!got.stderr.contains("refresh/token"), "{got:?}");
    let told = fs::read_to_string(&pipe).unwrap();
    assert!(told.contains("RALLY_CRED_WHY=") && !told.contains("refresh/token"), "{told}");
    for (place, text) in look_everywhere_without_get(&world) {
        assert!(!text.contains("refresh/token"), "in {place}: {text}");
    }

    // A look-up that fails, with the token in its words.
    plant();
    world.client(&["login", "--force"], "").succeeded();
    let words = "Cannot read the user of an/access/token/of/words";
    let body = serde_json::json!({"OperationResult": {"Errors": [words]}}).to_string();
    sandbox.fault(Endpoint::User, Fault::json(200, &body), None);
    for (place, text) in look_everywhere_without_get(&world) {
        assert!(!text.contains("token/of/words"), "in {place}: {text}");
    }
}

/// The same without the one command that may show a token.
fn look_everywhere_without_get(world: &World) -> Vec<(String, String)> {
    fs::remove_file(world.path("told")).ok();
    let mut seen = look_everywhere(world);
    seen.retain(|(place, _)| !place.starts_with("get "));
    seen
}
