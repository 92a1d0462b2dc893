//! The world in which everything is measured: a sandbox, a keyring, a daemon with a token, and the baselines in C.
//! Does not: measure.
//! Used by: every part that measures.

use std::path::{Path, PathBuf};
use std::{env, fs, process::Command};

use rally_cred_proto::Client;
use rally_cred_tests::world::{self, Running, World};
use rally_cred_tests::{keyring::KeyringSession, sandbox::Sandbox};

/// The world, with its programs by their paths.
pub(crate) struct BenchWorld {
    pub(crate) daemon: Running,
    pub(crate) bare_server: Running,
    pub(crate) world: World,
    pub(crate) c_programs: PathBuf,
    /// A git request for the token.
    pub(crate) request: PathBuf,
    pub(crate) request_text: String,
    pub(crate) token: String,
    pub(crate) socket: PathBuf,
    pub(crate) bare_socket: PathBuf,
    pub(crate) cache_socket: PathBuf,
    _sandbox: Sandbox,
    _keyring: KeyringSession,
}

impl BenchWorld {
    pub(crate) fn new() -> Result<Self, String> {
        let c_programs = build_c_programs()?;
        let sandbox = world::sandbox();
        let keyring = KeyringSession::start();
        let mut world = World::new();
        world.configure_for(&sandbox);
        world.join(&keyring);
        // As users have it: each token that is handed out is a line in the log.
        let daemon = world.start_daemon();
        let socket = world.socket();
        let mut client = Client::connect(&socket).map_err(|fault| fault.to_string())?;
        world::sign_in(&mut client, None, &sandbox)?;

        let base_url = sandbox.base_url();
        let (protocol, host) = base_url.split_once("://").ok_or("a base URL without a protocol")?;
        let request_text = format!("protocol={protocol}\nhost={host}\n\n");
        let got = world.client(&["get"], &request_text).stdout;
        if !got.contains("\npassword=") {
            return Err(format!("the first get gave {got:?}"));
        }
        let value = |key: &str| got.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let (user, token, end) = (value("username="), value("password="), value("password_expiry_utc="));

        let cache_socket = world.path("run/cache/socket");
        let stored = format!("protocol={protocol}\nhost={host}\n{got}");
        let cache = ["credential-cache", "--socket", &text(&cache_socket), "--timeout=36000", "store"]
            .map(str::to_owned);
        world.run("git", &cache.each_ref().map(String::as_str), stored);
        let secret_tool = ["store", "--label=bench", "service", "bench"];
        world.run("secret-tool", &secret_tool, token);

        let bare_socket = world.path("run/bare.sock");
        let line = format!(
            r#"{{"type":"token","profile":"default","base_url":"{base_url}","username":"{user}","token":"{token}","expires_at":{end}}}"#
        );
        let mut bare_server = world.start(&text(&c_programs.join("server")), &[&text(&bare_socket), &line]);
        if bare_server.next_line_of_stdout().as_deref() != Some("ready") {
            return Err("the bare server did not start".to_owned());
        }
        let request = world.path("request");
        fs::write(&request, &request_text).map_err(|fault| fault.to_string())?;
        Ok(Self {
            daemon,
            bare_server,
            c_programs,
            request,
            request_text,
            token: token.to_owned(),
            socket,
            bare_socket,
            cache_socket,
            _sandbox: sandbox,
            _keyring: keyring,
            world,
        })
    }

    /// One of the baselines.
    pub(crate) fn c_program(&self, name: &str) -> String {
        text(&self.c_programs.join(name))
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<PathBuf, String> {
        let path = self.world.path(name);
        fs::write(&path, content).map(|()| path).map_err(|fault| fault.to_string())
    }
}

impl Drop for BenchWorld {
    fn drop(&mut self) {
        // Nobody's child any more, so it is told.
        self.world.run("git", &["credential-cache", "--socket", &text(&self.cache_socket), "exit"], "");
    }
}

/// Builds the baselines.
fn build_c_programs() -> Result<PathBuf, String> {
    let folder = world::programs().join("bench-c");
    fs::create_dir_all(&folder).map_err(|fault| fault.to_string())?;
    for name in ["client", "server", "stopwatch", "load", "nothing"] {
        build_c_program(&folder.join(name), name, &["musl-gcc", "-O2", "-static"])?;
    }
    Ok(folder)
}

/// Builds one of `bench/c` by this compiler.
pub(crate) fn build_c_program(program: &Path, name: &str, compiler: &[&str]) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/c").join(name).with_extension("c");
    let [compiler, options @ ..] = compiler else { return Err("no compiler".to_owned()) };
    let built = Command::new(compiler).args(options).arg("-o").arg(program).arg(source).status();
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{name}.c cannot be built")),
        Err(err) => Err(format!("cannot run {compiler}; musl-gcc is of Debian's musl-tools: {err}")),
    }
}

/// A program's path, as the shell finds it; `None` if it is not installed.
pub(crate) fn installed(program: &str) -> Option<String> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .map(|path| text(&path))
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
