//! What ssh is told, and what runs on the far side: a line for `sh`, since nothing there but rally-cred is ours.
//! Does not: run anything.
//! Used by: `forward`.

use std::hash::{BuildHasher, RandomState};

use rally_cred_proto::shell_word::shell_word;

/// What comes after the user's own arguments, of which ssh takes the first where two contradict each other. A connection
/// of its own ends with this command, and notices within a minute that the far side is gone. The next one is given up in
/// time too: ssh waits without end for a host that takes a connection and says nothing.
pub(super) const SSH_OPTIONS: [&str; 12] = [
    "-o",
    "ControlMaster=no",
    "-o",
    "ControlPath=none",
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "ConnectTimeout=15",
    "-o",
    "RemoteCommand=none",
];

/// A path for sshd to listen at, before anything can be made there: the folder where rally-cred looks need not exist yet,
/// nor is its path known here. Only the far user can connect to it, and nobody else can put another in its place.
pub(super) fn new_socket() -> String {
    let random = || RandomState::new().hash_one(0);
    format!("/tmp/rally-cred-{:016x}{:016x}.sock", random(), random())
}

/// Links the socket to where rally-cred looks for it, says where that is, and waits for the end of its input; or it runs a
/// program, to which it says so. The link stays in the end: whoever asks then is told which machine is gone.
///
/// One line without quotes, `!` or line breaks, which every login shell passes on as it is.
const SCRIPT: &str = concat!(
    r#"s=$1; from=$2; shift 2; umask 077; "#,
    r#"case ${XDG_STATE_HOME:-} in /*) d=$XDG_STATE_HOME;; *) d=$HOME/.local/state;; esac; d=$d/rally-cred/run; "#,
    r#"case ${XDG_RUNTIME_DIR:-} in /*) d=$XDG_RUNTIME_DIR/rally-cred;; esac; f=$d/forwarded; "#,
    r#"if [ -S "$s" ] && [ -O "$s" ]; then :; else echo "rally-cred: sshd has made no socket on the far side; "#,
    r#"does its AllowStreamLocalForwarding say no?" >&2; exit 1; fi; "#,
    r#"mkdir -p "$d" && ln -sfn "$s" "$f.sock" && printf "%s\n" "$from" >"$f.from" || exit 1; "#,
    r#"trap "rm -f $s; exit 129" HUP TERM; trap : INT QUIT; "#,
    r#"if [ $# = 0 ]; then echo "$f.sock"; cat >/dev/null; c=0; "#,
    r#"else RALLY_CRED_SOCKET=$f.sock "$@"; c=$?; fi; rm -f "$s"; exit $c"#,
);

/// The command line for the far user's login shell, whichever that is. `origin` says where the forwarding comes from.
pub(super) fn command_line(socket: &str, origin: &str, program: &[String]) -> String {
    let words = ["exec", "sh", "-c", SCRIPT, "rally-cred-forward", socket, origin].into_iter();
    words.chain(program.iter().map(String::as_str)).map(shell_word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_falls_silent_is_noticed_within_the_minute_that_the_documents_name() {
        let number = |name: &str| {
            let value = SSH_OPTIONS.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<u32>().ok()).unwrap()
        };
        // ssh gives up where it would ask once more than this.
        assert_eq!(number("ServerAliveInterval") * (number("ServerAliveCountMax") + 1), 60);
    }

    #[test]
    fn every_word_of_the_program_arrives_as_it_was_written() {
        let program = ["printf", "%s|", "a b", "$HOME", "it's", ""].map(str::to_owned);
        let line = command_line("/tmp/s", "on laptop: rally-cred forward build", &program);
        assert!(
            line.ends_with(
                r#"'on laptop: rally-cred forward build' printf '%s|' 'a b' '$HOME' 'it'\''s' ''"#
            ),
            "{line}"
        );
        assert!(!SCRIPT.contains(['\'', '!', '\n']));
    }

    #[test]
    fn a_host_that_is_gone_is_noticed_within_a_minute_as_the_documents_say() {
        let seconds = |name: &str| -> u32 {
            let option = SSH_OPTIONS.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
            option.unwrap().parse().unwrap()
        };
        // The last answer may have come just before the host went.
        assert!(seconds("ServerAliveInterval") * (seconds("ServerAliveCountMax") + 1) <= 60);
        assert!(seconds("ConnectTimeout") <= 60);
    }

    #[test]
    fn two_connections_have_two_sockets() {
        assert_ne!(new_socket(), new_socket());
    }
}
