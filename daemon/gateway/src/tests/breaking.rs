//! What a tool sees when Rally or its own request breaks off, and when it is refused while it sends.
//! Does not: end a token (`renewal` does).
//! Used by: `cargo test`.

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::world::{End, World, nobody};
use crate::upstream::MOST_PROMISES;

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_broken_whatever_its_framing() {
    for (asked, answered, seen) in [
        ("1.1", "Content-Length: 10\n\nhello", End::Closed),
        ("1.1", "Transfer-Encoding: chunked\n\n5\nhello\n", End::Closed),
        // Without a length, only a reset tells the end from a break.
        ("1.0", "Transfer-Encoding: chunked\n\n5\nhello\n", End::Reset),
    ] {
        let world = World::open().await;
        let mut tool = world.tool().await;
        tool.send(&format!("GET /slm/x HTTP/{asked}\nHost: {{host}}\nZSESSIONID: {{key}}\n\n")).await;
        let mut rally = world.rally().await;
        rally.head().await;
        rally.send(&format!("HTTP/1.1 200 OK\n{answered}")).await;
        tool.head().await;
        tool.text_until("hello").await;
        drop(rally);
        let (rest, end) = tool.rest().await;
        assert_eq!(end, seen, "{answered}");
        assert!(!rest.contains("0\r\n"), "{rest}");
        assert_eq!(world.gateway.counts().last_error.as_deref(), Some("Server Broke Off In Its Answer"));
    }
}

#[tokio::test]
async fn a_rally_that_promises_an_answer_without_pause_is_left_and_holds_up_no_other_request() {
    let world = World::open().await;
    let (mut flooded, mut other) = (world.tool().await, world.tool().await);
    flooded.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    rally.head().await;
    rally.send(&"HTTP/1.1 100 Continue\n\n".repeat(MOST_PROMISES)).await;
    // Those are borne.
    other.ask("GET /slm/y").await;
    let mut for_other = world.rally().await;
    for_other.head().await;
    for_other.answer("200 OK", "other").await;
    other.text_until("other").await;

    let (mut stream, promises) = (rally.stream, "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4096));
    let endless = tokio::spawn(async move { while stream.write_all(promises.as_bytes()).await.is_ok() {} });
    assert!(flooded.head().await.starts_with("HTTP/1.1 502 Server Only Promises An Answer"));
    endless.await.unwrap();
}

#[tokio::test]
async fn a_tool_that_leaves_in_mid_body_breaks_its_request_to_rally_too() {
    let world = World::open().await;
    let (tool, mut rally) = world.asked("POST /slm/x\nTransfer-Encoding: chunked\n\n5\nhello\n").await;
    rally.text_until("hello\r\n").await;
    drop(tool);
    let (rest, _) = rally.rest().await;
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_tool_that_leaves_while_it_waits_ends_its_request_at_rally() {
    let world = World::open().await;
    let (tool, mut rally) = world.asked("GET /slm/x").await;
    drop(tool);
    assert_eq!(rally.rest().await.0, "");
}

#[tokio::test]
async fn a_refusal_reaches_a_tool_that_sends_all_before_it_reads() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    let length = 32 * 1024 * 1024;
    tool.send(&format!(
        "POST /slm/x HTTP/1.1\nHost: {{host}}\nZSESSIONID: _wrong\nContent-Length: {length}\n\n"
    ))
    .await;
    tool.stream.write_all(&vec![0; length]).await.unwrap();
    let head = tool.head().await;
    assert!(
        head.starts_with("HTTP/1.1 401 Local Key Unknown") && head.contains("connection: close"),
        "{head}"
    );
    let (body, end) = tool.rest().await;
    assert!(body.contains("\"Errors\":[\"the key is not this gateway's"), "{body}");
    assert_eq!(end, End::Closed);
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn a_refusal_reaches_a_tool_whose_wish_for_another_protocol_or_a_tunnel_was_not_granted_before() {
    for (refused, status) in [
        (
            "GET /elsewhere HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nConnection: upgrade\nUpgrade: h2c\n\n",
            "403",
        ),
        ("CONNECT other.example:443 HTTP/1.1\nHost: other.example:443\n\n", "407"),
    ] {
        let world = World::open().await;
        let mut tool = world.tool().await;
        let length = 32 * 1024 * 1024;
        let large = "POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: _wrong\nContent-Length:";
        tool.send(&format!("{refused}{large} {length}\n\n")).await;
        tool.stream.write_all(&vec![0; length]).await.unwrap();
        for status in [status, "401"] {
            tool.hears(status).await;
            tool.text_until("}}").await;
        }
        assert_eq!(tool.rest().await, (String::new(), End::Closed));
    }
}

#[tokio::test]
async fn an_early_refusal_of_rallys_reaches_a_tool_that_is_still_sending() {
    let world = World::open().await;
    let length = 32 * 1024 * 1024;
    let (mut tool, mut rally) = world.asked(&format!("POST /slm/x\nContent-Length: {length}\n\n")).await;
    rally.send("HTTP/1.1 413 Content Too Large\nConnection: close\nContent-Length: 7\n\ntoo big").await;
    // It reads no more, and goes once the gateway has gone.
    let reads = async { rally.stream.shutdown().await.unwrap() };
    let body = vec![0; length];
    let (sent, ()) = tokio::join!(tool.stream.write_all(&body), reads);
    drop(rally);
    sent.unwrap();
    tool.hears("413 Content Too Large").await;
    assert!(tool.rest().await.0.starts_with("too big"));
}

#[tokio::test]
async fn a_gateway_that_is_closed_leaves_neither_listener_nor_connection() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    world.gateway.close();
    world.gateway.closed().await;
    tool.rest().await;
    assert_eq!(rally.rest().await.0, "");
    assert!(tokio::net::TcpStream::connect(&tool.host).await.is_err());
}

#[tokio::test]
async fn a_rally_that_cannot_be_reached_is_told_in_its_own_shape() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_held, nobody) = nobody();
    let world = World::before(listener, &format!("http://{nobody}"), None, 1, |_| ()).await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    tool.hears("502 Server Cannot Be Reached").await;
    assert!(tool.text_until("}}").await.contains("\"Errors\":[\"server cannot be reached: "));
    assert_eq!(world.gateway.counts().last_error.as_deref(), Some("Server Cannot Be Reached"));
}

#[tokio::test]
async fn a_gateway_answers_only_by_the_ways_that_are_open() {
    let world = World::with(1, |settings| settings.ways.http = false).await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    tool.hears("403 Gateway Is Closed To This Way").await;
    let world = World::with(1, |settings| settings.ways.connect = false).await;
    let mut tool = world.tool().await;
    tool.send("CONNECT a.example:443 HTTP/1.1\nHost: a.example:443\nProxy-Authorization: Bearer {key}\n\n")
        .await;
    tool.hears("403 Gateway Is Closed To This Way").await;
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused_and_never_reaches_rally() {
    let world = World::open().await;
    let smuggled = "GET /slm/smuggled HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\n\n";
    for framing in [
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Content-Length: 5\nContent-Length: 6",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Content-Length: +5",
    ] {
        let mut tool = world.tool().await;
        let head = "POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}";
        tool.send(&format!("{head}\n{framing}\n\n0\n\n{smuggled}")).await;
        let head = tool.head().await;
        assert!(head.starts_with("HTTP/1.1 400 ") || head.starts_with("HTTP/1.0 400 "), "{framing}: {head}");
        assert!(!tool.rest().await.0.contains("HTTP/1.1"), "{framing}");
    }
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn a_body_that_turns_unreadable_is_refused_and_breaks_the_request_to_rally() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("POST /slm/x\nTransfer-Encoding: chunked\n\n5\nhello\n").await;
    rally.text_until("hello\r\n").await;
    tool.send("5x\nhello\n0\n\n").await;
    assert_eq!(rally.rest().await.0, "");
    let head = tool.head().await;
    assert!(
        head.starts_with("HTTP/1.1 400 Chunk Unreadable") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(tool.rest().await.1, End::Closed);
}
