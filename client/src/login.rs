//! `rally-cred login`: gets the client secret if it is needed, shows the address, and takes a pasted one while it waits.
//! Does not: listen for the redirect; the daemon does.
//! Met by: people.

use std::{
    io::{BufRead, Read},
    path::Path,
    thread,
    time::Duration,
};

use rally_cred_proto::{
    Answer, Ask, Client, Fault, FaultKind, Secret,
    message::{Login, Paste, SignedIn},
    plain::plain,
};
use zeroize::Zeroizing;

use crate::{
    connection::{Connection, GRACE},
    events::{self, Audience},
    output::Output,
    status::moment,
    surroundings::Surroundings,
};

/// Longest line that is read as a client secret or a pasted address: far more than either has.
const LONGEST_LINE: u64 = 16 * 1024;

/// How long standard input may take to bring the client secret.
const SECRET_PATIENCE: Duration = Duration::from_secs(60);

/// How the sign-in is done on this side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Whether the browser is opened.
    pub(crate) opens_browser: bool,
    /// Whether the client secret comes on standard input.
    pub(crate) reads_secret: bool,
    /// Whether a daemon is started if none runs.
    pub(crate) autostart: bool,
}

/// Signs in.
pub(crate) fn run(
    mut login: Login,
    way: Way,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    if way.reads_secret {
        login.client_secret = Some(read_secret(around)?);
    }
    // A terminal on standard input can bring a pasted address, unless it is used up.
    login.can_paste = around.stdin_is_terminal() && !way.reads_secret;
    let mut connection = Connection::new(around, way.autostart);
    let answer = match ask(&mut connection, &login, way, around, output) {
        Err(fault)
            if fault.kind == FaultKind::ClientSecretNeeded
                && login.client_secret.is_none()
                && around.stdin_is_terminal() =>
        {
            output.say(&fault.what);
            login.client_secret = Some(type_secret(&login, around)?);
            ask(&mut connection, &login, way, around, output)?
        }
        outcome => outcome?,
    };
    match answer {
        Answer::SignedIn(signed_in) => {
            output.answer(summary(&signed_in).as_bytes())?;
            Ok(0)
        }
        _ => Err(Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")),
    }
}

fn ask(
    connection: &mut Connection<'_>,
    login: &Login,
    way: Way,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<Answer, Fault> {
    let audience = Audience { has_browser: way.opens_browser, listens: true };
    let patience = Duration::from_secs(u64::from(login.timeout)) + GRACE;
    let mut is_pasting = false;
    connection.ask(&Ask::Login(login.clone()), patience, &mut |event| {
        events::react(&event, audience, around, output);
        if matches!(event, Answer::Authorize(_)) && login.can_paste && !is_pasting {
            is_pasting = true;
            output.say("or paste the address that the browser ends up at here, and press Enter:");
            take_pasted(login.profile.clone(), around);
        }
    })
}

/// Reads addresses that a person pastes, in a thread of its own that ends with the program.
fn take_pasted(profile: Option<String>, around: &dyn Surroundings) {
    let lines = around.typed_lines();
    let Ok(socket) = around.socket() else { return };
    thread::spawn(move || offer_each(lines, &socket, profile.as_deref()));
}

fn offer_each(mut lines: Box<dyn BufRead + Send>, socket: &Path, profile: Option<&str>) {
    loop {
        let mut line = Zeroizing::new(String::new());
        match lines.by_ref().take(LONGEST_LINE).read_line(&mut line) {
            Ok(count) if count > 0 => {}
            Ok(_) | Err(_) => return,
        }
        if line.trim().is_empty() {
            continue;
        }
        if let Err(fault) = offer(line.trim(), socket, profile) {
            // The main thread waits for the daemon; standard error is shared line by line.
            let mut stderr = std::io::stderr();
            Output { stdout: &mut std::io::sink(), stderr: &mut stderr }.say(&fault);
        }
    }
}

fn offer(line: &str, socket: &Path, profile: Option<&str>) -> Result<(), Fault> {
    let redirect = Secret::parse(line.to_owned())
        .map_err(|fault| Fault::new(FaultKind::BadRedirect, "this is no address").why(fault.to_string()))?;
    let paste = Paste { profile: profile.map(str::to_owned), redirect };
    Client::connect(socket)?.ask(&Ask::Paste(paste), &mut |_| {}).map(drop)
}

fn read_secret(around: &dyn Surroundings) -> Result<Secret, Fault> {
    let cannot =
        |why: String| Fault::new(FaultKind::Usage, "no client secret came on standard input").why(why);
    let mut line = Zeroizing::new(Vec::new());
    if around.stdin_is_terminal() {
        return type_secret_at("Client secret: ", around);
    }
    let mut stdin = around.stdin(SECRET_PATIENCE).take(LONGEST_LINE);
    let mut byte = Zeroizing::new([0]);
    while stdin.read(&mut *byte).map_err(|fault| cannot(fault.to_string()))? == 1 && *byte != [b'\n'] {
        line.extend_from_slice(&*byte);
    }
    secret_of(&String::from_utf8_lossy(&line))
}

fn type_secret(login: &Login, around: &dyn Surroundings) -> Result<Secret, Fault> {
    let prompt = match &login.profile {
        Some(profile) => format!("Client secret for profile {}: ", plain(profile)),
        None => "Client secret: ".to_owned(),
    };
    type_secret_at(&prompt, around)
}

fn type_secret_at(prompt: &str, around: &dyn Surroundings) -> Result<Secret, Fault> {
    let typed = around.typed_secret(prompt).map(Zeroizing::new).map_err(|fault| {
        Fault::new(FaultKind::ClientSecretNeeded, "the client secret cannot be asked for")
            .why(fault.to_string())
            .remedy("rally-cred login --client-secret-stdin")
    })?;
    secret_of(&typed)
}

fn secret_of(text: &str) -> Result<Secret, Fault> {
    let bad = |why: &str| {
        Fault::new(FaultKind::Usage, "the client secret cannot be used")
            .why(why)
            .remedy("copy it from Rally again")
    };
    match text.trim() {
        "" => Err(bad("it is empty")),
        text => Secret::parse(text.to_owned()).map_err(|fault| bad(&fault.to_string())),
    }
}

fn summary(signed_in: &SignedIn) -> String {
    let SignedIn { profile, username, expires_at, already, kept } = signed_in;
    let verb = if *already { "already signed in" } else { "signed in" };
    let user = username.as_deref().map_or_else(String::new, |name| format!(" as {}", plain(name)));
    let end = expires_at.map_or_else(String::new, |at| format!(", good until {}", moment(at)));
    let kept =
        if *kept { "" } else { "\nthe token is kept in memory only: signed in until the daemon stops" };
    format!("profile {}: {verb}{user}{end}{kept}\n", plain(profile))
}
