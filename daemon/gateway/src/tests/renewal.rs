//! What a tool sees while its token ends.
//! Does not: renew by the broker (the daemon's tests do).
//! Used by: `cargo test`.

use tokio::io::AsyncWriteExt;

use super::world::{End, World};

const READS_A_USER: &str = "GET /slm/webservice/v2.0/user?fetch=ObjectID ";

#[tokio::test]
async fn a_token_that_ends_is_renewed_and_the_tool_sees_one_answer_from_the_same_connection() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    assert!(rally.head().await.ends_with("zsessionid: token-1"));
    rally.answer("401 Unauthorized", "ended").await;
    assert!(rally.head().await.ends_with("zsessionid: token-2"));
    rally.serve(&mut tool, "hello").await;
    assert_eq!((world.purse.renewals(), world.gateway.counts().renewals), (1, 1));
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn all_whose_token_ended_share_one_renewal_and_no_stream_under_way_breaks() {
    let world = World::open().await;
    let (mut reader, mut stream) = world.asked("GET /slm/long").await;
    stream.send("HTTP/1.1 200 OK\nContent-Length: 4\n\nab").await;
    let (mut one, mut first) = world.asked("GET /slm/x").await;
    let (mut other, mut second) = world.asked("GET /slm/y").await;
    for rally in [&mut first, &mut second] {
        rally.answer("401 Unauthorized", "").await;
        assert!(rally.head().await.ends_with("zsessionid: token-2"));
    }
    first.serve(&mut one, "x").await;
    second.serve(&mut other, "y").await;
    stream.send("cd").await;
    reader.text_until("\r\n\r\nabcd").await;
    assert_eq!(world.purse.renewals(), 1);
}

#[tokio::test]
async fn a_write_is_sent_again_whole_once_a_read_shows_that_the_token_ended() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("POST /slm/x\nContent-Length: 5\n\nhello").await;
    rally.bytes(5).await;
    rally.answer("401 Unauthorized", "").await;
    let question = rally.head().await;
    assert!(question.starts_with(READS_A_USER) && question.ends_with("zsessionid: token-1"), "{question}");
    rally.answer("401 Unauthorized", "").await;
    let again = rally.head().await;
    assert!(again.starts_with("POST /slm/x ") && again.ends_with("zsessionid: token-2"), "{again}");
    assert_eq!(rally.bytes(5).await, b"hello");
    rally.serve(&mut tool, "done").await;
}

#[tokio::test]
async fn a_read_only_keys_401_for_a_write_is_passed_on_and_renews_nothing() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("POST /slm/x\nContent-Length: 5\n\nhello").await;
    rally.bytes(5).await;
    rally.answer("401 Unauthorized", "read-only").await;
    assert!(rally.head().await.starts_with(READS_A_USER));
    rally.answer("200 OK", "{}").await;
    assert_eq!(tool.head().await, "HTTP/1.1 401 Unauthorized\ncontent-length: 9");
    assert_eq!(tool.bytes(9).await, b"read-only");
    assert_eq!(world.purse.renewals(), 0);
}

#[tokio::test]
async fn a_401_before_the_body_was_sent_does_not_lose_the_rest_of_it() {
    let world = World::open().await;
    // Too large to be held as a whole, but Rally refuses it before that matters.
    let length = 3 * 1024 * 1024;
    let (mut tool, mut rally) = world.asked(&format!("POST /slm/x\nContent-Length: {length}\n\nab")).await;
    rally.bytes(2).await;
    rally.send("HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n").await;
    let mut asked = world.rally().await;
    assert!(asked.head().await.starts_with(READS_A_USER));
    let rest = vec![b'c'; length - 2];
    let answering = async {
        // Even if Rally goes on reading, the body waits until it is known where to.
        tokio::select! {
            _ = rally.rest() => panic!("the rest went to the first try"),
            () = world.stalled() => (),
        }
        asked.answer("401 Unauthorized", "").await;
        let again = asked.head().await;
        assert!(again.starts_with("POST /slm/x ") && again.ends_with("zsessionid: token-2"), "{again}");
        asked.bytes(length).await
    };
    let (_, body) = tokio::join!(async { tool.stream.write_all(&rest).await.unwrap() }, answering);
    assert!(body.starts_with(b"abc") && body.ends_with(b"c"));
    asked.serve(&mut tool, "done").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_to_send_again_is_told_plainly_and_the_token_is_new_by_then() {
    let world = World::open().await;
    let length = 1024 * 1024 + 1;
    let (mut tool, mut rally) = world.asked(&format!("POST /slm/x\nContent-Length: {length}\n\n")).await;
    let body = vec![b'a'; length];
    tokio::join!(async { tool.stream.write_all(&body).await.unwrap() }, rally.bytes(length));
    rally.answer("401 Unauthorized", "").await;
    rally.head().await;
    rally.answer("401 Unauthorized", "").await;
    let head = tool.hears("503 Token Was Renewed - Send Again").await;
    assert!(head.contains("retry-after: 0"), "{head}");
    tool.text_until(
        "send the request again\"],\"Warnings\":[],\"_rallyAPIMajor\":\"2\",\"_rallyAPIMinor\":\"0\"}}",
    )
    .await;
    tool.ask("GET /slm/x").await;
    assert!(rally.head().await.ends_with("zsessionid: token-2"));
}

#[tokio::test]
async fn while_a_person_must_sign_in_a_tool_hears_so_in_rallys_shape_and_in_the_status_line() {
    let world = World::with(1, |_| ()).await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.answer("401 Unauthorized", "").await;
    for _ in 0..2 {
        tool.hears("503 No Token - no sign-in for profile default").await;
        let body = tool.text_until("}}").await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            body["OperationResult"]["Errors"][0],
            "no sign-in for profile default; why: the grant was revoked; try: rally-cred login"
        );
        tool.ask("GET /slm/x").await;
    }
    // The token that ended is never sent again.
    assert!(world.nobody_else_asked().await);
}

#[tokio::test]
async fn the_first_answer_is_kept_until_the_second_is_there() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.answer("401 Unauthorized", "ended").await;
    assert!(rally.head().await.ends_with("token-2"));
    drop(rally);
    let mut rally = world.rally().await;
    assert!(rally.head().await.ends_with("token-2"));
    drop(rally);
    assert_eq!(tool.head().await, "HTTP/1.1 401 Unauthorized\ncontent-length: 5");
    assert_eq!(tool.bytes(5).await, b"ended");
}

#[tokio::test]
async fn a_path_that_is_closed_to_a_user_costs_one_renewal_and_no_more() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    let mut rally = None;
    for _ in 0..3 {
        tool.ask("GET /slm/closed").await;
        let mut connection = match rally.take() {
            Some(rally) => rally,
            None => {
                let mut first = world.rally().await;
                first.head().await;
                first.answer("401 Unauthorized", "closed").await;
                first
            }
        };
        let asked = connection.head().await;
        assert!(asked.starts_with("GET /slm/closed ") && asked.ends_with("zsessionid: token-2"), "{asked}");
        connection.answer("401 Unauthorized", "closed").await;
        assert!(connection.head().await.starts_with(READS_A_USER));
        connection.answer("200 OK", "{}").await;
        tool.text_until("\r\n\r\nclosed").await;
        rally = Some(connection);
    }
    assert_eq!(world.purse.renewals(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_as_well_is_never_sent_again() {
    let world = World::open().await;
    let mut tool = world.tool().await;
    tool.ask("GET /slm/x").await;
    let mut rally = world.rally().await;
    for token in ["token-1", "token-2", "token-2"] {
        assert!(rally.head().await.ends_with(token));
        rally.answer("401 Unauthorized", "no").await;
    }
    tool.text_until("\r\n\r\nno").await;
    tool.ask("GET /slm/x").await;
    assert!(rally.head().await.ends_with("token-3"));
    rally.serve(&mut tool, "yes").await;
}

#[tokio::test]
async fn a_connection_that_rally_closed_while_it_was_idle_costs_a_read_nothing() {
    let world = World::open().await;
    let (mut tool, mut rally) = world.asked("GET /slm/x").await;
    rally.serve(&mut tool, "x").await;
    tool.ask("GET /slm/y").await;
    rally.head().await;
    drop(rally);
    let mut rally = world.rally().await;
    assert!(rally.head().await.starts_with("GET /slm/y "));
    rally.serve(&mut tool, "y").await;
    // A write may have been carried out, so it is not sent again.
    tool.ask("POST /slm/z\nContent-Length: 0\n\n").await;
    rally.head().await;
    drop(rally);
    tool.hears("502 Server Broke Off").await;
    assert!(world.nobody_else_asked().await);
    tool.text_until("}}").await;
    tool.send("GET /slm/x HTTP/1.1\nConnection: close\nHost: {host}\n\n").await;
    assert_eq!(tool.rest().await.1, End::Closed);
}
