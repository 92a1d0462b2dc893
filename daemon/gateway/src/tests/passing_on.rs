//! What Rally gets of a request, and what a tool gets of an answer.
//! Does not: end a token (`renewal` does).
//! Used by: `cargo test`.

use super::world::World;

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
