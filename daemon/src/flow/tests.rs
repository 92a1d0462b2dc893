//! The listener as a browser and a hostile neighbour meet it: over real sockets on loopback.
//! Does not: repeat the tables of `request` and `core::redirect`.
//! Used by: `cargo test`.

use std::{io::Write, net::SocketAddr, time::Duration};

use rally_cred_proto::{FaultKind, Secret, remedy::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    connections::Limits,
    listener::{Arrival, Listener},
    request::Hosts,
};
use rally_cred_core::{
    Sent,
    event::Page,
    profile::RedirectUri,
    redirect::{Expected, Redirect, Start},
};

/// Far longer than any test: what ends a wait here is an event and not the time.
const NEVER: Duration = Duration::from_secs(3600);

/// After this a test that waits for an event fails, where it would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(30);

const PATIENT: Limits = Limits { headers: NEVER, silence: NEVER, page: NEVER, connections: 64 };

/// Where a one-time address leads.
const AUTHORIZE: &str = "https://rally.example/auth?state=rightful&x=a%20b";

pub(super) fn expected(redirect_uri: &str) -> Expected {
    let secret = |text: &str| Secret::parse(text.to_owned()).unwrap();
    Expected {
        redirect_uri: RedirectUri::parse(redirect_uri).unwrap(),
        state: secret("rightful"),
        secrets: Sent::default(),
        start: Start { leads_to: secret(AUTHORIZE), words: vec![secret("first"), secret("second")] },
    }
}

/// A listener on a port that the system chose.
async fn start(limits: Limits) -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let expected = expected(&format!("http://{address}/cb"));
    let hosts = Hosts { redirect: address.to_string(), start: address.to_string() };
    (Listener::start(vec![socket], hosts, expected, limits), address)
}

fn request(method: &str, target: &str, address: SocketAddr) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: test\r\n\r\n")
}

fn right(address: SocketAddr) -> String {
    request("GET", "/cb?code=canary&state=rightful", address)
}

/// Sends these bytes and reads until the connection ends.
pub(super) async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_all(stream).await
}

pub(super) async fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends").unwrap();
    String::from_utf8(answer).unwrap()
}

async fn arrival(listener: &mut Listener) -> Arrival {
    timeout(PATIENCE, listener.arrival()).await.expect("the redirect arrives")
}

/// The right redirect still completes the flow.
async fn check_still_works(listener: &mut Listener, address: SocketAddr) {
    let right = right(address);
    let browser = exchange(address, right.as_bytes());
    let flow = async {
        let Arrival { redirect, page } = arrival(listener).await;
        assert!(matches!(redirect, Redirect::Code(code) if code.expose() == "canary"));
        page.send(Page::SignedIn(Some("me@example.com".to_owned()))).unwrap();
    };
    let (answer, ()) = tokio::join!(browser, flow);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("me@example.com"), "{answer}");
    assert!(!answer.contains("canary") && !answer.contains("rightful"), "{answer}");
}

#[tokio::test]
async fn a_one_time_address_leads_to_rally_once_and_the_flow_goes_on() {
    let (mut listener, address) = start(PATIENT).await;
    for word in ["second", "first"] {
        let get = request("GET", &format!("/start/{word}"), address);
        let led = exchange(address, get.as_bytes()).await;
        assert!(led.starts_with("HTTP/1.1 302 Found\r\n"), "{led}");
        assert!(led.contains(&format!("\r\nlocation: {AUTHORIZE}\r\n")), "{led}");
        assert!(led.contains("\r\ncache-control: no-store\r\n"), "{led}");
        let again = exchange(address, get.as_bytes()).await;
        assert!(again.starts_with("HTTP/1.1 409") && !again.contains("rightful"), "{again}");
        assert!(again.contains("somebody else"), "{again}");
    }
    let invented = exchange(address, request("GET", "/start/third", address).as_bytes()).await;
    assert!(invented.starts_with("HTTP/1.1 400") && invented.contains("sign-in is over"), "{invented}");
    check_still_works(&mut listener, address).await;
}

/// Somebody who knows the state and leaves before anybody could see whose they are.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_redirect_by_a_program_that_is_gone_does_not_end_the_flow() {
    let (mut listener, address) = start(PATIENT).await;
    let mut gone = std::net::TcpStream::connect(address).unwrap();
    gone.write_all(right(address).as_bytes()).unwrap();
    drop(gone);
    check_still_works(&mut listener, address).await;
}

#[tokio::test]
async fn junk_is_refused_and_does_not_end_the_flow() {
    let (mut listener, address) = start(PATIENT).await;
    let get = |target: &str| request("GET", target, address);
    let large = format!("GET / HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let long = get(&format!("/cb?state=rightful&code={}", "x".repeat(1024 * 1024)));
    let body = format!(
        "POST /cb HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    for (bytes, status) in [
        (get("/"), "404"),
        (get("/favicon.ico"), "404"),
        (get("/cb"), "400"),
        (get("/cb?code=canary&state=wrong"), "400"),
        (get("/cb?code=canary&code=canary&state=rightful"), "400"),
        (right(address).replace("Host: 127.0.0.1", "Host: evil.example"), "421"),
        ("GET /cb?code=canary&state=rightful HTTP/1.0\r\n\r\n".to_owned(), "421"),
        (request("HEAD", "/cb?code=canary&state=rightful", address), "405"),
        (request("OPTIONS", "/cb?code=canary&state=rightful", address), "405"),
        (body, "405"),
        (right(address).replace("User-Agent: test", "Sec-Purpose: prefetch;prerender"), "503"),
        (right(address).replace("User-Agent: test", "Sec-Fetch-Mode: cors"), "403"),
        (large, "431"),
        (long, "431"),
        (right(address).replace("User-Agent", "X: y\r\n".repeat(200).as_str()), "431"),
        ("\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = exchange(address, bytes.as_bytes()).await;
        let sent = &bytes[..bytes.len().min(60)];
        assert_eq!(answer.split(' ').nth(1), Some(status), "{sent} got {answer}");
    }
    check_still_works(&mut listener, address).await;
}

#[tokio::test]
async fn a_sender_that_is_not_done_is_heard_out_so_that_it_sees_its_refusal() {
    let (_listener, address) = start(PATIENT).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let part = [b'x'; 64 * 1024];
    stream.write_all(b"GET /cb HTTP/1.1\r\nX: ").await.unwrap();
    stream.write_all(&part).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    for _ in 0..32 {
        stream.write_all(&part).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    read_all(stream).await;
}

#[tokio::test]
async fn half_a_request_and_a_lost_connection_do_not_end_the_flow() {
    let (mut listener, address) = start(PATIENT).await;
    drop(TcpStream::connect(address).await.unwrap());
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /cb?code=canary&state=rightful HTTP/1.1\r\nHo").await.unwrap();
    half.shutdown().await.unwrap();
    read_all(half).await;
    check_still_works(&mut listener, address).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_deadline() {
    let (_listener, address) = start(Limits { headers: Duration::from_millis(20), ..PATIENT }).await;
    for bytes in ["", "GET /cb?code=canary&state=rightful HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // On a busy machine the deadline may pass before the bytes are sent, so both calls may meet a closed connection.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn two_hundred_silent_connections_do_not_keep_the_right_redirect_out() {
    let (mut listener, address) = start(PATIENT).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    check_still_works(&mut listener, address).await;
    // No deadline is near: the oldest made room for the newer ones.
    assert_eq!(read_all(silent.swap_remove(0)).await, "");
}

#[tokio::test]
async fn a_redirect_that_waits_for_its_page_or_to_be_read_is_not_pushed_out() {
    let (mut listener, address) = start(Limits { connections: 4, ..PATIENT }).await;
    // These calls block the runtime, so that the redirect and what follows it wait to be accepted together.
    let mut browser = std::net::TcpStream::connect(address).unwrap();
    browser.write_all(right(address).as_bytes()).unwrap();
    let _early: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let arrived = arrival(&mut listener).await;
    let mut late = Vec::new();
    for _ in 0..40 {
        late.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(exchange(address, right(address).as_bytes()).await.starts_with("HTTP/1.1 409"));
    arrived.page.send(Page::Denied(Command::new("rally-cred login"))).unwrap();
    browser.set_nonblocking(true).unwrap();
    let answer = read_all(TcpStream::from_std(browser).unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Access denied"), "{answer}");
}

#[tokio::test]
async fn a_replayed_redirect_is_refused_before_and_after_the_outcome_is_known() {
    let (mut listener, address) = start(PATIENT).await;
    let browser = tokio::spawn(async move { exchange(address, right(address).as_bytes()).await });
    let arrived = arrival(&mut listener).await;
    for target in [
        "/cb?code=canary&state=rightful",
        "/cb?code=other&state=rightful",
        "/cb?error=access_denied&state=rightful",
    ] {
        let answer = exchange(address, request("GET", target, address).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("already used"), "{answer}");
    }
    arrived.page.send(Page::SignedIn(None)).unwrap();
    assert!(browser.await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(exchange(address, right(address).as_bytes()).await.starts_with("HTTP/1.1 409"));
    assert!(timeout(Duration::ZERO, listener.arrival()).await.is_err());
}

#[tokio::test]
async fn deny_arrives_as_a_refusal() {
    let (mut listener, address) = start(PATIENT).await;
    let denied = request("GET", "/cb?error=access_denied&state=rightful", address);
    let flow = async {
        let Arrival { redirect, page } = arrival(&mut listener).await;
        assert_eq!(redirect.fault().unwrap().kind, FaultKind::Denied);
        page.send(Page::Denied(Command::new("rally-cred login"))).unwrap();
    };
    let (answer, ()) = tokio::join!(exchange(address, denied.as_bytes()), flow);
    assert!(answer.contains("Access denied"), "{answer}");
}

/// What a browser shows while it has not all of the page.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(text) {
        let count = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("more of the page").unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_browser_is_told_that_rally_takes_its_time_and_then_how_it_ended() {
    let soon = Duration::from_millis(20);
    for is_dropped in [false, true] {
        let (mut listener, address) = start(Limits { silence: soon, ..PATIENT }).await;
        let mut browser = TcpStream::connect(address).await.unwrap();
        browser.write_all(right(address).as_bytes()).await.unwrap();
        let arrived = arrival(&mut listener).await;
        let begun = read_until(&mut browser, "</div>").await;
        assert!(
            begun.starts_with("HTTP/1.1 200 OK\r\n") && begun.contains("has not answered yet"),
            "{begun}"
        );
        assert!(!begun.contains("canary") && !begun.contains("rightful"), "{begun}");
        // The port closes with the sign-in, and the page that has begun is finished.
        drop(listener);
        assert!(std::net::TcpListener::bind(address).is_ok());
        let title = if is_dropped {
            drop(arrived);
            "Not known how it ended"
        } else {
            arrived.page.send(Page::Denied(Command::new("rally-cred login"))).unwrap();
            "Access denied"
        };
        let rest = read_all(browser).await;
        assert!(
            rest.contains(title) && rest.contains("</html>") && rest.ends_with("\r\n0\r\n\r\n"),
            "{rest}"
        );
    }
}

#[tokio::test]
async fn the_browser_is_not_kept_waiting_for_an_outcome_that_nobody_tells() {
    let soon = Duration::from_millis(20);
    for limits in [Limits { silence: soon, page: soon, ..PATIENT }, PATIENT] {
        let (mut listener, address) = start(limits).await;
        let browser = tokio::spawn(async move { exchange(address, right(address).as_bytes()).await });
        let arrived = arrival(&mut listener).await;
        // Whoever could tell it is gone, or stays and says nothing.
        let _kept = (limits.silence == soon).then_some(arrived);
        assert!(browser.await.unwrap().contains("Not known how it ended"));
    }
}

#[tokio::test]
async fn dropping_the_listener_frees_the_port_ends_the_rest_and_still_shows_the_page() {
    let (mut listener, address) = start(PATIENT).await;
    let browser = tokio::spawn(async move { exchange(address, right(address).as_bytes()).await });
    let arrived = arrival(&mut listener).await;
    let silent = TcpStream::connect(address).await.unwrap();
    // An answer to a later request shows that the silent connection was accepted.
    exchange(address, request("GET", "/", address).as_bytes()).await;
    drop(listener);
    let again = std::net::TcpListener::bind(address);
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(read_all(silent).await, "");
    arrived.page.send(Page::SignedIn(None)).unwrap();
    assert!(browser.await.unwrap().contains("Signed in to Rally"));
}
