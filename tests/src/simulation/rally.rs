//! Rally as the simulation sees it: which codes and tokens it honours, and how it misbehaves.
//! Does not: know the broker; it answers forms with bytes, as the real one does.
//! Used by: `history`.

use std::collections::{HashMap, HashSet};

use rally_cred_core::answer::{RawAnswer, SendTrouble, TokenForm};
use rally_cred_core::{Sent, time::Tick};
use zeroize::Zeroizing;

use super::Seeded;

/// The secrets of every OAuth client: what people type, and what its source gives.
pub(super) const CLIENT_SECRET: &str = "right-secret";
pub(super) const SOURCE_SECRET: &str = "source-secret";

/// How Rally behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Unreachable,
    Busy,
    Maintenance,
    /// The request is handled, and the answer gets lost.
    Losing,
}

/// What Rally honours.
#[derive(Debug, Default)]
pub(super) struct Rally {
    next: u64,
    codes: HashSet<String>,
    /// The OAuth client of each token.
    clients: HashMap<String, String>,
    refresh_tokens: HashSet<String>,
    /// When each access token ends.
    access_tokens: HashMap<String, Option<Tick>>,
    lives: HashMap<String, u64>,
    revoked: HashSet<String>,
}

impl Rally {
    /// A code, as the redirect brings it.
    pub(super) fn code(&mut self) -> String {
        let code = self.name("code");
        self.codes.insert(code.clone());
        code
    }

    pub(super) fn honours(&self, refresh_token: &str) -> bool {
        self.refresh_tokens.contains(refresh_token)
    }

    /// When an access token ends; `None` if it never does.
    pub(super) fn end_of(&self, access_token: &str) -> Option<Tick> {
        self.access_tokens.get(access_token).copied().flatten()
    }

    /// The whole life of an access token, in seconds.
    pub(super) fn life_of(&self, access_token: &str) -> Option<u64> {
        self.lives.get(access_token).copied()
    }

    /// The OAuth client that a token was given to.
    pub(super) fn client_of(&self, token: &str) -> Option<&str> {
        self.clients.get(token).map(String::as_str)
    }

    /// Whether Rally takes an access token at this tick.
    pub(super) fn takes(&self, access_token: &str, now: Tick) -> bool {
        !self.revoked.contains(access_token)
            && self.access_tokens.get(access_token).is_some_and(|ends| ends.is_none_or(|ends| now < ends))
    }

    /// Somebody revokes one access token.
    pub(super) fn revoke(&mut self, access_token: &str) {
        self.revoked.insert(access_token.to_owned());
    }

    /// Somebody revokes every grant.
    pub(super) fn revoke_all(&mut self) {
        self.refresh_tokens.clear();
    }

    /// Answers a token request that arrives at this tick.
    pub(super) fn answer(
        &mut self,
        chance: &mut Seeded,
        now: Tick,
        mood: Mood,
        (client_id, client_secret): (&str, &str),
        form: &TokenForm,
    ) -> RawAnswer {
        match mood {
            Mood::Well => self.handle(chance, now, (client_id, client_secret), form),
            Mood::Losing => {
                self.handle(chance, now, (client_id, client_secret), form);
                RawAnswer::Failed(SendTrouble::TimedOut)
            }
            Mood::Unreachable => RawAnswer::Failed(SendTrouble::Unreachable("no route".to_owned())),
            Mood::Busy if chance.one_in(2) => {
                let retry_after = Some(u32::try_from(chance.below(120)).unwrap_or(1));
                RawAnswer::Arrived {
                    status: 429,
                    retry_after,
                    body: Zeroizing::default(),
                    sent: Sent::default(),
                }
            }
            Mood::Busy => arrived(503, "<html>busy</html>"),
            Mood::Maintenance => arrived(200, "<html>maintenance</html>"),
        }
    }

    fn handle(
        &mut self,
        chance: &mut Seeded,
        now: Tick,
        (client_id, client_secret): (&str, &str),
        form: &TokenForm,
    ) -> RawAnswer {
        if ![CLIENT_SECRET, SOURCE_SECRET].contains(&client_secret) {
            return refused(401, "invalid_client", "unknown client");
        }
        let is_good = match form {
            TokenForm::Code { code, .. } => self.codes.remove(code.expose()),
            TokenForm::Refresh { refresh_token } => {
                self.client_of(refresh_token.expose()) == Some(client_id)
                    && self.refresh_tokens.remove(refresh_token.expose())
            }
        };
        if !is_good {
            return refused(400, "invalid_grant", "it is expired or was used");
        }
        let (access, life) = self.access_token(chance, now, client_id);
        let expires_in = life.map_or_else(String::new, |life| format!(r#""expires_in":{life},"#));
        let refresh = if chance.one_in(6) {
            String::new()
        } else {
            let refresh = self.name("refresh");
            self.refresh_tokens.insert(refresh.clone());
            self.clients.insert(refresh.clone(), client_id.to_owned());
            format!(r#""refresh_token":"{refresh}","#)
        };
        arrived(200, &format!(r#"{{{expires_in}{refresh}"token_type":"Bearer","access_token":"{access}"}}"#))
    }

    /// A new access token for this client, and its life in seconds.
    pub(super) fn access_token(
        &mut self,
        chance: &mut Seeded,
        now: Tick,
        client_id: &str,
    ) -> (String, Option<u64>) {
        let access = self.name("access");
        let life = [15, 90, 600, 3600, 86_400].get(chance.index(5)).copied().unwrap_or(600);
        let life = (!chance.one_in(20)).then_some(life);
        self.access_tokens.insert(access.clone(), life.map(|life| Tick(now.0 + life * 1000)));
        self.clients.insert(access.clone(), client_id.to_owned());
        if let Some(life) = life {
            self.lives.insert(access.clone(), life);
        }
        (access, life)
    }

    fn name(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}-{}", self.next)
    }
}

/// The look-up of the user behind a token that Rally takes, or does not.
pub(super) fn user(mood: Mood, is_taken: bool) -> RawAnswer {
    match mood {
        Mood::Well | Mood::Losing if !is_taken => {
            arrived(401, "<html>Full authentication is required</html>")
        }
        Mood::Well | Mood::Losing => {
            arrived(200, r#"{"User":{"UserName":"me@example.com","Errors":[],"Warnings":[]}}"#)
        }
        Mood::Unreachable => RawAnswer::Failed(SendTrouble::TimedOut),
        Mood::Busy => arrived(503, "<html>busy</html>"),
        Mood::Maintenance => arrived(200, "<html>maintenance</html>"),
    }
}

fn refused(status: u16, error: &str, description: &str) -> RawAnswer {
    let words = format!(r#""error_description":"{description}","error":"{error}""#);
    arrived(status, &format!(r#"{{"client_id":"c","client_secret":"s",{words}}}"#))
}

/// An answer of Rally's.
pub(super) fn arrived(status: u16, body: &str) -> RawAnswer {
    RawAnswer::Arrived {
        status,
        retry_after: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
        sent: Sent::default(),
    }
}
