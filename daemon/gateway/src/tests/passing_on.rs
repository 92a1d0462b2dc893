//! What Rally gets of a request, and what a tool gets of an answer.
//! Does not: end a token (`renewal` does).
//! Used by: `cargo test`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{End, World};
use crate::{Share, turns::Limits};

#[tokio::test]
async fn a_tool_shows_the_local_key_and_rally_sees_the_live_token() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/webservice/v2.0/user?fetch=Name").await;
    let mut rally = world.rally().await;
    assert_eq!(
        rally.head().await,
        "GET /slm/webservice/v2.0/user?fetch=Name HTTP/1.1\naccept-encoding: identity\nhost: {host}\nzsessionid: token-1"
    );
    rally.serve(&mut tool, "hello").await;
}

/// Sends a body in this framing, and checks how Rally gets it.
async fn check_body(method: &str, framing: &str, body: &str, arrives: &str, ends: &str) {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask(&format!("{method} /slm/x\n{framing}\n\n{body}")).await;
    let mut rally = world.rally().await;
    let framing = framing.to_ascii_lowercase();
    let mut lines = ["accept-encoding: identity", "host: {host}", "zsessionid: token-1"]
        .into_iter()
        .chain(framing.split('\n'))
        .collect::<Vec<_>>();
    lines.sort_unstable();
    assert_eq!(rally.head().await, format!("{method} /slm/x HTTP/1.1\n{}", lines.join("\n")));
    assert_eq!(rally.text_until(ends).await, arrives, "{method} {framing}");
    rally.serve(&mut tool, "done").await;
    // The connections on both sides are as good as before.
    tool.ask("GET /slm/next").await;
    assert!(rally.head().await.starts_with("GET /slm/next "), "{method} {framing}");
}

#[tokio::test]
async fn a_body_arrives_with_every_method_and_in_both_framings() {
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        check_body(method, "Content-Length: 5", "hello", "hello", "hello").await;
        let chunks = "5\r\nhello\r\n0\r\n\r\n";
        check_body(method, "Transfer-Encoding: chunked", &chunks.replace('\r', ""), chunks, "0\r\n\r\n")
            .await;
    }
}

#[tokio::test]
async fn a_body_of_no_bytes_stays_one_and_trailers_come_along() {
    check_body("POST", "Content-Length: 0", "", "", "").await;
    let chunks = "1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n";
    let framing = "Transfer-Encoding: chunked\ntrailer: x-sum";
    check_body("POST", framing, &chunks.replace('\r', ""), chunks, "0\r\nx-sum: 1\r\n\r\n").await;
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_tool_that_takes_them() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x\nTE: trailers\nConnection: TE\n\n").await;
    let mut rally = world.rally().await;
    assert!(rally.head().await.contains("te: trailers"));
    rally
        .send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: x-sum\n\n5\nhello\n0\nx-sum: 1\n\n")
        .await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ntrailer: x-sum\ntransfer-encoding: chunked");
    assert_eq!(tool.text_until("\r\n\r\n").await, "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn both_directions_flow_before_either_ends() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("POST /slm/x\nContent-Length: 4\n\nab").await;
    assert_eq!(rally.bytes(2).await, b"ab");
    rally.send("HTTP/1.1 200 OK\nContent-Length: 4\n\n12").await;
    tool.head().await;
    assert_eq!(tool.bytes(2).await, b"12");
    tool.send("cd").await;
    assert_eq!(rally.bytes(2).await, b"cd");
    rally.send("34").await;
    assert_eq!(tool.bytes(2).await, b"34");
}

#[tokio::test]
async fn a_tool_that_asks_before_it_sends_hears_100_only_once_it_is_let_in() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    let head =
        "POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nExpect: 100-continue\nContent-Length: 5\n\n";
    tool.send(head).await;
    let mut rally = world.rally().await;
    assert!(!rally.head().await.contains("expect"));
    assert_eq!(tool.head().await, "HTTP/1.1 100 Continue");
    tool.send("hello").await;
    assert_eq!(rally.bytes(5).await, b"hello");
    rally.answer("200 OK", "").await;
    tool.hears("200 OK").await;

    let mut stranger = world.tool().await;
    stranger.send(&head.replace("{key}", "_wrong")).await;
    stranger.hears("401 Local Key Unknown").await;
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn news_on_the_way_to_an_answer_does_not_reach_the_tool_as_the_answer() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.send("HTTP/1.1 103 Early Hints\nLink: </style.css>\n\nHTTP/1.1 102 Processing\n\n").await;
    rally.answer("200 Fine", "x").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 Fine\ncontent-length: 1");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("HEAD /slm/x").await;
    rally.send("HTTP/1.1 200 OK\nContent-Length: 1234\nETag: x\n\n").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 1234\netag: x");
    for status in ["204 No Content", "304 Not Modified"] {
        tool.ask("GET /slm/x").await;
        rally.head().await;
        rally.send(&format!("HTTP/1.1 {status}\nETag: x\n\n")).await;
        assert_eq!(tool.head().await, format!("HTTP/1.1 {status}\netag: x"));
    }
    tool.ask("GET /slm/x").await;
    rally.head().await;
    rally.answer("200 OK", "x").await;
    tool.head().await;
    assert_eq!(tool.bytes(1).await, b"x");
}

#[tokio::test]
async fn a_tool_of_http_1_0_may_keep_its_connection() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    let ask = "GET /slm/x HTTP/1.0\nHost: {host}\nZSESSIONID: {key}\nConnection: keep-alive\n\n";
    tool.send(ask).await;
    let mut rally = world.rally().await;
    for _ in 0..2 {
        assert!(rally.head().await.starts_with("GET /slm/x HTTP/1.1"));
        rally.answer("200 OK", "x").await;
        assert_eq!(tool.head().await, "HTTP/1.0 200 OK\nconnection: keep-alive\ncontent-length: 1");
        assert_eq!(tool.bytes(1).await, b"x");
        tool.send(ask).await;
    }
    rally.head().await;
    rally.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n").await;
    assert!(!tool.head().await.contains("chunked"));
    assert_eq!(tool.rest().await, ("x".to_owned(), End::Closed));
}

#[tokio::test]
async fn compressed_bytes_pass_as_they_are() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x\nAccept-Encoding: gzip\n\n").await;
    rally
        .send("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Type: image/png\nContent-Length: 4\n\n")
        .await;
    let bytes = [0x1f, 0x8b, 0xff, 0x00];
    rally.stream.write_all(&bytes).await.unwrap();
    assert!(tool.head().await.contains("content-encoding: gzip"));
    assert_eq!(tool.bytes(4).await, bytes);
}

#[tokio::test]
async fn no_session_cookie_reaches_a_tool_and_none_of_a_tool_reaches_rally() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.send("GET /slm/x HTTP/1.1\nHost: {host}\nCookie: ZSESSIONID={key}; other=1\n\n").await;
    let mut rally = world.rally().await;
    assert_eq!(
        rally.head().await,
        "GET /slm/x HTTP/1.1\naccept-encoding: identity\nhost: {host}\nzsessionid: token-1"
    );
    rally.send("HTTP/1.1 200 OK\nSet-Cookie: ZSESSIONID=token-1\nContent-Length: 0\n\n").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 0");
}

#[tokio::test]
async fn no_answer_repeats_the_headers_that_rally_gets() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("TRACE /slm/x").await;
    tool.hears("405 TRACE Would Show The Token").await;
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn refs_lead_back_to_the_gateway_wherever_the_tool_would_follow_them() {
    for (content, seen) in [
        ("Content-Type: application/json", "http://{gateway}/slm/x"),
        ("Content-Type: text/javascript; charset=utf-8", "http://{gateway}/slm/x"),
        ("Content-Type: text/html", "http://{rally}/slm/x"),
    ] {
        let world = World::open().await;
        let (mut tool, mut rally) = world.asked("GET /slm/x").await;
        let body = format!("[\"http://{}/slm/x\"]", rally.host);
        let (begins, ends) = body.split_at(12);
        rally.send(&format!("HTTP/1.1 200 OK\nContent-Length: {}\n{content}\n\n{begins}", body.len())).await;
        rally.send(ends).await;
        let head = tool.head().await;
        let seen = seen.replace("{gateway}", &tool.host).replace("{rally}", &rally.host);
        if head.contains("content-length") {
            tool.text_until(&format!("[\"{seen}\"]")).await;
        } else {
            let chunks = tool.text_until("\r\n0\r\n\r\n").await;
            let body: String = chunks.split("\r\n").skip(1).step_by(2).collect();
            assert_eq!(body, format!("[\"{seen}\"]"), "{content}");
        }
        // Such a body is longer or shorter than Rally said.
        assert_ne!(head.contains("content-length"), seen.contains(&tool.host), "{head}");
    }
}

#[tokio::test]
async fn more_requests_than_rally_serves_of_a_user_wait_for_their_turn_and_a_storm_is_told_to_come_later() {
    let share = Share::new(Limits { at_once: 1, waiting: 1 });
    let world = World::with(1, |settings| settings.share = share.clone()).await;
    let other = World::with(1, |settings| {
        settings.name = "other".to_owned();
        settings.share = share;
    });
    let other = other.await;
    let (mut first, mut rally) = world.asked("GET /slm/1").await;
    let (mut second, mut third) = (world.tool().await, world.tool().await);
    second.ask("GET /slm/2").await;
    while world.gateway.counts().waiting == 0 {
        tokio::task::yield_now().await;
    }
    third.ask("GET /slm/3").await;
    let head = third.hears("503 Too Many Requests Wait").await;
    assert!(head.contains("retry-after: "), "{head}");
    // Another gateway for the same user has a queue of its own, and its turn.
    let mut elsewhere = other.tool().await;
    elsewhere.ask("GET /slm/4").await;
    while other.gateway.counts().waiting == 0 {
        tokio::task::yield_now().await;
    }
    assert!(other.nobody_else_asked().await);
    // A turn lasts until the answer is there to its end.
    rally.send("HTTP/1.1 200 OK\nContent-Length: 2\n\na").await;
    first.text_until("\r\n\r\na").await;
    assert_eq!(world.gateway.counts().active, 1);
    rally.send("b").await;
    first.text_until("b").await;
    assert!(rally.head().await.starts_with("GET /slm/2 "));
    rally.serve(&mut second, "c").await;
    let mut rally = other.rally().await;
    assert!(rally.head().await.starts_with("GET /slm/4 "));
}

#[tokio::test]
async fn connections_to_rally_are_used_again_and_closed_once_nobody_needs_them() {
    let world = World::open().await;
    let (mut one, mut first) = world.asked("GET /slm/1").await;
    let (mut other, mut second) = world.asked("GET /slm/2").await;
    first.serve(&mut one, "hello").await;
    second.serve(&mut other, "hello").await;
    for _ in 0..3 {
        one.ask("GET /slm/3").await;
        assert!(second.head().await.starts_with("GET /slm/3"));
        second.serve(&mut one, "hello").await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert_eq!(first.rest().await, (String::new(), End::Closed));
    assert_eq!(second.rest().await, (String::new(), End::Closed));
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn what_a_tool_left_unread_is_not_the_next_ones_answer() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.send("HTTP/1.1 200 OK\nContent-Length: 100\n\nfor one").await;
    tool.text_until("for one").await;
    drop(tool);
    // What was begun for the first is ended with it.
    assert_eq!(rally.rest().await.0, "");
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.answer("200 OK", "for another").await;
    assert!(tool.text_until("for another").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_redirect_within_rally_stays_within_the_gateway() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.send("HTTP/1.1 302 Found\nLocation: http://{host}/slm/y\nContent-Length: 0\n\n").await;
    assert!(tool.head().await.contains("location: http://{host}/slm/y"));
}

/// More than the buffers of four sockets and of two HTTP connections.
const LARGE: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn a_side_that_does_not_read_makes_the_other_wait_and_not_the_gateway_grow() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked(&format!("POST /slm/x\nContent-Length: {LARGE}\n\n")).await;
    rally.send(&format!("HTTP/1.1 200 OK\nContent-Length: {LARGE}\n\n")).await;
    let body = vec![b'x'; LARGE];
    let (mut tool_reads, mut tool_writes) = tool.stream.split();
    let (mut rally_reads, mut rally_writes) = rally.stream.split();
    let writing =
        async { tokio::try_join!(tool_writes.write_all(&body), rally_writes.write_all(&body)).unwrap() };
    let reading = async {
        world.stalled().await;
        let counts = world.gateway.counts();
        assert!(
            counts.up > 0 && counts.down > 0 && counts.up.max(counts.down) < LARGE as u64 / 2,
            "{counts:?}"
        );
        // Nothing is lost by that.
        let (mut up, mut down) = (vec![0; LARGE], Vec::new());
        let down_end = async {
            while !down.ends_with(b"\r\n\r\n") {
                down.push(tool_reads.read_u8().await.unwrap());
            }
            down.resize(LARGE, 0);
            tool_reads.read_exact(&mut down).await.unwrap();
        };
        tokio::join!(down_end, async { rally_reads.read_exact(&mut up).await.unwrap() });
        assert!(up == body && down == body);
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn what_a_gateway_did_is_counted() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("POST /slm/x\nContent-Length: 3\n\nabc").await;
    rally.bytes(3).await;
    assert_eq!((world.gateway.counts().active, world.gateway.counts().waiting), (1, 0));
    rally.serve(&mut tool, "hello").await;
    tool.ask("GET /elsewhere").await;
    tool.head().await;
    let counts = world.gateway.counts();
    assert_eq!((counts.requests, counts.refused, counts.active, counts.up, counts.down), (1, 1, 0, 3, 5));
    assert_eq!(counts.last_error.as_deref(), Some("Path Is Not Open"));
}
