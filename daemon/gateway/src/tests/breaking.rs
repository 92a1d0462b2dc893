//! What a tool sees when Rally or the gateway breaks off.
//! Does not: break a tool.
//! Used by: `cargo test`.

use super::world::{End, World};

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
        assert_eq!(world.gateway.counts().last_error.as_deref(), Some("Rally Broke Off In Its Answer"));
    }
}
