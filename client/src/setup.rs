//! `rally-cred setup`: makes a profile, from the OAuth client in Rally to a token in hand, and takes it away again.
//! Does not: do anything unsaid. Every change is in a plan first, which leaves out what is so already.
//! Met by: people on their first day, and scripts, since every question has a flag.

mod change;
mod config_text;
mod interview;
mod machine;
mod record;

use std::{
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    path::PathBuf,
};

use rally_cred_proto::{Fault, FaultKind, own_file, plain::plain, socket};

use crate::{browser, config, login, output::Output, surroundings::Surroundings};
use change::Change;
use config_text::ConfigText;
use interview::Interview;
use record::Made;

/// Rally's address for all but EU tenants, and what the daemon takes where the config file names none.
const DEFAULT_BASE_URL: &str = "https://rally1.rallydev.com";

/// The port of the callback URL that README.md shows.
const USUAL_PORT: u16 = 8477;

/// What `setup` was told on its command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) base_url: Option<String>,
    pub(crate) callback: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) units: Option<bool>,
    pub(crate) git: Option<bool>,
    /// A shell, or `no`.
    pub(crate) completions: Option<String>,
    pub(crate) dry_run: bool,
    /// For the sign-in at the end.
    pub(crate) login: login::Options,
}

/// Asks what no flag has answered, makes the changes, and signs in.
pub(crate) fn run(
    options: &Options,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let path = find_config(around)?;
    let mut config = ConfigText::load(&path)?;
    let profile = options.login.profile.clone().or_else(|| config.default_profile());
    let profile = profile.unwrap_or_else(|| "default".to_owned());

    let mut plan = Vec::new();
    let mut interview = Interview::new(around, output);
    let answers = ask_for_client(&mut interview, options, &config, &profile, around)?;
    config.set_profile(&profile, &answers.base_url, &answers.client_id, &answers.callback);
    let has_changed = config.has_changed();
    if has_changed {
        plan.extend(Change::Configure { path, text: config.to_string() }.noted());
        plan.push(Change::Reload);
    }
    plan.extend(machine::offer_completions(&mut interview, options.completions.as_deref(), around)?);
    plan.extend(machine::offer_units(&mut interview, options.units, around)?);
    plan.extend(machine::offer_git(&mut interview, options.git, &answers.base_url, around)?);

    carry_out(&plan, options.dry_run, around, output)?;
    if options.dry_run {
        return output.tell_line(format!("would sign in: rally-cred login {profile}")).map(|()| 0);
    }
    // A token in hand proves nothing about values that it was not got with.
    let login = login::Options { profile: Some(profile), force: has_changed, ..options.login.clone() };
    login::run(&login, around, output)
}

/// Takes away what `setup` makes for a profile, and with the last profile what it makes for the machine.
pub(crate) fn remove(
    profile: Option<String>,
    dry_run: bool,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let path = find_config(around)?;
    let mut config = ConfigText::load(&path)?;
    let profile = profile.or_else(|| config.default_profile()).unwrap_or_else(|| "default".to_owned());
    let own = Made::File(path.clone());
    let (config_file, mut made): (Vec<_>, Vec<_>) =
        record::load()?.into_iter().partition(|made| *made == own);
    // What was made last goes first: units are disabled before their files go.
    made.reverse();
    let mut plan = Vec::new();
    let mut helper = Vec::new();
    if config.has_profile(&profile) {
        let base_url = config.value(&profile, "base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
        config.remove_profile(&profile);
        if !config.serves(&base_url) {
            let key = machine::git_key(&base_url);
            helper = vec![Made::GitHelper(key.clone()), Made::GitReset(key)];
        }
        plan.push(Change::SignOut(profile));
        let text = config.to_string();
        if text.trim().is_empty() && !config_file.is_empty() {
            plan.extend(machine::undo(config_file, around));
        } else if config.is_unused() {
            // Nothing is left that a daemon could use, so there is nothing to judge.
            plan.push(Change::Write { path, text });
        } else {
            plan.extend([Change::Configure { path, text }, Change::Reload]);
        }
    }
    if config.is_unused() {
        plan.extend(machine::undo(made, around));
        if !plan.is_empty() {
            plan.push(Change::Stop);
        }
    } else {
        made.retain(|made| helper.contains(made));
        plan.extend(machine::undo(made, around));
    }
    carry_out(&plan, dry_run, around, output)?;
    Ok(0)
}

/// The config file's path, unless it or anything else that is to be made would be in another user's folders.
fn find_config(around: &dyn Surroundings) -> Result<PathBuf, Fault> {
    let path = config::find_path(around)?;
    own_file::check_owner(&path)?;
    around.socket().map_or(Ok(()), |socket| socket::check_owners(&socket))?;
    Ok(path)
}

/// What the OAuth client in Rally is like.
struct Answers {
    base_url: String,
    callback: String,
    client_id: String,
}

fn ask_for_client(
    interview: &mut Interview<'_, '_>,
    options: &Options,
    config: &ConfigText,
    profile: &str,
    around: &dyn Surroundings,
) -> Result<Answers, Fault> {
    let known = |key: &str| config.value(profile, key);
    let proposal = known("base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    let base_url =
        interview.address("Rally's address", "--base-url", options.base_url.as_ref(), &proposal)?;
    let base_url = base_url.trim_end_matches('/').to_owned();
    let proposal = known("redirect_uri").unwrap_or_else(free_callback);
    let callback = interview.address(
        "Callback URL on this machine",
        "--callback",
        options.callback.as_ref(),
        &proposal,
    )?;
    if options.client_id.is_none() && interview.has_person() {
        let page = format!("{base_url}/login/accounts/index.html#/clients");
        let is_open = options.login.browser && browser::open(&page, around);
        interview.tell(&format!(
            "make an OAuth client in Rally, or look at the one you have{}:\n  \
             {}\n  press Create, and give it\n    Application Name  rally-cred\n    Callback URL      {}\n  \
             Rally shows a client ID and a client secret; the secret is asked for when you sign in",
            if is_open { "; the browser opens" } else { "" },
            plain(&page),
            plain(&callback),
        ));
    }
    let client_id =
        interview.text("Client ID", "--client-id", options.client_id.clone(), known("client_id"))?;
    Ok(Answers { base_url, callback, client_id })
}

/// A callback URL with the usual port, or with the next one that is free.
fn free_callback() -> String {
    let is_free = |port: &u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            // A machine without IPv6 has no ::1.
            && !matches!(TcpListener::bind((Ipv6Addr::LOCALHOST, *port)),
                Err(fault) if fault.kind() == std::io::ErrorKind::AddrInUse)
    };
    let port = (USUAL_PORT..=USUAL_PORT + 100).find(is_free).unwrap_or(USUAL_PORT);
    format!("http://localhost:{port}/callback")
}

/// Makes each change and says so; or only says what it would be.
fn carry_out(
    plan: &[Change],
    dry_run: bool,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    if plan.iter().all(Change::is_silent) {
        output.tell_line("nothing to change")?;
    }
    for change in plan {
        if !dry_run {
            change.make(around, output)?;
        }
        if !change.is_silent() {
            let how = if dry_run { "would " } else { "" };
            output.tell_line(format!("{how}{change}"))?;
        }
    }
    Ok(())
}

/// A question that nobody is there to answer.
fn unanswered(what: &str, flag: &str) -> Fault {
    Fault::new(FaultKind::Usage, format!("{what} is not given"))
        .why("standard input is no terminal, so nobody can be asked")
        .remedy(format!("give {flag}; see rally-cred setup --help"))
}
