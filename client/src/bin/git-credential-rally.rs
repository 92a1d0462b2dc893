//! The program `git-credential-rally`: `rally-cred` under the name by which git finds the helper `rally`.
//! Does not: differ from `rally-cred` in anything.
//! Used by: git, with `credential.helper = rally`.

fn main() -> std::process::ExitCode {
    rally_cred::main()
}
