//! The vault in places other than the OS keyring: encrypted files, a helper program, and the kernel's keyring.
//! Does not: test the OS keyring (`vault` does).
//! Used by: `main`.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rally_cred_tests::world::{make_private, set_mode};
use tempfile::TempDir;

use crate::vault::{KEY, PLACE, play_in, player};

/// A home with helper programs.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a helper of a few lines of shell, `$1` being the operation.
    fn helper(&self, name: &str, script: &str) {
        let program = self.path(&format!("docker-credential-{name}"));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        set_mode(&program, 0o755);
    }

    fn env(&self, place: &str) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap();
        let own = |name: &str| self.path(name).to_str().unwrap().to_owned();
        [
            (PLACE, place.to_owned()),
            ("PATH", format!("{}:{path}", self.0.path().display())),
            ("HOME", self.0.path().to_str().unwrap().to_owned()),
            ("XDG_STATE_HOME", own("state")),
            ("GNUPGHOME", own("gpg")),
            ("PASSWORD_STORE_DIR", own("store")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What finds encrypted files that this key opens.
    fn files_env(&self) -> Vec<(String, String)> {
        let key = self.path("the-key");
        fs::write(&key, [7; 32]).unwrap();
        let mut env = self.env("file");
        env.push((KEY.to_owned(), key.to_str().unwrap().to_owned()));
        env
    }

    /// The one encrypted item.
    fn item(&self) -> PathBuf {
        self.path("state/rally-cred/keyring/token%3Adefault")
    }

    fn play(&self, place: &str, action: &str) -> String {
        play_in(self.env(place), action)
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(program);
        command.args(args).envs(self.env("os")).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(command.stderr(Stdio::null()).status().unwrap().success(), "{program} {args:?}");
    }

    /// A password store of this home, whose key has no passphrase.
    fn with_pass() -> Self {
        let home = Self::new();
        make_private(home.path("gpg"));
        let key = [
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            "rally-cred-test",
            "default",
            "default",
            "never",
        ];
        home.run("gpg", &key);
        home.run("pass", &["init", "rally-cred-test"]);
        home
    }
}

impl Drop for Home {
    /// Ends the agent of this home's keys, which gpg has started.
    fn drop(&mut self) {
        if self.path("gpg").exists() {
            self.run("gpgconf", &["--kill", "all"]);
        }
    }
}

/// Every file below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_password_store_keeps_tokens_by_its_helper() {
    let home = Home::with_pass();
    let play = |action| home.play("helper:pass", action);
    assert_eq!(play("load erase list save=one load"), "nothing, erased, , saved, one");
    assert_eq!(play("save=two load list"), "saved, two, token:default");
    let kept: Vec<_> =
        files(&home.path("store")).into_iter().filter(|file| file.ends_with("rally-cred.gpg")).collect();
    assert_eq!(kept.len(), 1, "the other was overwritten: {kept:?}");
    assert_eq!(play("erase load list"), "erased, nothing, ");
}

#[test]
fn a_helper_that_is_not_there_is_missing() {
    assert_eq!(Home::new().play("helper:nowhere", "load save=one"), "missing, missing");
}

#[test]
fn a_helper_that_fails_or_prints_rubbish_is_told_without_its_words() {
    let home = Home::new();
    let rubbish = |operation: &str| {
        format!(
            "failed (docker-credential-odd {operation} printed something that no credential helper prints)"
        )
    };
    for script in ["echo canary", "echo '{\"Secret\": 1}'", "echo '[\"canary\"]'", "true"] {
        home.helper("odd", script);
        assert_eq!(home.play("helper:odd", "load"), rubbish("get"), "{script}");
    }
    home.helper("odd", "echo canary; echo canary >&2; exit 3");
    let failed = |operation: &str| {
        format!(
            "failed (docker-credential-odd {operation} ended with exit status: 3; run docker-credential-odd list to see why)"
        )
    };
    assert_eq!(home.play("helper:odd", "save=one list"), [failed("store"), failed("list")].join(", "));
    let get =
        failed("get").replace("why)", "why, or, if it is this item's fault, rally-cred keyring repair)");
    assert_eq!(home.play("helper:odd", "load"), get);
    home.helper("odd", "echo canary");
    assert_eq!(home.play("helper:odd", "list"), rubbish("list"));
}

#[test]
fn a_helper_that_lies_is_found_out() {
    let home = Home::new();
    home.helper("liar", "cat >/dev/null; [ $1 = get ] && echo '{\"ServerURL\":\"\",\"Username\":\"x\",\"Secret\":\"other\"}'; exit 0");
    let told = "failed (docker-credential-liar does not give back what it was given)";
    assert_eq!(home.play("helper:liar", "save=one"), told);
    // It gives what was asked of another server.
    home.helper("liar", "cat >/dev/null; echo '{\"ServerURL\":\"https://example.com\",\"Username\":\"x\",\"Secret\":\"other\"}'");
    assert_eq!(home.play("helper:liar", "load"), "nothing");
}

#[test]
fn a_helper_sees_no_secret_in_its_arguments_and_no_variable_of_the_daemons() {
    let home = Home::new();
    home.helper("nosy", "echo \"$@\" >>$HOME/seen; env >>$HOME/seen; cat >>$HOME/stdin; exit 1");
    home.play("helper:nosy", "save=canary");
    let seen = fs::read_to_string(home.path("seen")).unwrap();
    assert!(seen.starts_with("store\n") && !seen.contains("canary") && !seen.contains(PLACE), "{seen}");
    assert!(fs::read_to_string(home.path("stdin")).unwrap().contains("\"Secret\":\"canary\""));
}

#[test]
fn a_helper_that_hangs_holds_up_nobody() {
    let home = Home::new();
    let [hangs, release] = ["hangs", "release"].map(|name| home.path(name));
    home.run("mkfifo", &[release.to_str().unwrap()]);
    home.helper("slow", "cat >/dev/null; : >$HOME/hangs; read line <$HOME/release");
    assert_eq!(home.play("helper:slow", &format!("until={}", hangs.display())), "locked");
    // It ends once there is something to read.
    fs::write(release, "\n").unwrap();
}

/// The keys are those of this machine's user, so they have a name of their own, and go in the end.
#[cfg(target_os = "linux")]
#[test]
fn the_kernels_keyring_keeps_tokens_beyond_the_process() {
    let home = Home::new();
    let name = format!("name=test-{}", std::process::id());
    let play = |action: &str| home.play("keyutils", &format!("{name} {action}"));
    assert_eq!(play("load erase save=one load"), "nothing, erased, saved, one");
    assert_eq!(play("load save=two load"), "one, saved, two");
    assert!(play("list").contains(&format!("token:test-{}", std::process::id())));
    assert_eq!(play("erase erase load"), "erased, erased, nothing");
}

#[test]
fn encrypted_files_wait_for_their_passphrase_and_for_no_other() {
    let home = Home::new();
    let play = |action: &str| home.play("file", action);
    assert_eq!(
        play("load save=one unlock=right"),
        "needs its passphrase, needs its passphrase, failed (there are no encrypted files yet)"
    );
    assert_eq!(play("new=right load save=one load list"), "open, nothing, saved, one, token:default");
    let wrong = "failed (this is not the passphrase of the encrypted files)";
    assert_eq!(
        play("load unlock=wrong new=wrong load unlock=right load"),
        format!("needs its passphrase, {wrong}, {wrong}, needs its passphrase, open, one")
    );
    assert_eq!(play("unlock=right erase load list"), "open, erased, nothing, ");
}

#[test]
fn a_key_file_opens_encrypted_files_and_another_does_not() {
    let home = Home::new();
    let env = home.files_env();
    assert_eq!(play_in(env.clone(), "load save=one load"), "nothing, saved, one");
    assert_eq!(play_in(env.clone(), "load"), "one");
    assert!(
        home.play("file", "unlock=passphrase").contains("the keyring failed"),
        "they were made with a key file"
    );
    fs::write(home.path("the-key"), [8; 32]).unwrap();
    assert!(play_in(env.clone(), "load").contains("the-key is not the key that"));
    fs::write(home.path("the-key"), "short").unwrap();
    assert!(play_in(env, "load").ends_with("the-key cannot be used: it has fewer than 32 bytes)"));
}

#[test]
fn encrypted_files_are_this_users_alone_hold_nothing_in_plain_and_are_written_only_for_a_change() {
    let home = Home::new();
    let env = home.files_env();
    assert_eq!(play_in(env.clone(), "save=canary"), "saved");
    let kept = files(&home.path("state"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    for file in &kept {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o600, "{file:?}");
        assert!(!fs::read(file).unwrap().windows(6).any(|piece| piece == b"canary"));
    }
    let folder = fs::metadata(home.path("state/rally-cred/keyring")).unwrap();
    assert_eq!(folder.mode() & 0o7777, 0o700);
    let inode = || fs::metadata(home.item()).unwrap().ino();
    let old = inode();
    assert_eq!(play_in(env.clone(), "save=canary"), "saved");
    assert_eq!(inode(), old);
    assert_eq!(play_in(env, "save=other"), "saved");
    assert_ne!(inode(), old);
}

#[test]
fn a_damaged_file_is_told_and_not_overwritten_and_neither_is_one_of_another_account() {
    let home = Home::new();
    let env = home.files_env();
    let damaged =
        format!("damaged ({} is not what rally-cred wrote; it is left as it is)", home.item().display());
    assert_eq!(play_in(env.clone(), "name=other save=one"), "saved");
    fs::copy(home.path("state/rally-cred/keyring/token%3Aother"), home.item()).unwrap();
    assert_eq!(play_in(env.clone(), "load save=two"), format!("{damaged}, {damaged}"));
    assert_eq!(play_in(env.clone(), "erase save=two load"), "erased, saved, two");
    let whole = fs::read(home.item()).unwrap();
    for broken in [&whole[..whole.len() - 1], &whole[..20], &[], &[whole.as_slice(), b"x"].concat(), b"two"] {
        fs::write(home.item(), broken).unwrap();
        assert_eq!(play_in(env.clone(), "load save=three"), format!("{damaged}, {damaged}"));
        assert_eq!(fs::read(home.item()).unwrap(), broken);
    }
    fs::write(home.item(), "rally-cred 2\nwhatever").unwrap();
    let later = format!("of a later version ({})", home.item().display());
    assert_eq!(play_in(env.clone(), "load save=three"), format!("{later}, {later}"));
    assert_eq!(fs::read_to_string(home.item()).unwrap(), "rally-cred 2\nwhatever");
    fs::write(home.path("state/rally-cred/keyring/key"), "{}").unwrap();
    assert!(play_in(env, "load").starts_with("damaged ("));
}

/// The process is killed at whatever it does just after it has said that so many values are saved.
#[test]
fn kill_9_at_any_time_leaves_the_last_value_that_was_reported_or_the_next_one() {
    let home = Home::new();
    let env = home.files_env();
    let actions: Vec<_> = (0..64).map(|value| format!("save={value}")).collect();
    for reported in 1..24 {
        let mut process = player(env.clone(), &actions.join(" ")).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let last = lines.map(Result::unwrap).filter(|line| line.contains("vault: saved")).nth(reported - 1);
        assert!(last.is_some());
        process.kill().unwrap();
        process.wait().unwrap();
        let kept: usize = play_in(env.clone(), "load").parse().unwrap();
        assert!((reported - 1..64).contains(&kept), "{kept} after {reported} were reported");
    }
    assert_eq!(play_in(env, "list"), "token:default", "what is unfinished is no item");
}
