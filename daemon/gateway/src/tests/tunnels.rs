//! Tunnels: to other servers, to Rally, and out through the parent's proxy.
//! Does not: look at the requests within one more than to see whose they are.
//! Used by: `cargo test`.

use http_body_util::{BodyExt, Full};
use hyper::{Response, StatusCode, body::Bytes};
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use super::{
    secure::Secure,
    world::{End, Peer, SOON, World, nobody},
};

/// A listener in the place of any server.
async fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> Peer<tokio::net::TcpStream> {
    let (stream, address) = timeout(SOON, listener.accept()).await.expect("nobody connects").unwrap();
    Peer { stream, host: address.to_string(), key: String::new() }
}

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\nHost: {to}\nProxy-Authorization: Bearer {{key}}\n\n")
}

#[tokio::test]
async fn a_tunnel_to_another_server_passes_every_byte_and_each_end_by_itself() {
    let world = World::open().await;
    let (other, address) = server().await;
    let mut tool = world.tool().await;
    // Bytes that come right behind the request belong to the tunnel.
    tool.send(&format!("{}early", connect(&address))).await;
    let mut far = accept(&other).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    assert_eq!(far.bytes(5).await, b"early");
    far.stream.write_all(b"\x16\x03\0GET / HTTP/9\n\n").await.unwrap();
    far.stream.shutdown().await.unwrap();
    assert_eq!(tool.rest().await, ("\u{16}\u{3}\0GET / HTTP/9\n\n".to_owned(), End::Closed));
    tool.send("late").await;
    tool.stream.shutdown().await.unwrap();
    assert_eq!(far.rest().await, ("late".to_owned(), End::Closed));
    assert!(world.nobody_else_asked().await);
    assert_eq!(world.gateway.counts().tunnels, 1);
}

#[tokio::test]
async fn a_tunnel_whose_far_end_breaks_breaks_at_the_tool_too() {
    let world = World::open().await;
    let (other, address) = server().await;
    let mut tool = world.tool().await;
    tool.send(&connect(&address)).await;
    let far = accept(&other).await;
    tool.head().await;
    far.stream.set_zero_linger().unwrap();
    drop(far);
    assert_eq!(tool.rest().await, (String::new(), End::Reset));
}

#[tokio::test]
async fn a_tunnel_without_the_key_is_refused_with_407_and_the_connection_stays() {
    let world = World::open().await;
    let (other, address) = server().await;
    let mut tool = world.tool().await;
    tool.send(&format!("CONNECT {address} HTTP/1.1\nHost: {address}\n\n")).await;
    let head = tool.hears("407 Local Key Needed In Proxy-Authorization").await;
    assert!(
        head.contains("proxy-authenticate: Basic realm=") && !head.contains("connection: close"),
        "{head}"
    );
    tool.text_until("}}").await;
    tool.send(&connect(&address)).await;
    let mut far = accept(&other).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    tool.send("hello").await;
    assert_eq!(far.bytes(5).await, b"hello");
}

#[tokio::test]
async fn a_refused_request_does_not_spoil_the_tunnel_that_is_asked_for_after_it() {
    let world = World::open().await;
    let (other, address) = server().await;
    let mut tool = world.tool().await;
    tool.ask("GET /elsewhere").await;
    tool.text_until("}}").await;
    tool.send(&format!("{}\u{16}\u{3}", connect(&address))).await;
    let mut far = accept(&other).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    assert_eq!(far.bytes(2).await, b"\x16\x03");
}

#[tokio::test]
async fn a_tunnel_to_where_nobody_listens_is_told_plainly_and_the_connection_stays() {
    let world = World::open().await;
    let (_held, address) = nobody();
    let mut tool = world.tool().await;
    for _ in 0..2 {
        tool.send(&connect(&address)).await;
        tool.hears("502 Server Cannot Be Reached").await;
        tool.text_until("}}").await;
    }
}

#[tokio::test]
async fn a_tunnel_to_rally_ends_here_and_its_requests_get_the_live_token() {
    let secure = Secure::open(&["http/1.1"], true).await;
    let world = &secure.world;
    let mut tool = world.tool().await;
    tool.send(&connect(&secure.name)).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    let mut tool = tool.secured(&world.identity, "localhost").await;
    tool.host = secure.name.clone();
    tool.ask("GET /slm/x").await;
    let mut rally = secure.rally().await.unwrap();
    assert_eq!(rally.head().await, "GET /slm/x HTTP/1.1\nhost: {host}\nzsessionid: token-1");
    rally.serve(&mut tool, "hello").await;
    // Within it the gateway's own name is a foreign one.
    tool.host = format!("127.0.0.1:{}", world.identity.port());
    tool.ask("GET /slm/x").await;
    tool.hears("421 ").await;
}

#[tokio::test]
async fn https_on_loopback_is_served_with_a_certificate_of_the_gateways_own_authority() {
    let world = World::open().await;
    let mut tool = world.tool().await.secured(&world.identity, "localhost").await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    assert!(rally.head().await.ends_with("zsessionid: token-1"));
    rally.serve(&mut tool, "hello").await;
}

#[tokio::test]
async fn a_rally_that_offers_http_2_gets_it_and_the_tool_sees_http_1_1() {
    let secure = Secure::open(&["h2", "http/1.1"], true).await;
    let serving = secure.serve_http_2(|request| async move {
        let mut answer = Response::new(Full::default());
        if request.headers()["zsessionid"] == "token-2" {
            *answer.body_mut() = Full::new(request.into_body().collect().await.unwrap().to_bytes());
        } else {
            // Before the body is there.
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
        }
        answer
    });
    let mut tool = secure.world.tool().await;
    // More than Rally takes in before it answers.
    let body = "a".repeat(500_000);
    let head = "POST /slm/x HTTP/1.1\nHost: {host}\nZSESSIONID: {key}\nTransfer-Encoding: chunked";
    let asking = async {
        tool.send(&format!("{head}\n\n{:x}\n{body}\n0\n\n", body.len())).await;
        assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 500000");
        assert_eq!(tool.bytes(body.len()).await, body.as_bytes());
    };
    tokio::select! {
        () = serving => panic!("the connection ended"),
        () = asking => (),
    }
    // The token that ended was renewed within one connection.
    assert_eq!(secure.world.purse.renewals(), 1);
}

#[tokio::test]
async fn tools_that_do_not_read_hold_up_no_other_on_the_same_connection() {
    let secure = Secure::open(&["h2"], true).await;
    let serving = secure.serve_http_2(|request| async move {
        let length = if request.uri().path() == "/slm/large" { 64 * 1024 * 1024 } else { 1 };
        Response::new(Full::new(Bytes::from(vec![b'x'; length])))
    });
    let asking = async {
        let mut idle = Vec::new();
        for _ in 0..8 {
            let mut tool = secure.world.tool().await;
            tool.ask("GET /slm/large").await;
            tool.head().await;
            idle.push(tool);
        }
        secure.world.stalled().await;
        let mut tool = secure.world.tool().await;
        tool.ask("GET /slm/small").await;
        tool.text_until("\r\n\r\nx").await;
    };
    tokio::select! {
        () = serving => panic!("the connection ended"),
        () = asking => (),
    }
}

#[tokio::test]
async fn a_rally_whose_certificate_is_not_trusted_gets_no_token() {
    let secure = Secure::open(&["http/1.1"], false).await;
    let mut tool = secure.world.tool().await;
    tool.ask("GET /slm/x").await;
    let (rally, head) = tokio::join!(secure.rally(), tool.head());
    assert!(rally.is_none());
    assert!(head.starts_with("HTTP/1.1 502 Certificate Is Not Trusted"), "{head}");
}

#[tokio::test]
async fn a_rally_or_proxy_that_takes_a_connection_and_says_nothing_is_given_up() {
    let secure = Secure::open(&["http/1.1"], true).await;
    let mut tool = secure.world.tool().await;
    tool.ask("GET /slm/x").await;
    let _silent = secure.world.rally.accept().await.unwrap();
    tokio::time::pause();
    tool.hears("504 Server Does Not Answer").await;
    tokio::time::resume();

    let (proxy, address) = server().await;
    let (rally, _) = server().await;
    let world =
        World::before(rally, "https://rally.example", Some(&format!("http://{address}")), 1, |_| ()).await;
    let mut tool = world.tool().await;
    tool.send(&connect("other.example:8443")).await;
    let mut silent = accept(&proxy).await;
    silent.head().await;
    tokio::time::pause();
    tool.hears("504 Server Does Not Answer").await;
}

#[tokio::test]
async fn the_parents_proxy_leads_to_rally_and_to_every_other_server_that_is_not_on_this_machine() {
    let (proxy, address) = server().await;
    let (rally, _) = server().await;
    let through = format!("http://me:canary@{address}");
    let world = World::before(rally, "https://rally.example", Some(&through), 1, |_| ()).await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut asked = accept(&proxy).await;
    let authorized = "host: rally.example:443\nproxy-authorization: Basic bWU6Y2FuYXJ5";
    assert_eq!(
        asked.head().await.to_ascii_lowercase(),
        format!("connect rally.example:443 http/1.1\n{authorized}").to_ascii_lowercase()
    );
    asked.send("HTTP/1.1 403 Forbidden\n\n").await;
    tool.hears("502 Proxy Does Not Lead There").await;
    tool.text_until("}}").await;

    tool.send(&connect("other.example:8443")).await;
    let mut asked = accept(&proxy).await;
    assert!(asked.head().await.starts_with("CONNECT other.example:8443 HTTP/1.1"));
    asked.send("HTTP/1.1 200 OK\n\n").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
    asked.send("hello").await;
    assert_eq!(tool.bytes(5).await, b"hello");

    let (near, address) = server().await;
    let mut tool = world.tool().await;
    tool.send(&connect(&address)).await;
    accept(&near).await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK");
}
