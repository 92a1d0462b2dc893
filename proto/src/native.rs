//! What the systems call by different names or do by different commands, so that nobody is told to run what is not there.
//! Does not: look at the machine: each program has the texts of the system that it was built for, and no others.
//! Used by: whatever tells people what to do. `suite/windows.rs` searches the programs for Windows for foreign words.

use std::path::Path;

use crate::shell_word::shell_word;

/// What is right for the system that the program is built for. The first holds wherever no other is given.
///
/// ```
/// let lister = rally_cred_proto::native!("ls -l", windows: "icacls");
/// assert_eq!(lister, if cfg!(windows) { "icacls" } else { "ls -l" });
/// ```
#[macro_export]
#[cfg(not(any(windows, target_os = "macos")))]
macro_rules! native {
    ($others:expr, $(macos: $macos:expr,)? windows: $windows:expr $(,)?) => {
        $others
    };
}

/// The text for Windows.
#[macro_export]
#[cfg(windows)]
macro_rules! native {
    ($others:expr, $(macos: $macos:expr,)? windows: $windows:expr $(,)?) => {
        $windows
    };
}

/// The text for macOS, or else the first.
#[macro_export]
#[cfg(target_os = "macos")]
macro_rules! native {
    ($others:expr, macos: $macos:expr, windows: $windows:expr $(,)?) => {
        $macos
    };
    ($others:expr, windows: $windows:expr $(,)?) => {
        $others
    };
}

/// What helps where the system starts no more threads or processes; more words may follow.
pub const MORE_THREADS: &str = native!(
    "end programs that you do not need, or raise the limit (ulimit -u)",
    windows: "end programs that you do not need"
);

/// What to write in place of a command whose standard input has to be empty.
pub fn without_input(command: &str) -> String {
    native!(format!("{command} </dev/null"), windows: format!("$null | {command}"))
}

/// The command that puts something aside, under its name with an ending.
pub fn put_aside(thing: &Path, ending: &str) -> String {
    let word = |ending: &str| shell_word(&format!("{}{ending}", thing.display()));
    format!("{} {} {}", native!("mv", windows: "move"), word(""), word(ending))
}

/// The command that ends a process, come what may.
pub fn end_process(pid: impl std::fmt::Display) -> String {
    native!(format!("kill -KILL {pid}"), windows: format!("taskkill /F /PID {pid}"))
}

/// The command that says which process listens on a port.
pub fn who_listens_on(port: u16) -> String {
    native!(
        format!("ss -ltnp 'sport = :{port}'"),
        macos: format!("lsof -nP -iTCP:{port} -sTCP:LISTEN"),
        windows: format!("netstat -ano | findstr :{port}")
    )
}

/// The command that sets a variable.
pub fn set_variable(name: &str, value: &str) -> String {
    let value = shell_word(value);
    native!(format!("export {name}={value}"), windows: format!("$env:{name} = {value}"))
}
