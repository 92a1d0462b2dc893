//! What the browser shows at the end of a sign-in, and at every address that is not its end.
//! Does not: hold a code, a token or a script; it escapes whatever it shows.
//! Met by: `listener`, and whoever answers an `Arrival` with a `Page`.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use rally_cred_proto::plain::plain;
use uuid::Uuid;

use super::request::Refusal;
use crate::core::event::Page;

pub(super) type Answer = Response<Full<Bytes>>;

/// The page for the outcome; `None` if the outcome is not known yet, or nobody is left to tell it.
pub(super) fn outcome(page: Option<Page>) -> Answer {
    let (title, lines) = match page {
        Some(Page::SignedIn { username: None }) => ("Signed in to Rally", vec![DONE.to_owned()]),
        Some(Page::SignedIn { username: Some(name) }) => {
            ("Signed in to Rally", vec![format!("You are signed in as {}.", plain(&name)), DONE.to_owned()])
        }
        Some(Page::Denied) => (
            "Access denied",
            vec![
                "You pressed “Deny”, so this computer got no access to Rally.".to_owned(),
                "You can close this tab. To try again, run rally-cred login.".to_owned(),
            ],
        ),
        Some(Page::Failed(fault)) => {
            let mut lines = vec![fault.what];
            lines.extend(fault.why.map(|why| format!("Why: {why}")));
            lines.extend(fault.remedy.map(|remedy| format!("Try: {remedy}")));
            lines.push("You can close this tab and go back to the terminal.".to_owned());
            ("Sign-in failed", lines)
        }
        None => (
            "Nearly there",
            vec![
                "You can close this tab and go back to the terminal: it says how the sign-in ends."
                    .to_owned(),
            ],
        ),
    };
    answer(StatusCode::OK, title, &lines)
}

const DONE: &str = "You can close this tab and go back to the terminal.";

/// The page for a request that does not complete the sign-in.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    let lines = [
        format!("This request was refused: {refusal}."),
        "You can close this tab. The terminal says how the sign-in stands.".to_owned(),
    ];
    let mut answer = answer(refusal.status(), "Not the sign-in page", &lines);
    if refusal == Refusal::WrongMethod {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    answer
}

fn answer(status: StatusCode, title: &str, lines: &[String]) -> Answer {
    // One random word per answer lets the browser take our style and no other.
    let nonce = Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let mut answer = Response::new(Full::from(html(&nonce, title, lines)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    // The page's own address holds the code.
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The one template. `color-scheme` lets the browser choose readable colours for light and dark by itself.
fn html(nonce: &str, title: &str, lines: &[String]) -> String {
    let title = escape(title);
    let lines: String = lines.iter().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – rally-cred</title>
<style nonce="{nonce}">
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 12vh auto; padding: 0 1.5rem; overflow-wrap: anywhere }}
h1 {{ font-size: 1.7rem; line-height: 1.2 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{lines}</main>
</body>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use rally_cred_proto::{Fault, FaultKind};

    use super::*;

    /// Status, headers and body of an answer, as a browser gets them.
    async fn shown(answer: Answer) -> (u16, String, String) {
        let (parts, body) = answer.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (parts.status.as_u16(), format!("{:?}", parts.headers), body)
    }

    #[tokio::test]
    async fn foreign_text_is_shown_and_not_run() {
        let attack = r#"<script>alert('&"')</script>"#.to_owned() + "\u{202e}";
        let harmless = "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;";
        let fault = Fault::new(FaultKind::CodeRefused, &attack).why(&attack).remedy(&attack);
        for (page, times) in
            [(Page::SignedIn { username: Some(attack.clone()) }, 1), (Page::Failed(fault), 3)]
        {
            let (_, _, body) = shown(outcome(Some(page))).await;
            assert_eq!(body.matches(harmless).count(), times);
            assert!(!body.contains("<script") && !body.contains('\u{202e}'));
        }
    }

    #[tokio::test]
    async fn every_page_is_strict_whole_and_says_that_the_tab_may_be_closed() {
        let fault = Fault::new(FaultKind::CodeRefused, "Rally did not take the code");
        for answer in [
            outcome(Some(Page::SignedIn { username: None })),
            outcome(Some(Page::Denied)),
            outcome(Some(Page::Failed(fault))),
            outcome(None),
            refusal(Refusal::Used),
        ] {
            let (_, headers, body) = shown(answer).await;
            for header in [
                r#""cache-control": "no-store""#,
                r#""referrer-policy": "no-referrer""#,
                r#""x-content-type-options": "nosniff""#,
                r#""content-type": "text/html; charset=utf-8""#,
                "default-src 'none'; style-src 'nonce-",
                "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ] {
                assert!(headers.contains(header), "{header} is not in {headers}");
            }
            for part in [r#"<html lang="en">"#, "<title>", "<h1>", "light dark", "close this tab"] {
                assert!(body.contains(part), "{part} is not in {body}");
            }
            assert!(!body.contains("script") && !body.contains("http"));
        }
    }

    #[tokio::test]
    async fn the_policy_lets_in_this_answers_style_only() {
        let nonce_of = |text: &str, before: &str| text.split_once(before).unwrap().1[..32].to_owned();
        let (_, headers, body) = shown(outcome(None)).await;
        let nonce = nonce_of(&headers, "'nonce-");
        assert_eq!(nonce, nonce_of(&body, "<style nonce=\""));
        let (_, other, _) = shown(outcome(None)).await;
        assert_ne!(nonce, nonce_of(&other, "'nonce-"));
    }

    #[tokio::test]
    async fn a_refused_method_is_told_which_one_is_allowed() {
        let (status, headers, _) = shown(refusal(Refusal::WrongMethod)).await;
        assert_eq!((status, headers.contains(r#""allow": "GET""#)), (405, true));
    }
}
