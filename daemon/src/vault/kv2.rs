//! A vault that many daemons share: KV version 2 over HTTP. Each change names the version of the item that was read, so the
//! server makes it or refuses it in one step.
//! Does not: sign in to the server, follow redirects, keep connections, or know what the items are for.
//! Used by: the vault's handle.

mod calendar;
mod token;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rally_cred_proto::{Secret, plain::plain, unpoisoned};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::memory::Memory;
use crate::http;
use calendar::Calendar;
use rally_cred_core::{
    answer::SendTrouble,
    for_readers, is_newer_for_readers,
    kv2::{Address, Kv2, ServerTrouble},
    vault::{Change, Changed, ItemKey, ItemKind, Read, VaultTrouble, is_same},
};
use token::Token;

/// Longest wait for a whole answer. A lease has to outlast it three times.
const ANSWER_IN: Duration = Duration::from_secs(10);

/// Largest body that is read; an item has a few kB.
const LARGEST_BODY: usize = 1024 * 1024;

/// How often an item is read and written anew because another daemon was quicker.
const ATTEMPTS: usize = 5;

/// The kinds of items that are kept here.
const KINDS: [&str; 3] = ["token", "client-secret", "static"];

/// The field of the server's item that holds ours, letter by letter.
const FIELD: &str = "record";

/// The server, and what is known of it.
pub(super) struct Server {
    settings: Arc<Kv2>,
    token: Token,
    /// By path: the version that was read or written last, and what it holds.
    seen: Mutex<HashMap<String, Seen>>,
    calendar: Mutex<Calendar>,
    /// What belongs to this machine alone, as a gateway's port; and for one that may only read, whatever it would write.
    own: Memory,
}

#[derive(Clone)]
struct Seen {
    version: u64,
    item: Option<Secret>,
}

impl Server {
    pub(super) fn new(settings: Arc<Kv2>) -> Self {
        let token = Token::new(settings.token.clone());
        Self { settings, token, seen: Mutex::default(), calendar: Mutex::default(), own: Memory::default() }
    }

    /// By how many milliseconds the server's calendar is ahead of this machine's, at least and at most.
    pub(super) fn calendar(&self) -> Option<(i64, i64)> {
        unpoisoned(&self.calendar).bounds()
    }

    pub(super) async fn load(&self, key: &ItemKey) -> Read {
        if self.is_own(key) {
            return Ok(self.own.find(key));
        }
        let path = if self.settings.is_read_only { readers_path(key) } else { path(key) };
        Ok(self.read(&path).await?.item)
    }

    pub(super) async fn change(&self, change: Change) -> Result<Changed, VaultTrouble> {
        if self.is_own(&change.key) {
            return Ok(self.own.change(change));
        }
        if self.settings.is_read_only {
            // The item is what the others wrote, whatever this daemon makes of it.
            return Ok(Changed::Done);
        }
        if change.key.kind == ItemKind::Token && self.settings.has_reader_items {
            self.tell_readers(&change).await?;
        }
        Ok(self.replace(&path(&change.key), change.from.as_ref(), change.to.as_ref()).await?)
    }

    /// Puts the value there whatever the item holds; `None` erases it.
    pub(super) async fn write(&self, key: &ItemKey, value: Option<Secret>) -> Result<(), VaultTrouble> {
        if self.is_own(key) || self.settings.is_read_only {
            self.own.write(key.clone(), value);
            return Ok(());
        }
        if key.kind == ItemKind::Token && self.settings.has_reader_items && value.is_none() {
            self.put_by_force(&readers_path(key), None).await?;
        }
        Ok(self.put_by_force(&path(key), value.as_ref()).await?)
    }

    /// The account names of all items, in no order.
    pub(super) async fn accounts(&self) -> Result<Vec<String>, VaultTrouble> {
        let mut accounts = self.own.accounts();
        for kind in KINDS {
            let full = format!("{}/metadata/{}/{kind}?list=true", self.settings.mount, self.settings.path);
            let (status, answer) = self.exchange(Method::GET, &full, None).await?;
            let names = match answer.pointer("/data/keys").and_then(Value::as_array) {
                Some(names) => names.iter().filter_map(Value::as_str),
                None if status == 404 && answer.pointer("/errors/0").is_none() => continue,
                None => return Err(self.refusal(status, &answer).into()),
            };
            for name in names {
                // One that was erased is listed as well.
                if self.read(&format!("{kind}/{name}")).await?.item.is_some() {
                    accounts.extend(decoded(name).map(|name| format!("{kind}:{name}")));
                }
            }
        }
        Ok(accounts)
    }

    fn is_own(&self, key: &ItemKey) -> bool {
        key.kind == ItemKind::Gateway || self.settings.is_read_only && key.kind != ItemKind::Token
    }

    async fn put_by_force(&self, path: &str, value: Option<&Secret>) -> Result<(), ServerTrouble> {
        self.put_unless(path, value, |held| is_same(held, value)).await
    }

    /// Puts the value there unless what the item holds will do.
    async fn put_unless(
        &self,
        path: &str,
        value: Option<&Secret>,
        will_do: impl Fn(Option<&Secret>) -> bool,
    ) -> Result<(), ServerTrouble> {
        for _ in 0..ATTEMPTS {
            let seen = self.read(path).await?;
            if will_do(seen.item.as_ref()) || self.put(path, seen.version, value).await? {
                return Ok(());
            }
        }
        Err(ServerTrouble::Busy)
    }

    /// Replaces what the item holds, if it is what the caller believes.
    async fn replace(
        &self,
        path: &str,
        from: Option<&Secret>,
        to: Option<&Secret>,
    ) -> Result<Changed, ServerTrouble> {
        let known = unpoisoned(&self.seen).get(path).cloned();
        let mut seen = match known.filter(|seen| is_same(seen.item.as_ref(), from)) {
            Some(seen) => seen,
            None => self.read(path).await?,
        };
        for _ in 0..ATTEMPTS {
            // A write whose answer was lost may have made the change.
            if is_same(seen.item.as_ref(), to) {
                return Ok(Changed::Done);
            }
            if !is_same(seen.item.as_ref(), from) {
                return Ok(Changed::Conflict(seen.item));
            }
            if self.put(path, seen.version, to).await? {
                return Ok(Changed::Done);
            }
            seen = self.read(path).await?;
        }
        Err(ServerTrouble::Busy)
    }

    /// Puts what readers need there before the item itself, since a daemon may die between the two: a token that readers
    /// have and the item has not still works, but one that only the item has would be withheld from them for its life.
    async fn tell_readers(&self, change: &Change) -> Result<(), ServerTrouble> {
        let path = readers_path(&change.key);
        let Some(text) = change.to.as_ref().and_then(for_readers) else { return Ok(()) };
        if change.from.as_ref().and_then(for_readers).is_some_and(|before| before.matches(&text)) {
            return Ok(());
        }
        let is_old = |held: Option<&Secret>| held.is_some_and(|held| !is_newer_for_readers(&text, held));
        self.put_unless(&path, Some(&text), is_old).await
    }

    async fn read(&self, path: &str) -> Result<Seen, ServerTrouble> {
        let (status, answer) = self.exchange(Method::GET, &self.full_path(path), None).await?;
        let version = answer.pointer("/data/metadata/version").and_then(Value::as_u64);
        let seen = match (status, version) {
            // Deleted by another program; the versions go on from there.
            (404, Some(version)) => Seen { version, item: None },
            (404, None) if answer.pointer("/errors/0").is_none() => Seen { version: 0, item: None },
            (200, Some(version)) => {
                let damaged = || ServerTrouble::Damaged(self.full_path(path));
                let item = match answer.pointer("/data/data").and_then(Value::as_object) {
                    Some(data) => match data.get(FIELD) {
                        Some(Value::String(text)) => {
                            Some(Secret::parse(text.clone()).map_err(|_| damaged())?)
                        }
                        None if data.is_empty() => None,
                        _ => return Err(damaged()),
                    },
                    None => None,
                };
                Seen { version, item }
            }
            (200, None) => return Err(ServerTrouble::NotVersion2(self.settings.mount.clone())),
            _ => return Err(self.refusal(status, &answer)),
        };
        unpoisoned(&self.seen).insert(path.to_owned(), seen.clone());
        Ok(seen)
    }

    /// Writes the next version after this one. `false` if another writer was quicker. An item that is to go stays without
    /// content, so that the versions go on: of one that begins anew, a late writer would take the first for the old one's.
    async fn put(&self, path: &str, version: u64, item: Option<&Secret>) -> Result<bool, ServerTrouble> {
        unpoisoned(&self.seen).remove(path);
        let data = item.map_or_else(|| json!({}), |item| json!({ FIELD: item.expose() }));
        let body = json!({ "options": { "cas": version }, "data": data });
        let body = Zeroizing::new(body.to_string().into_bytes());
        let (status, answer) = self.exchange(Method::POST, &self.full_path(path), Some(body)).await?;
        match (status, answer.pointer("/data/version").and_then(Value::as_u64)) {
            (200, Some(version)) => {
                let seen = Seen { version, item: item.cloned() };
                unpoisoned(&self.seen).insert(path.to_owned(), seen);
                Ok(true)
            }
            (200 | 204, _) => Err(ServerTrouble::NotVersion2(self.settings.mount.clone())),
            (400, _) if first_error(&answer).contains("check-and-set parameter did not match") => Ok(false),
            _ => Err(self.refusal(status, &answer)),
        }
    }

    /// Sends a request, once more with another token if there is one by then.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(u16, Value), ServerTrouble> {
        let token = self.token.get().await.map_err(ServerTrouble::NoToken)?;
        let (status, answer) = self.send(&method, path, body.as_ref(), token.as_ref()).await?;
        if status != 403 {
            return Ok((status, answer));
        }
        let denied = || ServerTrouble::Denied { path: path.to_owned(), has_token: token.is_some() };
        let other = self.token.get_anew().await.map_err(ServerTrouble::NoToken)?;
        if is_same(other.as_ref(), token.as_ref()) {
            return Err(denied());
        }
        match self.send(&method, path, body.as_ref(), other.as_ref()).await? {
            (403, _) => Err(denied()),
            answer => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Zeroizing<Vec<u8>>>,
        token: Option<&Secret>,
    ) -> Result<(u16, Value), ServerTrouble> {
        let (settings, method, token) = (Arc::clone(&self.settings), method.clone(), token.cloned());
        let (path, body) = (path.to_owned(), body.cloned());
        let exchange = async move {
            let (client, base) = client(&settings).await?;
            let mut request = client.request(method, format!("{base}/v1/{path}"));
            if let Some(token) = token {
                request = request.header("X-Vault-Token", http::secret_header(&token)?);
            }
            if let Some(namespace) = &settings.namespace {
                request = request.header("X-Vault-Namespace", namespace);
            }
            // A proxy that adds the token takes only requests that say that no browser was tricked into them.
            request = request.header("X-Vault-Request", "true");
            if let Some(body) = body {
                request = request.header("Content-Type", "application/json").body(body.to_vec());
            }
            let sent_at = calendar::now();
            let mut response = request.send().await.map_err(|error| http::sort(error, None))?;
            let (status, came_at) = (response.status().as_u16(), calendar::now());
            let date = http::date_of(&response);
            let body = http::read_body(&mut response, LARGEST_BODY).await?;
            Ok(Answer { status, body, sent_at, came_at, date })
        };
        let answered = http::apart(tokio::time::timeout(ANSWER_IN, exchange)).await;
        match answered.and_then(|in_time| in_time.unwrap_or(Err(SendTrouble::TimedOut))) {
            Ok(Answer { status, body, sent_at, came_at, date }) => {
                unpoisoned(&self.calendar).heard(sent_at, came_at, date);
                match status {
                    300..400 => Err(ServerTrouble::Redirects),
                    _ => Ok((status, serde_json::from_slice(&body).unwrap_or_default())),
                }
            }
            Err(SendTrouble::BadToken) => Err(ServerTrouble::NoToken(
                "what was found holds a character that no header can carry".to_owned(),
            )),
            Err(trouble) => {
                let fault = trouble.fault();
                let why = fault.why.unwrap_or(fault.what);
                Err(ServerTrouble::Unreachable { address: self.settings.address.name(), why })
            }
        }
    }

    fn full_path(&self, path: &str) -> String {
        format!("{}/data/{}/{path}", self.settings.mount, self.settings.path)
    }

    /// What it means that the server did not do it.
    fn refusal(&self, status: u16, answer: &Value) -> ServerTrouble {
        let why = first_error(answer);
        match status {
            503 if why.contains("sealed") => ServerTrouble::Sealed,
            404 if why.contains("no handler for route") => {
                ServerTrouble::NoMount(self.settings.mount.clone())
            }
            404 if why.contains("Invalid path") => ServerTrouble::NotVersion2(self.settings.mount.clone()),
            // Its words are about the request, and hold none of its data.
            _ => ServerTrouble::Answered { status, why: plain(why) },
        }
    }
}

/// What the server answered, and when by which calendar.
struct Answer {
    status: u16,
    body: Zeroizing<Vec<u8>>,
    /// Milliseconds since 1970 by this machine's calendar, as is `came_at`.
    sent_at: i64,
    came_at: i64,
    /// Seconds since 1970 by the server's calendar, if it said so.
    date: Option<i64>,
}

/// A client for the server, and what its addresses begin with.
async fn client(settings: &Kv2) -> Result<(Client, String), SendTrouble> {
    match &settings.address {
        Address::Url(url) => {
            let (client, _) = http::client_for(url, settings.ca_file.as_deref()).await?;
            Ok((client, url.origin().to_string()))
        }
        // Its proxy answers for any host.
        Address::Socket(path) => Ok((http::client_through(path)?, "http://localhost".to_owned())),
    }
}

/// Below the daemon's folder: the kind and the name, of which a server's holds characters that no path has.
fn path(key: &ItemKey) -> String {
    let account = key.account();
    let (kind, name) = account.split_once(':').unwrap_or(("other", &account));
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        b'.' if !name.starts_with('.') => ".".to_owned(),
        _ => format!("={byte:02x}"),
    };
    format!("{kind}/{}", name.bytes().map(encode).collect::<String>())
}

/// The name that was put into a path.
fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => u8::from_str_radix(str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Where the token of a profile is for those who may only read.
fn readers_path(key: &ItemKey) -> String {
    path(key).replacen("token/", "access/", 1)
}

fn first_error(answer: &Value) -> &str {
    answer.pointer("/errors/0").and_then(Value::as_str).unwrap_or("it gave no reason")
}

#[cfg(test)]
mod tests;
