//! The passphrase of the encrypted files: asked for, and given to the daemon.
//! Does not: keep it, or know what is locked beside the files.
//! Used by: `lock`.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
};
use rally_cred_proto::{Deadline, Fault, FaultKind, Secret, message::UnlockKeyring};
use zeroize::Zeroizing;

use crate::{login::parse_secret, terminal::Terminal};

/// Time for the daemon to compute a key on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30).saturating_add(GRACE);

/// Time for a program to write a passphrase.
const READING: Duration = Duration::from_secs(30);

/// A longer passphrase is a file that was given by mistake.
const LONGEST: u64 = 1024;

/// Opens the files until the daemon ends. Where there are none yet, asks once more, since a typing error could not be
/// undone, and makes them.
pub(super) fn open_files(
    connection: &mut Connection<'_>,
    sys: &dyn Terminal,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    let passphrase = read("Passphrase of the encrypted files: ", sys)?;
    let mut ask = |is_new| {
        let ask = UnlockKeyring { passphrase: passphrase.clone(), is_new };
        connection.ask(ask, &mut Deadline::after(PATIENCE), &mut |_| {})
    };
    match ask(false) {
        Err(fault) if fault.kind == FaultKind::VaultMissing => {
            if sys.stdin_is_terminal() {
                output.say("there are no encrypted files yet; they will need this passphrase for ever");
                if !read("The same passphrase: ", sys)?.matches(&passphrase) {
                    return Err(Fault::new(FaultKind::BadRequest, "these are two different passphrases")
                        .run("rally-cred unlock"));
                }
            }
            ask(true)?;
            output.tell_line("the encrypted files are made, and open until the daemon ends")
        }
        outcome => {
            outcome?;
            output.tell_line("the encrypted files are open until the daemon ends")
        }
    }
}

/// What is typed without echo, or the first line of standard input.
fn read(prompt: &str, sys: &dyn Terminal) -> Result<Secret, Fault> {
    let none = |why: &str| {
        Fault::new(FaultKind::BadRequest, "there is no passphrase")
            .why(why)
            .remedy("rally-cred unlock, in a terminal, or with the passphrase on its standard input")
    };
    let line = if sys.stdin_is_terminal() {
        sys.typed_secret(prompt).map_err(|err| none(&err.to_string()))?
    } else {
        let mut line = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or_default()));
        let mut deadline = Deadline::after(READING);
        let read = BufReader::new(sys.stdin(&mut deadline)).take(LONGEST).read_line(&mut line);
        read.map_err(|err| none(&err.to_string()))?;
        line
    };
    parse_secret(&line).ok_or_else(|| none("nothing was entered"))
}
