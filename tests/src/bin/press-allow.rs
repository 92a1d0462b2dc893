//! A `$BROWSER` for tests: notes the address it was given, then presses "Allow Access" (or what `PRESS` says).
//! Does not: show anything.
//! Used by: the process tests, as the browser that the client opens.

use std::fs::{self, OpenOptions};
use std::{env, io::Write, process::ExitCode};

use rally_cred_tests::browser::Browser;

fn main() -> ExitCode {
    let Some(url) = env::args().nth(1) else { return ExitCode::from(2) };
    if let Some(log) = env::var_os("PRESS_LOG") {
        let noted =
            OpenOptions::new().append(true).create(true).open(log).and_then(|mut log| writeln!(log, "{url}"));
        if noted.is_err() {
            return ExitCode::FAILURE;
        }
    }
    let authority = env::var_os("PRESS_CA").and_then(|path| fs::read_to_string(path).ok());
    let browser = Browser::trusting(authority.as_deref());
    let visit = match env::var("PRESS").as_deref() {
        Ok("nothing") => return ExitCode::SUCCESS,
        Ok("deny") => browser.deny(&url),
        _ => browser.allow(&url),
    };
    if visit.is_ok_and(|visit| visit.status == 200) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
