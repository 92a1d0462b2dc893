//! git's other operations: `store`, `erase`, `capability`, and those that git may think of later.
//! Does not: keep what `store` brings; the daemon has given it out and knows it.
//! Met by: git.

use std::io;

use rally_cred_proto::{
    Ask, Fault, FaultKind, Secret,
    git::{self, Attributes},
    message::Erase,
};

use crate::{
    connection::{Connection, GRACE},
    get,
    options::Options,
    output::Output,
    surroundings::Surroundings,
};

/// Names the commands that people type, for one who mistyped it.
const HINT: &str =
    "rally-cred: no such operation, which git wants to be ignored; people find help by: rally-cred --help\n";

/// Tells the daemon that a token does not work. A daemon is started for it: the token may be in the keyring, and would
/// be served again by the next one.
pub(crate) fn erase(options: &Options, around: &dyn Surroundings) -> Result<u8, Fault> {
    let attributes = read(options, around)?;
    let is_missing = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    let names_server = !is_missing(&attributes.protocol) && !is_missing(&attributes.host);
    let says_nothing = attributes.protocol.is_none() && attributes.host.is_none();
    // Half a server is nobody's, but without any input the person means the profile.
    if !names_server && !says_nothing {
        return Ok(0);
    }
    let token = attributes.password.clone().or_else(|| token_of_authtype(&attributes));
    let ask = Ask::Erase(Erase { target: get::target(&attributes, options.profile.clone()), token });
    Connection::new(around, options.autostart).ask(&ask, options.patience() + GRACE, &mut |_| {})?;
    Ok(0)
}

fn token_of_authtype(attributes: &Attributes) -> Option<Secret> {
    attributes.credential.clone()
}

fn read(options: &Options, around: &dyn Surroundings) -> Result<Attributes, Fault> {
    if around.stdin_is_terminal() {
        return Ok(Attributes::default());
    }
    let bad = |why: String| Fault::new(FaultKind::BadRequest, "the request is not understood").why(why);
    let input = git::read(&mut around.stdin(options.patience())).map_err(|fault| bad(fault.to_string()))?;
    git::parse(&input).map_err(|fault| bad(fault.to_string()))
}

/// Reads what git gives and lets it go.
pub(crate) fn store(around: &dyn Surroundings) -> Result<u8, Fault> {
    if !around.stdin_is_terminal() {
        // A writer must not be hit by a closed pipe, so the input is read to its end, whatever it is.
        io::copy(&mut around.stdin(std::time::Duration::from_secs(10)), &mut io::sink()).ok();
    }
    Ok(0)
}

/// Says what git may ask of this helper.
pub(crate) fn capability(output: &mut Output<'_>) -> Result<u8, Fault> {
    output.answer(git::CAPABILITIES.as_bytes())?;
    Ok(0)
}

/// An operation that this version does not know is ignored silently, as git asks of its helpers; but a word on a
/// terminal comes from a person.
pub(crate) fn unknown(_word: &str, output: &mut Output<'_>) -> Result<u8, Fault> {
    if io::IsTerminal::is_terminal(&io::stdin()) && io::IsTerminal::is_terminal(&io::stderr()) {
        output.stderr.write_all(HINT.as_bytes()).ok();
    }
    Ok(0)
}
