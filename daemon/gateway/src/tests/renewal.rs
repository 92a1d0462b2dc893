//! What a tool sees while its token ends.
//! Does not: renew by the broker (the daemon's tests do).
//! Used by: `cargo test`.

use super::world::World;

#[tokio::test]
async fn a_token_that_ends_is_renewed_and_the_tool_sees_one_answer_from_the_same_connection() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    assert!(rally.head().await.ends_with("zsessionid: token-1"));
    rally.answer("401 Unauthorized", "ended").await;
    assert!(rally.head().await.ends_with("zsessionid: token-2"));
    rally.answer("200 OK", "hello").await;
    assert_eq!(tool.head().await, "HTTP/1.1 200 OK\ncontent-length: 5");
    assert_eq!(tool.bytes(5).await, b"hello");
    assert_eq!((world.purse.renewals(), world.gateway.counts().renewals), (1, 1));
    assert!(world.nobody_else_asked().await);
}
