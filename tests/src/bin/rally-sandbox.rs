//! The Rally sandbox as a program: a stand-in for Rally to sign in to by hand, or from other processes.
//! Does not: add behaviour; all of it is in the library, and the flags are the library's options.
//! Used by: people who want to press "Allow Access" themselves, the demo, and tests that need a process.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks through its standard streams"
)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rally_cred_tests::sandbox::{Options, Plan, Sandbox};
use serde_json::{Map, Value, json};

/// How a flag's text becomes an option's value.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    /// The flag takes no value and sets this one.
    Set(bool),
}

/// Flag, option (`.` steps into `user`), kind, and what it means. Defaults are added to the help from `Options::default`.
const FLAGS: &[(&str, &str, Kind, &str)] = &[
    ("port", "port", Kind::Number, "Port on 127.0.0.1; 0 lets the system choose"),
    ("tls", "tls", Kind::Set(true), "Serve https with a private CA (see --ca-out)"),
    ("client-id", "client_id", Kind::Text, "Identifier of the registered client"),
    ("client-secret", "client_secret", Kind::Text, "Its secret: a made-up one, since the sandbox shows it"),
    ("redirect-uri", "redirect_uri", Kind::Text, "Its callback URL, compared character by character"),
    ("scope", "scope", Kind::Text, "The scope that is known"),
    ("user-name", "user.UserName", Kind::Text, "The user who signs in"),
    ("display-name", "user.DisplayName", Kind::Text, "The user's name as people see it"),
    ("email", "user.EmailAddress", Kind::Text, "The user's e-mail address"),
    ("object-id", "user.ObjectID", Kind::Number, "WSAPI's key of the user"),
    ("code-life", "code_life", Kind::Number, "Seconds that an authorization code lives"),
    ("token-life", "token_life", Kind::Number, "Seconds that an access token lives"),
    (
        "refresh-life",
        "refresh_life",
        Kind::Number,
        "Seconds that a refresh token lives; for ever if not given",
    ),
    ("expires-in", "expires_in", Kind::Text, "How expires_in is written: number, text or absent"),
    ("no-refresh", "allow_refresh", Kind::Set(false), "Give out no refresh tokens, and take none"),
    ("no-rotation", "rotate_refresh", Kind::Set(false), "A refresh keeps the refresh token"),
    ("max-concurrent", "max_concurrent", Kind::Number, "WSAPI requests that may be open at once"),
    ("busy-status", "busy_status", Kind::Number, "Status for one more than that"),
    ("error-status", "error_status", Kind::Number, "Status of a refused token request"),
    ("client-error-status", "client_error_status", Kind::Number, "The same for a wrong client"),
    ("cookie-status", "cookie_status", Kind::Number, "Status for a cookie beside a ZSESSIONID"),
    ("no-cookies", "session_cookies", Kind::Set(false), "Hand out no session cookies"),
    ("read-only", "read_only", Kind::Set(true), "Refuse every token that writes"),
    (
        "refuse-address",
        "address_refused",
        Kind::Set(true),
        "Answer WSAPI as a subscription that does not allow this address",
    ),
];

const AFTER_HELP: &str = "\
A fault is ENDPOINT=FAULT[:VALUE][*TIMES]: the endpoint is auth, token, user or wsapi; the fault is delay:MS,
status:CODE[,RETRY-AFTER], html, garbage, truncated, drop, lose, hang or redirect:URL; without TIMES it stays.
  rally-sandbox --fault 'token=status:503*2' --fault user=delay:2000

A running sandbox is steered with JSON under /_sandbox/: options, faults, plant, admit, revoke, revoke-all, expire,
reset (POST); faults (DELETE); options, faults, log, counters (GET).
  curl -X POST -H 'content-type: application/json' -d '{\"token_life\":60}' http://127.0.0.1:PORT/_sandbox/options

One line on stdout says that it is ready, and ends in the base URL. It stops on SIGTERM and SIGINT.";

fn main() -> ExitCode {
    let matches = command().get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rally-sandbox: cannot start\n  why: {why}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(matches: &ArgMatches) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let options = options(matches)?;
    // It listens for signals before anyone can read the ready line and send one.
    let stopped = stopped().map_err(text)?;
    let sandbox = Sandbox::start(options).await.map_err(text)?;
    for plan in matches.get_many::<Plan>("fault").into_iter().flatten() {
        sandbox.plan(plan.clone());
    }
    if let (Some(path), Some(ca)) = (matches.get_one::<PathBuf>("ca-out"), sandbox.ca_pem()) {
        std::fs::write(path, ca).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    eprintln!(
        "to sign in by hand, open:\n  {}",
        sandbox.authorization_url("00000000-0000-4000-8000-000000000000")
    );
    println!("rally-sandbox: ready at {}", sandbox.base_url());
    io::stdout().flush().map_err(text)?;
    stopped.await;
    sandbox.stop().await;
    Ok(())
}

/// Ends at the first SIGTERM or SIGINT after this call.
#[cfg(unix)]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ends at Ctrl-C.
#[cfg(windows)]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move { drop(interrupt.recv().await) })
}

fn command() -> Command {
    let defaults = serde_json::to_value(Options::default()).unwrap_or_default();
    let flags = FLAGS.iter().map(|(flag, option, kind, meaning)| {
        let arg = Arg::new(*flag).long(*flag);
        let default = defaults.pointer(&pointer(option)).map(|value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        });
        match (kind, default.filter(|text| text != "null")) {
            (Kind::Set(_), _) => arg.action(ArgAction::SetTrue).help(*meaning),
            (_, Some(default)) => arg.value_name("VALUE").help(format!("{meaning} [default: {default}]")),
            (_, None) => arg.value_name("VALUE").help(*meaning),
        }
    });
    Command::new("rally-sandbox")
        .about("A stand-in for Rally's servers on this machine: sign-in pages, token endpoint, some of WSAPI")
        .args(flags)
        .arg(
            Arg::new("fault")
                .long("fault")
                .value_name("FAULT")
                .action(ArgAction::Append)
                .value_parser(str::parse::<Plan>)
                .help("Plan a fault (see below); may be given more than once"),
        )
        .arg(
            Arg::new("ca-out")
                .long("ca-out")
                .value_name("FILE")
                .requires("tls")
                .value_parser(value_parser!(PathBuf))
                .help("Write the CA's certificate here, as PEM"),
        )
        .after_help(AFTER_HELP)
}

/// The default options with the given flags' values in their places.
fn options(matches: &ArgMatches) -> Result<Options, String> {
    let mut options = Map::new();
    let mut user = Map::new();
    for (flag, option, kind, _) in FLAGS {
        let value = match kind {
            Kind::Set(value) => matches.get_flag(flag).then(|| json!(value)),
            Kind::Text => matches.get_one::<String>(flag).map(|text| json!(text)),
            Kind::Number => match matches.get_one::<String>(flag).map(|text| text.parse::<u64>()) {
                None => None,
                Some(Ok(number)) => Some(json!(number)),
                Some(Err(_)) => return Err(format!("--{flag} takes a number")),
            },
        };
        match (value, option.strip_prefix("user.")) {
            (Some(value), Some(field)) => drop(user.insert(field.to_owned(), value)),
            (Some(value), None) => drop(options.insert((*option).to_owned(), value)),
            (None, _) => {}
        }
    }
    options.insert("user".to_owned(), Value::Object(user));
    serde_json::from_value(Value::Object(options)).map_err(|error| error.to_string())
}

/// An option's place as a JSON pointer.
fn pointer(option: &str) -> String {
    format!("/{}", option.replace('.', "/"))
}
