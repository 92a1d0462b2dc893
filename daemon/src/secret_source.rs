//! Brings a client secret from outside the vault: what a command prints, or what stands in a file.
//! Does not: keep it, show any of it, or use a shell.
//! Met by: perform, when the broker finds none in the vault.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rally_cred_proto::{Fault, FaultKind, Secret};
use tokio::{
    io::{AsyncReadExt, BufReader},
    process::{Child, Command},
};
use zeroize::Zeroizing;

use crate::{config, core::profile::SecretSource};

/// How long the command may take: time for a password store to be unlocked by a short passphrase.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest output that is looked at. A client secret has about 40 characters.
const LONGEST: usize = 4096;

/// What password stores need of the daemon's variables: where their files, their agents and their prompts are.
const VARIABLES: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
    "SYSTEMROOT",
    "USERPROFILE",
    "USERNAME",
    "APPDATA",
    "LOCALAPPDATA",
    "PATHEXT",
    "TEMP",
];

/// Asks the source. A fault says what to mend, and shows nothing that the source gave.
pub async fn fetch(source: &SecretSource) -> Result<Secret, Fault> {
    match source {
        SecretSource::Command { program, arguments } => {
            let why = |why: String| {
                Fault::new(FaultKind::Failed, "client_secret_command gives no secret")
                    .why(format!("{} {why}", program.display()))
                    .remedy("run it in a terminal, and see client_secret_command in the config file")
            };
            match tokio::time::timeout(PATIENCE, run(program, arguments)).await {
                Ok(outcome) => outcome.map_err(why),
                Err(_) => Err(why(format!("did not end within {} s", PATIENCE.as_secs()))),
            }
        }
        SecretSource::File(path) => read(path).map_err(|why| {
            Fault::new(
                FaultKind::Failed,
                format!("the client secret file {} gives no secret", path.display()),
            )
            .why(why)
            .remedy(format!("set {} to a file whose first line is the client secret", config::SECRET_FILE))
        }),
    }
}

async fn run(program: &Path, arguments: &[String]) -> Result<Secret, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_clear().envs(VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    // A group of its own, so that what it started ends with it.
    #[cfg(unix)]
    command.current_dir("/").process_group(0);
    let mut group = Group(command.spawn().map_err(|fault| format!("cannot be run: {fault}"))?);
    let mut output = Zeroizing::new(Vec::with_capacity(LONGEST));
    if let Some(stdout) = group.0.stdout.take() {
        let mut stdout = BufReader::new(stdout.take(LONGEST as u64));
        stdout.read_to_end(&mut output).await.map_err(|fault| format!("cannot be read: {fault}"))?;
    }
    let status = group.0.wait().await.map_err(|fault| format!("cannot be waited for: {fault}"))?;
    if !status.success() {
        return Err(format!("ended with {status}"));
    }
    first_line(&output).map_err(|why| format!("printed {why}"))
}

/// A program and all that it started, which end when nobody waits for them any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended and was waited for.
        let Some(id) = self.0.id() else { return };
        #[cfg(unix)]
        if let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        #[cfg(not(unix))]
        let _ = (id, self.0.start_kill());
    }
}

/// Many systems that hand secrets to programs leave them readable to all, so only who could have changed it matters.
fn read(path: &Path) -> Result<Secret, String> {
    let text = |fault: io::Error| fault.to_string();
    let file = File::open(path).map_err(text)?;
    if let Some(why) = config::why_unsafe(&file.metadata().map_err(text)?) {
        return Err(why);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    file.take(LONGEST as u64).read_to_end(&mut bytes).map_err(text)?;
    first_line(&bytes).map_err(|why| format!("it holds {why}"))
}

fn first_line(bytes: &[u8]) -> Result<Secret, &'static str> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = std::str::from_utf8(line).map_err(|_| "something that is not UTF-8")?;
    let text = text.trim_end_matches('\r');
    if text.is_empty() {
        return Err("an empty first line");
    }
    Secret::parse(text.to_owned()).map_err(|_| "a control character in its first line")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    fn command(line: &str) -> SecretSource {
        SecretSource::Command { program: "sh".into(), arguments: vec!["-c".to_owned(), line.to_owned()] }
    }

    async fn why(source: SecretSource) -> String {
        let fault = fetch(&source).await.unwrap_err();
        assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
        fault.why.unwrap()
    }

    #[tokio::test]
    async fn the_secret_is_the_first_line_of_what_the_command_prints() {
        for line in ["echo the-secret", "printf 'the-secret\\r\\nuser: me\\n'", "printf the-secret"] {
            assert_eq!(fetch(&command(line)).await.unwrap().expose(), "the-secret", "{line}");
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_without_its_words() {
        assert_eq!(why(command("echo canary; exit 3")).await, "sh ended with exit status: 3");
        assert_eq!(why(command("true")).await, "sh printed an empty first line");
        assert_eq!(
            why(command("printf 'canary\\000'")).await,
            "sh printed a control character in its first line"
        );
        assert_eq!(why(command("printf '\\377canary'")).await, "sh printed something that is not UTF-8");
        let absent = SecretSource::Command { program: "/nowhere/pass".into(), arguments: Vec::new() };
        assert!(why(absent).await.starts_with("/nowhere/pass cannot be run: "));
    }

    #[tokio::test]
    async fn the_command_sees_no_variable_but_those_that_stores_need() {
        let names = fetch(&command("env | cut -d= -f1 | grep -v '^_$' | tr '\\n' ' '")).await.unwrap();
        // What a shell sets by itself is not the daemon's.
        let own = ["PWD", "SHLVL", "OLDPWD"];
        let foreign: Vec<_> = names
            .expose()
            .split(' ')
            .filter(|name| !name.is_empty() && !VARIABLES.contains(name) && !own.contains(name))
            .collect();
        assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
        assert_eq!(foreign, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_has_ten_seconds() {
        assert_eq!(why(command("tail -f /dev/null")).await, "sh did not end within 10 s");
    }

    #[tokio::test]
    async fn what_the_command_started_ends_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "tail -f /dev/null & echo started; wait"]).process_group(0);
        let mut group = Group(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut stdout = group.0.stdout.take().unwrap();
        let mut started = [0; 8];
        stdout.read_exact(&mut started).await.unwrap();
        assert_eq!(&started, b"started\n");
        drop(group);
        // The pipe closes with the last process that holds it.
        assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_file_is_read_unless_others_may_write_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "the-secret\n").unwrap();
        let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let file = || SecretSource::File(path.clone());
        for mode in [0o600, 0o644, 0o444] {
            set_mode(mode);
            assert_eq!(fetch(&file()).await.unwrap().expose(), "the-secret");
        }
        set_mode(0o622);
        assert_eq!(why(file()).await, "others may write to it (mode 0622)");
        set_mode(0o600);
        fs::write(&path, "\ncanary").unwrap();
        assert_eq!(why(file()).await, "it holds an empty first line");
        assert_eq!(why(SecretSource::File(folder.path().into())).await, "it is not an ordinary file");
        assert!(why(SecretSource::File(PathBuf::from("/nowhere/x"))).await.contains("No such file"));
    }
}
