//! The authorization page and its form.
//! Does not: redeem codes; see `tokens`.
//! Used by: the suite.

use rally_cred_tests::browser::{Choice, Step, Trouble};
use rally_cred_tests::sandbox::{Options, Planted};

use super::Stage;

fn pairs(url: &url::Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn allow_access_redirects_with_a_code_and_the_state() {
    let stage = Stage::new();
    stage.sandbox.plant(Planted { code: Some("the-code".into()), ..Planted::default() });
    let url = stage.sandbox.authorization_url("s t&te");
    let redirect = stage.sandbox.browser().consent(&url, Choice::Allow).unwrap();
    assert!(redirect.as_str().starts_with("http://localhost:8477/callback?"), "{redirect}");
    assert_eq!(pairs(&redirect), [pair("code", "the-code"), pair("state", "s t&te")]);
}

#[test]
fn deny_redirects_with_access_denied_and_no_code() {
    let stage = Stage::new();
    let url = stage.sandbox.authorization_url("abc");
    let redirect = stage.sandbox.browser().consent(&url, Choice::Deny).unwrap();
    let wanted = [
        pair("error", "access_denied"),
        pair("error_description", "The user denied the request"),
        pair("state", "abc"),
    ];
    assert_eq!(pairs(&redirect), wanted);
}

#[test]
fn a_query_in_the_registered_callback_stays_in_front() {
    let redirect_uri = "http://localhost:3000/cb?tenant=7".to_owned();
    let stage = Stage::with(Options { redirect_uri, ..Options::default() });
    let url = stage.sandbox.authorization_url("abc");
    let redirect = stage.sandbox.browser().consent(&url, Choice::Allow).unwrap();
    let names: Vec<String> = pairs(&redirect).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tenant", "code", "state"]);
}

#[test]
fn the_browser_follows_the_redirect_and_tells_where_it_was() {
    // A second sandbox plays the application that listens at the callback.
    let application = Stage::new();
    let redirect_uri = application.url("/callback");
    let stage = Stage::with(Options { redirect_uri: redirect_uri.clone(), ..Options::default() });
    let visit = stage.sandbox.browser().allow(&stage.sandbox.authorization_url("abc")).unwrap();

    let steps: Vec<(&str, &str, u16)> = visit
        .steps
        .iter()
        .map(|Step { method, url, status }| (method.as_str(), url.path(), *status))
        .collect();
    let wanted = [
        ("GET", "/login/oauth2/auth", 200),
        ("POST", "/login/oauth2/consent", 302),
        ("GET", "/callback", 404),
    ];
    assert_eq!(steps, wanted);
    assert_eq!(visit.status, 404);
    assert!(visit.text.contains("Problem accessing /callback"), "{}", visit.text);
    // As a browser does, it gives the form the cookie it got with the page.
    assert!(stage.sandbox.log()[1].header("cookie").unwrap().starts_with("JSESSIONID="));
}

#[test]
fn a_consent_form_works_once() {
    let stage = Stage::new();
    let page = stage.sandbox.browser().open(&stage.sandbox.authorization_url("abc")).unwrap();
    let ticket = page.text.split("name=\"ticket\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let form = [("ticket", ticket), ("choice", "allow")];
        statuses.push(stage.send(stage.http.post(stage.url("/login/oauth2/consent")).form(&form)).status);
    }
    assert_eq!(statuses, [302, 400]);
}

/// An authorization request with one change must be an error page, and never a redirect.
fn check_refused(change: impl Fn(&mut Vec<(String, String)>), reason: &str) {
    let stage = Stage::new();
    let mut url = url::Url::parse(&stage.sandbox.authorization_url("abc")).unwrap();
    let mut query = pairs(&url);
    change(&mut query);
    url.query_pairs_mut().clear().extend_pairs(query);
    let answer = stage.get(&url.as_str()[stage.sandbox.base_url().len()..]);
    assert_eq!(answer.status, 400);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(answer.headers.get("location").is_none());
    assert!(answer.text.contains(reason), "{}", answer.text);
    let browser = stage.sandbox.browser().consent(url.as_str(), Choice::Allow);
    assert_eq!(browser, Err(Trouble::NoButton(400)));
}

#[test]
fn a_redirect_uri_that_differs_by_one_character_is_refused() {
    for other in [
        "http://localhost:8477/callback/",
        "http://127.0.0.1:8477/callback",
        "http://localhost:8478/callback",
    ] {
        let change = |query: &mut Vec<(String, String)>| query[2].1 = other.to_owned();
        check_refused(change, "not the callback URL that was registered");
    }
}

#[test]
fn an_authorization_request_with_other_than_the_five_parameters_is_refused() {
    check_refused(|query| drop(query.remove(0)), "state is missing");
    check_refused(|query| query.push(pair("state", "again")), "state is given more than once");
    check_refused(|query| query.push(pair("<b>", "1")), "&lt;b&gt; is not a parameter");
    check_refused(|query| query[0].1.clear(), "state is empty");
    check_refused(|query| query[1].1 = "token".into(), "response_type must be code");
    check_refused(|query| query[3].1 = "stranger".into(), "no client with this client_id");
    check_refused(|query| query[4].1 = "alm openid".into(), "scope is not known");
}

#[test]
fn the_consent_page_needs_nothing_from_elsewhere() {
    let stage = Stage::new();
    let page = stage.sandbox.browser().open(&stage.sandbox.authorization_url("abc")).unwrap();
    for part in
        ["Authorization Request", ">Allow Access<", ">Deny<", "lang=\"en\"", "prefers-color-scheme: dark"]
    {
        assert!(page.text.contains(part), "{part}");
    }
    for part in ["src=", "<link", "<script", "url(", "@import"] {
        assert!(!page.text.contains(part), "{part}");
    }
}
