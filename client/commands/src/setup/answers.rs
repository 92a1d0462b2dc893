//! The answers about the OAuth client, each judged when it is given, so that none has to be given twice.
//! Does not: know what the daemon takes. The daemon's program judges, in a config file that holds nothing else.
//! Used by: `setup`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use rally_cred::{browser, system::System};
use rally_cred_proto::{Fault, FaultKind, Origin, origin::DEFAULT_BASE_URL, plain::plain, remedy::Command};

use super::{
    Options,
    config_text::ConfigText,
    interview::{Interview, Verdict},
};
use crate::config;

/// The port of the callback URL that README.md shows.
const USUAL_PORT: u16 = 8477;

/// What stands for answers that are yet to come.
const ANY_CALLBACK: &str = "http://localhost:8477/callback";
const ANY_CLIENT_ID: &str = "client-id";

/// What is known of the OAuth client so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) base_url: Option<String>,
    pub(super) callback: Option<String>,
    pub(super) client_id: Option<String>,
}

impl Draft {
    /// The command that begins with these answers.
    pub(super) fn command(&self, profile: &str, is_default: bool) -> Command {
        let flags = [
            ("--base-url", &self.base_url),
            ("--callback", &self.callback),
            ("--client-id", &self.client_id),
        ];
        flags.into_iter().fold(Command::of_profile("setup", profile, is_default), |command, (flag, value)| {
            match value {
                Some(value) => command.arg(flag).arg(plain(value)),
                None => command,
            }
        })
    }
}

/// Refuses what no answer would mend, before anything is asked: a bad profile name, a file with faults elsewhere, flags of
/// an OAuth client for a profile that has none.
pub(super) fn check_before(
    profile: &str,
    config: &ConfigText,
    options: &Options,
    sys: &dyn System,
) -> Result<(), Fault> {
    let of_client = [
        ("--callback", options.callback.is_some()),
        ("--client-id", options.client_id.is_some()),
        ("--client-secret-stdin", options.sign_in.client_secret_stdin),
    ];
    let of_client = of_client.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag));
    if let Some(flag) = of_client.filter(|_| config.has_program(profile)) {
        let what = format!("{flag} is for a sign-in, and profile {} has a `token_command`", plain(profile));
        return Err(Fault::new(FaultKind::Usage, what)
            .why("a program gives its tokens, so there is no OAuth client")
            .remedy(format!("leave {flag} out, or take `token_command` out of the config file")));
    }
    judge(profile, DEFAULT_BASE_URL, ANY_CALLBACK, ANY_CLIENT_ID, sys)?;
    match config.without_profile(profile) {
        Some(rest) => judge_text(&rest, sys).map_err(|fault| Fault {
            what: format!("another part of the config file is in the way: {}", fault.what),
            ..fault
        }),
        None => Ok(()),
    }
}

/// Asks what no flag has answered: Rally's address, which it returns, and for `draft` the OAuth client, unless a program
/// gives the tokens.
pub(super) fn ask(
    interview: &mut Interview<'_, '_>,
    draft: &mut Draft,
    options: &Options,
    config: &ConfigText,
    profile: &str,
    sys: &dyn System,
) -> Result<String, Fault> {
    let proposal = config.value(profile, "base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    let judge_base_url = |answer: &str| {
        let answer = answer.trim_end_matches('/');
        let judged = judge(profile, answer, ANY_CALLBACK, ANY_CLIENT_ID, sys);
        Verdict::of(judged, answer, origin_meant_by)
    };
    let base_url = interview.judged(
        "Rally's address",
        "--base-url",
        options.base_url.clone(),
        Some(proposal),
        &judge_base_url,
    )?;
    draft.base_url = Some(base_url.clone());

    if !config.has_program(profile) {
        ask_client(interview, draft, options, config, profile, &base_url, sys)?;
    }
    Ok(base_url)
}

fn ask_client(
    interview: &mut Interview<'_, '_>,
    draft: &mut Draft,
    options: &Options,
    config: &ConfigText,
    profile: &str,
    base_url: &str,
    sys: &dyn System,
) -> Result<(), Fault> {
    let known = |key: &str| config.value(profile, key);
    let old = known("redirect_uri");
    let judge_callback = |answer: &str| {
        Verdict::of(judge(profile, base_url, answer, ANY_CLIENT_ID, sys), answer, callback_meant_by)
    };
    let callback = interview.judged(
        "Callback URL on this machine",
        "--callback",
        options.callback.clone(),
        Some(old.clone().unwrap_or_else(free_callback)),
        &judge_callback,
    )?;
    draft.callback = Some(callback.clone());
    if let Some(note) = note_on(&callback).filter(|_| old.as_ref() != Some(&callback)) {
        interview.tell(&note);
    }

    if options.client_id.is_none() && interview.has_person() {
        show_the_way(interview, base_url, &callback, options, sys);
    }
    let judge_client_id = |answer: &str| {
        let judged = match answer.split_whitespace().nth(1) {
            // A slip of the clipboard: a client ID has none.
            Some(_) => Err(Fault::new(FaultKind::Usage, "a client ID has no blanks in it")
                .remedy("copy it once more from the page of the OAuth client")),
            None => judge(profile, base_url, &callback, answer, sys),
        };
        Verdict::of(judged, answer, |_| None)
    };
    let client_id = interview.judged(
        "Client ID",
        "--client-id",
        options.client_id.clone(),
        known("client_id"),
        &judge_client_id,
    )?;
    draft.client_id = Some(client_id);
    Ok(())
}

/// Where the OAuth client is made, and who can make it.
fn show_the_way(
    interview: &mut Interview<'_, '_>,
    base_url: &str,
    callback: &str,
    options: &Options,
    sys: &dyn System,
) {
    let page = format!("{base_url}/login/accounts/index.html#/clients");
    let is_open = options.sign_in.browser && browser::open(&page, sys);
    interview.tell(&format!(
        "make an OAuth client in Rally, or look at the one you have{}:\n  \
         {}\n  press Create, and give it\n    Application Name  rally-cred\n    Callback URL      {}\n  \
         Rally shows a client ID and a client secret; the secret is asked for when you sign in\n  \
         if Create is greyed out, ask an administrator of your workspace or subscription to make it for you",
        if is_open { "; the browser opens" } else { "" },
        plain(&page),
        plain(callback),
    ));
}

/// What the daemon's program says of these values, in words that name no file: there is none yet.
fn judge(
    profile: &str,
    base_url: &str,
    callback: &str,
    client_id: &str,
    sys: &dyn System,
) -> Result<(), Fault> {
    judge_text(&ConfigText::of_one(profile, base_url, client_id, callback), sys)
}

fn judge_text(text: &ConfigText, sys: &dyn System) -> Result<(), Fault> {
    let cannot = |err: io::Error| {
        Fault::new(FaultKind::Failed, "no temporary file can be made")
            .why(err.to_string())
            .remedy("set TMPDIR to a folder that you may write to")
    };
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().map_err(cannot)?;
    file.write_all(text.to_string().as_bytes()).map_err(cannot)?;
    config::judge(Some(file.path()), sys).map(drop).map_err(|fault| {
        let place = format!("config file {}, line ", plain(&file.path().display().to_string()));
        let said = fault.what.strip_prefix(&place).and_then(|rest| rest.split_once(": "));
        match said.map(|(_, what)| what.to_owned()) {
            Some(what) => Fault { what, ..fault },
            None => fault,
        }
    })
}

/// The origin that was probably meant: without a path, with https.
fn origin_meant_by(answer: &str) -> Option<String> {
    let url = if answer.contains("://") { answer.to_owned() } else { format!("https://{answer}") };
    let origin = Origin::from_uri(&url)?;
    match origin.is_https() || origin.is_loopback() {
        true => Some(origin.to_string()),
        false => Some(format!("https://{}", origin.to_string().trim_start_matches("http://"))),
    }
}

/// The callback URL that was probably meant: with http, and without a fragment.
fn callback_meant_by(answer: &str) -> Option<String> {
    let url = if answer.contains("://") { answer.to_owned() } else { format!("http://{answer}") };
    let url = url.split('#').next().unwrap_or_default().to_owned();
    Origin::from_uri(&url).map(|_| url)
}

/// What a callback URL means for the sign-in, where that is not what people expect.
fn note_on(callback: &str) -> Option<String> {
    let paste = "so a sign-in ends by pasting: copy the address that the browser ends at into the terminal";
    let origin = Origin::from_uri(callback)?;
    if origin.is_https() {
        return Some(format!("rally-cred cannot answer at an https callback, {paste}"));
    }
    if !origin.is_loopback() {
        return Some(format!("this callback does not lead to this machine, {paste}"));
    }
    let port = origin.to_string().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|err| err.kind()) {
        Err(io::ErrorKind::PermissionDenied) => {
            Some(format!("you may not listen on port {port}, {paste}; a port above 1023 needs no pasting"))
        }
        Err(io::ErrorKind::AddrInUse) => {
            Some(format!("another program listens on port {port}; while it does, {}", &paste["so ".len()..]))
        }
        _ => None,
    }
}

/// A callback URL with the usual port, or with the next one that is free.
fn free_callback() -> String {
    let is_free = |port: &u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            // A machine without IPv6 has no ::1.
            && !matches!(TcpListener::bind((Ipv6Addr::LOCALHOST, *port)),
                Err(err) if err.kind() == io::ErrorKind::AddrInUse)
    };
    let port = (USUAL_PORT..=USUAL_PORT + 100).find(is_free).unwrap_or(USUAL_PORT);
    format!("http://localhost:{port}/callback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_guessed_from_what_people_type() {
        for (answer, expected) in [
            ("rally1.rallydev.com", Some("https://rally1.rallydev.com")),
            ("https://eu1.rallydev.com/slm", Some("https://eu1.rallydev.com")),
            ("eu1.rallydev.com/#/1234/portfolio", Some("https://eu1.rallydev.com")),
            ("http://rally1.rallydev.com", Some("https://rally1.rallydev.com")),
            ("http://localhost:7/slm", Some("http://localhost:7")),
            ("two words", None),
        ] {
            assert_eq!(origin_meant_by(answer).as_deref(), expected, "{answer}");
        }
        for (answer, expected) in [
            ("localhost:8477/callback", Some("http://localhost:8477/callback")),
            ("http://localhost:1/x#y", Some("http://localhost:1/x")),
            ("no address", None),
        ] {
            assert_eq!(callback_meant_by(answer).as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn the_answers_are_kept_as_a_command_that_begins_with_them() {
        let mut draft = Draft::default();
        assert_eq!(draft.command("default", true).to_string(), "rally-cred setup");
        draft.base_url = Some("https://a".to_owned());
        draft.client_id = Some("it's".to_owned());
        assert_eq!(
            draft.command("work", false).to_string(),
            r"rally-cred setup work --base-url https://a --client-id 'it'\''s'"
        );
    }
}
