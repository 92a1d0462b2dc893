//! An OpenBao of a test: file-backed, unsealed, and set up by the lines of docs/fleets.md; its proxy on a Unix socket; and a
//! way to it that a test may hold up or cut.
//! Does not: serve anybody but this machine. `tests/tools/install` brings the program.
//! Used by: `cargo fleet`, and the tests of shared vaults.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a server that cannot be had is the end of its test, with this message"
)]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{generated, sandbox::Sandbox, toolkits, world};

use rally_cred_proto::unpoisoned;

/// The server. Dropped, it ends and leaves nothing.
#[derive(Debug)]
pub struct OpenBao {
    folder: TempDir,
    server: Child,
    port: u16,
    unseal_key: String,
    root_token: String,
}

/// What a daemon may do with the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Renew tokens, and write what others read.
    Agent,
    /// Read access tokens.
    Reader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Reader => "reader",
        }
    }
}

/// The blocks of this language in the document on fleets, in order.
fn documented(language: &str) -> Vec<String> {
    let path = generated::root().join("docs/fleets.md");
    let text = fs::read_to_string(path).expect("the document on fleets");
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

impl OpenBao {
    /// Starts one, which keeps its data in files of its own.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("rally-cred-bao-").tempdir().expect("a folder");
        let (port, cluster) = (world::free_port(), world::free_port());
        let at = folder.path().display();
        fs::create_dir(folder.path().join("data")).expect("a folder for its data");
        let config = format!(
            "storage \"raft\" {{\n  path = \"{at}/data\"\n  node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n"
        );
        fs::write(folder.path().join("bao.hcl"), config).expect("its config file");
        let mut server = Command::new(toolkits::installed("bao"));
        server.args(["server", "-config"]).arg(folder.path().join("bao.hcl")).env_clear();
        let server = started(server.env("HOME", folder.path()).stdin(Stdio::null()), "server started");
        let mut bao = Self { folder, server, port, unseal_key: String::new(), root_token: String::new() };
        let init = bao.run(&["operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json"]);
        let init: Value = serde_json::from_str(&init).expect("the keys as JSON");
        let text =
            |pointer: &str| init.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (bao.unseal_key, bao.root_token) = (text("/unseal_keys_b64/0"), text("/root_token"));
        bao.unseal();
        // The lines that the document gives, with the files that it shows.
        for (role, policy) in [Role::Agent, Role::Reader].into_iter().zip(documented("hcl")) {
            let file = bao.folder.path().join(format!("{}.hcl", role.name()));
            fs::write(file, policy).expect("a policy");
        }
        bao.until(&["token", "lookup"]);
        let lines = documented("sh").into_iter().next().unwrap_or_default();
        for line in lines.lines() {
            let words: Vec<_> = line.split(' ').skip(1).collect();
            bao.until(&words);
        }
        bao
    }

    /// Starts a proxy that signs in by itself, by the lines and the file of the document, with its files in this folder.
    pub fn proxy(&self, folder: &Path) -> Proxy {
        let lines = documented("sh").into_iter().nth(2).expect("the lines for the proxy");
        let signed_up = self.command("sh").args(["-ec", &lines]).current_dir(folder).output();
        let signed_up = signed_up.expect("a shell");
        assert!(signed_up.status.success(), "{}", String::from_utf8_lossy(&signed_up.stderr));
        let socket = folder.join("proxy.sock");
        let config = documented("hcl").into_iter().nth(2).expect("the file for the proxy");
        let config = changed(
            config,
            &[
                ("https://bao.example.com:8200", &self.address()),
                ("/run/bao/proxy.sock", &socket.display().to_string()),
                ("/etc/bao/", &format!("{}/", folder.display())),
            ],
        );
        fs::write(folder.join("proxy.hcl"), config).expect("a config file");
        Proxy { program: self.started_proxy(folder), folder: folder.to_owned() }
    }

    fn started_proxy(&self, folder: &Path) -> Child {
        let mut bao = self.command("bao");
        // What it knows is in its file.
        bao.args(["proxy", "-config=proxy.hcl"]).env_remove("BAO_TOKEN").env_remove("BAO_ADDR");
        started(bao.current_dir(folder), "authentication successful")
    }

    /// A program with what the server's command line needs to know.
    fn command(&self, program: &str) -> Command {
        let bao = toolkits::installed("bao");
        let folder = bao.parent().expect("the folder of the program").display();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{folder}:{}", env::var("PATH").unwrap_or_default()))
            .env("HOME", self.folder.path())
            .env("BAO_ADDR", self.address())
            .env("BAO_TOKEN", &self.root_token)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Lets it give out what it has.
    pub fn unseal(&self) {
        self.run(&["operator", "unseal", &self.unseal_key]);
    }

    /// Has it give out nothing more.
    pub fn seal(&self) {
        self.run(&["operator", "seal"]);
    }

    /// A token for this role that ends by itself, as `5s`.
    pub fn token(&self, role: Role, life: &str) -> String {
        let (policy, ttl) = (format!("-policy={}", role.name()), format!("-ttl={life}"));
        // After it was unsealed it takes a moment until tokens are made.
        self.until(&["token", "create", &policy, &ttl, "-field=token"]).trim().to_owned()
    }

    /// A field of what it holds.
    pub fn field(&self, path: &str, field: &str) -> Option<Value> {
        let item = self.try_run(&["kv", "get", "-mount=rally", "-format=json", path]).ok()?;
        let item: Value = serde_json::from_str(&item).ok()?;
        let record = item.pointer("/data/data/record")?.as_str()?;
        serde_json::from_str::<Value>(record).ok()?.get(field).cloned()
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs its command line as its owner.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|said| panic!("bao {arguments:?}: {said}"))
    }

    /// The same, until it succeeds: a server that was just unsealed is not ready yet.
    fn until(&self, arguments: &[&str]) -> String {
        (0..200).find_map(|_| self.try_run(arguments).ok()).unwrap_or_else(|| self.run(arguments))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command("bao").args(arguments).output().map_err(|err| err.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// A proxy of the server, which signs in by itself and adds its token. Dropped, it ends.
#[derive(Debug)]
pub struct Proxy {
    program: Child,
    folder: PathBuf,
}

impl Proxy {
    /// Ends it, without a word to those who use it.
    pub fn kill(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }

    /// Starts it again, where it was killed.
    pub fn start_again(&mut self, bao: &OpenBao) {
        self.program = bao.started_proxy(&self.folder);
    }

    /// The documented config file for an agent that uses it, with one profile for the sandbox.
    pub fn config_for(&self, sandbox: &Sandbox) -> String {
        documented_config(1, sandbox, &[("/run/bao/proxy.sock", &self.socket())])
    }

    /// The documented profile whose token a program has of it.
    pub fn profile_for(&self, sandbox: &Sandbox) -> String {
        let profile = documented("toml").into_iter().nth(2).expect("a profile with a program");
        let profile = changed(profile, &[("/run/bao/proxy.sock", &self.socket())]);
        format!("{profile}base_url = \"{}\"\n", sandbox.base_url())
    }

    fn socket(&self) -> String {
        self.folder.join("proxy.sock").display().to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that has said this; its further words are let go.
fn started(program: &mut Command, says: &str) -> Child {
    let (words, into) = io::pipe().expect("a pipe");
    program.stdout(into.try_clone().expect("its other end")).stderr(into);
    let server = program.spawn().expect("bao can be run");
    // Else the words would not end with the program.
    program.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(words).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(says)), "bao has ended");
    thread::spawn(move || lines.for_each(drop));
    server
}

/// The documented config file for an agent, with one profile for the sandbox, and with these words in place of others.
pub fn config_for(sandbox: &Sandbox, changes: &[(&str, &str)]) -> String {
    documented_config(0, sandbox, changes)
}

fn documented_config(number: usize, sandbox: &Sandbox, changes: &[(&str, &str)]) -> String {
    let documented = documented("toml").into_iter().nth(number).expect("a config file for an agent");
    format!("{}\n{}", changed(documented, changes), world::profile_for(sandbox))
}

/// A documented file with these words in place of others.
fn changed(documented: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(documented, |text, (from, to)| {
        assert!(text.contains(from), "the documented file has no {from}");
        text.replace(from, to)
    })
}

/// A way to a server through this process, on which a test holds requests up or cuts them. Each request of a daemon has a
/// connection of its own.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The first lines of the requests so far.
    requests: Vec<String>,
    is_cut: bool,
    hold: Option<Hold>,
    /// Whether a request is held up now.
    holds: bool,
}

/// Where a request is held up, which is then cut.
#[derive(Clone, Debug)]
pub struct Hold {
    /// What its first line begins with.
    pub begins: &'static str,
    /// The how many-th such request, from one.
    pub number: usize,
    /// Whether the server has got it, and its answer is held up.
    pub is_answer: bool,
}

impl Gate {
    /// Opens a way to this address.
    pub fn to(address: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let gate = Self(Arc::new(Inner { port, state: Mutex::default(), changed: Condvar::new() }));
        let target = address.trim_start_matches("http://").to_owned();
        let accepting = gate.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (gate, target) = (accepting.clone(), target.clone());
                thread::spawn(move || gate.pass(stream, &target));
            }
        });
        gate
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// Lets nothing through, or everything.
    pub fn cut(&self, is_cut: bool) {
        self.state().is_cut = is_cut;
    }

    /// Holds this request up.
    pub fn hold(&self, hold: Hold) {
        let mut state = self.state();
        state.requests.clear();
        state.hold = Some(hold);
    }

    /// Waits until a request is held up.
    pub fn until_held(&self) {
        let mut state = self.state();
        while !state.holds {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(&self.0.state)
    }

    fn pass(&self, mut stream: TcpStream, target: &str) {
        if self.state().is_cut {
            return;
        }
        let Ok(request) = read_message(&mut stream) else { return };
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let held = {
            let mut state = self.state();
            state.requests.push(line);
            let is_held = state.hold.clone().filter(|hold| {
                let count = state.requests.iter().filter(|line| line.starts_with(hold.begins)).count();
                count == hold.number
            });
            is_held.inspect(|_| state.hold = None)
        };
        if held.as_ref().is_some_and(|hold| !hold.is_answer) {
            return self.hold_up();
        }
        let Ok(mut server) = TcpStream::connect(target) else { return };
        let Ok(()) = server.write_all(&request) else { return };
        let Ok(answer) = read_message(&mut server) else { return };
        if held.is_some() {
            return self.hold_up();
        }
        stream.write_all(&answer).ok();
        stream.shutdown(Shutdown::Both).ok();
    }

    /// Tells the test, and lets the connection end: the daemon is gone by then, or believes the request lost.
    fn hold_up(&self) {
        self.state().holds = true;
        self.0.changed.notify_all();
        let state = self.state();
        let wait = self.0.changed.wait_while(state, |state| state.holds);
        drop(wait);
    }

    /// Lets go what is held up, which is cut.
    pub fn let_go(&self) {
        self.state().holds = false;
        self.0.changed.notify_all();
    }
}

/// One request or answer with its body.
fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut message, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&message).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(message);
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(message),
            count => message.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// The file with the server's token, in a folder of the test.
pub fn token_file(folder: PathBuf, token: &str) -> PathBuf {
    let file = folder.join("bao-token");
    fs::write(&file, token).expect("a token file");
    file
}
