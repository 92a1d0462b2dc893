//! The program `rally-cred-commands`: `rally-cred` with its interactive commands.
//! Does not: need to be run by hand; `rally-cred` execs it.
//! Used by: `rally-cred` and `git-credential-rally`.

fn main() -> std::process::ExitCode {
    rally_cred_commands::main()
}
