//! Fetches a client secret from outside the vault: the output of a command, or a file's first line.
//! Does not: keep it, show any of it, or use a shell.
//! Used by: perform, when the broker finds none in the vault; the vault, for the token of its server; and `token_command`,
//! which reads more than a line.

use std::{io::Read, path::Path, process::Stdio, time::Duration};

use rally_cred_proto::{Fault, FaultKind, Secret, variables::SECRET_FILE};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use crate::{
    private_file,
    program::{self, Group},
};
use rally_cred_core::profile::{CommandLine, SecretSource};

/// How long the command may take: time to unlock a password store by a short passphrase.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest first line. A client secret has about 40 characters.
const LONGEST: usize = 4096;

/// Asks the source. A fault shows nothing that the source gave.
pub async fn fetch(source: &SecretSource) -> Result<Secret, Fault> {
    match source {
        SecretSource::Command(_) => ask(source).await.map_err(|why| {
            Fault::new(FaultKind::Failed, "client_secret_command gives no secret")
                .why(why)
                .remedy("run it in a terminal, and see client_secret_command in the config file")
        }),
        SecretSource::File(path) => read(path).map_err(|why| {
            let what = format!("the client secret file {} gives no secret", path.display());
            let remedy = format!("set {SECRET_FILE} to a file whose first line is the client secret");
            Fault::new(FaultKind::Failed, what).why(why).remedy(remedy)
        }),
    }
}

/// Asks the source; or why it gives nothing, in words that show nothing that it gave.
pub async fn ask(source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::Command(command) => {
            let kept = in_time(PATIENCE, printed(command, LONGEST)).await;
            let secret =
                kept.and_then(|kept| first_line(&kept, LONGEST).map_err(|why| format!("printed {why}")));
            secret.map_err(|why| format!("{} {why}", command.program.display()))
        }
        SecretSource::File(path) => read(path).map_err(|why| format!("{}: {why}", path.display())),
    }
}

/// What the program comes to, or that it takes too long.
pub async fn in_time<T>(
    patience: Duration,
    run: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, run).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("did not end within {} s", patience.as_secs())),
    }
}

/// The beginning of what the program prints, of at most so many bytes; or what follows its name in the words for why there
/// is nothing.
pub async fn printed(
    CommandLine { program, arguments }: &CommandLine,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut command = program::command(program);
    command.args(arguments).stdout(Stdio::piped());
    program::keep_variables_of_stores(&mut command);
    let mut group = Group::start(command).map_err(|err| format!("cannot be run: {err}"))?;
    let mut kept = Zeroizing::new(Vec::with_capacity(most));
    if let Some(mut stdout) = group.child().stdout.take() {
        let mut piece = Zeroizing::new([0; 1024]);
        loop {
            let read = stdout.read(&mut *piece).await;
            let count = read.map_err(|err| format!("cannot be read: {err}"))?;
            if count == 0 {
                break;
            }
            // The rest is read too, since a command that finds its output closed would fail.
            let room = most - kept.len();
            kept.extend_from_slice(piece.get(..count.min(room)).unwrap_or_default());
        }
    }
    let status = group.child().wait().await.map_err(|err| format!("cannot be waited for: {err}"))?;
    if !status.success() {
        return Err(format!("ended with {status}"));
    }
    Ok(kept)
}

fn read(path: &Path) -> Result<Secret, String> {
    let file = private_file::open(path).map_err(|unusable| unusable.to_string())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    file.take(LONGEST as u64).read_to_end(&mut bytes).map_err(|err| err.to_string())?;
    first_line(&bytes, LONGEST).map_err(|why| format!("it holds {why}"))
}

/// The first line, of fewer bytes than were kept at most: half a secret is none.
pub fn first_line(bytes: &[u8], most: usize) -> Result<Secret, &'static str> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() >= most {
        return Err("a first line that is too long for a secret");
    }
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
        let arguments = vec!["-c".to_owned(), line.to_owned()];
        SecretSource::Command(CommandLine { program: "sh".into(), arguments })
    }

    async fn why(source: SecretSource) -> String {
        let fetched = tokio::time::timeout(Duration::from_secs(3600), fetch(&source)).await;
        let fault = fetched.expect("an end").unwrap_err();
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
        let absent = CommandLine { program: "/nowhere/pass".into(), arguments: Vec::new() };
        let absent = SecretSource::Command(absent);
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
            .filter(|name| {
                !name.is_empty() && !program::VARIABLES_OF_STORES.contains(name) && !own.contains(name)
            })
            .collect();
        assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
        assert_eq!(foreign, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_has_ten_seconds() {
        assert_eq!(why(command("tail -f /dev/null")).await, "sh did not end within 10 s");
    }

    #[tokio::test]
    async fn a_secret_that_is_too_long_is_not_cut_to_another_one() {
        let line = "head -c 5000 /dev/zero | tr '\\0' x";
        assert_eq!(why(command(line)).await, "sh printed a first line that is too long for a secret");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "x".repeat(5000)).unwrap();
        assert_eq!(
            why(SecretSource::File(path)).await,
            "it holds a first line that is too long for a secret"
        );
    }

    #[tokio::test]
    async fn long_notes_below_the_secret_do_no_harm() {
        let notes = "echo the-secret; head -c 1000000 /dev/zero";
        assert_eq!(fetch(&command(notes)).await.unwrap().expose(), "the-secret");
        let SecretSource::Command(line) = command(notes) else { unreachable!() };
        assert_eq!(printed(&line, LONGEST).await.unwrap().len(), LONGEST);
    }

    #[test]
    fn a_pipe_in_the_files_place_does_not_hold_up_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (done, read_it) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(read(&path).err()));
        let outcome = read_it.recv_timeout(Duration::from_secs(30)).expect("an answer");
        assert_eq!(outcome.as_deref(), Some("it is not an ordinary file"));
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
