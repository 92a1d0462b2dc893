//! What is told of a request for the log.
//! Does not: write a log (the suite looks into the daemon's).
//! Used by: `cargo test`.

use std::sync::{Arc, Mutex};

use super::world::World;
use crate::audit::{Answered, Audit};

/// A gateway, and what was told of its requests.
async fn audited() -> (World, Arc<Mutex<Vec<Answered>>>) {
    let told = Arc::<Mutex<Vec<Answered>>>::default();
    let list = Arc::clone(&told);
    let audit = Audit::to(move |answered| list.lock().unwrap().push(answered));
    (World::with(10, |settings| settings.audit = audit).await, told)
}

fn line(method: &str, path: &str, status: u16) -> Answered {
    Answered { method: method.to_owned(), path: path.to_owned(), status }
}

#[tokio::test]
async fn each_request_is_told_with_its_path_and_status_and_no_query() {
    let (world, told) = audited().await;
    let (mut tool, mut rally) = world.asked("POST /slm/webservice/v2.0/defect/create?key=canary").await;
    rally.answer("201 Created", "canary").await;
    tool.text_until("\r\n\r\ncanary").await;
    assert_eq!(*told.lock().unwrap(), [line("POST", "/slm/webservice/v2.0/defect/create", 201)]);
}

#[tokio::test]
async fn what_is_not_let_in_is_told_too_and_a_tunnel_by_its_server() {
    let (world, told) = audited().await;
    let mut tool = world.tool().await;
    tool.send("GET /slm/x?canary HTTP/1.1\nHost: {host}\nZSESSIONID: _canary\n\n").await;
    tool.text_until("\r\n\r\n").await;
    let mut tool = world.tool().await;
    tool.send("CONNECT elsewhere.example.com:443 HTTP/1.1\nHost: elsewhere.example.com:443\n\n").await;
    tool.text_until("\r\n\r\n").await;
    assert_eq!(
        *told.lock().unwrap(),
        [line("GET", "/slm/x", 401), line("CONNECT", "elsewhere.example.com:443", 407)]
    );
}
