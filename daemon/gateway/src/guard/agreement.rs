//! Whether the guard and the HTTP library behind it understand the same requests in a stream of bytes.
//! Does not: say which requests are good.
//! Used by: the guard's tests, and the fuzzer.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Builder,
    time::timeout,
};

use super::*;

/// A request as somebody understood it: method and target, and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
}

/// The requests in a stream of bytes as the guard understands it, the last of which may be cut off, and what it refuses.
pub(crate) fn guarded(bytes: &[u8]) -> (Vec<Message>, Option<Malformed>) {
    let mut guard = Guard::new();
    let mut rest = bytes;
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let (is_head, is_body) =
            (guard.is_between_requests(), matches!(guard.state, State::Length(_) | State::Chunk(_)));
        let count = match guard.step(rest) {
            // Every tunnel is refused.
            Ok(0) if guard.waits() && !rest.is_empty() => {
                guard.go_on();
                continue;
            }
            Ok(0) => return (messages, None),
            Ok(count) => count,
            Err(malformed) => return (messages, Some(malformed)),
        };
        let (taken, after) = rest.split_at(count);
        if is_head {
            let line = String::from_utf8_lossy(taken);
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            // The library writes some targets in another way, such as a scheme in small letters.
            let line = format!("{method} {}", target.parse::<Uri>().unwrap());
            messages.push(Message { line, body: Vec::new() });
        } else if is_body {
            messages.last_mut().unwrap().body.extend_from_slice(taken);
        }
        rest = after;
    }
}

/// What a service behind guard and HTTP library is asked, if these bytes are sent in pieces of this size; then what it
/// was told is refused; and what the client is answered.
pub(crate) async fn served(bytes: &[u8], piece: usize) -> (Vec<Message>, Vec<Malformed>, String) {
    let asked = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let (client, server) = duplex(1024);
    let guarded = Guarded::new(server);
    let verdict: Verdict = guarded.verdict();
    let service = service_fn(|request: Request<Incoming>| {
        let (asked, verdict) = (Arc::clone(&asked), verdict.clone());
        async move {
            let (head, body) = request.into_parts();
            verdict.no_tunnel();
            let is_connect = head.method == Method::CONNECT;
            let refused = match (Malformed::of(&head), body.collect().await) {
                (Some(malformed), _) => Some(malformed),
                (None, Err(error)) => Malformed::in_error(&error),
                (None, Ok(body)) => {
                    let line = format!("{} {}", head.method, head.uri);
                    asked.lock().unwrap().0.push(Message { line, body: body.to_bytes().to_vec() });
                    None
                }
            };
            let mut answer = Response::new(Full::new(Bytes::from("answer")));
            if is_connect {
                *answer.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
            }
            if let Some(malformed) = refused {
                asked.lock().unwrap().1.push(malformed);
                *answer.status_mut() = malformed.status();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serve = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(guarded), service);
    let (mut reads, mut writes) = tokio::io::split(client);
    let write = async {
        for piece in bytes.chunks(piece) {
            // The server may have closed the connection after a request that wanted that.
            if writes.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = writes.shutdown().await;
    };
    let read = async {
        let mut answers = Vec::new();
        reads.read_to_end(&mut answers).await.unwrap();
        String::from_utf8_lossy(&answers).into_owned()
    };
    // A request that is cut off ends the connection with an error, which is as it should be.
    let (_, (), answers) = tokio::join!(serve, write, read);
    let (messages, refused) = asked.lock().unwrap().clone();
    (messages, refused, answers)
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    builder.enable_time();
    #[cfg(test)]
    builder.start_paused(true);
    builder.build().unwrap().block_on(future)
}

/// Checks that guard and library understand the same of these bytes, however they are cut; and gives that.
pub(crate) fn agree(bytes: &[u8]) -> (Vec<Message>, Option<Malformed>) {
    let (seen, refused) = guarded(bytes);
    let text = String::from_utf8_lossy(bytes);
    // After such a request nothing more is read.
    let may_close = text.contains("HTTP/1.0") || text.to_lowercase().contains("close");
    for piece in [bytes.len().max(1), 1, 7] {
        // Time passes only when nothing else happens.
        let ended = run(async { timeout(Duration::from_secs(3600), served(bytes, piece)).await });
        let (messages, told, answers) = ended.unwrap();
        assert!(seen.starts_with(&messages), "{text:?}: {messages:?} {seen:?}");
        if !may_close {
            // The last request may be cut off or refused in its body; then the service has no whole one.
            assert!(messages.len() + 1 >= seen.len(), "{text:?}: {messages:?} {seen:?}");
            assert_eq!(told, Vec::from_iter(refused), "{text:?} in pieces of {piece}");
        }
        // After an Upgrade or a CONNECT that nobody took up, the library may close a connection before its last answer
        // is out.
        let lower = text.to_lowercase();
        let may_lose_one = lower.contains("upgrade") || lower.contains("connect ");
        let answered = answers.matches("HTTP/1.").count() + usize::from(may_lose_one);
        assert!(answered >= messages.len() + told.len(), "{text:?}: {answers}");
    }
    (seen, refused)
}
