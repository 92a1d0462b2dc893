//! KeePassXC as the keyring, without a screen: what a daemon keeps in its database, and how tokens come there from another
//! keyring.
//! Does not: answer a question of KeePassXC's; its settings ask none.
//! Used by: `main`.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rally_cred_tests::{
    keyring::KeyringSession,
    world::{World, set_mode},
};
use tempfile::TempDir;
use zbus::{
    blocking::connection::Builder,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use crate::sign_in::{sign_in, world_with_keyring};

/// The password of the database.
const PASSWORD: &str = "pw\n";

/// The Secret Service is on, and nobody is asked whether a program may have an entry.
const SETTINGS: &str = "\
[General]
ConfigVersion=2
UpdateCheckMessageShown=true

[GUI]
CheckForUpdates=false

[FdoSecrets]
Enabled=true
ShowNotification=false
ConfirmAccessItem=false
ConfirmDeleteItem=false
";

/// KeePassXC with one open database on a bus of its own. Fields are dropped in this order.
struct KeePassXc {
    program: Child,
    bus: KeyringSession,
    _home: TempDir,
}

impl KeePassXc {
    fn start() -> Self {
        let home = tempfile::Builder::new().prefix("rally-cred-keepassxc-").tempdir().unwrap();
        let bus = KeyringSession::start_without_keyring();
        let command = |program: &str| {
            let mut command = Command::new(program);
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home.path());
            command.env("XDG_RUNTIME_DIR", home.path()).env("QT_QPA_PLATFORM", "offscreen").envs(bus.env());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            command
        };
        set_mode(home.path(), 0o700);
        let settings = home.path().join("settings.ini");
        fs::write(&settings, SETTINGS).unwrap();
        let database = make_database(home.path(), |arguments, input| {
            let mut cli = command("keepassxc-cli").args(arguments).spawn().unwrap();
            cli.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let ended = cli.wait_with_output().unwrap();
            assert!(ended.status.success(), "{arguments:?}: {ended:?}");
            String::from_utf8(ended.stdout).unwrap()
        });
        let mut program = command("keepassxc");
        program.arg("--config").arg(settings).arg("--pw-stdin").arg(database).stdout(Stdio::null());
        let mut program = program.spawn().unwrap();
        program.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        let mut keepassxc = Self { program, bus, _home: home };
        keepassxc.wait_until_open();
        keepassxc
    }

    /// Asks until the database is the default collection and open; each question is a round trip to the bus.
    fn wait_until_open(&mut self) {
        let connection = Builder::address(self.bus.address()).and_then(Builder::build).unwrap();
        let ask = |path: &str, interface: &str, method: &str, arguments: &[&str]| {
            let name = Some("org.freedesktop.secrets");
            match arguments {
                [one] => connection.call_method(name, path, Some(interface), method, &(one,)),
                [one, other, ..] => {
                    connection.call_method(name, path, Some(interface), method, &(one, other))
                }
                [] => connection.call_method(name, path, Some(interface), method, &()),
            }
        };
        let is_open = || {
            let service = "org.freedesktop.Secret.Service";
            let alias = ask("/org/freedesktop/secrets", service, "ReadAlias", &["default"]).ok()?;
            let path: OwnedObjectPath = alias.body().deserialize().ok()?;
            let collection = ["org.freedesktop.Secret.Collection", "Locked"];
            let locked = ask(path.as_str(), "org.freedesktop.DBus.Properties", "Get", &collection).ok()?;
            let locked: OwnedValue = locked.body().deserialize().ok()?;
            bool::try_from(locked).ok().map(|is_locked| !is_locked)
        };
        while is_open() != Some(true) {
            assert!(self.program.try_wait().unwrap().is_none(), "it ended");
            std::thread::yield_now();
        }
    }
}

impl Drop for KeePassXc {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

/// Makes a database whose root group the Secret Service shows, which a person does in the database's settings.
fn make_database(home: &Path, cli: impl Fn(&[&str], &str) -> String) -> std::path::PathBuf {
    let [plain, database] = ["plain.kdbx", "passwords.kdbx"].map(|name| home.join(name));
    let twice = PASSWORD.repeat(2);
    cli(&["db-create", "-p", plain.to_str().unwrap()], &twice);
    let xml = cli(&["export", "-f", "xml", plain.to_str().unwrap()], PASSWORD);
    let root = xml.split("<UUID>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let hex: String = STANDARD.decode(root).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let group = format!("{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    let shown = format!(
        "<CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{group}</Value></Item></CustomData></Meta>"
    );
    let file = home.join("database.xml");
    fs::write(&file, xml.replacen("</Meta>", &shown, 1)).unwrap();
    cli(&["import", "-p", file.to_str().unwrap(), database.to_str().unwrap()], &twice);
    database
}

/// What the keyring shows of ours, with the time at which each item was last written.
fn kept(world: &World) -> Vec<String> {
    let found = world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "").said();
    let of_interest = |line: &&str| {
        ["attribute.username", "secret", "modified"]
            .iter()
            .any(|name| line.starts_with(&format!("{name} = ")))
    };
    let mut lines: Vec<_> = found.lines().filter(of_interest).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn tokens_move_from_gnome_keyring_to_keepassxc_which_serves_and_renews_them_and_writes_nothing_twice() {
    let (sandbox, mut world, gnome) = world_with_keyring();
    let text = world.config();
    fs::write(world.path("the-key"), [7; 32]).unwrap();
    let key = world.path("the-key").display().to_string();
    world.configure(&format!("keyring = \"os\"\nkeyring_key = \"{key}\"\n{text}"));
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    world.client(&["keyring", "migrate", "--to", "file"], "").succeeded();
    drop((daemon, gnome));
    let keepassxc = KeePassXc::start();
    world.join(&keepassxc.bus);
    let daemon = world.start_daemon();
    let moved = world.client(&["keyring", "migrate", "--to", "os"], "").succeeded().stdout;
    assert!(moved.contains("token:default: copied, and read back"), "{moved}");
    let names = |kept: &[String]| kept.iter().filter(|line| line.starts_with("attribute.username")).count();
    let before = kept(&world);
    assert_eq!(names(&before), 2, "{before:?}");
    drop(daemon);
    let daemon = world.start_daemon();
    let old = world.get().succeeded().stdout;
    assert_eq!(kept(&world), before, "what is only read is not written");
    assert!(sandbox.revoke(old.trim_end()));
    world.reject(sandbox.base_url(), old.trim_end());
    let new = world.get().succeeded().stdout;
    assert_ne!(old, new);
    assert_eq!(names(&kept(&world)), 2, "a renewal writes over the old entry");
    world.client(&["daemon", "stop"], "").succeeded();
    drop(daemon);
    let _daemon = world.start_daemon();
    assert_eq!(world.get().succeeded().stdout, new);
    world.client(&["logout", "--forget-client-secret"], "").succeeded();
    assert!(kept(&world).is_empty());
}
