//! What Rally gets of a request, and what a tool gets of an answer.
//! Does not: end a token (`renewal` does).
//! Used by: `cargo test`.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, time::timeout};

use super::world::{End, World};

#[tokio::test]
async fn a_tool_shows_the_local_key_and_rally_sees_the_live_token() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/webservice/v2.0/user?fetch=Name").await;
    let mut rally = world.rally().await;
    assert_eq!(
        rally.head().await,
        "GET /slm/webservice/v2.0/user?fetch=Name HTTP/1.1\nhost: {host}\nzsessionid: token-1"
    );
    rally.answer("200 OK", "hello").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 5");
    assert_eq!(tool.bytes(5).await, b"hello");
}

/// Sends a body in this framing, and checks how Rally gets it.
async fn check_body(method: &str, framing: &str, body: &str, arrives: &str, ends: &str) {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.send(&format!("{method} /slm/x HTTP/1.1\nHost: {{host}}\nZSESSIONID: {{key}}\n{framing}\n\n{body}"))
        .await;
    let mut rally = world.rally().await;
    let framing = framing.to_ascii_lowercase();
    let mut lines =
        ["host: {host}", "zsessionid: token-1"].into_iter().chain(framing.split('\n')).collect::<Vec<_>>();
    lines.sort_unstable();
    assert_eq!(rally.head().await, format!("{method} /slm/x HTTP/1.1\n{}", lines.join("\n")));
    assert_eq!(rally.text_until(ends).await, arrives, "{method} {framing}");
    rally.answer("200 OK", "done").await;
    tool.text_until("\r\n\r\ndone").await;
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
    tool.send("GET /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nTE: trailers\nConnection: TE\n\n").await;
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
    let mut tool = world.tool().await;
    tool.send("POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nContent-Length: 4\n\nab").await;
    let mut rally = world.rally().await;
    rally.head().await;
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
    assert!(tool.head().await.starts_with("HTTP/1.1 200 OK"));

    let mut stranger = world.tool().await;
    stranger.send(&head.replace("{key}", "_wrong")).await;
    assert!(stranger.head().await.starts_with("HTTP/1.1 401 Local Key Unknown"));
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn news_on_the_way_to_an_answer_does_not_reach_the_tool_as_the_answer() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    rally.head().await;
    rally.send("HTTP/1.1 103 Early Hints\nLink: </style.css>\n\nHTTP/1.1 102 Processing\n\n").await;
    rally.answer("200 Fine", "x").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 Fine\ncontent-length: 1");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("HEAD /slm/x").await;
    let mut rally = world.rally().await;
    rally.head().await;
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
    let mut tool = world.tool().await;
    tool.send("GET /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nAccept-Encoding: gzip\n\n").await;
    let mut rally = world.rally().await;
    rally.head().await;
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
    assert_eq!(rally.head().await, "GET /slm/x HTTP/1.1\nhost: {host}\nzsessionid: token-1");
    rally.send("HTTP/1.1 200 OK\nSet-Cookie: ZSESSIONID=token-1\nContent-Length: 0\n\n").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 0");
}

#[tokio::test]
async fn a_redirect_within_rally_stays_within_the_gateway() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    rally.head().await;
    rally.send("HTTP/1.1 302 Found\nLocation: http://{host}/slm/y\nContent-Length: 0\n\n").await;
    assert!(tool.head().await.contains("location: http://{host}/slm/y"));
}

#[tokio::test]
async fn a_tool_that_does_not_read_makes_rally_wait_and_not_the_gateway_grow() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    rally.head().await;
    rally.send("HTTP/1.1 200 OK\nContent-Length: 2147483648\n\n").await;
    let piece = vec![0; 64 * 1024];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), rally.stream.write(&piece)).await {
        sent += written.unwrap();
        // The buffers of four sockets, and of two HTTP connections.
        assert!(sent < 64 * 1024 * 1024);
    }
}

#[tokio::test]
async fn what_a_gateway_did_is_counted() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.send("POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nContent-Length: 3\n\nabc").await;
    let mut rally = world.rally().await;
    rally.head().await;
    rally.bytes(3).await;
    rally.answer("200 OK", "hello").await;
    tool.text_until("hello").await;
    tool.ask("GET /elsewhere").await;
    tool.head().await;
    let counts = world.gateway.counts();
    assert_eq!((counts.requests, counts.refused, counts.up, counts.down), (1, 1, 3, 5));
    assert_eq!(counts.last_error.as_deref(), Some("Path Is Not Open"));
}
