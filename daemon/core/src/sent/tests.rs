//! Secrets of every shape in every writing, in sentences that stay readable.
//! Does not: go through an answer or a program.
//! Used by: `cargo test`.

use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine,
};

use super::*;

fn sent(secrets: &[&str]) -> Sent {
    Sent::new(secrets.iter().map(|secret| Secret::parse((*secret).to_owned()).unwrap()))
}

fn each(secret: &str, write: impl Fn(u8) -> String) -> String {
    secret.bytes().map(write).collect()
}

/// A secret in all writings that a server may have.
fn writings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap().to_owned();
    let some = |write: &dyn Fn(u8) -> String| {
        each(
            secret,
            |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { write(byte) },
        )
    };
    let mut writings = vec![
        secret.to_owned(),
        secret.to_ascii_uppercase(),
        form.clone(),
        form.to_ascii_lowercase(),
        form.replace('+', "%20"),
        each(secret, |byte| format!("%{byte:02X}")),
        each(secret, |byte| format!("%{byte:02x}")),
        // Only the characters that a program may take for special.
        some(&|byte| format!("%{byte:02x}")),
        some(&|byte| format!("\\u{byte:04X}")),
        some(&|byte| format!("\\x{byte:02x}")),
        some(&|byte| format!("&#{byte};")),
        json.clone(),
        json.replace('/', "\\/"),
        each(secret, |byte| format!("\\u{byte:04x}")),
        each(secret, |byte| format!("%u{byte:04X}")),
        each(secret, |byte| format!("&#{byte};")),
        each(secret, |byte| format!("&#x{byte:X};")),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        // One over another.
        each(secret, |byte| format!("%25{byte:02X}")),
        json.replace('\\', "\\\\").replace('"', "\\\""),
        each(secret, |byte| format!("&amp;#{byte};")),
    ];
    for inner in [secret, &form] {
        for before in ["", "i", "id", "sandbox-client:", "client:"] {
            for after in ["", "!", "?a"] {
                let inner = format!("{before}{inner}{after}");
                writings.extend([
                    BASE64_STANDARD.encode(&inner),
                    BASE64_STANDARD_NO_PAD.encode(&inner),
                    BASE64_URL_SAFE.encode(&inner),
                    BASE64_URL_SAFE_NO_PAD.encode(&inner),
                    BASE64_STANDARD
                        .encode(&inner)
                        .replace('/', "\\/")
                        .replace('=', "%3D")
                        .replace('+', "%2B"),
                ]);
            }
        }
    }
    writings
}

const SECRETS: [&str; 9] = [
    "correct-horse-battery-staple",
    "sesame",
    "s3cret",
    "abcd",
    "aB3/xY9+kL/N0pQ/r8s==",
    r#"p%41 ss&<"w\/'rd"#,
    "100%25 &amp; more",
    "0b5ff0a5-9d4e-4f7c-8a6d-1f7a6f0c2b11",
    "x_y~z.w-q",
];

#[test]
fn a_secret_is_not_shown_in_any_writing_and_the_sentence_around_it_is() {
    for secret in SECRETS {
        for writing in writings(secret) {
            for (before, after) in [
                ("bad client_secret ", " was sent"),
                ("it was <b>", "</b>"),
                ("{'s':'", "'}"),
                ("(", "), no"),
            ] {
                let shown = sent(&["other", secret]).masked(&format!("{before}{writing}{after}"), &[]);
                assert!(
                    shown.starts_with(before) && shown.ends_with(after),
                    "{secret} as {writing}: {shown}"
                );
                assert!(shown.len() <= before.len() + after.len() + "…==%3D%3D".len(), "{writing}: {shown}");
            }
            // Nothing but a name and a sign before it.
            let shown = sent(&[secret]).masked(&format!("secret={writing}&more=1"), &[]);
            assert!(shown.contains('…') && !shown.contains(&writing), "{writing}: {shown}");
        }
    }
}

#[test]
fn a_sentence_without_the_secret_stays_as_it_is() {
    for text in [
        "Invalid value for grant_type params - must be authorization_code",
        "redirect_uri http://localhost:8477/callback?x=%41&amp;y=1 is unknown",
        "the client is not known (40% of them are), or its secret has ended & must be renewed",
        "",
    ] {
        for secret in SECRETS.into_iter().chain(["s", "ab", "7q"]) {
            assert_eq!(sent(&[secret]).shown(text), text, "{secret}");
        }
    }
}

#[test]
fn a_quote_that_was_cut_or_split_shows_no_piece_of_the_secret() {
    let sent = sent(&["correct-horse-battery-staple"]);
    for (text, shown) in [
        ("bad secret correct-horse-ba...", "bad secret …..."),
        ("it ends in ry-staple", "it ends in …"),
        ("in lines: correct-ho\nrse-batt\u{200b}ery-staple.", "in lines: …."),
        ("twice: correct-horse-battery-staplecorrect-horse-battery-staple", "twice: …"),
        // Less than eight characters in a row give little away, and are in ordinary words.
        ("a correct horse", "a correct horse"),
    ] {
        assert_eq!(sent.shown(text), shown);
    }
    // Not by the looks of it, which would be enough here.
    for (text, masked) in [
        ("in base64: Basic_Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ", "in base64: …"),
        ("in base64: ...9ycmVjdC1ob3JzZS1iYXR0ZXJ5", "in base64: ...…"),
        ("in base64: ...ycmVjdC1ob3JzZS1iYXR0ZXJ5", "in base64: ...…"),
        ("in base64: ...cmVjdC1ob3JzZS1iYXR0ZXJ5", "in base64: ...…"),
    ] {
        assert_eq!(sent.masked(text, &[]), masked);
    }
    let long = format!("{}correct-horse-battery-staple", "x ".repeat(143));
    let shown = sent.shown(&long);
    assert!(!shown.contains("corr"), "{shown}");
    assert_eq!(shown.chars().count(), 287);
}

#[test]
fn a_secret_of_three_characters_is_masked_where_it_is_a_word_and_makes_no_riddle_elsewhere() {
    for (secret, text, shown) in [
        ("s", "bad client_secret s, says Rally's server", "bad client_secret …, says Rally'… server"),
        ("ab", "unable to take client_secret=ab&grant=x", "unable to take client_secret=…&grant=x"),
        ("abc", "not %22abc%22 but %61bc", "not %22…%22 but …"),
        ("abc", "Authorization: Basic Y2xpZW50OmFiYw==", "Authorization: Basic …=="),
    ] {
        assert_eq!(sent(&[secret]).shown(text), shown, "{secret}");
    }
}

#[test]
fn what_an_answer_holds_itself_is_masked_beside_what_was_sent() {
    let shown = sent(&["sesame"]).shown_without("not sesame but open-barley", &["open-barley"]);
    assert_eq!(shown, "not … but …");
}

#[test]
fn a_word_that_may_be_a_secret_nobody_sent_is_masked_too() {
    let none = Sent::default();
    assert_eq!(
        none.shown("your new token is canary7canary7canary7, keep it"),
        "your new token is …, keep it"
    );
    assert_eq!(none.shown("must be authorization_code_unchanged"), "must be authorization_code_unchanged");
    let cut = none.shown(&format!("{}canary7canary7canary7", "x ".repeat(143)));
    assert!(!cut.contains("can"), "a word is judged whole, and cut afterwards: {cut}");
}
