//! Servers beside Rally's own that take its tokens: which header they get, where no token goes, and what their 401 means.
//! Does not: try what holds for every tunnel that ends here.
//! Used by: `cargo test`.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{
    secure::Secure,
    world::{Peer, World},
};

/// A tool with a tunnel to the further server.
async fn tool(secure: &Secure) -> Peer<TlsStream<TcpStream>> {
    let mut tool = secure.world.tool().await;
    let to = &secure.further_name;
    tool.send(&format!("CONNECT {to} HTTP/1.1\nHost: {to}\nProxy-Authorization: Bearer {{key}}\n\n")).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    let mut tool = tool.secured(&secure.world.identity, "127.0.0.1").await;
    tool.host.clone_from(to);
    tool
}

#[tokio::test]
async fn the_live_token_takes_the_place_of_the_local_key_in_the_header_that_the_server_wants() {
    let secure = Secure::open(&["http/1.1"], true).await;
    for shown in
        ["X-Token: Bearer {key}", "X-Token: {key}", "Authorization: Bearer {key}", "ZSESSIONID: {key}"]
    {
        let mut tool = tool(&secure).await;
        // Of the paths, those of Rally say nothing.
        tool.send(&format!("POST /mcp HTTP/1.1\nHost: {{host}}\n{shown}\nContent-Length: 2\n\n{{}}")).await;
        let mut server = secure.further().await;
        let head = "POST /mcp HTTP/1.1\ncontent-length: 2\nhost: {host}\nx-token: Bearer token-1";
        assert_eq!(server.head().await, head, "{shown}");
        assert_eq!(server.bytes(2).await, b"{}");
        server.send("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 2\n\nok").await;
        tool.text_until("\r\n\r\nok").await;
    }
    assert!(secure.world.nobody_else_asked().await);
}

#[tokio::test]
async fn without_the_local_key_or_for_another_server_nothing_is_passed_on() {
    let secure = Secure::open(&["http/1.1"], true).await;
    for (head, status) in [
        ("GET /mcp HTTP/1.1\nHost: {host}", "401 Local Key Missing"),
        ("GET /mcp HTTP/1.1\nHost: {host}\nX-Token: Bearer _another", "401 Local Key Unknown"),
        ("GET /slm/x HTTP/1.1\nHost: RALLY\nZSESSIONID: {key}", "421 Host Is Not This Gateway"),
        ("GET /oauth2/token HTTP/1.1\nHost: {host}\nZSESSIONID: {key}", "403 Path Is Closed"),
        (
            "GET /mcp HTTP/1.1\nHost: {host}\nOrigin: https://x.example\nZSESSIONID: {key}",
            "403 Closed To Browsers",
        ),
    ] {
        let mut tool = tool(&secure).await;
        tool.send(&format!("{}\n\n", head.replace("RALLY", &secure.name))).await;
        tool.hears(status).await;
    }
    assert!(secure.nobody_asked_the_further_server().await && secure.world.nobody_else_asked().await);
}

#[tokio::test]
async fn a_401_of_the_server_costs_the_token_only_if_rally_refuses_it_too() {
    let secure = Secure::open(&["http/1.1"], true).await;
    let mut tool = tool(&secure).await;
    tool.ask("GET /mcp").await;
    let mut server = secure.further().await;
    server.head().await;
    server.answer("401 Unauthorized", "not you").await;
    let mut rally = secure.rally().await.unwrap();
    let question = rally.head().await;
    assert!(
        question.starts_with("GET /slm/webservice/v2.0/user?") && question.ends_with("zsessionid: token-1")
    );
    rally.answer("200 OK", "{}").await;
    tool.hears("401 Unauthorized").await;
    tool.text_until("not you").await;

    tool.ask("GET /mcp").await;
    server.head().await;
    server.answer("401 Unauthorized", "not you").await;
    rally.head().await;
    rally.answer("401 Unauthorized", "").await;
    assert!(server.head().await.ends_with("x-token: Bearer token-2"));
    server.serve(&mut tool, "hello").await;
}

#[tokio::test]
async fn streams_of_another_server_take_no_turn_at_rally() {
    let secure = Secure::open(&["http/1.1"], true).await;
    let mut streams = Vec::new();
    for _ in 0..13 {
        let mut tool = tool(&secure).await;
        tool.ask("GET /mcp").await;
        let mut server = secure.further().await;
        server.head().await;
        server.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n").await;
        tool.head().await;
        streams.push((tool, server));
    }
    let mut tool = secure.world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = secure.rally().await.unwrap();
    rally.head().await;
    rally.serve(&mut tool, "hello").await;
}

#[tokio::test]
async fn a_server_without_tls_gets_a_tunnel_that_nobody_reads() {
    use crate::{Further, TokenHeader};
    use rally_cred_proto::Origin;

    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    let origin = Origin::from_git("http", &address).unwrap();
    let header = TokenHeader::new("Authorization", Some("Bearer")).unwrap();
    let world = World::with(1, |settings| settings.further.push(Further { origin, header })).await;
    let mut tool = world.tool().await;
    let head = format!("CONNECT {address} HTTP/1.1\nHost: {address}\nProxy-Authorization: Bearer {{key}}");
    tool.send(&format!("{head}\n\nGET /x")).await;
    let (stream, _) = other.accept().await.unwrap();
    let mut far = Peer { stream, host: address, key: String::new() };
    assert_eq!(far.bytes(6).await, b"GET /x");
}
