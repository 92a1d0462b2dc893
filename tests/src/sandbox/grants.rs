//! What Rally remembers of a sign-in: consent tickets, authorization codes, access tokens and refresh tokens.
//! Does not: speak HTTP or read a clock; every call is told what time it is.
//! Used by: `login` (which makes and redeems grants) and `gate` (which asks whether a token is good).

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::options::Options;

/// All grants of one sandbox.
#[derive(Default)]
pub(super) struct Grants {
    tickets: HashMap<String, Request>,
    codes: HashMap<String, Code>,
    /// When each ends; none: never.
    access: HashMap<String, Option<Instant>>,
    refresh: HashSet<String>,
    planted: VecDeque<Planted>,
}

/// The part of an authorization request that matters after the consent page.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) redirect_uri: String,
    pub(super) state: String,
}

struct Code {
    redirect_uri: String,
    ends: Instant,
}

/// What a successful token request yields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

/// Values to use in place of random ones, for tests that plant a secret and then search for it. Each value is used once,
/// by the next thing of its kind that is made; several plantings queue up, each kind in its own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// The next authorization code.
    pub code: Option<String>,
    /// The next access token.
    pub access_token: Option<String>,
    /// The next refresh token.
    pub refresh_token: Option<String>,
    /// The next `id_token`.
    pub id_token: Option<String>,
}

/// Why a code or a refresh token was refused; the text becomes the error's description.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownCode,
    CodeExpired,
    OtherRedirect,
    UnknownRefresh,
}

/// From its issue to its end. Rally does not say.
const CODE_LIFE: Duration = Duration::from_secs(60);

impl Grants {
    /// Remembers a request that is shown to the user; the ticket is the consent form's one-time key to it.
    pub(super) fn ask(&mut self, request: Request) -> String {
        let ticket = Uuid::new_v4().to_string();
        self.tickets.insert(ticket.clone(), request);
        ticket
    }

    /// Takes the request of a ticket. A ticket works once.
    pub(super) fn answer(&mut self, ticket: &str) -> Option<Request> {
        self.tickets.remove(ticket)
    }

    /// Makes an authorization code, bound to the redirect URI of its request.
    pub(super) fn issue_code(&mut self, now: Instant, redirect_uri: String) -> String {
        let code = self.take_planted(|planted| &mut planted.code).unwrap_or_else(opaque);
        let ends = now + CODE_LIFE;
        self.codes.insert(code.clone(), Code { redirect_uri, ends });
        code
    }

    /// Turns a code into tokens. The code is gone afterwards, whatever the answer was.
    pub(super) fn redeem(
        &mut self,
        now: Instant,
        options: &Options,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, Refusal> {
        let code = self.codes.remove(code).ok_or(Refusal::UnknownCode)?;
        if code.ends <= now {
            return Err(Refusal::CodeExpired);
        }
        if code.redirect_uri != redirect_uri {
            return Err(Refusal::OtherRedirect);
        }
        let refresh_token = options.allow_refresh.then(|| self.issue_refresh());
        Ok(self.issue_access(now, options, refresh_token))
    }

    /// Turns a refresh token into a new access token, and into a new refresh token where rotation is on.
    pub(super) fn renew(
        &mut self,
        now: Instant,
        options: &Options,
        refresh_token: &str,
    ) -> Result<Tokens, Refusal> {
        if !self.refresh.contains(refresh_token) {
            return Err(Refusal::UnknownRefresh);
        }
        let refresh_token = if options.rotate_refresh {
            self.refresh.remove(refresh_token);
            self.issue_refresh()
        } else {
            refresh_token.to_owned()
        };
        Ok(self.issue_access(now, options, Some(refresh_token)))
    }

    /// Makes `token` a good access token that does not expire, as an API key is.
    pub(super) fn admit(&mut self, token: &str) {
        self.access.insert(token.to_owned(), None);
    }

    /// Forgets one access token or refresh token; says whether it was known.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        let access = self.access.remove(token).is_some();
        self.refresh.remove(token) || access
    }

    /// Forgets every token, of both kinds, and every code.
    pub(super) fn revoke_all(&mut self) {
        self.access.clear();
        self.refresh.clear();
        self.codes.clear();
    }

    /// Lets every access token and every code end now; refresh tokens live on.
    pub(super) fn expire(&mut self, now: Instant) {
        self.access.values_mut().for_each(|ends| *ends = Some(now));
        self.codes.values_mut().for_each(|code| code.ends = now);
    }

    /// Queues values for things that are made later.
    pub(super) fn plant(&mut self, planted: Planted) {
        self.planted.push_back(planted);
    }

    /// Whether this access token is known and not over.
    pub(super) fn admits(&self, now: Instant, token: &str) -> bool {
        self.access.get(token).is_some_and(|ends| ends.is_none_or(|ends| now < ends))
    }

    fn issue_access(&mut self, now: Instant, options: &Options, refresh_token: Option<String>) -> Tokens {
        let access_token = self.take_planted(|planted| &mut planted.access_token).unwrap_or_else(opaque);
        let id_token = self.take_planted(|planted| &mut planted.id_token).unwrap_or_else(opaque);
        self.access.insert(access_token.clone(), Some(now + Duration::from_secs(options.token_life)));
        Tokens { id_token, access_token, refresh_token }
    }

    fn issue_refresh(&mut self) -> String {
        let token = self.take_planted(|planted| &mut planted.refresh_token).unwrap_or_else(opaque);
        self.refresh.insert(token.clone());
        token
    }

    fn take_planted(&mut self, kind: fn(&mut Planted) -> &mut Option<String>) -> Option<String> {
        let value = self.planted.iter_mut().find_map(|planted| kind(planted).take());
        self.planted.retain(|planted| *planted != Planted::default());
        value
    }
}

impl Refusal {
    pub(super) fn description(&self) -> &'static str {
        match self {
            Refusal::UnknownCode => "Invalid authorization code",
            Refusal::CodeExpired => "Authorization code has expired",
            Refusal::OtherRedirect => {
                "Invalid value for redirect_uri params - must match the authorization request"
            }
            Refusal::UnknownRefresh => "Invalid refresh token",
        }
    }
}

/// A random value of 42 characters, the length that Rally's tokens were seen to have.
fn opaque() -> String {
    let random = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    random.chars().take(42).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: &str = "http://localhost:8477/callback";

    fn issued() -> (Grants, Options, Instant, String) {
        let (mut grants, options, now) = (Grants::default(), Options::default(), Instant::now());
        let code = grants.issue_code(now, REDIRECT.into());
        (grants, options, now, code)
    }

    #[test]
    fn a_code_dies_when_its_life_is_over() {
        let (mut grants, options, now, code) = issued();
        let late = now + CODE_LIFE;
        assert_eq!(grants.redeem(late, &options, &code, REDIRECT), Err(Refusal::CodeExpired));
    }

    #[test]
    fn a_code_that_came_with_another_redirect_uri_is_used_up() {
        let (mut grants, options, now, code) = issued();
        let refused = grants.redeem(now, &options, &code, "http://localhost:8477/other");
        assert_eq!(refused, Err(Refusal::OtherRedirect));
        assert_eq!(grants.redeem(now, &options, &code, REDIRECT), Err(Refusal::UnknownCode));
    }

    #[test]
    fn an_access_token_dies_when_its_life_is_over() {
        let (mut grants, options, now, code) = issued();
        let tokens = grants.redeem(now, &options, &code, REDIRECT).unwrap();
        let end = now + Duration::from_secs(options.token_life);
        assert!(grants.admits(end - Duration::from_nanos(1), &tokens.access_token));
        assert!(!grants.admits(end, &tokens.access_token));
    }

    #[test]
    fn planted_values_are_used_in_order_and_then_random_ones_again() {
        let (mut grants, _, now, _) = issued();
        for code in ["first", "second"] {
            grants.plant(Planted { code: Some(code.into()), ..Planted::default() });
        }
        assert_eq!(grants.issue_code(now, REDIRECT.into()), "first");
        assert_eq!(grants.issue_code(now, REDIRECT.into()), "second");
        assert_eq!(grants.issue_code(now, REDIRECT.into()).len(), 42);
    }
}
