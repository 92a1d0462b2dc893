//! `rally-sandbox` as a process: its flags, its ready line, its end.
//! Does not: repeat what the library's tests show.
//! Used by: the suite.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use rally_cred_tests::browser::{Browser, Choice};

/// A running `rally-sandbox`; it is killed if a test fails before it has ended.
struct Program {
    child: Child,
    base_url: String,
}

impl Program {
    fn start(flags: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rally-sandbox"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let base_url = line.trim_end().strip_prefix("rally-sandbox: ready at ").unwrap().to_owned();
        Program { child, base_url }
    }

    fn authorization_url(&self) -> String {
        let query =
            "state=s&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&client_id=me&scope=alm";
        format!("{}/login/oauth2/auth?{query}", self.base_url)
    }

    #[cfg(unix)]
    fn signalled(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn the_program_says_where_it_is_and_stops_when_told() {
    for signal in ["TERM", "INT"] {
        let program = Program::start(&["--client-id", "me", "--redirect-uri", "http://localhost/cb"]);
        let redirect =
            Browser::trusting(None).consent_blocking(&program.authorization_url(), Choice::Allow).unwrap();
        assert!(redirect.as_str().starts_with("http://localhost/cb?code="), "{redirect}");
        assert!(program.signalled(signal).success());
    }
}

#[test]
fn the_program_writes_its_ca_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let flags = [
        "--tls",
        "--ca-out",
        file.to_str().unwrap(),
        "--client-id",
        "me",
        "--redirect-uri",
        "http://localhost/cb",
    ];
    let program = Program::start(&flags);
    let browser = Browser::trusting(Some(&std::fs::read_to_string(&file).unwrap()));
    assert_eq!(browser.open_blocking(&program.authorization_url()).unwrap().status, 200);
}

#[test]
fn the_program_takes_faults_and_options_from_its_flags() {
    let flags = [
        "--fault",
        "auth=status:503*1",
        "--fault",
        "auth=status:418*1",
        "--token-life",
        "7",
        "--no-rotation",
    ];
    let program = Program::start(&flags);
    let browser = Browser::trusting(None);
    let status = || browser.open_blocking(&program.authorization_url()).unwrap().status;
    assert_eq!([status(), status(), status()], [503, 418, 400]);
    let options = browser.open_blocking(&format!("{}/_sandbox/options", program.base_url)).unwrap();
    let options: rally_cred_tests::sandbox::Options = serde_json::from_str(&options.text).unwrap();
    assert_eq!((options.token_life, options.rotate_refresh), (7, false));
}

#[test]
fn the_program_refuses_flags_that_make_no_sense() {
    for flags in [["--port", "many"], ["--fault", "nonsense"], ["--expires-in", "never"], ["--port", "70000"]]
    {
        let ended = Command::new(env!("CARGO_BIN_EXE_rally-sandbox")).args(flags).output().unwrap();
        assert!(!ended.status.success() && ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
    }
}
