//! What callers write: git's attributes, EngFlow's requests, and frames on the socket.
//! Does not: compare with git itself; `suite/git_attributes.rs` does.
//! Used by: `properties`.

use std::{
    fmt::Debug,
    io::{self, Read},
};

use rally_cred_proto::{
    Answer, Ask, Event, Origin, Reply, Secret, engflow,
    frame::{self, Lines},
    git::{self, Attributes},
    message::Preamble,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use super::{CANARY, has_form, is_harmless, shows_canary};

/// Input that comes in pieces of this size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = room.len().min(self.1);
        self.0.read(&mut room[..most])
    }
}

/// Attributes that were read are the same once they are written and read again, and however they came in.
pub(super) fn git(bytes: &[u8]) {
    let found = git::parse(bytes);
    let whole = git::read(&mut &*bytes).unwrap();
    for piece in [1, 7] {
        let pieced = git::read(&mut Pieces(bytes, piece)).unwrap();
        let is_json = engflow::looks_like_json(&whole);
        assert_eq!(engflow::looks_like_json(&pieced), is_json, "in pieces of {piece}");
        if is_json {
            assert_eq!(*pieced, *whole, "in pieces of {piece}");
        } else {
            let understood = git::parse(&pieced).map(|pieced| lines(&pieced, true));
            assert_eq!(understood, found.as_ref().map(|found| lines(found, true)).map_err(|err| *err));
        }
    }
    let found = match found {
        Ok(found) => found,
        Err(err) => return is_harmless(&format!("{err} {err:?}")),
    };
    let written = lines(&found, true);
    let again = git::parse(&written).unwrap();
    assert_eq!(lines(&again, true), written);
    if !String::from_utf8_lossy(&lines(&found, false)).contains(CANARY) {
        let shown = format!("{found:?}");
        assert!(!shown.contains(CANARY), "{shown}");
    }

    // What git stores comes back as it was.
    let credential = again.into_credential();
    let answer = git::encode_credential(&found, &credential).unwrap();
    assert!(answer.len() <= written.len() + "capability[]=authtype\n".len());
    let back = git::parse(&answer).unwrap();
    assert!(back.protocol.is_none() && back.host.is_none() && back.path.is_none());
    assert!(found.takes_authtype || !back.takes_authtype && back.credential.is_none());
    if !answer.is_empty() {
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        assert_eq!(exposed(&back.password), exposed(&found.password));
        assert_eq!(exposed(&back.oauth_refresh_token), exposed(&found.oauth_refresh_token));
        assert_eq!((back.username, back.password_expiry_utc), (found.username, found.password_expiry_utc));
    }
}

/// The attributes in an order of their own, with or without those that are secret.
fn lines(found: &Attributes, with_secrets: bool) -> Vec<u8> {
    let Attributes {
        protocol,
        host,
        path,
        username,
        password,
        password_expiry_utc,
        oauth_refresh_token,
        authtype,
        credential,
        ephemeral,
        takes_authtype,
        takes_state,
        profile,
    } = found;
    fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
        text.clone().map(String::into_bytes)
    }
    let hidden = |secret: &Option<Secret>| {
        secret.as_ref().filter(|_| with_secrets).map(|secret| secret.expose().as_bytes().to_vec())
    };
    let lines = [
        ("capability[]=authtype", takes_authtype.then(Vec::new)),
        ("capability[]=state", takes_state.then(Vec::new)),
        ("protocol=", bytes(protocol)),
        ("host=", bytes(host)),
        ("path=", path.clone()),
        ("username=", bytes(username)),
        ("password=", hidden(password)),
        ("password_expiry_utc=", password_expiry_utc.map(|at| at.to_string().into_bytes())),
        ("oauth_refresh_token=", hidden(oauth_refresh_token)),
        ("authtype=", bytes(authtype)),
        ("credential=", hidden(credential)),
        ("ephemeral=1", ephemeral.then(Vec::new)),
        ("state[]=rally-cred:profile=", bytes(profile)),
    ];
    let given = lines.into_iter().filter_map(|(key, value)| Some([key.as_bytes(), &value?, b"\n"].concat()));
    given.flatten().collect()
}

/// A request is one object with one URI, whose server is the one that any reader of URLs sees.
pub(super) fn engflow(bytes: &[u8]) {
    // It is stricter with numbers and surrogates in what is passed over.
    let value = serde_json::from_slice::<Value>(bytes);
    let uri = value.as_ref().ok().and_then(|value| value.get("uri")?.as_str());
    let request = match engflow::parse_request(bytes) {
        Ok(request) => request,
        Err(err) => {
            is_harmless(&format!("{err} {err:?}"));
            let is_plain = uri.is_some_and(|uri| !uri.contains(['\r', '\n', '\0']));
            // Of a doubled property, that reader takes the last.
            assert!(!is_plain || err == engflow::BadRequest::NoUri, "{err}");
            return;
        }
    };
    assert!(engflow::looks_like_json(bytes), "it is no object");
    assert!(value.is_err() || uri == Some(&*request.uri));
    assert!(!request.uri.contains(['\r', '\n', '\0']));
    let written = json!({"uri": request.uri}).to_string();
    assert_eq!(engflow::parse_request(written.as_bytes()), Ok(request.clone()));
    if let Some(origin) = Origin::from_uri(&request.uri) {
        let Ok(url) = Url::parse(&request.uri) else {
            // It also checks what is written in punycode, and makes nothing else of what it refuses.
            return assert!(origin.host().split('.').any(|label| label.starts_with("xn--")), "{origin}");
        };
        assert_eq!(url.origin().ascii_serialization(), origin.to_string());
        assert!(url.username().is_empty() && url.password().is_none());
        assert_eq!(Origin::from_uri(&origin.to_string()), Some(origin));
    }
}

/// Frames are the same however they arrive; a message is an object, and the same once it is written and read again.
pub(super) fn frames(bytes: &[u8]) {
    let cut = |piece: usize| {
        let (mut lines, mut frames) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            lines.add(piece);
            while let Some(frame) = lines.take().unwrap() {
                frames.push(frame.to_vec());
            }
        }
        (frames, lines.len())
    };
    let (frames, left) = cut(bytes.len().max(1));
    assert_eq!((frames.clone(), left), cut(1));
    assert_eq!((frames.clone(), left), cut(7));
    let ends = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    assert_eq!(
        ([&frames.join(&b'\n'), &b"\n"[..]].concat(), left),
        match frames.is_empty() {
            true => (b"\n".to_vec(), bytes.len()),
            false => (bytes[..ends].to_vec(), bytes.len() - ends),
        }
    );
    for frame in &frames {
        if let Err(err) = frame::decode::<Preamble>(frame) {
            is_harmless(&err.to_string());
        }
        if let Some(ask) = message::<Ask>(frame) {
            let breaks = has_line_breaker(&serde_json::to_value(&ask).unwrap());
            assert_eq!(ask.has_line_breaker(), breaks);
        }
        if let Some(Answer::Reply(Reply::Error(fault)) | Answer::Event(Event::Notice(fault))) = message(frame)
        {
            has_form(&fault);
        }
    }
}

fn message<T: Debug + DeserializeOwned + Serialize>(frame: &[u8]) -> Option<T> {
    let message = frame::decode::<T>(frame).inspect_err(|err| is_harmless(&err.to_string())).ok()?;
    assert!(frame.trim_ascii_start().starts_with(b"{"), "it is no object");
    let written = frame::encode(&message).unwrap();
    let again = frame::decode::<T>(&written).unwrap();
    assert_eq!(*frame::encode(&again).unwrap(), *written);
    if !shows_canary(&serde_json::to_value(&message).unwrap()) {
        let shown = format!("{message:?}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
    Some(message)
}

fn has_line_breaker(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(['\r', '\n', '\0']),
        Value::Array(items) => items.iter().any(has_line_breaker),
        Value::Object(fields) => fields.values().any(has_line_breaker),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
