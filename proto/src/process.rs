//! The daemon's process, as the system shows it to anybody.
//! Does not: signal it.
//! Used by: the clients, to say why nobody answers; `rally-cred daemon stop`.

/// The name of the daemon's program.
pub const DAEMON: &str = "rally-credd";

/// A daemon's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Whether it was stopped, by Ctrl-Z or a debugger, and does nothing until it is told to go on.
    pub is_stopped: bool,
}

impl Process {
    /// The process of this id, if it is a daemon's: a socket that systemd made is systemd's.
    #[cfg(target_os = "linux")]
    pub fn find(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(pid, &text)
    }

    /// Not known here.
    #[cfg(not(target_os = "linux"))]
    pub fn find(_pid: u32) -> Option<Self> {
        None
    }

    /// Reads `PID (NAME) STATE …`; a name may hold anything.
    #[cfg(target_os = "linux")]
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (before, after) = stat.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        (name == DAEMON).then(|| Self { pid, is_stopped: after.starts_with(['T', 't']) })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemon_is_one_and_it_is_stopped_or_not() {
        for (stat, expected) in [
            ("7 (rally-credd) S 1 7", Some(false)),
            ("7 (rally-credd) T 1 7", Some(true)),
            ("7 (rally-credd) t 1 7", Some(true)),
            ("7 (systemd) S 1 7", None),
            ("7 (x) T (rally-credd) S 1 7", None),
            ("", None),
        ] {
            let expected = expected.map(|is_stopped| Process { pid: 7, is_stopped });
            assert_eq!(Process::parse(7, stat), expected, "{stat}");
        }
        assert_eq!(Process::find(std::process::id()), None);
    }
}
