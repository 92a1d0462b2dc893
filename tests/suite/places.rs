//! The vault in places other than the OS keyring: a helper program, and the kernel's keyring.
//! Does not: test the OS keyring (`vault` does).
//! Used by: `main`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::vault::{PLACE, play_in};

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
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn env(&self, place: &str) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap();
        let own = |name: &str| self.path(name).to_str().unwrap().to_owned();
        [
            (PLACE, place.to_owned()),
            ("PATH", format!("{}:{path}", self.0.path().display())),
            ("HOME", self.0.path().to_str().unwrap().to_owned()),
            ("GNUPGHOME", own("gpg")),
            ("PASSWORD_STORE_DIR", own("store")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
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
        fs::create_dir(home.path("gpg")).unwrap();
        fs::set_permissions(home.path("gpg"), fs::Permissions::from_mode(0o700)).unwrap();
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
    assert_eq!(
        home.play("helper:odd", "load save=one list"),
        [failed("get"), failed("store"), failed("list")].join(", ")
    );
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
