//! Finds the functions that a daemon runs on an ordinary day, in the order in which they are first run, for
//! `daemon/build.rs`.
//! Does not: put them anywhere; the next release build does.
//! Used by: `main`.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, process::Command};

use rally_cred_proto::Client;
use rally_cred_tests::{
    sandbox::Sandbox,
    world::{self, World},
};
use tempfile::TempDir;

use crate::bench_world::{build_c_program, text};

const HEADER: &str = "\
# The functions that a daemon runs on an ordinary day, in the order in which they are first run, by the linker's names.
# Made by `cargo bench-get --order`; build.rs puts them beside each other.
";

/// Writes `daemon/first-runs.txt` anew. What is run without a keyring and without TLS comes first, since that is part
/// of every day.
pub(crate) fn write() -> Result<(), String> {
    let mut tracer = Tracer::new()?;
    for is_encrypted in [false, true] {
        let sandbox = world::sandbox_with(|options| options.tls = is_encrypted);
        let mut world = World::new();
        // As most users have it.
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            world.unset(name);
        }
        let folder = world.path(".config/rally-cred");
        world.configure_for(&sandbox);
        if is_encrypted {
            world.trust(&sandbox);
            // Where the system's bus is, if there is one, and where it would be.
            world.unset("DBUS_SYSTEM_BUS_ADDRESS");
        }
        let with_keyring = world.config();
        let without_keyring = format!("keyring = \"memory\"\n{with_keyring}");
        fs::create_dir_all(&folder).map_err(|err| err.to_string())?;
        let configure =
            |text: &str| fs::write(folder.join("config.toml"), text).map_err(|err| err.to_string());
        configure(&without_keyring)?;
        tracer.day(&world, &sandbox)?;
        configure(&with_keyring)?;
        let _keyring = world.with_keyring();
        tracer.day(&world, &sandbox)?;
    }
    let list: String = tracer.order.iter().map(|name| format!("{name}\n")).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/first-runs.txt");
    fs::write(file, HEADER.to_owned() + &list).map_err(|err| err.to_string())
}

/// A daemon whose functions are seen when they are first run.
struct Tracer {
    daemon: PathBuf,
    program: PathBuf,
    /// The functions by where they begin.
    names: BTreeMap<u64, String>,
    order: Vec<String>,
    folder: TempDir,
}

impl Tracer {
    fn new() -> Result<Self, String> {
        let daemon = world::daemon_with_names()?;
        let names = names_of(&daemon)?;
        let folder = tempfile::tempdir().map_err(|err| err.to_string())?;
        let starts: String = names.keys().map(|start| format!("{start:x}\n")).collect();
        fs::write(folder.path().join("starts"), starts).map_err(|err| err.to_string())?;
        let program = folder.path().join("first_runs");
        build_c_program(&program, "first_runs", &["cc", "-O2"])?;
        Ok(Self { daemon, program, names, order: Vec::new(), folder })
    }

    /// A daemon that a client has started, and one that a service manager has, which finds what the first one left:
    /// each is asked what programs ask.
    fn day(&mut self, world: &World, sandbox: &Sandbox) -> Result<(), String> {
        let (starts, found) = (self.folder.path().join("starts"), self.folder.path().join("found"));
        let line = [&self.program, &starts, &found, &self.daemon].map(|path| text(path));
        for is_detached in [true, false] {
            let [program, trace @ ..] = line.each_ref().map(String::as_str);
            let mut running = if is_detached {
                let mut running = world.start(program, &[&trace[..], &["--detach"]].concat());
                running.next_line_of_stdout();
                running
            } else {
                let mut running = world.start(program, &trace);
                running.wait_for_line(" ready ");
                running
            };
            let socket = world.socket();
            let mut client = Client::connect(&socket).map_err(|fault| fault.to_string())?;
            world::sign_in(&mut client, None, sandbox)?;
            drop(client);
            for (arguments, stdin) in [
                (&["get"][..], format!("url={}\n\n", sandbox.base_url())),
                (&["get", "--format", "token"], String::new()),
                (&["get", "--format", "token", "--min-validity", "59m"], String::new()),
                (&["status"], String::new()),
                (&["doctor"], String::new()),
                (&["daemon", "stop"], String::new()),
            ] {
                let ended = world.client(arguments, stdin);
                // On such a machine, doctor finds something.
                if ended.code != Some(0) && arguments != ["doctor"] {
                    return Err(ended.said());
                }
            }
            running.wait();
            self.take(&found)?;
        }
        Ok(())
    }

    fn take(&mut self, found: &Path) -> Result<(), String> {
        for line in fs::read_to_string(found).map_err(|err| err.to_string())?.lines() {
            let start = u64::from_str_radix(line, 16).map_err(|err| err.to_string())?;
            if let Some(name) = self.names.get(&start).filter(|name| !self.order.contains(name)) {
                self.order.push(name.clone());
            }
        }
        Ok(())
    }
}

/// The functions of a program by where they begin.
fn names_of(program: &Path) -> Result<BTreeMap<u64, String>, String> {
    let listed = Command::new("nm").arg(program).output().map_err(|err| format!("cannot run nm: {err}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let function = |line: &str| {
        let [start, kind, name] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let is_code = matches!(kind, "t" | "T" | "w" | "W");
        is_code.then_some((u64::from_str_radix(start, 16).ok()?, name.to_owned()))
    };
    Ok(listed.lines().filter_map(function).collect())
}
