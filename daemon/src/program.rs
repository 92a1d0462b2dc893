//! A program that the daemon runs: no shell, no terminal, nothing of the service manager's, and a group of its own.
//! Does not: know its purpose, or how long it may take.
//! Used by: `secret_source`, `vault` and `alert`.

use std::{env, ffi::OsStr, io, process::Stdio};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

use crate::outside;

/// What the service manager tells the daemon alone; the first would let a program speak for the daemon.
const OF_THE_MANAGER: &str =
    "NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC LISTEN_PID LISTEN_FDS LISTEN_FDNAMES LISTEN_PIDFDID";

/// A program by its name or whole path, with closed input and output. A signal to the daemon's group does not reach it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for name in OF_THE_MANAGER.split(' ') {
        command.env_remove(name);
    }
    #[cfg(unix)]
    command.process_group(0);
    command
}

/// Starts what [`command`] made, which the daemon's confinement does not touch.
pub fn start(mut command: Command) -> io::Result<Child> {
    let runtime = Handle::current();
    outside::run(move || {
        let _of_this = runtime.enter();
        command.spawn()
    })?
}

/// The variables that password stores need: where their files, agents and prompts are.
pub const VARIABLES_OF_STORES: &str = "PATH HOME USER LOGNAME LANG LC_ALL TMPDIR XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_DATA_HOME \
     DBUS_SESSION_BUS_ADDRESS DISPLAY WAYLAND_DISPLAY XAUTHORITY SSH_AUTH_SOCK GNUPGHOME GPG_TTY \
     PASSWORD_STORE_DIR SYSTEMROOT USERPROFILE USERNAME APPDATA LOCALAPPDATA PATHEXT TEMP";

/// Leaves a password store the variables that it needs, and none of the daemon's others.
pub fn keep_variables_of_stores(command: &mut Command) {
    let kept = VARIABLES_OF_STORES.split(' ').filter_map(|name| Some((name, env::var_os(name)?)));
    command.env_clear().envs(kept);
    #[cfg(unix)]
    command.current_dir("/");
}

/// A running program. Dropped before [`Group::child`] was waited for, it is killed with all that it started.
#[derive(Debug)]
pub struct Group(Child);

impl Group {
    /// As [`start`].
    pub fn start(command: Command) -> io::Result<Self> {
        start(command).map(Self)
    }

    /// The program itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id, it has ended and was waited for.
        let Some(id) = self.0.id() else { return };
        #[cfg(unix)]
        if let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        #[cfg(not(unix))]
        let _ = (id, self.0.start_kill());
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_the_program_started_ends_with_it() {
        let mut command = command("sh");
        command.args(["-c", "tail -f /dev/null & echo started; wait"]).stdout(Stdio::piped());
        let mut group = Group::start(command).unwrap();
        let mut stdout = group.child().stdout.take().unwrap();
        let mut started = [0; 8];
        stdout.read_exact(&mut started).await.unwrap();
        assert_eq!(&started, b"started\n");
        drop(group);
        // The pipe closes with the last process that holds it.
        assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
