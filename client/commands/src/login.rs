//! `rally-cred login`: a sign-in on request of the user.
//! Does not: see the token, or run the flow; the daemon does.
//! Used by: people, at a terminal.
//!
//! Three things can happen at any time: the daemon says something, the person pastes an address, the sign-in ends. The
//! first two each have a thread that waits for them, and this one takes them in turn, so that only it writes.

mod elsewhere;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use std::{io::BufRead, thread};

use clap::{ArgAction, Args};
use jiff::Timestamp;
use rally_cred::connection::{Connection, GRACE, silence};
use rally_cred::events::{self, Audience};
use rally_cred::system::{System, no_thread};
use rally_cred::{autostart, output::Output};
use rally_cred_proto::message::{Login, Paste, SignedIn};
use rally_cred_proto::{Deadline, Event, Fault, FaultKind, Secret, plain::plain};
use zeroize::Zeroizing;

use crate::{flags::parse_duration, progress::Progress, terminal::Terminal};

/// The longest line that can be a redirect address. A longer one was pasted by mistake.
const LONGEST_LINE: u64 = 16 * 1024;

/// The longest address that is put together from lines.
const LONGEST_ADDRESS: usize = 16 * 1024;

/// Time for the daemon to check an address.
const PASTING: Duration = Duration::from_secs(5);

/// What `login` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The profile to sign in
    pub(crate) profile: Option<String>,
    /// Sign in even if there is a valid token
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) sign_in: SignIn,
    /// Fail if no daemon is running, instead of starting one
    #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
    pub(crate) autostart: bool,
}

/// What `login` and `setup` can both be told of a sign-in.
#[derive(Clone, Debug, Args)]
pub(crate) struct SignIn {
    /// Open no browser, only show addresses
    #[arg(long = "no-browser", action = ArgAction::SetFalse)]
    pub(crate) browser: bool,
    /// Show the address as a QR code too, for a telephone's camera
    #[arg(long)]
    pub(crate) qr: bool,
    /// Longest time for the sign-in, such as 90s or 10m [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[arg(default_value_t = Login::default_timeout(), hide_default_value = true)]
    pub(crate) timeout: u32,
    /// Read the OAuth client secret from standard input
    #[arg(long)]
    pub(crate) client_secret_stdin: bool,
}

/// Runs a sign-in, and repeats it if the client secret turns out to be missing.
pub(crate) fn run(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let given = if options.sign_in.client_secret_stdin { Some(read_secret(options, sys)?) } else { None };
    let may_ask = given.is_none();
    let signed_in = match sign_in(options, given, sys, output) {
        Err(fault) if fault.kind == FaultKind::ClientSecretNeeded && may_ask => {
            let Some(secret) = ask_for_secret(options, sys) else { return Err(fault) };
            sign_in(options, Some(secret), sys, output)?
        }
        outcome => outcome?,
    };
    output.tell(summary(&signed_in))?;
    Ok(0)
}

/// What can happen while a sign-in runs.
enum Happened {
    Event(Event),
    Pasted(Zeroizing<String>),
    Ended(Result<SignedIn, Fault>),
}

fn sign_in(
    options: &Options,
    client_secret: Option<Secret>,
    sys: &dyn Terminal,
    output: &mut Output<'_>,
) -> Result<SignedIn, Fault> {
    let can_paste = sys.stdin_is_terminal();
    let login = Login {
        profile: options.profile.clone(),
        client_secret,
        force: options.force,
        timeout: options.sign_in.timeout,
        can_paste,
    };
    let (happened, happenings) = channel();
    ask_in_background(login, options, sys, happened.clone())?;
    let mut typist = can_paste.then(|| sys.typed_lines());
    let mut progress = Progress::new(sys);
    let mut begun = Zeroizing::default();
    loop {
        // A sender is here, so nothing fails but a wait that has become too long.
        let next = match progress.draw(Instant::now(), output) {
            Some(stays) => happenings.recv_timeout(stays).ok(),
            None => happenings.recv().ok(),
        };
        let Some(next) = next else { continue };
        progress.clear(output);
        match next {
            Happened::Event(Event::Waiting(waiting)) if progress.is_live() => {
                progress.wait_for(Instant::now(), events::awaited(waiting.on), None);
            }
            Happened::Event(event) => {
                let audience = Audience { has_browser: options.sign_in.browser, listens: true };
                events::react(&event, audience, sys, output);
                if let Event::Authorize(authorize) = event {
                    let most = Duration::from_secs(authorize.timeout.into());
                    progress.wait_for(Instant::now(), "\"Allow Access\" in the browser", Some(most));
                    if options.sign_in.qr {
                        match elsewhere::picture(&authorize.url, sys.screen()) {
                            Ok(picture) => output.draw(&picture),
                            Err(why) => output.say(why),
                        }
                    }
                    if let Some(command) = elsewhere::forwarding(authorize.start.as_deref(), sys) {
                        output.say(format_args!("{HOW_TO_FORWARD}\n  {command}"));
                    }
                    output.say(how_to_go_on(authorize.timeout, progress.is_live(), can_paste));
                    // Not before there is something to paste: until then, a prompt may want the terminal.
                    if let Some(lines) = typist.take() {
                        if progress.is_live() {
                            progress.hide_typing();
                        }
                        read_in_background(lines, happened.clone());
                    }
                }
            }
            Happened::Pasted(line) => match paste_part(&line, &mut begun, options, sys) {
                Ok(()) => output.say("the address is right"),
                Err(fault) => output.say(fault),
            },
            Happened::Ended(outcome) => return outcome,
        }
    }
}

/// What a command for SSH is shown for.
const HOW_TO_FORWARD: &str =
    "this came over SSH; the browser comes back by itself once this runs on its own machine:";

/// What the user can do while the sign-in waits for them.
fn how_to_go_on(timeout: u32, is_live: bool, can_paste: bool) -> String {
    let wait = match timeout {
        minutes if minutes % 60 == 0 => format!("waiting for \"Allow Access\", at most {} min", minutes / 60),
        seconds => format!("waiting for \"Allow Access\", at most {seconds} s"),
    };
    let paste = "if the browser ends at a page that cannot be opened, paste its address here";
    match (is_live, can_paste) {
        // The line below it says for how long.
        (true, _) => format!("{paste} and press Enter (it stays hidden); Ctrl-C cancels"),
        (false, true) => format!("{wait}; {paste}; Ctrl-C cancels"),
        (false, false) => wait,
    }
}

fn ask_in_background(
    login: Login,
    options: &Options,
    sys: &dyn System,
    happened: Sender<Happened>,
) -> Result<(), Fault> {
    let mut deadline = Deadline::after(Duration::from_secs(options.sign_in.timeout.into()) + GRACE);
    let mut client = autostart::connect(sys, options.autostart, &mut deadline).map_err(silence)?;
    let asking = thread::Builder::new().spawn(move || {
        // The receiver is gone only once this program ends.
        let outcome = client.ask_by(login, &mut deadline, &mut |event| {
            happened.send(Happened::Event(event)).ok();
        });
        let outcome = if client.is_usable() { outcome } else { outcome.map_err(silence) };
        happened.send(Happened::Ended(outcome)).ok();
    });
    asking.map(drop).map_err(|err| no_thread(&err))
}

/// Reads lines until they end or the receiver is gone. The thread ends with the program, in the middle of a read.
fn read_in_background(mut lines: Box<dyn BufRead + Send>, happened: Sender<Happened>) {
    let reading = thread::Builder::new().spawn(move || {
        while let Ok(Some(line)) = read_line(&mut *lines) {
            if !line.trim().is_empty() && happened.send(Happened::Pasted(line)).is_err() {
                break;
            }
        }
    });
    // Without it nothing can be pasted, and the browser may come back by itself.
    reading.map(drop).ok();
}

/// The next line; `None` at the end.
fn read_line(lines: &mut dyn BufRead) -> std::io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::with_capacity(1024));
    let count = std::io::Read::take(lines, LONGEST_LINE).read_line(&mut line)?;
    Ok((count > 0).then_some(line))
}

/// Takes a line of what is pasted. A terminal that breaks a long address into lines gives it in parts, so a line without a
/// scheme may go on where the last one ended.
fn paste_part(
    line: &str,
    begun: &mut Zeroizing<String>,
    options: &Options,
    sys: &dyn System,
) -> Result<(), Fault> {
    let alone = paste(line, options, sys);
    if alone.is_ok() || line.contains("://") {
        *begun = Zeroizing::new(line.to_owned());
        return alone;
    }
    if begun.is_empty() || begun.len() + line.len() > LONGEST_ADDRESS {
        return alone;
    }
    *begun = Zeroizing::new([begun.trim_end(), line.trim_start()].concat());
    paste(begun, options, sys).map_err(|fault| alone.err().unwrap_or(fault))
}

/// Sends a pasted address to the daemon, on a second connection while `login` waits on the first.
fn paste(line: &str, options: &Options, sys: &dyn System) -> Result<(), Fault> {
    let redirect = Secret::parse(line.trim().to_owned()).map_err(|err| {
        Fault::new(FaultKind::BadRedirect, "this is not a URL")
            .why(err.to_string())
            .remedy("copy the whole address out of the browser's address line")
    })?;
    let paste = Paste { profile: options.profile.clone(), redirect };
    Connection::new(sys, false).ask(paste, &mut Deadline::after(PASTING), &mut |_| {})
}

/// The first line of standard input; on a terminal it is typed without echo.
fn read_secret(options: &Options, sys: &dyn Terminal) -> Result<Secret, Fault> {
    let missing = |why: &str| {
        Fault::new(FaultKind::ClientSecretNeeded, "there is no client secret on standard input")
            .why(why)
            .remedy("rally-cred login --client-secret-stdin < FILE")
    };
    if sys.stdin_is_terminal() {
        return ask_for_secret(options, sys).ok_or_else(|| missing("nothing was typed"));
    }
    let mut deadline = Deadline::after(Duration::from_secs(options.sign_in.timeout.into()));
    let mut input = std::io::BufReader::new(sys.stdin(&mut deadline));
    match read_line(&mut input) {
        Ok(Some(line)) => parse_secret(&line).ok_or_else(|| missing("its first line is empty")),
        Ok(None) => Err(missing("it is empty")),
        Err(err) => Err(missing(&err.to_string())),
    }
}

/// Asks for the client secret; `None` without a terminal, and for an empty line.
fn ask_for_secret(options: &Options, sys: &dyn Terminal) -> Option<Secret> {
    let whose = options
        .profile
        .as_deref()
        .map_or_else(|| "the default profile".to_owned(), |name| format!("profile {}", plain(name)));
    let typed = sys.typed_secret(&format!("Client secret for {whose}: ")).ok()?;
    parse_secret(&typed)
}

/// A secret without the end of its line; `None` for an empty one.
pub(crate) fn parse_secret(line: &str) -> Option<Secret> {
    Secret::parse(line.trim_end_matches(['\r', '\n']).to_owned())
        .ok()
        .filter(|secret| !secret.expose().is_empty())
}

fn summary(signed_in: &SignedIn) -> String {
    let SignedIn { profile, username, expires_at, already, kept } = signed_in;
    let verb = if *already { "already signed in" } else { "signed in" };
    let who = username.as_deref().map_or_else(String::new, |name| format!(" as {}", plain(name)));
    let until = expires_at.and_then(|at| Timestamp::from_second(at).ok());
    let until = until.map_or_else(String::new, |at| format!(", token valid until {at}"));
    let kept = if *kept { "" } else { ", until the daemon stops" };
    format!("profile {}: {verb}{who}{until}{kept}\n", plain(profile))
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
