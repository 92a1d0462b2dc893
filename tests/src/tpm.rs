//! A TPM in software for one test, at a socket of its own.
//! Does not: meet the TPM of this machine.
//! Used by: the test of the key that a TPM opens.
#![expect(clippy::expect_used, reason = "a TPM that cannot be made is the end of its test")]

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::{fs, os::unix::net::UnixStream};

use tempfile::TempDir;

/// A TPM that anybody on this machine may use. Dropping it ends it by its id, and with it every key that it has made.
#[derive(Debug)]
pub struct Tpm {
    program: Child,
    folder: TempDir,
}

impl Tpm {
    /// A new one.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("rally-cred-tpm-").tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder");
        let socket = folder.path().join("socket").display().to_string();
        let program = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .args(["--server", &format!("type=unixio,path={socket},mode=0666")])
            .args(["--ctrl", &format!("type=unixio,path={socket}.ctrl,mode=0666")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm, which tests/run installs");
        let mut tpm = Self { program, folder };
        while UnixStream::connect(&socket).is_err() {
            let ended = tpm.program.try_wait().expect("a child that can be waited for");
            assert!(ended.is_none(), "swtpm has ended");
        }
        tpm
    }

    /// What systemd's variable for a TPM is set to.
    pub fn device(&self) -> String {
        format!("swtpm:path={}", self.folder.path().join("socket").display())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}
