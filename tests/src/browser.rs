//! A browser without a window: it opens an authorization URL, presses a button of the consent form, and goes where it is sent.
//! Does not: run scripts or load what a page refers to.
//! Used by: tests and the demo, in the place of a person.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Certificate, Client, Method, redirect};
use url::Url;

use rally_cred_proto::unpoisoned;

/// One browser, with the cookies of one sitting. Inside an async runtime its methods panic.
pub struct Browser {
    http: Result<Client, Trouble>,
    cookies: Mutex<Vec<(String, String)>>,
}

/// Which button of the consent form is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// "Allow Access"
    Allow,
    /// "Deny"
    Deny,
}

/// Where the browser has been, and what it shows at the end.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Every request, in order.
    pub steps: Vec<Step>,
    /// The last page's status.
    pub status: u16,
    /// The last page's source.
    pub text: String,
}

/// One request and the status it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `GET` or `POST`.
    pub method: String,
    /// The whole address. That of a redirect holds a code.
    pub url: Url,
    /// The answer's status.
    pub status: u16,
}

/// Why the browser got stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The address cannot be reached, or its certificate is not trusted; the text has the causes, without the address.
    Network(String),
    /// The address, or a redirect's target, is not a URL.
    BadUrl,
    /// The page has no form with the wanted button; the page's status.
    NoButton(u16),
    /// The answer to the form was not a redirect; its status.
    NoRedirect(u16),
    /// The redirects do not end.
    TooManyRedirects,
}

/// As many redirects as a browser follows, more or less.
const MOST_REDIRECTS: usize = 20;

/// A page that takes longer than this is not coming.
const PATIENCE: Duration = Duration::from_secs(60);

impl Browser {
    /// A browser for plain http, or for https under this one CA (a PEM certificate) and no other.
    pub fn trusting(ca_pem: Option<&str>) -> Browser {
        Browser { http: client(ca_pem), cookies: Mutex::default() }
    }

    /// Opens the authorization URL, presses "Allow Access", and follows the redirect to the callback.
    pub fn allow(&self, url: &str) -> Result<Visit, Trouble> {
        runtime()?.block_on(self.decide(url, Choice::Allow))
    }

    /// Opens the authorization URL, presses "Deny", and follows the redirect to the callback.
    pub fn deny(&self, url: &str) -> Result<Visit, Trouble> {
        runtime()?.block_on(self.decide(url, Choice::Deny))
    }

    /// Opens the authorization URL, presses a button, and stops before the redirect: what a person would copy
    /// from the address bar when the callback cannot be reached.
    pub fn consent(&self, url: &str, choice: Choice) -> Result<Url, Trouble> {
        runtime()?.block_on(self.press(url, choice, &mut Vec::new()))
    }

    /// Opens a page and follows redirects.
    pub fn open(&self, url: &str) -> Result<Visit, Trouble> {
        runtime()?.block_on(self.visit(url))
    }

    async fn visit(&self, url: &str) -> Result<Visit, Trouble> {
        self.follow(Url::parse(url).map_err(|_| Trouble::BadUrl)?, Vec::new()).await
    }

    async fn decide(&self, url: &str, choice: Choice) -> Result<Visit, Trouble> {
        let mut steps = Vec::new();
        let redirect = self.press(url, choice, &mut steps).await?;
        self.follow(redirect, steps).await
    }

    async fn press(&self, url: &str, choice: Choice, steps: &mut Vec<Step>) -> Result<Url, Trouble> {
        let page = self.visit(url).await?;
        let shown = page.steps.last().map(|step| step.url.clone()).ok_or(Trouble::BadUrl)?;
        steps.extend(page.steps);
        let label = match choice {
            Choice::Allow => "Allow Access",
            Choice::Deny => "Deny",
        };
        let form = Form::find(&page.text, label).ok_or(Trouble::NoButton(page.status))?;
        let target = shown.join(&form.action).map_err(|_| Trouble::BadUrl)?;
        let answer = self.request(Method::POST, &target, Some(&form.fields)).await?;
        steps.push(Step { method: "POST".into(), url: target.clone(), status: answer.status });
        let location = answer.location.ok_or(Trouble::NoRedirect(answer.status))?;
        target.join(&location).map_err(|_| Trouble::BadUrl)
    }

    async fn follow(&self, mut url: Url, mut steps: Vec<Step>) -> Result<Visit, Trouble> {
        for _ in 0..MOST_REDIRECTS {
            let answer = self.request(Method::GET, &url, None).await?;
            steps.push(Step { method: "GET".into(), url: url.clone(), status: answer.status });
            match answer.location {
                Some(location) => url = url.join(&location).map_err(|_| Trouble::BadUrl)?,
                None => return Ok(Visit { steps, status: answer.status, text: answer.text }),
            }
        }
        Err(Trouble::TooManyRedirects)
    }

    async fn request(
        &self,
        method: Method,
        url: &Url,
        form: Option<&[(String, String)]>,
    ) -> Result<Answer, Trouble> {
        let http = self.http.as_ref().map_err(Clone::clone)?;
        let mut request = http.request(method, url.clone());
        if let Some(form) = form {
            request = request.form(form);
        }
        // Cookies know hosts and no ports: the callback on loopback sees those of a login server on loopback.
        let host = url.host_str().unwrap_or_default();
        let cookies = self.cookies_for(host);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies);
        }
        let answer = request.send().await.map_err(network)?;
        self.keep_cookies(host, answer.headers());
        let status = answer.status();
        let location =
            answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let location = location.filter(|_| status.is_redirection());
        let text = answer.text().await.map_err(network)?;
        Ok(Answer { status: status.as_u16(), location, text })
    }

    fn cookies_for(&self, host: &str) -> String {
        let cookies = unpoisoned(&self.cookies);
        let own: Vec<&str> =
            cookies.iter().filter(|(of, _)| of == host).map(|(_, pair)| pair.as_str()).collect();
        own.join("; ")
    }

    fn keep_cookies(&self, host: &str, headers: &HeaderMap) {
        let mut cookies = unpoisoned(&self.cookies);
        for value in headers.get_all(SET_COOKIE) {
            let pair = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
            let name = pair.split('=').next().unwrap_or_default();
            cookies.retain(|(of, kept)| of != host || kept.split('=').next() != Some(name));
            cookies.push((host.to_owned(), pair.to_owned()));
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Network(causes) => write!(f, "the page cannot be loaded: {causes}"),
            Trouble::BadUrl => f.write_str("the address is not a URL"),
            Trouble::NoButton(status) => write!(f, "the page (status {status}) has no form with that button"),
            Trouble::NoRedirect(status) => {
                write!(f, "the form was answered with status {status}, not a redirect")
            }
            Trouble::TooManyRedirects => f.write_str("the redirects do not end"),
        }
    }
}

impl std::error::Error for Trouble {}

struct Answer {
    status: u16,
    location: Option<String>,
    text: String,
}

/// A form with the fields that one of its buttons sends.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    /// The first form with a button of this label. It understands plain HTML with quoted attributes.
    fn find(page: &str, label: &str) -> Option<Form> {
        page.split("<form").skip(1).find_map(|rest| {
            let form = rest.split("</form").next()?;
            let mut tags = form.split('<');
            let action = attribute(tags.next()?, "action")?;
            let mut fields = Vec::new();
            let mut pressed = None;
            for tag in tags {
                let (inside, text) = tag.split_once('>').unwrap_or((tag, ""));
                let field = || Some((attribute(inside, "name")?, attribute(inside, "value")?));
                if inside.starts_with("input") {
                    fields.extend(field());
                } else if inside.starts_with("button") && unescaped(text.trim()) == label {
                    pressed = field();
                }
            }
            fields.push(pressed?);
            Some(Form { action, fields })
        })
    }
}

/// The value of a tag's attribute.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    value.split_once('"').map(|(value, _)| unescaped(value))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// Only this CA is trusted, so that no certificate store of the machine is needed.
pub fn client(ca_pem: Option<&str>) -> Result<Client, Trouble> {
    // The error says that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = ca_pem.map(|pem| Certificate::from_pem(pem.as_bytes())).transpose().map_err(network)?;
    Client::builder()
        .user_agent("rally-sandbox-browser")
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .tls_certs_only(ca)
        .build()
        .map_err(network)
}

/// The error's chain of causes in one line. Addresses are left out: a redirect's holds a code.
fn network(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let mut causes = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        causes.push_str(": ");
        causes.push_str(&inner.to_string());
        cause = inner.source();
    }
    Trouble::Network(causes)
}

fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    let failed = |error: io::Error| Trouble::Network(error.to_string());
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)
}
