//! The program `rally-cred-commands`: `rally-cred` with the commands that people type.
//! Does not: wait to be run by hand; `rally-cred` runs it in its own place.
//! Used by: `rally-cred` and `git-credential-rally`.

fn main() -> std::process::ExitCode {
    rally_cred_commands::main()
}
