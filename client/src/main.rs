//! The program `rally-cred`.
//! Does not: anything by itself; see the library beside it.
//! Used by: people, scripts and build tools.

fn main() -> std::process::ExitCode {
    rally_cred::main()
}
