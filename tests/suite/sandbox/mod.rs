//! The sandbox behaves as Rally is known to, and fails where it is told to.
//! Does not: run any program of the product.
//! Used by: whoever wants to know what the other tests stand on.

mod faults;
mod login;
mod tls;
mod tokens;
mod writing;
mod wsapi;

use rally_cred_tests::browser::Choice;
use rally_cred_tests::sandbox::{Options, Sandbox};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::runtime::{self, Runtime};

/// A sandbox and a client that keeps no cookies and follows no redirects, as the product's does.
struct Stage {
    sandbox: Sandbox,
    http: Client,
    runtime: Runtime,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(Options::default())
    }

    fn with(options: Options) -> Stage {
        let sandbox = Sandbox::start(options).unwrap();
        let http = client(sandbox.ca_pem());
        Stage { sandbox, http, runtime: runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok(Answer { status, headers, text: answer.text().await? })
        })
    }

    fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path)))
    }

    fn wsapi(&self, token: &str, path: &str) -> Answer {
        let url = self.url(&format!("/slm/webservice/v2.0/{path}"));
        self.send(self.http.get(url).header("ZSESSIONID", token))
    }

    /// Presses "Allow Access" and takes the code from the redirect.
    fn code(&self) -> String {
        let url = self.sandbox.authorization_url("some-state");
        let redirect = self.sandbox.browser().consent(&url, Choice::Allow).unwrap();
        redirect.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    /// A request to the token endpoint, without its body.
    fn token_request(&self) -> RequestBuilder {
        self.http.post(self.url("/login/oauth2/token"))
    }

    fn post_token(&self, form: &[(&str, &str)]) -> Answer {
        self.send(self.token_request().form(form))
    }

    fn redeem(&self, code: &str) -> Answer {
        self.post_token(&exchange(code))
    }

    fn refresh(&self, refresh_token: &str) -> Answer {
        self.post_token(&renewal(refresh_token))
    }

    /// A whole sign-in; access token and refresh token.
    fn tokens(&self) -> (String, String) {
        let answer = self.redeem(&self.code());
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.tokens()
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(HeaderValue::to_str).unwrap().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Access token and refresh token of a success.
    fn tokens(&self) -> (String, String) {
        let body = self.json();
        let [access, refresh] =
            ["access_token", "refresh_token"].map(|name| body[name].as_str().unwrap().to_owned());
        (access, refresh)
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
