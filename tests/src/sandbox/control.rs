//! What a test may ask of a running sandbox, and do to it: faults, revocations, planted values, the record.
//! Does not: behave like Rally in any way.
//! Used by: tests, through `Sandbox`, and the handlers of requests.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::watch;

use super::backlog::Backlog;
use super::catalogue::Catalogue;
use super::fault::{Endpoint, Fault, Plan};
use super::grants::{Grants, Planted};
use super::options::Options;
use super::record::{Counters, Entry};
use super::shape::Shape;

use rally_cred_proto::unpoisoned;

/// Everything about a running sandbox that a test may look at or change. [`Sandbox`](super::Sandbox) derefs to it.
pub struct Control {
    base_url: String,
    ca_pem: Option<String>,
    state: Mutex<Sandboxed>,
    counters: watch::Sender<Counters>,
    clearings: watch::Sender<u64>,
}

/// What one lock guards. It is held for moments only, never across an await.
pub(super) struct Sandboxed {
    pub(super) options: Options,
    pub(super) grants: Grants,
    pub(super) backlog: Backlog,
    pub(super) plans: VecDeque<Plan>,
    log: Vec<Entry>,
}

/// Longest wait for something a test expects to happen; a safety net, not a time that anything depends on.
const PATIENCE: Duration = Duration::from_secs(60);

impl Control {
    pub(super) fn new(base_url: String, ca_pem: Option<String>, options: Options) -> Arc<Control> {
        let backlog = Backlog::seeded(Shape { base_url: &base_url }, &options.user);
        Arc::new(Control {
            base_url,
            ca_pem,
            state: Mutex::new(Sandboxed {
                options,
                grants: Grants::default(),
                backlog,
                plans: VecDeque::new(),
                log: Vec::new(),
            }),
            counters: watch::Sender::default(),
            clearings: watch::Sender::default(),
        })
    }

    /// Plans a fault for the next `times` requests at an endpoint (none: until cleared), after those planned before.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault, times: Option<u32>) {
        self.state().plans.push_back(Plan { endpoint, fault, times });
    }

    /// Forgets all planned faults and lets every hanging request go on.
    pub fn clear_faults(&self) {
        self.state().plans.clear();
        self.clearings.send_modify(|clearings| *clearings += 1);
    }

    /// Changes options of the running sandbox: `change(|options| options.token_life = 5)`. They hold for what comes next.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state().options);
    }

    /// Queues values for the next code and tokens.
    pub fn plant(&self, planted: Planted) {
        self.state().grants.plant(planted);
    }

    /// Makes `token` good for WSAPI without a flow, as an API key is.
    pub fn admit(&self, token: &str) {
        self.state().grants.admit(token);
    }

    /// Whether this access token is good for WSAPI at that moment.
    pub fn admits(&self, token: &str, at: Instant) -> bool {
        self.state().grants.admits(at, token)
    }

    /// Revokes one access token or refresh token; says whether it was known.
    pub fn revoke(&self, token: &str) -> bool {
        self.state().grants.revoke(token)
    }

    /// Revokes every access token, refresh token and code.
    pub fn revoke_all(&self) {
        self.state().grants.revoke_all();
    }

    /// Ends the life of every access token and code now; refresh tokens stay good.
    pub fn expire_tokens(&self) {
        self.state().grants.expire(Instant::now());
    }

    /// `http://127.0.0.1:PORT` or `https://…`, without a slash at the end: what a profile's `base_url` takes.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The private CA's certificate, if the sandbox serves https.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A good authorization request for the registered client.
    pub fn authorization_url(&self, state: &str) -> String {
        let options = self.options();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("state", state)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &options.redirect_uri)
            .append_pair("client_id", &options.client_id)
            .append_pair("scope", &options.scope)
            .finish();
        format!("{}/login/oauth2/auth?{query}", self.base_url)
    }

    /// The options that hold now.
    pub fn options(&self) -> Options {
        self.state().options.clone()
    }

    /// Every request so far, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// How many requests there were.
    pub fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// Waits until the counters are as a test wants them: `until(|counters| counters.tokens() == 1)`.
    /// The error is `TimedOut`, after a minute: what was waited for will not come. Inside an async runtime it panics.
    pub fn until(&self, wanted: impl FnMut(&Counters) -> bool) -> io::Result<Counters> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut counters = self.counters.subscribe();
        let waited = async {
            tokio::time::timeout(PATIENCE, counters.wait_for(wanted))
                .await
                .map(|seen| seen.map(|seen| seen.clone()))
        };
        match runtime.block_on(waited) {
            Ok(Ok(counters)) => Ok(counters),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Sandboxed> {
        unpoisoned(&self.state)
    }

    /// How this sandbox's objects name each other.
    pub(super) fn shape(&self) -> Shape<'_> {
        Shape { base_url: &self.base_url }
    }

    /// Tells of each `clear_faults` from now on.
    pub(super) fn clearings(&self) -> watch::Receiver<u64> {
        self.clearings.subscribe()
    }

    pub(super) fn next_fault(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut state = self.state();
        let (index, plan) = state
            .plans
            .iter_mut()
            .enumerate()
            .find(|(_, plan)| plan.endpoint == endpoint && plan.times != Some(0))?;
        let fault = plan.fault.clone();
        if let Some(times) = &mut plan.times {
            *times -= 1;
            if *times == 0 {
                state.plans.remove(index);
            }
        }
        Some(fault)
    }

    /// Writes a request down and counts it.
    pub(super) fn arrived(self: &Arc<Control>, endpoint: Endpoint, entry: Entry) -> Visit {
        let path = entry.path.clone();
        let grant_type = entry.field("grant_type").unwrap_or_default().to_owned();
        let mut state = self.state();
        let number = state.log.len();
        state.log.push(entry);
        drop(state);
        self.counters.send_modify(|counters| match endpoint {
            Endpoint::Auth if path.ends_with("/consent") => counters.consents += 1,
            Endpoint::Auth => counters.authorizations += 1,
            Endpoint::Token => *counters.token_requests.entry(grant_type).or_default() += 1,
            Endpoint::User => counters.user_lookups += 1,
            Endpoint::Wsapi => {}
        });
        Visit { control: self.clone(), path, number }
    }
}

impl Sandboxed {
    /// What WSAPI shows at this moment.
    pub(super) fn catalogue<'a>(&'a self, shape: Shape<'a>) -> Catalogue<'a> {
        Catalogue { shape, user: &self.options.user, backlog: &self.backlog }
    }
}

/// A request that was written down; dropping it counts it as finished, so that one cut off by its client is too.
pub(super) struct Visit {
    control: Arc<Control>,
    path: String,
    number: usize,
}

impl Visit {
    /// Notes the answer's status, and its body if it is to be kept.
    pub(super) fn answered(self, status: StatusCode, body: Option<String>) {
        if let Some(entry) = self.control.state().log.get_mut(self.number) {
            entry.status = Some(status.as_u16());
            entry.answer = body;
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.control.counters.send_modify(|counters| counters.finished += 1);
    }
}
