//! Requests through the guard alone, and through the guard, the HTTP library and a service that writes down what it got:
//! both must see the same requests, or none.
//! Does not: ask anything of a network; the connections are in memory.
//! Used by: `guard`.

use std::time::Duration;

use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};

use super::{
    agreement::{Message, agree, guarded, run, served},
    *,
};

fn check(text: &str, expected: Result<&[(&str, &str)], Malformed>) {
    let (seen, refused) = agree(text.as_bytes());
    match expected {
        Ok(expected) => {
            let expected = expected
                .iter()
                .map(|(line, body)| Message { line: (*line).to_owned(), body: body.as_bytes().to_vec() });
            assert_eq!((seen, refused), (expected.collect(), None), "{text:?}");
        }
        Err(malformed) => assert_eq!(refused, Some(malformed), "{text:?}: {seen:?}"),
    }
}

#[test]
fn a_refusal_says_something_in_the_status_line_and_is_found_again_in_its_stand_in() {
    for malformed in Malformed::ALL {
        let reason = malformed.reason();
        assert!(reason.len() < 40 && reason.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{reason}");
        assert!(malformed.words().len() > reason.len() && malformed.status().is_client_error());
        let stand_in = malformed.stand_in();
        let target = stand_in.split(' ').nth(1).unwrap();
        let (head, ()) = Request::builder().method(STAND_IN).uri(target).body(()).unwrap().into_parts();
        assert_eq!(Malformed::of(&head), Some(malformed));
        let (head, ()) = Request::get(target).body(()).unwrap().into_parts();
        assert_eq!(Malformed::of(&head), None);
    }
}

/// Until then, whatever can happen has happened: time passes only when nothing else does.
const LONG: Duration = Duration::from_secs(60);

const HOST: &str = "Host: a\r\n";

#[test]
fn requests_of_every_framing_pass() {
    check("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", Ok(&[("GET /a", "")]));
    check("GET /a HTTP/1.0\r\n\r\n", Ok(&[("GET /a", "")]));
    check("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", Ok(&[("OPTIONS *", "")]));
    check("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", Ok(&[("GET http://a/b", "")]));
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"] {
        let line = format!("{method} /x?y=(z%20=%20%221%22)");
        let expected = [(line.as_str(), "hello")];
        check(&format!("{line} HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"), Ok(&expected));
        let chunks = "2\r\nhe\r\n0003;a=\"b\"\r\nllo\r\n0\r\n";
        let head = format!("{line} HTTP/1.1\r\n{HOST}Transfer-Encoding: Chunked\r\n\r\n{chunks}");
        check(&format!("{head}\r\n"), Ok(&expected));
        check(&format!("{head}X-Sum: 1\r\nX-More:\r\n\r\n"), Ok(&expected));
    }
}

#[test]
fn pipelined_requests_are_told_apart() {
    let one = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET";
    let two = "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n";
    let three = "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    check(&[one, two, three].concat(), Ok(&[("POST /1", "GET"), ("POST /2", "GET"), ("GET /3", "")]));
}

#[test]
fn a_head_that_servers_read_in_several_ways_is_refused() {
    use Malformed::*;
    for (line, why) in [
        ("GET  /a HTTP/1.1", RequestLine),
        (" GET /a HTTP/1.1", RequestLine),
        ("GET /a HTTP/1.1 ", RequestLine),
        ("GET\t/a HTTP/1.1", RequestLine),
        ("GET /a b HTTP/1.1", RequestLine),
        ("GET /a", RequestLine),
        ("G(T /a HTTP/1.1", RequestLine),
        ("REFUSED /0 HTTP/1.1", RequestLine),
        ("\r\nGET /a HTTP/1.1", RequestLine),
        ("GET /a HTTP/1.2", Version),
        ("GET /a HTTP/2.0", Version),
        ("GET /a http/1.1", Version),
        ("GET /a HTTP/1.1x", Version),
        ("GET /a HTTP/01.1", Version),
        ("GET /a#b HTTP/1.1", Target),
        ("GET a HTTP/1.1", Target),
        ("GET * HTTP/1.1", Target),
        ("GET /\u{e4} HTTP/1.1", Target),
        ("GET /<> HTTP/1.1", Target),
        ("GET a:443 HTTP/1.1", Target),
        ("CONNECT /a HTTP/1.1", Target),
        ("CONNECT https://a:443 HTTP/1.1", Target),
        ("GET /a\0 HTTP/1.1", Control),
        ("GET /a HTTP/1.1\n", LineBreak),
        ("\nGET /a HTTP/1.1", LineBreak),
        ("GET /a\rb HTTP/1.1", LineBreak),
    ] {
        check(&format!("{line}\r\n{HOST}\r\n"), Err(why));
    }
    for (fields, why) in [
        ("", Host),
        ("Host: a\r\nHost: a\r\n", Host),
        ("Host: a\r\nhost: b\r\n", Host),
        ("Host: a\r\n b\r\n", Field),
        ("Host: a\r\nX: b\r\n\tc\r\n", Field),
        ("Host: a\r\nX : b\r\n", Field),
        ("Host: a\r\n: b\r\n", Field),
        ("Host: a\r\nX\r\n", Field),
        ("Host: a\r\nX Y: b\r\n", Field),
        ("Host: a\r\nX: b\rc\r\n", LineBreak),
        ("Host: a\r\nX: b\nY: c\r\n", LineBreak),
        ("Host: a\r\nX: b\r\r\n", LineBreak),
        ("Host: a\r\nX: \u{1}\r\n", Control),
        ("Host: a\r\nX: \u{7f}\r\n", Control),
        ("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n", Length),
        ("Host: a\r\nContent-Length: 5, 5\r\n", Length),
        ("Host: a\r\nContent-Length: +5\r\n", Length),
        ("Host: a\r\nContent-Length: -1\r\n", Length),
        ("Host: a\r\nContent-Length: 0x5\r\n", Length),
        ("Host: a\r\nContent-Length: 5 5\r\n", Length),
        ("Host: a\r\nContent-Length: \r\n", Length),
        ("Host: a\r\nContent-Length: 18446744073709551616\r\n", Length),
        ("Host: a\r\nContent-Length: 18446744073709551615\r\n", Length),
        ("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", Framing),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", Framing),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: chunked, identity\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: identity\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: xchunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: \"chunked\"\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding:\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: \u{b}chunked\r\n", Control),
        ("Host: a\r\nTransfer_Encoding: chunked\r\n", Field),
        ("Host: a\r\nContent_Length: 5\r\n", Field),
        ("Host: a\r\n*Content-Length: 5\r\n", Field),
        ("Host: a\r\nTransfer-Encoding : chunked\r\n", Field),
        ("Host: a\r\nTransfer\u{17f}-Encoding: chunked\r\n", Field),
    ] {
        // Were it read in another way than the guard's, a request would follow.
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        check(&format!("POST /a HTTP/1.1\r\n{fields}\r\n{smuggled}"), Err(why));
    }
    check("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Err(Encoding));
    check("CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Err(Framing));
    check("CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Err(Framing));
}

#[test]
fn chunks_and_trailers_that_servers_read_in_several_ways_are_refused() {
    use Malformed::*;
    let long = format!("1;{}\r\n", "x".repeat(CHUNK_LINE_LIMIT));
    let many = format!("1;{}\r\nx\r\n", "x".repeat(200)).repeat(30);
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(FIELD_LIMIT + 1));
    let endless = format!("0\r\nX: {}", "y".repeat(TRAILERS_LIMIT));
    for (chunks, why) in [
        ("+1\r\nx\r\n", Chunk),
        ("-1\r\nx\r\n", Chunk),
        ("0x1\r\nx\r\n", Chunk),
        (" 1\r\nx\r\n", Chunk),
        ("1 \r\nx\r\n", Chunk),
        ("1 ;a\r\nx\r\n", Chunk),
        ("1\t\r\nx\r\n", Chunk),
        ("\r\n", Chunk),
        (";a\r\n", Chunk),
        ("g\r\n", Chunk),
        ("1\nx\r\n", Chunk),
        ("1\rx\r\n", Chunk),
        ("1;a\nx\r\n", Chunk),
        ("1;a\rb\r\nx\r\n", Chunk),
        ("1;\0\r\nx\r\n", Chunk),
        ("1;\u{80}\r\nx\r\n", Chunk),
        ("1\r\nxy\r\n", Chunk),
        ("1\r\nx\n", Chunk),
        ("1\r\nx0\r\n\r\n", Chunk),
        ("1\r\nx\r0\r\n\r\n", Chunk),
        ("ffffffffffffffff\r\nx", Chunk),
        ("8000000000000000\r\nx", Chunk),
        ("10000000000000000\r\nx", Chunk),
        ("00000000000000001\r\nx", Chunk),
        ("0\n\n", Chunk),
        (&long, Chunk),
        (&many, Chunk),
        ("0\r\n\n", Trailer),
        ("0\r\nX: y\n\r\n", Trailer),
        ("0\r\nX : y\r\n\r\n", Trailer),
        ("0\r\n X: y\r\n\r\n", Trailer),
        ("0\r\nX\r\n\r\n", Trailer),
        ("0\r\nContent-Length: 5\r\n\r\n", Trailer),
        ("0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", Trailer),
        ("0\r\nZSESSIONID: _abc\r\n\r\n", Trailer),
        ("0\r\nHost: b\r\n\r\n", Trailer),
        (&trailers, Trailer),
        (&endless, Trailer),
    ] {
        let head = format!("POST /a HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
        check(&format!("{head}{chunks}"), Err(why));
        check(&format!("{head}3\r\nabc\r\n{chunks}"), Err(why));
    }
}

#[test]
fn a_head_without_end_is_refused_and_not_kept() {
    let endless = format!("GET /a HTTP/1.1\r\nX: {}", "y".repeat(HEAD_LIMIT));
    check(&endless, Err(Malformed::TooLong));
    let many = format!("GET /a HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(FIELD_LIMIT));
    check(&many, Err(Malformed::TooLong));
    let just = format!("GET /a HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(FIELD_LIMIT - 1));
    check(&just, Ok(&[("GET /a", "")]));
    let long = "y".repeat(HEAD_LIMIT - 60);
    check(&format!("GET /{long} HTTP/1.1\r\n{HOST}\r\n"), Ok(&[(&format!("GET /{long}"), "")]));
}

#[test]
fn what_came_before_a_refused_request_is_answered_first() {
    let good = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let text = format!("{good}{good}GET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (messages, told, answers) = run(served(text.as_bytes(), text.len()));
    assert_eq!((messages.len(), told), (2, vec![Malformed::Host]));
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "400"]);
}

#[test]
fn after_a_refused_tunnel_the_connection_goes_on_and_is_guarded() {
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    for piece in [1, 1000] {
        let (messages, told, _) =
            run(served([connect, get, "GET /2 HTTP/1.1\r\n\r\n"].concat().as_bytes(), piece));
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[1].line, "GET /1");
        assert_eq!(told, [Malformed::Host]);
    }
}

#[test]
fn a_client_that_waits_for_the_refusal_of_its_tunnel_is_heard_afterwards() {
    run(async {
        let (mut client, server) = duplex(1024);
        let guarded = Guarded::new(server);
        let verdict = guarded.verdict();
        let service = service_fn(move |request: Request<Incoming>| {
            let verdict = verdict.clone();
            async move {
                // As one who asks somebody else.
                tokio::task::yield_now().await;
                verdict.no_tunnel();
                let is_connect = request.method() == Method::CONNECT;
                let status = if is_connect { StatusCode::FORBIDDEN } else { StatusCode::OK };
                Response::builder().status(status).body(Empty::<Bytes>::new())
            }
        });
        // In a task of its own, so that nothing but its own connection wakes it.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(guarded), service));
        for (head, status) in [("CONNECT a:443", "403"), ("CONNECT b:443", "403"), ("GET /", "200")] {
            client.write_all(format!("{head} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(timeout(LONG, client.read_u8()).await.expect("an answer").unwrap());
            }
            assert_eq!(&answer[9..12], status.as_bytes(), "{head}");
        }
    });
}

#[test]
fn what_is_sent_before_a_tunnel_is_there_is_not_kept() {
    run(async {
        let (mut client, server) = duplex(1024);
        let mut guarded = Guarded::new(server);
        client.write_all(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut head = [0; 35];
        guarded.read_exact(&mut head).await.unwrap();
        let mut byte = [0];
        let either = async {
            tokio::select!(_ = guarded.read(&mut byte) => (), _ = client.write_all(&[b'x'; 4096]) => ())
        };
        assert!(timeout(LONG, either).await.is_err());
    });
}

#[test]
fn in_a_tunnel_everything_passes_even_what_was_sent_too_early() {
    run(async {
        let (mut client, server) = duplex(1024);
        let mut guarded = Guarded::new(server);
        let verdict = guarded.verdict();
        client.write_all(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\0\n").await.unwrap();
        let mut head = [0; 39];
        guarded.read_exact(&mut head).await.unwrap();
        assert!(head.ends_with(b"\r\n\r\n"));
        let mut early = [0; 4];
        {
            let mut read = std::pin::pin!(guarded.read_exact(&mut early));
            // Not before the tunnel is there.
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(read.as_mut().poll(cx).is_pending())).await
            );
        }
        verdict.tunnel();
        guarded.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"\x16\x03\0\n");
        client.write_all(b"\r\r\n\0").await.unwrap();
        drop(client);
        let mut rest = Vec::new();
        guarded.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\r\r\n\0");
    });
}

#[test]
fn a_client_that_sends_all_of_a_refused_request_before_it_reads_gets_the_answer() {
    let body = "x".repeat(1 << 20);
    let text = format!("POST /1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (messages, told, answers) = run(served(text.as_bytes(), text.len()));
    assert_eq!((messages, told), (Vec::new(), vec![Malformed::Host]));
    assert!(answers.starts_with("HTTP/1.1 400"), "{answers}");
}

#[test]
fn a_client_that_goes_on_sending_for_ever_is_left_after_a_while() {
    run(async {
        let (client, server) = duplex(1024);
        let mut guarded = Guarded::new(server);
        let (mut reads, mut writes) = tokio::io::split(client);
        writes.write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").await.unwrap();
        let mut head = [0; 54];
        guarded.read_exact(&mut head).await.unwrap();
        let begin = tokio::time::Instant::now();
        guarded.shutdown().await.unwrap();
        assert_eq!(begin.elapsed(), std::time::Duration::from_secs(10));
        assert_eq!(reads.read(&mut head).await.unwrap(), 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn guard_and_library_agree_on_requests_that_are_nearly_right(
        pieces in proptest::collection::vec(prop_oneof![
            Just("POST /a HTTP/1.1\r\nHost: a\r\n"), Just("GET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
            Just("Content-Length: 5\r\n"), Just("Transfer-Encoding: chunked\r\n"), Just("X: y\r\n"), Just("\r\n"),
            Just("hello"), Just("5\r\nhello\r\n"), Just("0\r\n"), Just("\n"), Just(" "), Just(";a"), Just("\r"),
            Just("GET /c HTTP/1.0\r\n\r\n"), Just("Connection: close\r\n"),
        ], 1..12)
    ) {
        agree(format!("POST /a HTTP/1.1\r\nHost: a\r\n{}", pieces.concat()).as_bytes());
    }

    #[test]
    fn what_the_guard_sees_does_not_depend_on_how_the_bytes_are_cut(
        text in "(POST /a HTTP/1\\.1\r\nHost: a\r\n(Content-Length: 3\r\n\r\nabc|Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n|\r\n)){1,3}.{0,5}",
        cuts in proptest::collection::vec(1..9usize, 1..40)
    ) {
        let whole = guarded(text.as_bytes());
        let mut guard = Guard::new();
        let (mut held, mut passed, mut refused) = (Vec::new(), 0, None);
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            held.extend_from_slice(piece);
            rest = after;
            match guard.take(&held) {
                Ok(count) => { held.drain(..count); passed += count; }
                Err(malformed) => { refused = Some(malformed); break; }
            }
            if rest.is_empty() && (held.is_empty() || guard.take(&held) == Ok(0)) { break; }
        }
        prop_assert_eq!(refused, whole.1);
        prop_assert!(passed <= text.len());
    }
}
