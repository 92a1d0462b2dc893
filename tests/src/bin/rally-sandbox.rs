//! The stand-in for Rally as a program: `rally-sandbox CALLBACK-URL` prints its base URL and serves until it is killed.
//! Does not: add behaviour; all of it is in the library.
//! Used by: `tests/package`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{env, error::Error, thread};

use rally_cred_tests::sandbox::{Options, Sandbox};

fn main() -> Result<(), Box<dyn Error>> {
    let redirect_uri = env::args().nth(1).ok_or("usage: rally-sandbox CALLBACK-URL")?;
    let sandbox = Sandbox::start(Options { redirect_uri, ..Options::default() })?;
    println!("{}", sandbox.base_url());
    loop {
        thread::park();
    }
}
