//! The HTML that people and clients get: the consent page, errors of the login pages, and Jetty's error page.
//! Does not: decide which one.
//! Used by: `login`, `reading` and `gate`. Everything foreign is escaped; no page loads anything from elsewhere.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use url::Url;
use uuid::Uuid;

use super::options::User;

/// The page on which the user allows or denies; `ticket` is the form's one-time key.
pub(super) fn consent(
    client_id: &str,
    scope: &str,
    redirect_uri: &str,
    user: &User,
    ticket: &str,
) -> Response {
    let body = format!(
        r#"<h1>Authorization Request</h1>
<p>The application <strong>{client}</strong> asks for access to Rally in the name of
<strong>{name}</strong> ({user}).</p>
<dl>
<dt>Scope</dt><dd>{scope}</dd>
<dt>You return to</dt><dd>{redirect}</dd>
</dl>
<form method="post" action="/login/oauth2/consent">
<input type="hidden" name="ticket" value="{ticket}">
<button type="submit" name="choice" value="allow" class="main">Allow Access</button>
<button type="submit" name="choice" value="deny">Deny</button>
</form>"#,
        client = escaped(client_id),
        name = escaped(&user.display_name),
        user = escaped(&user.user_name),
        scope = escaped(scope),
        redirect = escaped(redirect_uri),
        ticket = escaped(ticket),
    );
    // Browsers hold the redirect that answers the form to this policy too.
    let target = Url::parse(redirect_uri).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    login_page(StatusCode::OK, "Authorization Request", &body, &format!("'self' {target}"))
}

/// A request that cannot be shown to the user. It is never a redirect: the redirect URI may be what is wrong.
pub(super) fn refused(reason: &str) -> Response {
    let body = format!(
        "<h1>Authorization Request refused</h1>\n<p role=\"alert\">{}</p>\n\
         <p>Close this page and start again from the application.</p>",
        escaped(reason)
    );
    login_page(StatusCode::BAD_REQUEST, "Authorization Request refused", &body, "'none'")
}

/// What stands in front of a service that is down: HTML where a client expects JSON.
pub(super) fn maintenance() -> Response {
    let body = "<h1>Rally is being maintained</h1>\n<p>We will be back shortly.</p>";
    login_page(StatusCode::OK, "Maintenance", body, "'none'")
}

/// The error page of the servlet container, which Rally sends where a client expects JSON.
pub(super) fn jetty(status: StatusCode, path: &str, reason: &str) -> Response {
    let (code, path, reason) = (status.as_u16(), escaped(path), escaped(reason));
    let page = format!(
        "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=ISO-8859-1\"/>\n\
         <title>Error {code} {reason}</title>\n</head>\n<body>\n<h2>HTTP ERROR {code}</h2>\n\
         <p>Problem accessing {path}. Reason:\n<pre>    {reason}</pre></p>\n\
         <hr /><i><small>Powered by Jetty://</small></i>\n</body>\n</html>\n"
    );
    (status, [(header::CONTENT_TYPE, "text/html;charset=ISO-8859-1")], page).into_response()
}

/// `form_action` is where the page's form may lead, in the words of a content security policy.
fn login_page(status: StatusCode, title: &str, body: &str, form_action: &str) -> Response {
    let nonce = Uuid::new_v4().simple();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action {form_action}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Rally sandbox</title>
<style nonce="{nonce}">{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
<footer>Rally sandbox: a stand-in for tests. Nothing here is a real account.</footer>
</body>
</html>
"#
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (status, headers, Html(page)).into_response()
}

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1c2733; --soft: #55606c; --line: #d5dae0; --main: #00558c; --on-main: #fff }
@media (prefers-color-scheme: dark) {
:root { --ground: #12171d; --card: #1c232b; --ink: #e8edf2; --soft: #a3afbb; --line: #38434e; --main: #7cc4f5; --on-main: #0b2233 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 1rem; padding: 1rem; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 34rem; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
h1 { margin: 0 0 1rem; font-size: 1.4rem }
dl { margin: 0 0 1.5rem; display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
form { display: flex; flex-wrap: wrap; gap: .75rem }
button { font: inherit; font-weight: 600; padding: .6rem 1.25rem; border-radius: .5rem; border: 1px solid var(--soft); background: transparent; color: inherit; cursor: pointer }
button.main { background: var(--main); border-color: var(--main); color: var(--on-main) }
button:focus-visible { outline: 3px solid var(--main); outline-offset: 2px }
footer { color: var(--soft); font-size: .85rem; text-align: center }
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
