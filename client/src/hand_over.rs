//! Execs `rally-cred-commands` for interactive commands.
//! Does not: know the commands.
//! Used by: `rally-cred` and `git-credential-rally`, for all but the helper operations.

use std::{ffi::OsString, process::Command};

use rally_cred_proto::{Fault, FaultKind};

use crate::system::System;

/// The program with the interactive commands.
const PROGRAM: &str = "rally-cred-commands";

/// Runs the command line there. Only the program beside this one is used: another may be of another release.
pub(crate) fn run(args: &[OsString], sys: &dyn System) -> Result<u8, Fault> {
    let cannot = |why: String| {
        Fault::new(FaultKind::Failed, format!("the program {PROGRAM} cannot be run"))
            .why(why)
            .remedy("install it beside rally-cred; it has every command but get, store, erase and capability")
    };
    let own = sys.executable().ok_or_else(|| cannot("where rally-cred lies is not known".to_owned()))?;
    let program = own.with_file_name(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX));
    sys.run_in_place(Command::new(&program).args(args))
        .map_err(|err| cannot(format!("{}: {err}", program.display())))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use crate::testing::{self, Became, Fake};

    #[test]
    fn a_command_is_run_by_the_program_beside_this_one_with_all_its_words() {
        for (line, expected) in [
            ("login work --no-browser", "login work --no-browser"),
            ("--version", "--version"),
            ("", ""),
            ("--profile x get --help", "get --help"),
            ("__complete", "__complete"),
        ] {
            let sys = Fake { executable: Some("/opt/bin/rally-cred".into()), ..Fake::default() };
            let done = testing::run(line, &sys);
            assert_eq!(done.shown(), (42, String::new(), String::new()), "{line}");
            let expected = format!("/opt/bin/rally-cred-commands {expected}");
            let became: Became = sys.became.into_inner().unwrap().unwrap();
            assert_eq!(became.line.trim_end(), expected.trim_end());
        }
    }

    #[test]
    fn an_operation_needs_no_other_program() {
        let sys = Fake::default();
        let done = testing::run("capability", &sys);
        assert_eq!((done.code, sys.became.into_inner().unwrap()), (0, None));
    }

    #[test]
    fn a_missing_program_is_named_with_its_place() {
        let sys = Fake {
            executable: Some("/opt/bin/rally-cred".into()),
            missing_programs: vec!["/opt/bin/rally-cred-commands".to_owned()],
            ..Fake::default()
        };
        let done = testing::run("status", &sys);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(done.stderr.contains("why: /opt/bin/rally-cred-commands: "), "{}", done.stderr);
    }
}
