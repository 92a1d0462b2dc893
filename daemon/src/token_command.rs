//! Runs the program that gives a profile's tokens, and reads what it prints: a token, or JSON with a token and its end.
//! Does not: keep a token, show any of what was printed, or use a shell.
//! Used by: perform, when the broker wants a token, and for `rally-cred doctor`.

use std::time::Duration;

use jiff::Timestamp;
use rally_cred_proto::{Fault, FaultKind, Secret};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::secret_source::{first_line, in_time, printed};
use rally_cred_core::{
    event::{Fetched, Until},
    profile::CommandLine,
    time::Wall,
};

/// How long the program may take: time to ask a server, which may ask another.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest output; tokens that hold claims have some thousand characters.
const LONGEST: usize = 64 * 1024;

/// What is printed as JSON. What else there is belongs to others.
#[derive(Deserialize)]
struct Printed {
    token: Secret,
    expires_in: Option<u64>,
    expires_at: Option<Moment>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    /// In seconds since 1970.
    Seconds(i64),
    /// As RFC 3339 writes it.
    Text(String),
}

/// Runs the program. A fault shows nothing that it printed.
pub async fn fetch(command: &CommandLine) -> Result<Fetched, Fault> {
    let fetched = in_time(PATIENCE, printed(command, LONGEST)).await;
    fetched.and_then(|text| read(&text).map_err(|why| format!("printed {why}"))).map_err(|why| {
        Fault::new(FaultKind::Failed, "token_command gives no token")
            .why(format!("{} {why}", command.program.display()))
            .remedy("run it in a terminal, and see token_command in the config file")
    })
}

fn read(text: &Zeroizing<Vec<u8>>) -> Result<Fetched, &'static str> {
    let fetched = match text.trim_ascii_start().first() {
        Some(b'{') => {
            let what = r#"JSON that is not {"token": "…"} with `expires_in` or `expires_at`, or none"#;
            let printed: Printed = serde_json::from_slice(text).map_err(|_| what)?;
            let until = match (printed.expires_in, printed.expires_at) {
                (None, None) => None,
                (Some(seconds), None) => Some(Until::In(seconds)),
                (None, Some(Moment::Seconds(at))) => Some(Until::At(Wall(at))),
                (None, Some(Moment::Text(at))) => {
                    let at: Timestamp = at.parse().map_err(|_| what)?;
                    Some(Until::At(Wall(at.as_second())))
                }
                (Some(_), Some(_)) => return Err(what),
            };
            Fetched { token: printed.token, until }
        }
        _ => Fetched { token: first_line(text, LONGEST)?, until: None },
    };
    match fetched.token.expose() {
        "" => Err("an empty token"),
        text if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(fetched),
        _ => Err("a token with a character that no header carries"),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> CommandLine {
        CommandLine { program: "sh".into(), arguments: vec!["-c".to_owned(), line.to_owned()] }
    }

    async fn why(line: &str) -> String {
        let fault = fetch(&command(line)).await.unwrap_err();
        assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
        fault.why.unwrap()
    }

    #[tokio::test]
    async fn a_token_comes_alone_or_as_json_with_its_end() {
        for (printed, until) in [
            ("the-token", None),
            ("the-token\\r\\nnotes", None),
            (r#"{"token": "the-token"}"#, None),
            (r#"{"token": "the-token", "expires_at": null}"#, None),
            (
                r#"\n {\n "token": "the-token",\n "expires_in": 3600, "other": [1]\n}\n"#,
                Some(Until::In(3600)),
            ),
            (r#"{"token": "the-token", "expires_at": 1780000000}"#, Some(Until::At(Wall(1_780_000_000)))),
            (
                r#"{"token": "the-token", "expires_at": "2026-05-28T22:26:40+02:00"}"#,
                Some(Until::At(Wall(1_780_000_000))),
            ),
        ] {
            let fetched = fetch(&command(&format!("printf '{printed}'"))).await.unwrap();
            assert_eq!((fetched.token.expose(), fetched.until), ("the-token", until), "{printed}");
        }
    }

    #[tokio::test]
    async fn what_is_no_token_is_told_without_its_words() {
        let json =
            "sh printed JSON that is not {\"token\": \"…\"} with `expires_in` or `expires_at`, or none";
        for (line, expected) in [
            ("echo canary; exit 3", "sh ended with exit status: 3"),
            ("true", "sh printed an empty first line"),
            ("echo 'canary of two words'", "sh printed a token with a character that no header carries"),
            (r#"echo '{"token": ""}'"#, "sh printed an empty token"),
            (r#"echo '{"access": "canary"}'"#, json),
            (r#"echo '{"token": "canary", "expires_in": -1}'"#, json),
            (r#"echo '{"token": "canary", "expires_at": "tomorrow"}'"#, json),
            (r#"echo '{"token": "canary", "expires_in": 1, "expires_at": 1}'"#, json),
            (r#"echo '{"token": "canary"'"#, json),
            ("head -c 70000 /dev/zero | tr '\\0' x", "sh printed a first line that is too long for a secret"),
            (r#"printf '{"token": "canary", "x": "'; head -c 70000 /dev/zero | tr '\0' x; echo '"}'"#, json),
        ] {
            assert_eq!(why(line).await, expected, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_hangs_has_half_a_minute() {
        assert_eq!(why("tail -f /dev/null").await, "sh did not end within 30 s");
    }
}
