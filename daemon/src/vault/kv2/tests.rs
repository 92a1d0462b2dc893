//! The client of a shared vault against a server that keeps items as the real one does, and answers as it is told.
//! Does not: replace the proof on the real server, which `cargo fleet` and the suite have.
//! Used by: `cargo test`.

use std::collections::BTreeMap;

use rally_cred_core::kv2::ServerToken;
use rally_cred_core::profile::{BaseUrl, CommandLine, SecretSource};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use super::*;

/// What the server holds, by path; each item with its version.
#[derive(Default)]
struct Stage {
    items: BTreeMap<String, (u64, Value)>,
    /// What is answered in place of what the server would.
    answers: Vec<(u16, &'static str)>,
    requests: Vec<String>,
    tokens: Vec<String>,
    /// Writes take effect, and their answers get lost.
    loses_answers: bool,
}

impl Stage {
    fn answer(&mut self, line: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap().trim_start_matches("/v1/"));
        self.requests.push(format!("{method} {path}"));
        if let Some((status, body)) = self.answers.pop() {
            return Some((status, body.to_owned()));
        }
        if let Some(folder) = path.strip_suffix("?list=true") {
            let folder = format!("{}/", folder.replace("/metadata/", "/data/"));
            let keys: Vec<_> = self.items.keys().filter_map(|path| path.strip_prefix(&folder)).collect();
            return Some((200, json!({"data": {"keys": keys}}).to_string()));
        }
        if method == "GET" {
            return Some(match self.items.get(path) {
                None => (404, r#"{"errors":[]}"#.to_owned()),
                Some((version, data)) => {
                    (200, json!({"data": {"data": data, "metadata": {"version": version}}}).to_string())
                }
            });
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let version = self.items.get(path).map_or(0, |(version, _)| *version);
        if body["options"]["cas"].as_u64() != Some(version) {
            let why = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
            return Some((400, why.to_owned()));
        }
        self.items.insert(path.to_owned(), (version + 1, body["data"].clone()));
        (!self.loses_answers).then(|| (200, json!({"data": {"version": version + 1}}).to_string()))
    }
}

struct World {
    stage: Arc<Mutex<Stage>>,
    server: Server,
}

impl World {
    async fn with(change: impl FnOnce(&mut Kv2)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stage = Arc::new(Mutex::new(Stage::default()));
        let shared = Arc::clone(&stage);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, &shared).await;
            }
        });
        let mut settings = Kv2::new(Address::Url(BaseUrl::parse(&url).unwrap()));
        (settings.mount, settings.path) = ("rally".to_owned(), "agents".to_owned());
        change(&mut settings);
        Self { stage, server: Server::new(Arc::new(settings)) }
    }

    async fn change(&self, from: Option<&str>, to: Option<&str>) -> Result<Changed, VaultTrouble> {
        let change = Change { key: token_key(), from: from.map(secret), to: to.map(secret) };
        self.server.change(change).await
    }

    async fn held(&self) -> Option<String> {
        self.server.load(&token_key()).await.unwrap().map(|item| item.expose().to_owned())
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        unpoisoned(&self.stage)
    }

    /// What a load comes to when the server answers so.
    async fn trouble(&self, status: u16, body: &'static str) -> VaultTrouble {
        self.stage().answers.push((status, body));
        self.server.load(&token_key()).await.unwrap_err()
    }
}

async fn serve(stream: tokio::net::TcpStream, stage: &Mutex<Stage>) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await.unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if let Some(token) = line.strip_prefix("x-vault-token: ") {
            unpoisoned(stage).tokens.push(token.to_owned());
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer = unpoisoned(stage).answer(&first, &body);
    if let Some((status, body)) = answer {
        let head =
            format!("HTTP/1.1 {status} x\r\nLocation: http://localhost:1/\r\nContent-Length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    }
}

fn token_key() -> ItemKey {
    ItemKey { kind: ItemKind::Token, name: "work".to_owned() }
}

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

#[tokio::test]
async fn a_change_is_made_where_the_item_is_as_believed_and_nowhere_else() {
    let world = World::with(|_| {}).await;
    assert_eq!(world.held().await, None);
    assert!(matches!(world.change(None, Some("one")).await, Ok(Changed::Done)));
    assert!(matches!(world.change(Some("one"), Some("two <é>")).await, Ok(Changed::Done)));
    assert_eq!(world.held().await.as_deref(), Some("two <é>"));
    match world.change(Some("one"), Some("three")).await {
        Ok(Changed::Conflict(Some(found))) => assert_eq!(found.expose(), "two <é>"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(world.change(Some("two <é>"), None).await, Ok(Changed::Done)));
    assert_eq!(world.held().await, None);
}

#[tokio::test]
async fn the_version_that_was_read_goes_with_the_write_so_that_a_quicker_daemon_is_not_overwritten() {
    let world = World::with(|_| {}).await;
    world.change(None, Some("one")).await.unwrap();
    world.held().await;
    let path = "rally/data/agents/token/work";
    world.stage().items.insert(path.to_owned(), (2, json!({"record": "theirs"})));
    world.stage().requests.clear();
    match world.change(Some("one"), Some("mine")).await {
        Ok(Changed::Conflict(Some(found))) => assert_eq!(found.expose(), "theirs"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.stage().requests, [format!("POST {path}"), format!("GET {path}")]);
}

#[tokio::test]
async fn an_item_that_was_erased_and_made_anew_is_not_taken_for_the_old_one() {
    let world = World::with(|_| {}).await;
    world.change(None, Some("one")).await.unwrap();
    let other = Server::new(Arc::clone(&world.server.settings));
    other.write(&token_key(), None).await.unwrap();
    other.write(&token_key(), Some(secret("new"))).await.unwrap();
    assert!(matches!(world.change(Some("one"), Some("two")).await, Ok(Changed::Conflict(Some(_)))));
    assert_eq!(world.held().await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_to_be_done() {
    let world = World::with(|_| {}).await;
    world.stage().loses_answers = true;
    let trouble = world.change(None, Some("one")).await.unwrap_err();
    assert!(matches!(trouble, VaultTrouble::Server(ServerTrouble::Unreachable { .. })), "{trouble:?}");
    world.stage().loses_answers = false;
    assert!(matches!(world.change(None, Some("one")).await, Ok(Changed::Done)));
    assert_eq!(world.stage().items["rally/data/agents/token/work"].0, 1);
}

#[tokio::test]
async fn each_refusal_has_its_trouble() {
    let world = World::with(|_| {}).await;
    use ServerTrouble as T;
    for (status, body, expected) in [
        (503, r#"{"errors":["Vault is sealed"]}"#, T::Sealed),
        (
            403,
            r#"{"errors":["permission denied"]}"#,
            T::Denied { path: "rally/data/agents/token/work".to_owned(), has_token: false },
        ),
        (
            404,
            r#"{"errors":["no handler for route \"rally/data/x\". route entry not found."]}"#,
            T::NoMount("rally".to_owned()),
        ),
        (200, r#"{"data":{"data":{"record":"x"}}}"#, T::NotVersion2("rally".to_owned())),
        (307, "", T::Redirects),
        (500, r#"{"errors":["it is ill"]}"#, T::Answered { status: 500, why: "it is ill".to_owned() }),
        (502, "<html>", T::Answered { status: 502, why: "it gave no reason".to_owned() }),
        (
            200,
            r#"{"data":{"data":{"password":"canary"},"metadata":{"version":1}}}"#,
            T::Damaged("rally/data/agents/token/work".to_owned()),
        ),
    ] {
        let trouble = world.trouble(status, body).await;
        assert_eq!(trouble, VaultTrouble::Server(expected));
        assert!(!format!("{:?}", trouble.fault()).contains("canary"));
    }
}

#[tokio::test]
async fn a_token_that_was_replaced_meanwhile_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "new\n").unwrap();
    let line = format!("cat {0}; echo renewed > {0}", file.display());
    let command = CommandLine { program: "sh".into(), arguments: vec!["-c".to_owned(), line] };
    let command = SecretSource::Command(command);
    let world = World::with(|settings| settings.token = Some(ServerToken::Source(command))).await;
    world.held().await;
    world.held().await;
    world.stage().answers.push((403, r#"{"errors":["permission denied"]}"#));
    world.held().await;
    assert_eq!(world.stage().tokens, ["new", "new", "new", "renewed"]);
}

#[tokio::test]
async fn what_belongs_to_this_machine_stays_here() {
    let world = World::with(|_| {}).await;
    let key = ItemKey { kind: ItemKind::Gateway, name: "mcp".to_owned() };
    world.server.write(&key, Some(secret("port"))).await.unwrap();
    assert_eq!(world.server.load(&key).await.unwrap().unwrap().expose(), "port");
    assert!(world.stage().requests.is_empty());
}

#[tokio::test]
async fn the_items_are_listed_by_name_without_those_that_were_erased() {
    let world = World::with(|_| {}).await;
    let server = ItemKey { kind: ItemKind::StaticCredentials, name: "https://git.example.com".to_owned() };
    for key in [&token_key(), &server] {
        world.server.write(key, Some(secret("x"))).await.unwrap();
    }
    assert_eq!(world.server.accounts().await.unwrap(), ["token:work", "static:https://git.example.com"]);
    world.server.write(&token_key(), None).await.unwrap();
    assert_eq!(world.server.accounts().await.unwrap(), ["static:https://git.example.com"]);
}

const RECORD: &str = r#"{"v":1,"base_url":"https://rally1.rallydev.com","client_id":"c","scope":"alm","access_token":"A2","refresh_token":"R2","obtained_at":1,"generation":2}"#;

#[tokio::test]
async fn readers_get_the_access_token_only_and_never_an_older_one() {
    let world = World::with(|settings| settings.has_reader_items = true).await;
    world.change(None, Some(RECORD)).await.unwrap();
    let mut settings = (*world.server.settings).clone();
    (settings.is_read_only, settings.has_reader_items) = (true, false);
    let reader = Server::new(Arc::new(settings));
    let read = reader.load(&token_key()).await.unwrap().unwrap();
    assert!(read.expose().contains("A2") && !read.expose().contains("R2"), "{}", read.expose());
    let older = RECORD.replace("A2", "A1").replace("\"generation\":2", "\"generation\":1");
    world.change(Some(RECORD), Some(&older)).await.unwrap();
    assert!(reader.load(&token_key()).await.unwrap().unwrap().matches(&read));
    // Whatever a reader makes of it, nothing is written.
    world.stage().requests.clear();
    let change = Change { key: token_key(), from: None, to: Some(secret("mine")) };
    assert!(matches!(reader.change(change).await, Ok(Changed::Done)));
    assert!(world.stage().requests.is_empty());
}

#[test]
fn no_name_leads_out_of_the_folder() {
    for (kind, name, expected) in [
        (ItemKind::Token, "work.1", "token/work.1"),
        (
            ItemKind::StaticCredentials,
            "https://git.example.com:8443",
            "static/https=3a=2f=2fgit.example.com=3a8443",
        ),
        (ItemKind::StaticCredentials, "../../x", "static/=2e=2e=2f=2e=2e=2fx"),
    ] {
        assert_eq!(path(&ItemKey { kind, name: name.to_owned() }), expected);
        assert_eq!(decoded(expected.split_once('/').unwrap().1).as_deref(), Some(name));
    }
}
