//! What the daemon's variables say about the daemon. An empty one counts as unset, for every library too.
//! Does not: read those that one part alone needs.
//! Used by: `main`, before anything else, and `alert`.

/// Restarts this program in its own place without its empty variables, if there are any. Libraries take an empty path
/// or bus address literally, and a process cannot safely change its own variables.
#[cfg(unix)]
pub fn drop_empty_variables() {
    use std::{env, os::unix::process::CommandExt, process::Command};
    let empty: Vec<_> = env::vars_os().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    let Ok(program) = env::current_exe() else { return };
    if empty.is_empty() {
        return;
    }
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments);
    for name in empty {
        again.env_remove(name);
    }
    // Returns only on failure; then they stay.
    drop(again.exec());
}

/// Windows has no empty variables.
#[cfg(not(unix))]
pub fn drop_empty_variables() {}

/// Whether this process is a unit of the service manager, which passed a socket on to it.
pub fn is_of_a_unit() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}
