//! What there is to say where another machine's daemon is reached by a forwarded socket, and does not answer.
//! Does not: forward a socket (`rally-cred forward` does).
//! Used by: whatever connects to a daemon.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use rally_cred_proto::{Fault, FaultKind, own_file, socket};

/// The most that is read of the file with the near side's command.
const LONGEST: u64 = 1024;

/// The file beside a forwarded socket in which `rally-cred forward` says where it was run, and how.
fn origin_file(socket: &Path) -> PathBuf {
    socket.with_extension("from")
}

/// The fault of a daemon that is not there, in words for whoever would reach it on another machine.
pub fn explain(socket: &Path, fault: Fault) -> Fault {
    if fault.kind != FaultKind::NoDaemon || !socket::is_forwarded(socket) {
        return fault;
    }
    let mut command = String::new();
    if let Ok(file) = own_file::open_to_read(&origin_file(socket)) {
        file.take(LONGEST).read_to_string(&mut command).ok();
    }
    let remedy = match command.trim() {
        "" => "on the machine that forwards it: rally-cred forward HOST",
        command => command,
    };
    Fault::new(FaultKind::NoDaemon, "the machine whose tokens are forwarded here does not answer")
        .why(format!("{} is there, but nobody answers behind it", socket.display()))
        .remedy(remedy)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_side_that_is_gone_is_named_with_the_command_that_brings_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(socket::FORWARDED);
        let gone = || Fault::new(FaultKind::NoDaemon, "no rally-cred daemon answers");
        let remedy = |fault: Fault| fault.remedy.unwrap().to_string();
        assert_eq!(
            remedy(explain(&socket, gone())),
            "on the machine that forwards it: rally-cred forward HOST"
        );
        std::fs::write(origin_file(&socket), "on laptop: rally-cred forward build\n").unwrap();
        assert_eq!(remedy(explain(&socket, gone())), "on laptop: rally-cred forward build");
        assert_eq!(explain(&folder.path().join("agent.sock"), gone()), gone());
        let other = Fault::new(FaultKind::Denied, "denied");
        assert_eq!(explain(&socket, other.clone()), other);
    }
}
