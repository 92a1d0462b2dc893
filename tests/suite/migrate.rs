//! `rally-cred keyring migrate`, and `unlock` of encrypted files, between a real keyring and encrypted files.
//! Does not: test the places (`vault` and `places` do).
//! Used by: `main`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use rally_cred_tests::world::Running;

use crate::sign_in::{Scene, sign_in, world_with_keyring};

impl Scene {
    /// Of a user whose config file names a key for encrypted files.
    fn with_key(top_of_config: &str) -> Self {
        let mut scene = Self::after(|world| {
            fs::write(world.path("the-key"), [7; 32]).unwrap();
            let key = world.path("the-key").display().to_string();
            let text = world.config();
            world.configure(&format!("# mine\n{top_of_config}keyring_key = \"{key}\"\n{text}"));
        });
        scene.begin_anew();
        scene
    }

    fn begin_anew(&mut self) {
        self.crash();
        self.restart();
    }

    fn migrate(&self, arguments: &[&str]) -> String {
        self.world.client(&[&["keyring", "migrate"], arguments].concat(), "").succeeded().stdout
    }

    /// What the OS keyring has of ours.
    fn in_keyring(&self) -> Vec<String> {
        let found = self.world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "").said();
        let names = found.lines().filter_map(|line| line.strip_prefix("attribute.username = "));
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// A daemon that starts now serves the token without anybody's help.
    fn expect_served(&mut self) {
        self.begin_anew();
        let got = self.world.get().succeeded();
        assert!(!got.stdout.trim_end().is_empty());
    }
}

const BOTH: [&str; 2] = ["client-secret:default", "token:default"];

#[test]
fn tokens_move_to_encrypted_files_and_back_and_the_config_file_says_so() {
    let mut scene = Scene::with_key("");
    assert_eq!(scene.in_keyring(), BOTH);
    let before = scene.world.config();
    assert_eq!(
        scene.migrate(&["--to", "file", "--dry-run"]),
        "client-secret:default: would be copied\ntoken:default: would be copied\n\
         2 items would be moved from auto to file\n"
    );
    assert_eq!((scene.in_keyring().len(), scene.world.config()), (2, before.clone()));
    let told = scene.migrate(&["--to", "file"]);
    assert!(
        told.starts_with(
            "client-secret:default: copied, and read back\ntoken:default: copied, and read back\n"
        )
    );
    assert!(told.ends_with(
        "client-secret:default: deleted from the old place\ntoken:default: deleted from the old place\n"
    ));
    assert!(scene.in_keyring().is_empty());
    assert!(scene.world.config().contains("keyring = \"file\"") && scene.world.config().contains("# mine"));
    scene.expect_served();
    assert_eq!(scene.world.status()["vault"]["kind"], "file");
    scene.migrate(&["--to", "os"]);
    assert_eq!(scene.in_keyring(), BOTH);
    scene.expect_served();
}

#[test]
fn a_migration_that_was_interrupted_loses_nothing_and_is_run_again() {
    let mut scene = Scene::with_key("keyring = \"os\"\n");
    // The daemon dies in the midst of the copies, which wait for a keyring that is silent.
    scene.keyring.pause_keyring();
    let mut client = UnixStream::connect(scene.world.socket()).unwrap();
    client.write_all(b"{\"v\":1,\"op\":\"move_items\",\"to\":\"file\",\"step\":\"copy\"}\n").unwrap();
    scene.daemon.kill();
    scene.keyring.resume_keyring();
    assert!(!scene.world.config().contains("\"file\""));
    scene.expect_served();
    // It ended after the change of the config file, before anything was deleted.
    scene.migrate(&["--to", "file"]);
    scene.migrate(&["--to", "os"]);
    scene.world.client(&["keyring", "migrate", "--from", "os", "--to", "file", "--dry-run"], "").succeeded();
    scene.world.reconfigure(&scene.world.config().replace("keyring = \"os\"", "keyring = \"file\""));
    assert_eq!(scene.in_keyring(), BOTH);
    scene.migrate(&["--from", "os", "--to", "file"]);
    assert!(scene.in_keyring().is_empty());
    scene.expect_served();
    scene.world.client(&["keyring", "migrate", "--to", "file"], "").told("tokens are kept there already");
}

#[test]
fn where_the_new_place_cannot_be_used_nothing_is_changed() {
    let scene = Scene::with_key("");
    let before = scene.world.config();
    fs::write(scene.world.path("the-key"), "short").unwrap();
    scene
        .world
        .client(&["keyring", "migrate", "--to", "file"], "")
        .ended_with(7)
        .told("it has fewer than 32 bytes");
    for (place, told) in [("memory", "no such place"), ("nowhere", "no such place"), ("os", "there already")]
    {
        let refused = scene.world.client(&["keyring", "migrate", "--to", place], "");
        assert!(refused.code != Some(0) && refused.stderr.contains(told), "{place}: {refused:?}");
    }
    assert_eq!((scene.in_keyring(), scene.world.config()), (BOTH.map(str::to_owned).into(), before));
}

#[test]
fn a_passphrase_opens_the_encrypted_files_until_the_daemon_ends() {
    let (sandbox, world, _keyring) = world_with_keyring();
    world.configure(&format!("keyring = \"file\"\n{}", world.config()));
    let mut daemon = world.start_daemon();
    let locked = world.get();
    assert_eq!((locked.code, locked.remedy().as_str()), (Some(7), "rally-cred unlock"), "{locked:?}");
    let unlock = |passphrase: &str| world.client(&["unlock"], passphrase);
    assert_eq!(
        unlock("right\n").succeeded().stdout,
        "the encrypted files are made, and open until the daemon ends\nunlocked\n"
    );
    sign_in(&world, &sandbox);
    daemon.kill();
    let _daemon = world.start_daemon();
    unlock("wrong").ended_with(7).told("not the passphrase");
    // From a descriptor, as docs/reference.md has it.
    fs::write(world.path("passphrase"), "right\n").unwrap();
    let line = format!("exec 3<{}; rally-cred unlock <&3", world.path("passphrase").display());
    let opened = world.run("sh", &["-c", &line], "").succeeded();
    assert_eq!(opened.stdout, "the encrypted files are open until the daemon ends\nunlocked\n");
    world.get().succeeded();
    assert_eq!(unlock("").succeeded().stdout, "unlocked\n", "nothing is asked that is known");
    // A lock is of memory; the key of the files is kept.
    world.client(&["lock"], "").succeeded();
    assert_eq!(unlock("").succeeded().stdout, "unlocked\n");
    world.get().succeeded();
}

/// A helper program that keeps items in files, writes down each call, and stops before one of them until it is let go.
const HELPER: &str = r#"cd "$HOME/helper" || exit 1
echo "$1" >>calls
if [ "$(wc -l <calls)" = "$(cat stop-at)" ]; then
  echo $$ >stopped.new && mv stopped.new stopped
  read -r line <go
fi
of() { printf %s "items/${1##*/}"; }
case $1 in
store)
  item=$(cat)
  url=${item#*\"ServerURL\":\"}
  file=$(of "${url%%\"*}")
  printf %s "$item" >"$file.new" && mv "$file.new" "$file"
  ;;
get)
  file=$(of "$(cat)")
  [ -e "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
  cat "$file"
  ;;
erase) rm "$(of "$(cat)")" ;;
list)
  printf {
  comma=
  for file in items/*; do
    [ -e "$file" ] || continue
    printf '%s"https://rally-cred.invalid/%s":"rally-cred"' "$comma" "${file##*/}"
    comma=,
  done
  printf }
  ;;
esac
"#;

/// A user who is signed in, with a keyring and that helper.
struct Slow(Scene);

impl Slow {
    fn new() -> Self {
        let mut scene = Scene::with_key("keyring = \"os\"\n");
        scene.world.stand_in("docker-credential-slow", HELPER);
        let mut slow = Self(scene);
        fs::create_dir_all(slow.path("items")).unwrap();
        slow.0.world.run("mkfifo", &[slow.path("go").to_str().unwrap()], "").succeeded();
        slow.forget_calls();
        slow.0.begin_anew();
        slow
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.world.path("helper").join(name)
    }

    fn forget_calls(&self) {
        fs::write(self.path("calls"), "").unwrap();
        fs::write(self.path("stop-at"), "0").unwrap();
    }

    /// How often the helper was told to store something.
    fn stores(&self) -> usize {
        fs::read_to_string(self.path("calls")).unwrap().matches("store").count()
    }

    fn migrate(&self, from: &str, to: &str) -> String {
        self.0.migrate(&["--from", from, "--to", to])
    }

    /// What the helper has of ours.
    fn in_helper(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("items")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Begins to migrate, and kills the client, and daemon and helper with it if that is wanted, where the helper stops
    /// before this call of it. Returns the client that was then told to migrate again, if the daemon lives; `None` if the
    /// migration came to its end before.
    fn killed_at(&mut self, call: usize, (from, to): (&str, &str), what: Killed) -> Option<Option<Running>> {
        self.forget_calls();
        fs::write(self.path("stop-at"), call.to_string()).unwrap();
        let migrate = ["keyring", "migrate", "--from", from, "--to", to];
        let mut client = self.0.world.start("rally-cred", &migrate);
        let stopped = loop {
            match fs::read_to_string(self.path("stopped")) {
                Ok(id) => break Some(id),
                // What it wrote in the meantime counts.
                Err(_) if client.has_ended() => break fs::read_to_string(self.path("stopped")).ok(),
                Err(_) => std::thread::yield_now(),
            }
        };
        let helper = stopped?;
        client.kill();
        match what {
            Killed::Client => {
                let again = self.0.world.start("rally-cred", &migrate);
                self.ask_other_things();
                self.let_go(&helper);
                Some(Some(again))
            }
            Killed::Both => {
                self.0.daemon.kill();
                self.let_go(&helper);
                self.0.daemon = self.0.world.start_daemon();
                Some(None)
            }
            Killed::All => {
                self.0.daemon.kill();
                self.0.world.run("kill", &["-KILL", helper.trim()], "").succeeded();
                self.wait_for_end(&helper);
                // This call came to nothing.
                let calls = fs::read_to_string(self.path("calls")).unwrap();
                let (done, _) = calls.trim_end().rsplit_once('\n').unwrap_or_default();
                fs::write(self.path("calls"), done).unwrap();
                self.0.daemon = self.0.world.start_daemon();
                Some(None)
            }
        }
    }

    /// Leaves the daemon time to do what it should not while the helper is stopped, or to see that a client has left.
    fn ask_other_things(&self) {
        (0..30).for_each(|_| drop(self.0.world.status()));
    }

    /// Lets the helper that is stopped do its call.
    fn let_go(&self, helper: &str) {
        // Also if nobody reads it any more.
        let mut go = fs::OpenOptions::new().read(true).write(true).open(self.path("go")).unwrap();
        go.write_all(b"\n").unwrap();
        self.wait_for_end(helper);
    }

    fn wait_for_end(&self, helper: &str) {
        let process = PathBuf::from("/proc").join(helper.trim());
        while process.join("exe").exists() {
            std::thread::yield_now();
        }
        fs::remove_file(self.path("stopped")).unwrap();
    }
}

/// What is killed in mid-migration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Client,
    /// Client and daemon; the helper does what it was told.
    Both,
    /// Client, daemon and helper, as by a machine that goes down.
    All,
}

/// Kills a migration at each call of the helper, and has it run again: everything is in the new place alone, and served.
fn kill_at_each_call(from: &str, to: &str, what: Killed) {
    let mut scene = Slow::new();
    let is_to_helper = to != "os";
    let mut calls = 1;
    loop {
        if scene.0.world.config().contains(&format!("keyring = \"{to}\"")) {
            scene.migrate(to, from);
        }
        let Some(again) = scene.killed_at(calls, (from, to), what) else { break };
        match again {
            Some(mut again) => assert!(again.wait().success(), "killed before call {calls}"),
            None => {
                let there = scene.in_helper().len();
                assert!(!is_to_helper || scene.stores() <= there, "each is stored once, {calls}");
                scene.forget_calls();
                scene.migrate(from, to);
                let lacked = if is_to_helper { BOTH.len() - there } else { 0 };
                assert_eq!(scene.stores(), lacked, "only what lacks is written, {calls}");
            }
        }
        let written = if is_to_helper { BOTH.len() } else { 0 };
        assert!(scene.stores() <= written, "nothing is stored twice, {calls}");
        let (old, new) = match is_to_helper {
            true => (scene.0.in_keyring(), scene.in_helper()),
            false => (scene.in_helper(), scene.0.in_keyring()),
        };
        assert_eq!((old, new), (Vec::new(), BOTH.map(str::to_owned).into()), "killed before call {calls}");
        scene.0.expect_served();
        calls += 1;
    }
    assert!(calls > 5, "it came to its end before call {calls}");
}

#[test]
fn a_daemon_killed_at_any_step_of_a_migration_loses_nothing_and_doubles_nothing() {
    kill_at_each_call("os", "helper:slow", Killed::All);
}

#[test]
fn a_daemon_killed_at_any_step_of_the_way_back_loses_nothing_either() {
    // What is lost here is lost between a call of the helper and what follows it.
    kill_at_each_call("helper:slow", "os", Killed::Both);
}

#[test]
fn whoever_ends_a_migration_and_runs_it_again_at_once_has_each_item_written_once() {
    kill_at_each_call("os", "helper:slow", Killed::Client);
}

#[test]
fn once_the_client_of_a_migration_has_left_no_further_item_is_begun() {
    let scene = Slow::new();
    fs::write(scene.path("stop-at"), "1").unwrap();
    let migrate = ["keyring", "migrate", "--from", "os", "--to", "helper:slow"];
    let mut client = scene.0.world.start("rally-cred", &migrate);
    let helper = loop {
        match fs::read_to_string(scene.path("stopped")) {
            Ok(helper) => break helper,
            Err(_) => std::thread::yield_now(),
        }
    };
    client.kill();
    scene.ask_other_things();
    scene.let_go(&helper);
    // This waits for its turn.
    let told = scene.0.migrate(&["--from", "os", "--to", "helper:slow", "--dry-run"]);
    assert!(
        told.contains("client-secret:default: is there already\ntoken:default: would be copied\n"),
        "{told}"
    );
}

#[test]
fn a_migration_writes_only_what_has_changed() {
    let scene = Slow::new();
    scene.migrate("os", "helper:slow");
    assert_eq!(scene.stores(), BOTH.len());
    scene.migrate("helper:slow", "os");
    assert!(scene.in_helper().is_empty());
    for (step, stores) in [("copy", BOTH.len()), ("copy", 0)] {
        scene.forget_calls();
        let ask = format!("{{\"v\":1,\"op\":\"move_items\",\"to\":\"helper:slow\",\"step\":\"{step}\"}}\n");
        let mut client = UnixStream::connect(scene.0.world.socket()).unwrap();
        client.write_all(ask.as_bytes()).unwrap();
        let told = BufReader::new(client).lines().map(Result::unwrap).find(|line| !line.contains("\"item\""));
        assert_eq!(told.as_deref(), Some(r#"{"type":"done"}"#));
        assert_eq!(scene.stores(), stores);
    }
}

#[test]
fn a_record_of_a_later_version_in_the_new_place_stays_and_so_does_what_would_replace_it() {
    let scene = Slow::new();
    let later =
        r#"{"ServerURL":"https://rally-cred.invalid/token:default","Username":"x","Secret":"{\"v\":99}"}"#;
    fs::write(scene.path("items/token:default"), later).unwrap();
    let told = scene.migrate("os", "helper:slow");
    let line = "token:default: is there already, from a later version of rally-cred, and both stay";
    assert!(told.contains(line), "{told}");
    assert_eq!(fs::read_to_string(scene.path("items/token:default")).unwrap(), later);
    assert_eq!(scene.0.in_keyring(), ["token:default"]);
}
