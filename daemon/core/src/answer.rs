//! Turns Rally's answer into a verdict: granted, refused for good, or passing.
//! Does not: send, wait, log, or look at a clock.
//! Used by: the endpoint, which fills `RawAnswer`, and the broker, which acts on the verdict.

mod body;
mod trouble;
mod user;

use rally_cred_proto::{Fault, FaultKind, Secret, plain::cut, remedy::Command};
use zeroize::Zeroizing;

use super::sent::Sent;
use body::TokenBody;
pub use trouble::{Distrust, Proxy, ProxyTrouble, SendTrouble};
pub use user::{UserAnswer, read_user_answer};

/// A request to the token endpoint.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum TokenForm {
    /// Turns an authorization code, good for one use, into tokens; the redirect URI is exactly the one it was sent to.
    Code { code: Secret, redirect_uri: String },
    /// Turns a refresh token into new tokens.
    Refresh { refresh_token: Secret },
}

/// Which of the two requests an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// An authorization code was sent.
    Code,
    /// A refresh token was sent.
    Refresh,
}

impl TokenForm {
    /// The secrets in the request.
    pub fn sent(&self, client_secret: &Secret) -> Sent {
        let own = match self {
            Self::Code { code, redirect_uri: _ } => code,
            Self::Refresh { refresh_token } => refresh_token,
        };
        Sent::new([own.clone(), client_secret.clone()])
    }

    /// The form fields, exactly those that are known to work: for a code those of vendor article 140086, in its order;
    /// for a refresh token those of flowdock/rally-wsapi, which used them in production.
    pub fn fields<'a>(&'a self, client_id: &'a str, secret: &'a Secret) -> Vec<(&'static str, &'a str)> {
        let mut fields = match self {
            Self::Code { code, redirect_uri } => vec![
                ("code", code.expose()),
                ("redirect_uri", redirect_uri),
                ("grant_type", "authorization_code"),
            ],
            Self::Refresh { refresh_token } => {
                vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]
            }
        };
        fields.extend([("client_id", client_id), ("client_secret", secret.expose())]);
        fields
    }
}

/// An answer off the network, or why none came. `Debug` shows the length of the body only.
pub enum RawAnswer {
    /// An answer with a whole body.
    Arrived {
        /// The HTTP status.
        status: u16,
        /// The `Retry-After` header in seconds from now.
        retry_after: Option<u32>,
        /// The body, which may hold tokens; wiped when dropped.
        body: Zeroizing<Vec<u8>>,
        /// What the request carried, and the body may quote; all text of the body is shown through it.
        sent: Sent,
    },
    /// No whole answer.
    Failed(SendTrouble),
}

impl RawAnswer {
    /// The same answer, which may quote these secrets too.
    pub fn beside(mut self, secrets: Sent) -> Self {
        if let Self::Arrived { sent, .. } = &mut self {
            sent.add(secrets);
        }
        self
    }
}

impl std::fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Arrived { status, retry_after, body, sent: _ } => {
                write!(f, "Arrived({status}, retry after {retry_after:?}, {} bytes)", body.len())
            }
            Self::Failed(trouble) => write!(f, "Failed({trouble:?})"),
        }
    }
}

/// When a request that came to nothing is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After a pause that grows with each failure.
    Later,
    /// After as many seconds, as Rally asked.
    After(u32),
    /// As soon as the network is another, since it was in the way; until then, as [`Retry::Later`].
    Online,
}

impl Retry {
    fn asked(retry_after: Option<u32>) -> Self {
        retry_after.map_or(Self::Later, Self::After)
    }
}

/// The verdict of the token endpoint.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum TokenAnswer {
    /// New tokens.
    Granted(Grant),
    /// A refusal: repeating the request would not help.
    Refused(Refusal),
    /// No usable answer: keep every token, and ask again.
    Passing { fault: Fault, retry: Retry },
}

/// New tokens. A `refresh_token` replaces the one that was sent, and must be kept before anything else is done.
#[derive(Debug)]
pub struct Grant {
    /// The access token, sent as `ZSESSIONID`: printable ASCII, not empty.
    pub access_token: Secret,
    /// The next refresh token. `None`: the old one stays valid.
    pub refresh_token: Option<Secret>,
    /// Lifetime in seconds, from 1 to `u32::MAX`. `None`: not given, or given as zero or less.
    pub expires_in: Option<u64>,
}

/// A refusal for good.
#[derive(Debug)]
pub struct Refusal {
    /// What was refused.
    pub of: Refused,
    /// The fault for people.
    pub fault: Fault,
}

/// What Rally refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The code or the refresh token, which is dead.
    Grant,
    /// The client ID with the client secret: ask for the secret. The refresh token may be good.
    Client,
    /// This machine's address, by the subscription's rules. Every token may be good.
    Address,
    /// Something else: keep the refresh token, but do not repeat the request unasked.
    Unclear,
}

/// Reads the token endpoint's answer. Its statuses and content types are not documented, so an OAuth body (RFC 6749 §5)
/// decides wherever there is one; the status decides where there is none, or where Rally itself is in trouble.
pub fn read_token_answer(form: FormKind, raw: RawAnswer) -> TokenAnswer {
    let (status, retry_after, bytes, sent) = match raw {
        RawAnswer::Arrived { status, retry_after, body, sent } => (status, retry_after, body, sent),
        RawAnswer::Failed(trouble) => {
            return TokenAnswer::Passing { fault: trouble.fault(), retry: trouble.retry() };
        }
    };
    let passing = |fault| TokenAnswer::Passing { fault, retry: Retry::asked(retry_after) };
    if let Some(fault) = status_trouble(status, retry_after) {
        return passing(fault);
    }
    if let Some(fault) = address_trouble(status, &bytes, &sent) {
        return TokenAnswer::Refused(Refusal { of: Refused::Address, fault });
    }
    let Some(body) = TokenBody::parse(&bytes) else {
        return match status {
            401 => refusal(form, Refused::Unclear, &format!("it answered with status {status}")),
            _ => passing(not_the_api(status)),
        };
    };
    let of = match body.error() {
        Some("temporarily_unavailable" | "server_error") => {
            return passing(out_of_order(retry_after).why(body.reason(status, &sent)));
        }
        Some("invalid_client" | "unauthorized_client") => Refused::Client,
        // Rally says `invalid_grant` where the standard has `unsupported_grant_type`, so the words decide.
        Some("invalid_grant") if body.blames_the_form() => Refused::Unclear,
        Some("invalid_grant") => Refused::Grant,
        Some(_) => Refused::Unclear,
        None if (200..300).contains(&status) => {
            return body.into_grant().map_or_else(|why| passing(bad_answer(why)), TokenAnswer::Granted);
        }
        None => Refused::Unclear,
    };
    refusal(form, of, &body.reason(status, &sent))
}

fn refusal(form: FormKind, of: Refused, why: &str) -> TokenAnswer {
    let (kind, what) = match (of, form) {
        (Refused::Client, _) => {
            (FaultKind::ClientRefused, "Rally does not accept the client ID and client secret")
        }
        (Refused::Address, _) => (FaultKind::AddressNotAllowed, ADDRESS_NOT_ALLOWED),
        (Refused::Grant, FormKind::Code) => {
            (FaultKind::CodeRefused, "Rally does not accept the authorization code")
        }
        (Refused::Unclear, FormKind::Code) => (FaultKind::CodeRefused, "Rally refused the token request"),
        (Refused::Grant, FormKind::Refresh) => {
            (FaultKind::TokenRefused, "Rally no longer accepts the stored refresh token")
        }
        (Refused::Unclear, FormKind::Refresh) => (FaultKind::BadAnswer, "Rally refused the refresh request"),
    };
    let with_secret = Command::new("rally-cred login --client-secret-stdin");
    let remedy = match of {
        // A wrong client secret may be the cause, and another try with it would end the same way.
        Refused::Unclear if form == FormKind::Code => with_secret.and(", in case it is wrong"),
        Refused::Client => with_secret.into(),
        Refused::Address => ALLOWED_NETWORK.into(),
        Refused::Grant | Refused::Unclear => Command::new("rally-cred login").into(),
    };
    TokenAnswer::Refused(Refusal { of, fault: Fault::new(kind, what).why(why).remedy(remedy) })
}

/// Passing statuses, and redirects, which Rally's API never sends.
fn status_trouble(status: u16, retry_after: Option<u32>) -> Option<Fault> {
    match status {
        429 => Some(
            Fault::new(FaultKind::Unreachable, "Rally takes no more requests of this user for now")
                .why("it answered with status 429; all tools of a user share one limit")
                .remedy(format!("run fewer tools at a time, and ask again {}", later(retry_after))),
        ),
        408 | 500..=599 => Some(out_of_order(retry_after).why(format!("it answered with status {status}"))),
        300..=399 => Some(
            bad_answer(&format!(
                "a redirect came (status {status}), as a proxy or a network's sign-in page sends"
            ))
            .remedy("sign in to your network, or check base_url and the proxy"),
        ),
        _ => None,
    }
}

/// Rally answers, but does not work.
fn out_of_order(retry_after: Option<u32>) -> Fault {
    Fault::new(FaultKind::Unreachable, "Rally is out of order")
        .remedy(format!("ask again {}; if it stays so, ask your Rally administrator", later(retry_after)))
}

/// When another try makes sense.
fn later(retry_after: Option<u32>) -> String {
    match retry_after {
        Some(seconds @ 1..=3600) => format!("in {seconds} s"),
        Some(_) | None => "in a few minutes".to_owned(),
    }
}

/// A subscription that restricts addresses answers all others with this page, under status 404.
fn address_trouble(status: u16, body: &[u8], sent: &Sent) -> Option<Fault> {
    const BEGINNING: &str = "Your IP address";
    if !matches!(status, 403 | 404) {
        return None;
    }
    let page = String::from_utf8_lossy(body);
    let (_, rest) = page.split_once(BEGINNING)?;
    // Masked before the sentence is cut at the next tag: a secret may hold a `<`.
    let rest = sent.masked(rest, &[]);
    let rest = rest.split('<').next().unwrap_or_default();
    let rest = rest.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    Some(
        Fault::new(FaultKind::AddressNotAllowed, ADDRESS_NOT_ALLOWED)
            .why(cut(&format!("{BEGINNING}{rest}").replacen('Y', "y", 1)))
            .remedy(ALLOWED_NETWORK),
    )
}

const ADDRESS_NOT_ALLOWED: &str = "Rally does not allow this machine's IP address";
const ALLOWED_NETWORK: &str = "connect through the network or VPN that your subscription allows";

/// A page or other text in place of JSON: from a gateway, during maintenance, or at a wrong base URL.
fn not_the_api(status: u16) -> Fault {
    bad_answer(&format!("a page came in place of JSON (status {status})"))
}

fn bad_answer(why: &str) -> Fault {
    Fault::new(FaultKind::BadAnswer, "the answer is not one of Rally's API")
        .why(why)
        .remedy("try again later, and check base_url and the proxy")
}

fn unreachable(why: &str) -> Fault {
    Fault::new(FaultKind::Unreachable, "Rally cannot be reached")
        .why(why)
        .remedy("check the network and the proxy, then ask again")
}

fn token_refused(why: &str) -> Fault {
    Fault::new(FaultKind::TokenRefused, "Rally does not accept the token").why(why).run("rally-cred login")
}

#[cfg(test)]
mod tests;
