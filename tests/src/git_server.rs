//! A server of git repositories: git's own HTTP backend behind Basic authentication, on loopback.
//! Does not: speak git's protocol, or know rally-cred.
//! Used by: the tests in which git clones with a credential.
#![expect(clippy::expect_used, reason = "a server that cannot be made is the end of its test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::{net::Ipv4Addr, thread};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::oneshot};

use rally_cred_proto::unpoisoned;

/// The server. Dropping it closes the port.
#[derive(Debug)]
pub struct GitServer {
    origin: String,
    authorization: Arc<Mutex<String>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _folder: TempDir,
}

#[derive(Clone)]
struct Served {
    folder: PathBuf,
    authorization: Arc<Mutex<String>>,
}

/// The largest push that is taken.
const MOST: usize = 16 * 1024 * 1024;

impl GitServer {
    /// Serves `tools.git`, which holds one file `README`, to who sends this value of the header `Authorization`.
    pub fn start(authorization: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        make_repository(folder.path());
        let authorization = Arc::new(Mutex::new(authorization.to_owned()));
        let served = Served { folder: folder.path().to_owned(), authorization: Arc::clone(&authorization) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                let address = listener.local_addr().expect("its address");
                tell.send(format!("http://{address}")).expect("a test that waits");
                let router = Router::new().fallback(serve).with_state(served);
                tokio::select! {
                    ended = axum::serve(listener, router) => ended.expect("a server that goes on"),
                    _ = stopped => {}
                }
            });
        });
        let origin = told.recv().expect("a server that starts");
        Self { origin, authorization, stop: Some(stop), thread: Some(thread), _folder: folder }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// From now on another value of the header is right, as when a password was changed.
    pub fn change_authorization(&self, to: &str) {
        to.clone_into(&mut unpoisoned(&self.authorization));
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed, and the test saw its effect.
            thread.join().ok();
        }
    }
}

fn make_repository(folder: &Path) {
    let git = |arguments: &[&str], stdin: &str| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "x").env(format!("GIT_{role}_EMAIL"), "x@example.com");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git, which tests/run installs");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), stdin.as_bytes())
            .expect("a reader");
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    git(&["init", "--quiet", "--bare", "--initial-branch=main", "tools.git"], "");
    let at = "--git-dir=tools.git";
    let blob = git(&[at, "hash-object", "-w", "--stdin"], "served\n");
    let tree = git(&[at, "mktree"], &format!("100644 blob {blob}\tREADME\n"));
    let commit = git(&[at, "commit-tree", "-m", "first", &tree], "");
    git(&[at, "update-ref", "refs/heads/main", &commit], "");
    git(&[at, "config", "http.receivepack", "true"], "");
}

/// Passes a request on to `git http-backend` by the rules of CGI (RFC 3875), and its answer back.
async fn serve(State(served): State<Served>, request: Request) -> Response<Body> {
    let wanted = unpoisoned(&served.authorization).clone();
    let (head, body) = request.into_parts();
    if text(&head.headers, header::AUTHORIZATION.as_str()) != wanted {
        let mut refusal = Response::new(Body::empty());
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        refusal
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"tools\""));
        return refusal;
    }
    let body = to_bytes(body, MOST).await.expect("a body of bearable size");
    let mut backend = tokio::process::Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &served.folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(&head.headers, header::CONTENT_TYPE.as_str()))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text(&head.headers, header::CONTENT_ENCODING.as_str()))
        .env("GIT_PROTOCOL", text(&head.headers, "git-protocol"))
        .env("REMOTE_USER", "x")
        .env("REMOTE_ADDR", "127.0.0.1");
    let mut backend = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git's backend");
    let mut input = backend.stdin.take().expect("its input");
    let (written, output) = tokio::join!(
        async move {
            let written = input.write_all(&body).await;
            drop(input);
            written
        },
        backend.wait_with_output()
    );
    // The backend may have enough before it has everything.
    written.ok();
    answer(&output.expect("its end").stdout)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// An answer of a CGI program: header lines, with the status among them, and a body.
fn answer(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").expect("headers of the backend");
    let (head, body) = output.split_at(end);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(head).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or_default()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(body.get(4..).unwrap_or_default().to_vec())).expect("an answer")
}
