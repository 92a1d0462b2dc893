//! What the browser shows at the end of a sign-in, and at any other address.
//! Does not: hold a code, a token or a script; all text is escaped. `style.css` has the looks.
//! Used by: `listener`, and whoever answers an `Arrival` with a `Page`.

use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use rally_cred_proto::{plain::plain, remedy::Command};
use uuid::Uuid;

use super::{content::Content, request::Refusal};
use rally_cred_core::{event::Page, redirect::NotOurs};

pub(super) type Answer = Response<Content>;

/// The page for the outcome; `None` if it is unknown.
pub(super) fn outcome(page: Option<Page>) -> Answer {
    layout(page).answer(StatusCode::OK)
}

/// A page that says that Rally is slow, and then the outcome. An error is an unknown outcome.
pub(super) fn slow_outcome<E>(
    page: impl Future<Output = Result<Result<Page, impl Send>, E>> + Send + 'static,
) -> Answer {
    let nonce = nonce();
    let (begun, style) = (waiting(&nonce), nonce.clone());
    let rest = async move {
        let layout = layout(page.await.ok().and_then(Result::ok));
        // The first title in a page counts, wherever it is.
        format!(
            "<style nonce=\"{style}\">.waiting {{ display: none }}</style>\n<title>{} – rally-cred</title>\n{}",
            layout.title,
            layout.body()
        )
    };
    answer(StatusCode::OK, &nonce, Content::begun(begun, rest))
}

fn layout(page: Option<Page>) -> Layout {
    match page {
        Some(Page::SignedIn(username)) => Layout {
            mark: Mark::Done,
            title: "Signed in to Rally",
            lead: "This computer may now use Rally in your name.".to_owned(),
            facts: username.map(|name| ("Signed in as", None, name)).into_iter().collect(),
        },
        Some(Page::Denied(again)) => Layout {
            mark: Mark::Failed,
            title: "Access denied",
            lead: "You pressed “Deny”, so this computer got no access to Rally.".to_owned(),
            facts: vec![("To try again", Some(again), String::new())],
        },
        Some(Page::Failed(fault)) => {
            let why = fault.why.map(|why| ("Why", None, why));
            let remedy = fault.remedy.map(|remedy| ("Try", remedy.command, remedy.words));
            let facts = why.into_iter().chain(remedy).collect();
            Layout { mark: Mark::Failed, title: "Sign-in failed", lead: fault.what, facts }
        }
        None => Layout {
            mark: Mark::Open,
            title: "Not known how it ended",
            lead: "This page was not told whether you are signed in. You see it where you began.".to_owned(),
            facts: vec![status()],
        },
    }
}

/// An answer that leads the browser to this address.
pub(super) fn leading_to(address: &str) -> Answer {
    let mut answer = answer(StatusCode::FOUND, &nonce(), Content::whole(String::new()));
    // A URL is of visible ASCII, so this cannot fail.
    if let Ok(address) = HeaderValue::try_from(address) {
        answer.headers_mut().insert(header::LOCATION, address);
    }
    answer
}

pub(super) fn refusal(refusal: Refusal) -> Answer {
    let (title, lead) = match refusal {
        Refusal::StartUsed => (
            "This address was already used",
            "It leads to Rally's page once. If it was not you who opened it, somebody else on this computer may have: \
             then end the sign-in with Ctrl-C, and begin another. To go on, open the address of Rally's that rally-cred \
             shows."
                .to_owned(),
        ),
        Refusal::AnotherUser(uid) => {
            (
                "Another user's browser",
                format!(
                    "This browser runs as user {uid} of this computer, and the sign-in is another user's, so it does \
                     not go on from here. If both are you, as with a browser in a container, open the address of \
                     Rally's that rally-cred shows, and paste the one that it ends at where you began."
                ),
            )
        }
        Refusal::Used => (
            "This address was already used",
            "It completes a sign-in once. The tab that was here first shows how that ended.".to_owned(),
        ),
        Refusal::NotOurs(NotOurs::WrongState) => (
            "This sign-in is over",
            "This tab belongs to a sign-in that has ended. Another one is waiting: use the tab, or the address, \
             that was opened last."
                .to_owned(),
        ),
        other => ("Not the sign-in page", format!("This request was refused: {other}.")),
    };
    let facts = vec![status()];
    let mut answer = Layout { mark: Mark::Open, title, lead, facts }.answer(refusal.status());
    if refusal == Refusal::WrongMethod {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    answer
}

type Fact = (&'static str, Option<Command>, String);

fn status() -> Fact {
    ("How the sign-in stands", Some(Command::new("rally-cred status")), String::new())
}

struct Layout {
    mark: Mark,
    title: &'static str,
    lead: String,
    /// Names, and beside each something to type, a text or both.
    facts: Vec<Fact>,
}

/// The sign next to the title, for people who see it; the title says the same to everybody.
#[derive(Clone, Copy)]
enum Mark {
    Done,
    Failed,
    Open,
}

impl Layout {
    fn answer(&self, status: StatusCode) -> Answer {
        let nonce = nonce();
        let page = format!("{}<title>{} – rally-cred</title>\n{}", head(&nonce), self.title, self.body());
        answer(status, &nonce, Content::whole(page))
    }

    /// All that follows the title. No browser lets a page without scripts close its tab, so it says that the user may.
    fn body(&self) -> String {
        let Self { mark, title, lead, facts } = self;
        let (kind, drawing) = mark.drawing();
        let lead = escape(&plain(lead));
        let text = |text: &str| escape(&plain(text));
        let facts: String = facts
            .iter()
            .map(|(name, command, words)| {
                let command =
                    command.as_ref().map(|command| format!("<code>{}</code>", text(&command.to_string())));
                format!("<dt>{name}</dt>\n<dd>{}{}</dd>\n", command.unwrap_or_default(), text(words))
            })
            .collect();
        let facts = if facts.is_empty() { facts } else { format!("<dl>\n{facts}</dl>\n") };
        format!(
            r#"<main class="{kind}">
<svg viewBox="0 0 24 24" width="40" height="40" aria-hidden="true" focusable="false"><circle cx="12" cy="12" r="11"/><path d="{drawing}"/></svg>
<h1>{title}</h1>
<p>{lead}</p>
{facts}<p class="end">You can close this tab now.</p>
</main>
<footer>rally-cred, on this computer. This page runs no scripts, so it cannot close itself.</footer>
</body>
</html>
"#
        )
    }
}

/// A random word for each answer, by which the browser accepts our style and no other.
fn nonce() -> String {
    Uuid::new_v4().simple().to_string()
}

fn answer(status: StatusCode, nonce: &str, content: Content) -> Answer {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The beginning of every page.
fn head(nonce: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="{nonce}">
{STYLE}</style>
"#
    )
}

/// The start of a page whose end is unknown. It has no title, or the outcome's would come too late.
fn waiting(nonce: &str) -> String {
    let (_, drawing) = Mark::Open.drawing();
    format!(
        r#"{}</head>
<body>
<div class="waiting" role="main">
<svg viewBox="0 0 24 24" width="40" height="40" aria-hidden="true" focusable="false"><circle cx="12" cy="12" r="11"/><path d="{drawing}"/></svg>
<p class="heading" role="heading" aria-level="1">Rally has not answered yet</p>
<p>The sign-in is not complete. This page shows how it ends, within a minute; if it does not, this does:</p>
<dl>
<dt>How the sign-in stands</dt>
<dd><code>rally-cred status</code></dd>
</dl>
</div>
"#,
        head(nonce)
    )
}

impl Mark {
    /// Its class, and its path in a square of 24.
    const fn drawing(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("done", "M7 12.5l3.5 3.5L17 9"),
            Self::Failed => ("failed", "M8 8l8 8M16 8l-8 8"),
            Self::Open => ("open", "M12 11v6M12 7v.5"),
        }
    }
}

const STYLE: &str = include_str!("style.css");

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    // The page's own address holds the code.
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use rally_cred_proto::{Fault, FaultKind, Remedy};

    use super::*;

    fn denied() -> Page {
        Page::Denied(Command::new("rally-cred login work"))
    }

    /// The answer where the outcome comes late, or not at all.
    fn slow(page: Option<Page>) -> Answer {
        slow_outcome(std::future::ready(Ok::<_, ()>(page.ok_or(()))))
    }

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
        for (page, times) in [(Page::SignedIn(Some(attack.clone())), 1), (Page::Failed(fault), 3)] {
            let (_, _, body) = shown(outcome(Some(page))).await;
            assert_eq!(body.matches(harmless).count(), times);
            assert!(!body.contains("<script") && !body.contains('\u{202e}'));
        }
    }

    #[tokio::test]
    async fn of_a_remedy_only_the_command_is_shown_as_something_to_type() {
        let login = || Command::new("rally-cred login");
        for (remedy, expected) in [
            (Remedy::from(login()), "<dd><code>rally-cred login</code></dd>"),
            (login().and(", in a few minutes"), "<dd><code>rally-cred login</code>, in a few minutes</dd>"),
            ("ask again".into(), "<dd>ask again</dd>"),
        ] {
            let fault = Fault::new(FaultKind::Failed, "it failed").remedy(remedy);
            let (_, _, body) = shown(outcome(Some(Page::Failed(fault)))).await;
            assert!(body.contains(expected), "{expected} is not in {body}");
        }
    }

    #[tokio::test]
    async fn every_page_is_strict_whole_and_says_that_the_tab_may_be_closed() {
        let fault = Fault::new(FaultKind::CodeRefused, "Rally did not take the code");
        for answer in [
            outcome(Some(Page::SignedIn(None))),
            outcome(Some(denied())),
            outcome(Some(Page::Failed(fault))),
            outcome(None),
            slow(Some(denied())),
            slow(None),
            refusal(Refusal::Used),
            refusal(Refusal::NotOurs(NotOurs::WrongState)),
            refusal(Refusal::WrongHost),
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
            for part in [r#"<html lang="en">"#, "<title>", "<main", "<h1>", "light dark", "close this tab"] {
                assert!(body.contains(part), "{part} is not in {body}");
            }
            assert!(!body.contains("<script") && !body.contains("http") && !body.contains("url("));
        }
    }

    #[tokio::test]
    async fn each_outcome_has_a_page_of_its_own() {
        let fault = Fault::new(FaultKind::CodeRefused, "Rally did not take the code")
            .why("it has expired")
            .run("rally-cred login work");
        let pages = [
            (
                outcome(Some(Page::SignedIn(Some("me@example.com".to_owned())))),
                ["Signed in to Rally", "<dt>Signed in as</dt>\n<dd>me@example.com</dd>"],
            ),
            (outcome(Some(denied())), ["Access denied", "<code>rally-cred login work</code>"]),
            (outcome(Some(Page::Failed(fault))), ["Sign-in failed", "<dd>it has expired</dd>\n<dt>Try</dt>"]),
            (outcome(None), ["Not known how it ended", "<code>rally-cred status</code>"]),
            (refusal(Refusal::Used), ["This address was already used", "once"]),
            (refusal(Refusal::NotOurs(NotOurs::WrongState)), ["This sign-in is over", "opened last"]),
            (refusal(Refusal::NotNavigation), ["Not the sign-in page", "a tab of its own"]),
        ];
        for (answer, [title, part]) in pages {
            let (_, _, body) = shown(answer).await;
            assert!(
                body.contains(&format!("<title>{title} –")) && body.contains(&format!("<h1>{title}</h1>"))
            );
            assert!(body.contains(part), "{part} is not in {body}");
        }
    }

    #[tokio::test]
    async fn a_late_outcome_takes_the_place_of_what_was_shown_before() {
        let fault = Fault::new(FaultKind::CodeRefused, "Rally did not take the code");
        let (status, headers, body) = shown(slow(Some(Page::Failed(fault)))).await;
        assert_eq!(status, 200);
        let nonce = &headers.split_once("'nonce-").unwrap().1[..32];
        let (before, after) = body.split_once("</div>\n").unwrap();
        assert!(before.contains("Rally has not answered yet") && !before.contains("<title>"), "{before}");
        let expected = format!(
            "<style nonce=\"{nonce}\">.waiting {{ display: none }}</style>\n<title>Sign-in failed – rally-cred</title>\n<main"
        );
        assert!(after.starts_with(&expected), "{after}");
        assert_eq!(body.matches(nonce).count(), 2);
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
