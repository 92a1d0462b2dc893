//! Every known way of Rally's to answer, one row each.
//! Does not: send anything.
//! Used by: `cargo test`.

use super::*;

/// A text that stands for every secret in a body; no verdict may show it.
const CANARY: &str = "canary7canary7canary7";

/// An answer to a request that carried these secrets.
fn quoting(status: u16, body: &str, secrets: &[&str]) -> RawAnswer {
    let sent = Sent::new(secrets.iter().map(|secret| Secret::parse((*secret).to_owned()).unwrap()));
    RawAnswer::Arrived { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()), sent }
}

fn arrived(status: u16, body: &str) -> RawAnswer {
    quoting(status, body, &[])
}

/// A verdict in one line: `granted ACCESS REFRESH LIFE`, `refused WHAT: KIND: WHY` or `passing: KIND: WHY`.
fn verdict(form: FormKind, raw: RawAnswer) -> String {
    let fault_line = |fault: Fault| format!("{}: {}", fault.kind.name(), fault.why.unwrap_or_default());
    let answer = read_token_answer(form, raw);
    assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
    match answer {
        TokenAnswer::Granted(grant) => {
            let refresh = grant.refresh_token.map_or("-".to_owned(), |token| token.expose().to_owned());
            let life = grant.expires_in.map_or("-".to_owned(), |life| life.to_string());
            format!("granted {} {refresh} {life}", grant.access_token.expose())
        }
        TokenAnswer::Refused(Refusal { of, fault }) => format!("refused {of:?}: {}", fault_line(fault)),
        TokenAnswer::Passing { fault, .. } => format!("passing: {}", fault_line(fault)),
    }
}

#[test]
fn the_forms_hold_exactly_the_documented_fields() {
    let secret = |text: &str| Secret::parse(text.to_owned()).unwrap();
    let code = TokenForm::Code { code: secret("c"), redirect_uri: "http://localhost:1/x".to_owned() };
    assert_eq!(
        code.fields("id", &secret("s")),
        [
            ("code", "c"),
            ("redirect_uri", "http://localhost:1/x"),
            ("grant_type", "authorization_code"),
            ("client_id", "id"),
            ("client_secret", "s")
        ]
    );
    let refresh = TokenForm::Refresh { refresh_token: secret("r") };
    assert_eq!(
        refresh.fields("id", &secret("s")),
        [
            ("grant_type", "refresh_token"),
            ("refresh_token", "r"),
            ("client_id", "id"),
            ("client_secret", "s")
        ]
    );
}

#[test]
fn only_the_access_token_is_needed_and_every_other_field_may_be_odd() {
    for (body, expected) in [
        // The vendor's sample.
        (
            r#"{"id_token":"i","refresh_token":"r","expires_in":86400,"token_type":"Bearer","access_token":"a"}"#,
            "granted a r 86400",
        ),
        (r#"{"access_token":"_abc~"}"#, "granted _abc~ - -"),
        (r#" {"access_token":"a","expires_in":"15552000"}"#, "granted a - 15552000"),
        (r#"{"access_token":"a","expires_in":" 60 "}"#, "granted a - 60"),
        (r#"{"access_token":"a","expires_in":60.9}"#, "granted a - 60"),
        (r#"{"access_token":"a","expires_in":1e300}"#, "granted a - 4294967295"),
        (r#"{"access_token":"a","expires_in":null}"#, "granted a - -"),
        (r#"{"access_token":"a","expires_in":-1}"#, "granted a - -"),
        (r#"{"access_token":"a","expires_in":0}"#, "granted a - -"),
        (r#"{"access_token":"a","expires_in":"soon"}"#, "granted a - -"),
        (r#"{"access_token":"a","expires_in":"NaN"}"#, "granted a - -"),
        (r#"{"access_token":"a","expires_in":{"s":1}}"#, "granted a - -"),
        (r#"{"access_token":"a","refresh_token":null,"token_type":7,"error":null}"#, "granted a - -"),
        (r#"{"access_token":"a","refresh_token":"","error":""}"#, "granted a - -"),
        (r#"{"access_token":"a","new":[{"x":[1]}],"error":false}"#, "granted a - -"),
    ] {
        assert_eq!(verdict(FormKind::Refresh, arrived(200, body)), expected, "{body}");
    }
    assert_eq!(verdict(FormKind::Code, arrived(201, r#"{"access_token":"a"}"#)), "granted a - -");
}

#[test]
fn a_token_that_cannot_be_one_is_refused_without_being_shown() {
    let no_token = "passing: bad_answer: it has no access_token";
    let unsafe_token = "passing: bad_answer: a token in it holds a character that no token may hold";
    for (body, expected) in [
        ("{}", no_token),
        (r#"{"access_token":""}"#, no_token),
        (r#"{"access_token":null}"#, no_token),
        (r#"{"access_token":["a"]}"#, no_token),
        (r#"{"access_token":1}"#, no_token),
        (r#"{"access_token":"canary7canary7canary7\r\nhost=evil"}"#, unsafe_token),
        (r#"{"access_token":"canary7canary7canary7\u0000"}"#, unsafe_token),
        (r#"{"access_token":"canary7canary7canary7\u007f"}"#, unsafe_token),
        (r#"{"access_token":"canary7canary7canary7é"}"#, unsafe_token),
        (r#"{"access_token":"a","refresh_token":"canary7canary7canary7\n"}"#, unsafe_token),
    ] {
        assert_eq!(verdict(FormKind::Code, arrived(200, body)), expected, "{body}");
    }
}

#[test]
fn errors_are_told_apart_by_their_code_and_their_words() {
    use FormKind::{Code, Refresh};
    for (form, status, body, expected) in [
        (Code, 400, r#"{"error":"invalid_grant"}"#, "refused Grant: code_refused: invalid_grant"),
        (
            Refresh,
            400,
            r#"{"error":"invalid_grant","error_description":"expired"}"#,
            "refused Grant: token_refused: invalid_grant: expired",
        ),
        (Refresh, 200, r#"{"error":"invalid_grant"}"#, "refused Grant: token_refused: invalid_grant"),
        (Refresh, 401, r#"{"error":"invalid_grant"}"#, "refused Grant: token_refused: invalid_grant"),
        // The vendor's sample of an error.
        (
            Refresh,
            400,
            r#"{"client_id":"i","client_secret":"canary7canary7canary7","error_description":"Invalid value for grant_type params - must be authorization_code","error":"invalid_grant"}"#,
            "refused Unclear: bad_answer: invalid_grant: Invalid value for grant_type params - must be authorization_code",
        ),
        (
            Code,
            400,
            r#"{"error":"invalid_grant","error_description":"Missing PARAMETER"}"#,
            "refused Unclear: code_refused: invalid_grant: Missing PARAMETER",
        ),
        (Code, 400, r#"{"error":"invalid_client"}"#, "refused Client: client_refused: invalid_client"),
        (
            Refresh,
            403,
            r#"{"error":"unauthorized_client"}"#,
            "refused Client: client_refused: unauthorized_client",
        ),
        (Code, 401, r#"{"error":"of_tomorrow"}"#, "refused Unclear: code_refused: of_tomorrow"),
        (Code, 401, "<html>401</html>", "refused Unclear: code_refused: it answered with status 401"),
        (Code, 401, "{}", "refused Unclear: code_refused: it answered with status 401"),
        (Refresh, 401, "<html>401</html>", "refused Unclear: bad_answer: it answered with status 401"),
        (
            Code,
            400,
            r#"{"error":"invalid_request","access_token":"a"}"#,
            "refused Unclear: code_refused: invalid_request",
        ),
        (Refresh, 400, r#"{"error":"invalid_scope"}"#, "refused Unclear: bad_answer: invalid_scope"),
        (Refresh, 400, r#"{"error":{"code":1}}"#, "refused Unclear: bad_answer: it answered with status 400"),
        (
            Refresh,
            400,
            r#"{"access_token":"canary7canary7canary7"}"#,
            "refused Unclear: bad_answer: it answered with status 400",
        ),
        (
            Code,
            400,
            r#"{"error":"temporarily_unavailable","error_description":"nightly"}"#,
            "passing: unreachable: temporarily_unavailable: nightly",
        ),
        (Code, 400, r#"{"error":"server_error"}"#, "passing: unreachable: server_error"),
    ] {
        assert_eq!(verdict(form, arrived(status, body)), expected, "{status} {body}");
    }
}

#[test]
fn what_a_description_repeats_of_secrets_is_masked() {
    for (description, secret, expected) in [
        ("client_secret s3cret is wrong", "s3cret", "client_secret … is wrong"),
        ("bad token canary7canary7canary7, sorry", "", "bad token …, sorry"),
        ("canary7canary7canary7", "canary7canary7canary7", "…"),
        (
            "redirect_uri http://localhost:8477/callback is unknown",
            "x1",
            "redirect_uri http://localhost:8477/callback is unknown",
        ),
        ("must be authorization_code_unchanged", "x1", "must be authorization_code_unchanged"),
        ("\\u001b[31mred\\u202e\\n", "x1", "[31mred"),
    ] {
        let body = format!(
            r#"{{"client_secret":"{secret}","error":"invalid_client","error_description":"{description}"}}"#
        );
        let expected = format!("refused Client: client_refused: invalid_client: {expected}");
        assert_eq!(verdict(FormKind::Code, arrived(400, &body)), expected);
    }
}

#[test]
fn what_was_sent_is_masked_wherever_an_answer_quotes_it() {
    let verdict = |status, body: &str| verdict(FormKind::Code, quoting(status, body, &["sesame", "a/b<c"]));
    for (body, expected) in [
        (
            r#"{"error":"invalid_client","error_description":"bad client_secret sesame"}"#,
            "invalid_client: bad client_secret …",
        ),
        (
            r#"{"error":"invalid_client","error_description":"bad a\/b<c, or %61%2Fb%3Cc"}"#,
            "invalid_client: bad …, or …",
        ),
        (r#"{"error":"bad sesame"}"#, "bad …"),
        (
            r#"{"error":"x","error_description":"not sesame but barley","access_token":"barley"}"#,
            "x: not … but …",
        ),
    ] {
        let found = verdict(401, body);
        assert!(found.ends_with(&format!("_refused: {expected}")), "{found}");
    }
    let page = "<p>Your IP address, 192.0.2.7, may not use a/b<c or c2VzYW1l.</p>";
    let expected = "address_not_allowed: your IP address, 192.0.2.7, may not use … or …";
    assert_eq!(verdict(403, page), format!("refused Address: {expected}"));
    let long = format!("Your IP address {}sesame, ", "x ".repeat(139));
    assert!(!verdict(404, &long).contains("ses"), "the cut leaves no beginning of a secret");
    // What is granted is not quoted: a server may well give the same refresh token again.
    assert_eq!(verdict(200, r#"{"access_token":"a","refresh_token":"sesame"}"#), "granted a sesame -");
}

#[test]
fn a_users_name_that_is_the_token_is_none() {
    let names =
        r#"{"User":{"UserName":"a-token-of-many-letters","DisplayName":"Open a-token-of-many-letters"}}"#;
    let found = read_user_answer(quoting(200, names, &["a-token-of-many-letters"]));
    assert_eq!(found, UserAnswer::Found { username: None, display_name: None });
    let broken_up = r#"{"User":{"DisplayName":"Open a-token-of\u200b-many-letters"}}"#;
    let found = read_user_answer(quoting(200, broken_up, &["a-token-of-many-letters"]));
    assert_eq!(found, UserAnswer::Found { username: None, display_name: None });

    // A short secret may be a part of an honest name.
    let names = r#"{"User":{"UserName":"sesame@example.com"}}"#;
    let found = read_user_answer(quoting(200, names, &["sesame"]));
    let username = Some("sesame@example.com".to_owned());
    assert_eq!(found, UserAnswer::Found { username, display_name: None });
    let error = r#"{"OperationResult":{"Errors":["Not authorized: sesame"]}}"#;
    let refused = read_user_answer(quoting(200, error, &["sesame"]));
    assert_eq!(refused, UserAnswer::TokenRefused(token_refused("Not authorized: …")));
}

#[test]
fn pages_redirects_and_a_rally_in_trouble_pass() {
    let page = "<html><body>canary7canary7canary7</body></html>";
    let error = r#"{"error":"invalid_grant","error_description":"canary7canary7canary7"}"#;
    for (status, body, expected) in [
        (200, page, "bad_answer: a page came in place of JSON (status 200)"),
        (200, "", "bad_answer: a page came in place of JSON (status 200)"),
        (200, r#"["canary7canary7canary7"]"#, "bad_answer: a page came in place of JSON (status 200)"),
        (
            200,
            r#"{"access_token":"canary7canary7canary7""#,
            "bad_answer: a page came in place of JSON (status 200)",
        ),
        (400, page, "bad_answer: a page came in place of JSON (status 400)"),
        (404, page, "bad_answer: a page came in place of JSON (status 404)"),
        (302, page, "bad_answer: a redirect came (status 302), as a proxy or a network's sign-in page sends"),
        (
            307,
            error,
            "bad_answer: a redirect came (status 307), as a proxy or a network's sign-in page sends",
        ),
        (408, "", "unreachable: it answered with status 408"),
        (429, error, "unreachable: it answered with status 429; all tools of a user share one limit"),
        (500, error, "unreachable: it answered with status 500"),
        (503, page, "unreachable: it answered with status 503"),
        (599, page, "unreachable: it answered with status 599"),
    ] {
        assert_eq!(
            verdict(FormKind::Refresh, arrived(status, body)),
            format!("passing: {expected}"),
            "{body}"
        );
    }
    let busy = RawAnswer::Arrived {
        status: 429,
        retry_after: Some(17),
        body: Zeroizing::default(),
        sent: Sent::default(),
    };
    let answer = read_token_answer(FormKind::Refresh, busy);
    assert!(matches!(answer, TokenAnswer::Passing { retry: Retry::After(17), .. }), "{answer:?}");
}

#[test]
fn an_address_that_the_subscription_does_not_allow_is_explained() {
    let page = "<html><p>Your IP address, 192.0.2.7, is not within the allowed range that your subscription \
                administrator has configured.</p></html>";
    let expected = "Rally does not allow this machine's IP address\n  why: your IP address, 192.0.2.7, is not within \
                    the allowed range that your subscription administrator has configured\n  try: connect through the \
                    network or VPN that your subscription allows";
    for status in [403, 404] {
        match read_token_answer(FormKind::Code, arrived(status, page)) {
            TokenAnswer::Refused(Refusal { of: Refused::Address, fault }) => {
                assert_eq!(
                    (fault.kind, fault.to_string().as_str()),
                    (FaultKind::AddressNotAllowed, expected)
                );
            }
            other => panic!("{other:?}"),
        }
        match read_user_answer(arrived(status, page)) {
            UserAnswer::AddressNotAllowed(fault) => assert_eq!(fault.to_string(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_never_arrived_passes_with_a_remedy_where_there_is_one() {
    for (trouble, expected) in [
        (
            SendTrouble::Unreachable("the connection was refused".to_owned()),
            "Rally cannot be reached\n  why: the connection was refused\n  try: check the network and the proxy, then ask again",
        ),
        (
            SendTrouble::TimedOut,
            "Rally cannot be reached\n  why: no answer came in time\n  try: check the network and the proxy, then ask again",
        ),
        (
            SendTrouble::TooLarge,
            "the answer is not one of Rally's API\n  why: the answer is too large\n  try: try again later, and check base_url and the proxy",
        ),
        (
            SendTrouble::BadCaFile("it holds no certificate".to_owned()),
            "the profile's ca_file cannot be used\n  why: it holds no certificate\n  try: let ca_file name a PEM file \
             with the certificate authority, or remove it",
        ),
    ] {
        match read_token_answer(FormKind::Code, RawAnswer::Failed(trouble.clone())) {
            TokenAnswer::Passing { fault, retry: Retry::Later | Retry::Online } => {
                assert_eq!(fault.to_string(), expected)
            }
            other => panic!("{other:?}"),
        }
        let user = read_user_answer(RawAnswer::Failed(trouble));
        assert!(matches!(user, UserAnswer::Passing { .. }), "{user:?}");
    }
    let bad = read_user_answer(RawAnswer::Failed(SendTrouble::BadToken));
    assert!(matches!(bad, UserAnswer::TokenRefused(_)), "{bad:?}");
}

/// The same mistake has the same remedy, and no two have one.
#[test]
fn each_reason_to_distrust_and_each_trouble_with_a_proxy_has_a_remedy_of_its_own() {
    let proxy = |has_user| Proxy {
        address: "http://proxy:3128".to_owned(),
        variable: "HTTPS_PROXY",
        server: "https://rally1.rallydev.com".to_owned(),
        has_user,
    };
    let why = || "for some reason".to_owned();
    let troubles = [
        SendTrouble::Tls(Distrust::UnknownAuthority),
        SendTrouble::Tls(Distrust::NoAuthorities(why())),
        SendTrouble::Tls(Distrust::OtherHost(why())),
        SendTrouble::Tls(Distrust::Expired(why())),
        SendTrouble::Tls(Distrust::NotYetValid(why())),
        SendTrouble::Tls(Distrust::NotTls),
        SendTrouble::Tls(Distrust::Other(why())),
        SendTrouble::Proxy(proxy(false), ProxyTrouble::WantsPassword),
        SendTrouble::Proxy(proxy(true), ProxyTrouble::WantsPassword),
        SendTrouble::Proxy(proxy(true), ProxyTrouble::Refuses),
        SendTrouble::Proxy(proxy(true), ProxyTrouble::Unreachable(why())),
        SendTrouble::BadCaFile(why()),
        SendTrouble::Unreachable(why()),
    ];
    let remedies: std::collections::BTreeSet<_> = troubles
        .iter()
        .filter_map(|trouble| trouble.fault().remedy)
        .map(|remedy| remedy.to_string())
        .collect();
    assert_eq!(remedies.len(), troubles.len(), "{remedies:#?}");
}

#[test]
fn what_passes_says_when_to_ask_again() {
    for (status, retry_after, expected) in [
        (503, None, "ask again in a few minutes"),
        (503, Some(30), "ask again in 30 s"),
        (429, Some(7), "ask again in 7 s"),
        (429, None, "run fewer tools at a time, and ask again in a few minutes"),
        (500, Some(86_400), "ask again in a few minutes"),
    ] {
        let body = Zeroizing::new(b"<html>".to_vec());
        let TokenAnswer::Passing { fault, .. } = read_token_answer(
            FormKind::Code,
            RawAnswer::Arrived { status, retry_after, body, sent: Sent::default() },
        ) else {
            panic!("{status} is no refusal");
        };
        let remedy = fault.remedy.unwrap();
        assert!(remedy.to_string().contains(expected), "{status}: {remedy}");
    }
}

#[test]
fn refusals_name_the_command_that_helps() {
    for (form, body, expected) in [
        (
            FormKind::Code,
            r#"{"error":"invalid_grant"}"#,
            "Rally does not accept the authorization code\n  why: invalid_grant\n  try: rally-cred login",
        ),
        (
            FormKind::Refresh,
            r#"{"error":"invalid_grant"}"#,
            "Rally no longer accepts the stored refresh token\n  why: invalid_grant\n  try: rally-cred login",
        ),
        (
            FormKind::Refresh,
            r#"{"error":"invalid_client"}"#,
            "Rally does not accept the client ID and client secret\n  why: invalid_client\n  try: rally-cred login \
             --client-secret-stdin",
        ),
    ] {
        match read_token_answer(form, arrived(400, body)) {
            TokenAnswer::Refused(refusal) => assert_eq!(refusal.fault.to_string(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_user_query_finds_names_refused_tokens_and_passing_trouble() {
    let refused = |why: &str| UserAnswer::TokenRefused(token_refused(why));
    let passing = |fault: Fault| UserAnswer::Passing { fault, retry: Retry::Later };
    let found = |username: Option<&str>, display_name: Option<&str>| UserAnswer::Found {
        username: username.map(str::to_owned),
        display_name: display_name.map(str::to_owned),
    };
    for (status, body, expected) in [
        (
            200,
            r#"{"User":{"UserName":"me@example.com","DisplayName":"Me","EmailAddress":"x","ObjectID":1,"Errors":[],"Warnings":[]}}"#,
            found(Some("me@example.com"), Some("Me")),
        ),
        (200, r#"{"User":{"ObjectID":"1"}}"#, found(None, None)),
        (200, r#"{"User":{"UserName":null,"DisplayName":"","Errors":null}}"#, found(None, None)),
        (200, r#"{"User":{"UserName":"me\npassword=x","DisplayName":"M\u001be"}}"#, found(None, Some("Me"))),
        (401, "<html>Full authentication is required</html>", refused("it answered with status 401")),
        (403, "<html>Forbidden</html>", refused("it answered with status 403")),
        (
            200,
            r#"{"OperationResult":{"Errors":["Not authorized to perform action: Invalid key"],"Warnings":[]}}"#,
            refused("Not authorized to perform action: Invalid key"),
        ),
        (
            200,
            r#"{"OperationResult":{"Errors":["Cannot find object to read"]}}"#,
            passing(bad_answer("Cannot find object to read")),
        ),
        (
            200,
            r#"{"QueryResult":{"Errors":["Could not parse canary7canary7canary7"]}}"#,
            passing(bad_answer("Could not parse …")),
        ),
        (200, r#"{"User":{"UserName":"me","Errors":["Odd"]}}"#, passing(bad_answer("Odd"))),
        (200, "{}", passing(bad_answer("it has no User"))),
        (200, r#"{"User":7}"#, passing(not_the_api(200))),
        (200, r#"{"User":["me","Me",[]]}"#, passing(not_the_api(200))),
        (200, r#"{"OperationResult":[["Invalid key"]]}"#, passing(not_the_api(200))),
        (200, "<html>Sign in to the network</html>", passing(not_the_api(200))),
        (404, "<html>Not found</html>", passing(not_the_api(404))),
        (404, r#"{"User":{"UserName":"me"}}"#, passing(not_the_api(404))),
        (302, "", passing(status_trouble(302, None).unwrap())),
        (503, "<html>Maintenance</html>", passing(status_trouble(503, None).unwrap())),
    ] {
        assert_eq!(read_user_answer(arrived(status, body)), expected, "{status} {body}");
    }
}

#[test]
fn a_raw_answer_does_not_show_its_body() {
    let shown = format!("{:?}", arrived(200, CANARY));
    assert_eq!(shown, "Arrived(200, retry after None, 21 bytes)");
}
