//! A real gnome-keyring-daemon on a session bus of its own, in a temporary home, for one test.
//! Does not: meet the keyring or the bus of whoever runs the tests.
//! Used by: the tests that need a keyring, unlocked, locked, silent, restarted or gone.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a keyring that cannot be made is the end of its test"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::{fs, path::Path, sync::mpsc, thread};

use tempfile::TempDir;
use zbus::blocking::{Connection, MessageIterator};
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};
use zbus::{blocking::connection::Builder, message::Type};

use crate::world::make_private;

/// What unlocks the keyring of a test.
const PASSWORD: &str = "pw";

/// A bus, and on it a keyring daemon. Dropping it ends both by their ids.
#[derive(Debug)]
pub struct KeyringSession {
    home: TempDir,
    bus: Child,
    address: String,
    keyring: Option<Child>,
    prompter: Option<SilentPrompter>,
}

#[derive(Debug)]
struct SilentPrompter {
    _connection: Connection,
    asked: mpsc::Receiver<()>,
}

impl KeyringSession {
    /// A bus with an unlocked keyring.
    pub fn start() -> Self {
        let mut session = Self::start_without_keyring();
        session.restart_keyring(true);
        session
    }

    /// A bus on which nobody keeps secrets, and nobody can be started to.
    pub fn start_without_keyring() -> Self {
        Self::start_bus(|runtime| format!("unix:dir={}", runtime.display()))
    }

    /// A bus that listens at this path, and on it an unlocked keyring.
    pub fn start_at(socket: &Path) -> Self {
        let mut session = Self::start_bus(|_| format!("unix:path={}", socket.display()));
        session.restart_keyring(true);
        session
    }

    /// `listen`: where the bus listens, given the runtime folder of its session.
    fn start_bus(listen: impl FnOnce(&Path) -> String) -> Self {
        let home =
            tempfile::Builder::new().prefix("rally-cred-keyring-").tempdir().expect("a temporary folder");
        let runtime = home.path().join("run");
        make_private(&runtime);
        let (bus, address) = run_bus(home.path(), &listen(&runtime));
        Self { home, bus, address, keyring: None, prompter: None }
    }

    /// Ends the bus with SIGKILL, and the keyring with it, as at the end of a session.
    pub fn kill_bus(&mut self) {
        self.bus.kill().ok();
        self.bus.wait().ok();
        self.kill_keyring();
    }

    /// Starts a bus at this path, and on it the unlocked keyring with what it has stored.
    pub fn restart_bus_at(&mut self, socket: &Path) {
        self.kill_bus();
        (self.bus, self.address) = run_bus(self.home.path(), &format!("unix:path={}", socket.display()));
        self.restart_keyring(true);
    }

    /// The variables through which a program finds this keyring.
    pub fn env(&self) -> Vec<(String, String)> {
        vec![("DBUS_SESSION_BUS_ADDRESS".to_owned(), self.address.clone())]
    }

    /// Where the bus listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the keyring daemon with SIGKILL.
    pub fn kill_keyring(&mut self) {
        end(&mut self.keyring);
    }

    /// Lets the keyring daemon fall silent in the middle of whatever it does.
    pub fn pause_keyring(&self) {
        self.signal("STOP");
    }

    /// Lets a silent keyring daemon go on, with whatever was asked of it in the meantime.
    pub fn resume_keyring(&self) {
        self.signal("CONT");
    }

    /// Starts the keyring daemon anew on what it has stored, unlocked or locked.
    pub fn restart_keyring(&mut self, unlocked: bool) {
        self.kill_keyring();
        // The shell has the daemon ignore SIGXFSZ, so that a full disk is an error to it and not its end.
        let mut command = self.command("sh");
        let line = "trap '' XFSZ; exec gnome-keyring-daemon --foreground --components=secrets \"$@\"";
        command.args(["-c", line, "sh"]).stdout(Stdio::null()).stderr(Stdio::null());
        if unlocked {
            command.arg("--unlock").stdin(Stdio::piped());
        } else {
            command.stdin(Stdio::null());
        }
        let mut keyring = command.spawn().expect("gnome-keyring-daemon, which tests/run installs");
        if let Some(mut input) = keyring.stdin.take() {
            input.write_all(PASSWORD.as_bytes()).expect("a keyring that reads its password");
        }
        self.keyring = Some(keyring);
        self.wait_for_name("org.freedesktop.secrets");
        if unlocked {
            self.wait_for_collection();
        }
    }

    /// Makes the first collection as a person without a desktop does: by the command that rally-cred names, which takes
    /// the running daemon's place.
    pub fn replace_and_unlock(&mut self) {
        let mut command = self.command("gnome-keyring-daemon");
        // In the foreground, so that this test can end it.
        command.args(["--replace", "--unlock", "--foreground"]).stdin(Stdio::piped());
        let mut keyring = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon, which tests/run installs");
        if let Some(mut input) = keyring.stdin.take() {
            input.write_all(PASSWORD.as_bytes()).expect("a keyring that reads its password");
        }
        // The old one ends by itself.
        if let Some(mut old) = self.keyring.replace(keyring) {
            old.wait().expect("a child that can be waited for");
        }
        self.wait_for_name("org.freedesktop.secrets");
    }

    /// Lets the keyring write nothing more, as on a full disk, or again.
    pub fn set_disk_full(&self, is_full: bool) {
        let pid = self.keyring.as_ref().expect("a keyring").id().to_string();
        let limit = if is_full { "--fsize=0:" } else { "--fsize=unlimited:" };
        let status = Command::new("prlimit").args([limit, "--pid", &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "the limit cannot be set");
    }

    /// Locks the keyring. Without a prompter, whoever wants it open is refused at once.
    pub fn lock(&self) {
        let locked = self.send(&[
            "--type=method_call",
            "--print-reply",
            "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            "array:objpath:/org/freedesktop/secrets/collection/login",
        ]);
        assert!(locked, "the keyring cannot be locked");
    }

    /// Unlocks the keyring, as a desktop does once its user is back.
    pub fn unlock(&self) {
        let bus = Builder::address(self.address.as_str()).and_then(Builder::build).expect("the bus");
        let (keyring, path) = (Some("org.freedesktop.secrets"), "/org/freedesktop/secrets");
        // The value that names no algorithm is an empty text.
        let plain = ("plain", Value::from(""));
        let opened =
            bus.call_method(keyring, path, Some("org.freedesktop.Secret.Service"), "OpenSession", &plain);
        let opened = opened.expect("a session");
        let (_, session): (OwnedValue, OwnedObjectPath) = opened.body().deserialize().expect("its path");
        let password = (session, Vec::<u8>::new(), PASSWORD.as_bytes(), "text/plain");
        let collection = ObjectPath::from_static_str_unchecked("/org/freedesktop/secrets/collection/login");
        let interface = Some("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface");
        bus.call_method(keyring, path, interface, "UnlockWithMasterPassword", &(collection, password))
            .expect("a keyring that takes its password");
    }

    /// Puts a prompter on the bus that never answers, as one that waits for a person who is not there.
    pub fn start_silent_prompter(&mut self) {
        let connection = Builder::address(self.address.as_str()).and_then(Builder::build).expect("the bus");
        let messages = MessageIterator::from(&connection);
        connection.request_name("org.gnome.keyring.SystemPrompter").expect("the prompter's name");
        let (ask, asked) = mpsc::channel();
        // Ends with the connection.
        thread::spawn(move || {
            for message in messages.flatten() {
                if message.message_type() == Type::MethodCall && ask.send(()).is_err() {
                    return;
                }
            }
        });
        self.prompter = Some(SilentPrompter { _connection: connection, asked });
    }

    /// Waits until the keyring wants a prompt of the silent prompter.
    pub fn wait_for_prompt(&self) {
        let prompter = self.prompter.as_ref().expect("`start_silent_prompter` comes first");
        prompter.asked.recv().expect("a keyring that prompts");
    }

    fn signal(&self, name: &str) {
        let pid = self.keyring.as_ref().expect("a running keyring").id();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {name}");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("XDG_DATA_HOME", self.home.path().join("data"))
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    fn send(&self, arguments: &[&str]) -> bool {
        let mut command = self.command("dbus-send");
        command.arg("--session").args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Asks the keyring until it has a default collection, which one that is unlocked now and then has only after its name.
    fn wait_for_collection(&self) {
        let bus = Builder::address(self.address.as_str()).and_then(Builder::build).expect("the bus");
        let (keyring, path) = (Some("org.freedesktop.secrets"), "/org/freedesktop/secrets");
        let default = || {
            let service = Some("org.freedesktop.Secret.Service");
            let found = bus.call_method(keyring, path, service, "ReadAlias", &"default").ok()?;
            found.body().deserialize::<OwnedObjectPath>().ok()
        };
        while default().is_some_and(|collection| collection.as_str() == "/") {}
    }

    /// Asks the bus until the name has an owner; each question is a round trip to the bus.
    fn wait_for_name(&mut self, name: &str) {
        loop {
            let is_owned = self.send(&[
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus.GetNameOwner",
                &format!("string:{name}"),
            ]);
            if is_owned {
                return;
            }
            if let Some(status) = self.keyring.as_mut().and_then(|keyring| keyring.try_wait().ok()?) {
                panic!("nobody will ever own {name}: the keyring ended with {status}");
            }
        }
    }
}

impl Drop for KeyringSession {
    fn drop(&mut self) {
        end(&mut self.keyring);
        self.bus.kill().ok();
        self.bus.wait().ok();
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        child.kill().ok();
        child.wait().ok();
    }
}

/// Starts a bus that listens there. Returns it, and its address.
fn run_bus(home: &Path, listen: &str) -> (Child, String) {
    // Without service files nothing is started on demand, so the bus holds only what the test put there.
    let config = home.join("bus.conf");
    let text = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
         <busconfig><type>session</type><listen>{listen}</listen>\
         <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
         <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
    );
    fs::write(&config, text).expect("a bus configuration");
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--print-address"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon, which tests/run installs");
    let mut address = String::new();
    let output = bus.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut address).expect("the address of the bus");
    (bus, address.trim().to_owned())
}
