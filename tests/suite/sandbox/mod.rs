//! The sandbox behaves as Rally is known to, and fails where it is told to.
//! Does not: run any program of the product.
//! Used by: whoever wants to know what the other tests stand on.

mod faults;
mod login;
mod program;
mod tls;
mod tokens;
mod writing;
mod wsapi;

use rally_cred_tests::browser::Choice;
use rally_cred_tests::sandbox::{Options, Sandbox};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use serde_json::Value;

/// A sandbox and a client that keeps no cookies and follows no redirects, as the product's does.
struct Stage {
    sandbox: Sandbox,
    http: Client,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Stage {
    async fn new() -> Stage {
        Stage::with(Options::default()).await
    }

    async fn with(options: Options) -> Stage {
        let sandbox = Sandbox::start(options).await.unwrap();
        let http = client(sandbox.ca_pem());
        Stage { sandbox, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    async fn wsapi(&self, token: &str, path: &str) -> Answer {
        let request =
            self.http.get(self.url(&format!("/slm/webservice/v2.0/{path}"))).header("ZSESSIONID", token);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn control(&self, path: &str, body: &str) -> u16 {
        let request =
            self.http.post(self.url(path)).header("content-type", "application/json").body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    /// Presses "Allow Access" and takes the code from the redirect.
    async fn code(&self) -> String {
        let url = self.sandbox.authorization_url("some-state");
        let redirect = self.sandbox.browser().consent(&url, Choice::Allow).await.unwrap();
        redirect.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    async fn post_token(&self, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url("/login/oauth2/token")).form(form);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.post_token(&exchange(code)).await
    }

    async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post_token(&renewal(refresh_token)).await
    }

    /// A whole sign-in; the token endpoint's success body.
    async fn tokens(&self) -> Value {
        let answer = self.redeem(&self.code().await).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

impl Answer {
    async fn of(answer: Response) -> Answer {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(HeaderValue::to_str).unwrap().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

fn client(ca_pem: Option<&str>) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = ca_pem.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(ca)
        .build()
        .unwrap()
}

/// The documented form that redeems a code, for the client that the sandbox knows by default.
fn exchange(code: &str) -> [(&str, &str); 5] {
    [
        ("code", code),
        ("redirect_uri", "http://localhost:8477/callback"),
        ("grant_type", "authorization_code"),
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-client-secret"),
    ]
}

/// The form that a program used in production to refresh.
fn renewal(refresh_token: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-client-secret"),
    ]
}
