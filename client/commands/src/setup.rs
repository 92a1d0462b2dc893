//! `rally-cred setup`: makes a profile, from the OAuth client in Rally to a token in hand, and takes it away again.
//! Does not: change anything without saying so. Every change is planned first; existing settings are kept.
//! Used by: people on their first day, and scripts, since every question has a flag.

mod answers;
mod change;
mod config_text;
mod interview;
mod machine;
mod network;
mod record;
mod whole_file;

use std::path::{Path, PathBuf};

use clap::Args;
use machine::CompleteIn;
use rally_cred::{autostart, output::Output, system::System};
use rally_cred_proto::{
    Fault, FaultKind, native, origin::DEFAULT_BASE_URL, own_file, remedy::Command, socket,
};

use crate::{config, login, terminal::Terminal};
use answers::Draft;
use change::Change;
use config_text::ConfigText;
use interview::{Interview, YesNo};
use record::Made;

/// Sets `keyring` in the config file, once the daemon's program has found the new text good.
pub(crate) fn set_keyring(path: &Path, keyring: &str, sys: &dyn System) -> Result<(), Fault> {
    let mut config = ConfigText::load(path)?;
    config.set_keyring(keyring);
    whole_file::write(path, &config.to_string(), |beside| config::judge(Some(beside), sys).map(drop))
}

/// What `setup` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The profile to make or to change [default: the default profile]
    pub(crate) profile: Option<String>,
    /// Rally's address, such as https://eu1.rallydev.com
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The callback URL of the OAuth client, exactly as in Rally
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// The client ID of the OAuth client
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[arg(long, value_name = "yes|no", hide_possible_values = true, help = UNITS_HELP)]
    units: Option<YesNo>,
    /// Whether git uses rally-cred for Rally's server
    #[arg(long, value_name = "yes|no", hide_possible_values = true)]
    git: Option<YesNo>,
    /// Whether the daemon gets this shell's proxy and certificate variables
    #[arg(long, value_name = "yes|no", hide_possible_values = true)]
    network: Option<YesNo>,
    /// The shell that completes rally-cred's commands
    #[arg(long, value_name = "SHELL|no", hide_possible_values = true, value_parser = CompleteIn::parser())]
    completions: Option<CompleteIn>,
    #[command(flatten)]
    sign_in: login::SignIn,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Remove what setup makes: the sign-in, the profile, and with the last profile the rest
    #[arg(long, conflicts_with_all = ANSWERS)]
    remove: bool,
}

const UNITS_HELP: &str = native!(
    "Whether systemd starts the daemon",
    macos: "Whether launchd starts the daemon when you sign in",
    windows: "Whether Windows starts the daemon when you sign in"
);

/// What means nothing to `--remove`.
const ANSWERS: [&str; 8] =
    ["base_url", "callback", "client_id", "client_secret_stdin", "units", "git", "network", "completions"];

/// Does what is asked for: makes a profile, or takes it away.
pub(crate) fn run(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    if options.remove { remove(options, sys, output) } else { make(options, sys, output) }
}

/// Asks what no flag has answered, makes the changes, and signs in.
fn make(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let path = find_config(sys)?;
    let config = ConfigText::load(&path)?;
    let profile = options.profile.clone().or_else(|| config.default_profile());
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    let is_default = config.default_profile().is_none_or(|name| name == profile);
    autostart::daemon_program(sys)?;
    answers::check_before(&profile, &config, options, sys)?;
    let has_program = config.has_program(&profile);

    let mut draft = Draft::default();
    let made = plan(options, path, config, &profile, &mut draft, sys, output)
        .and_then(|(plan, has_changed)| carry_out(&plan, options.dry_run, sys, output).map(|()| has_changed));
    // Whatever failed, nothing has to be typed twice.
    let has_person = sys.stdin_is_terminal();
    let has_changed = made.map_err(|fault| {
        let command = draft.command(&profile, is_default);
        match fault.kind {
            FaultKind::Denied if has_person => return fault.remedy(command),
            _ if has_person => output.say(format_args!("your answers are kept in this command: {command}")),
            _ => {}
        }
        fault
    })?;
    if options.dry_run {
        return output
            .tell_line(format!("would sign in: {}", Command::of_profile("login", &profile, is_default)))
            .map(|()| 0);
    }
    if has_changed && has_person && !has_program {
        output.say(IF_REFUSED);
    }
    // An existing token proves nothing about changed values.
    let login = login::Options {
        profile: Some(profile),
        force: has_changed,
        sign_in: options.sign_in.clone(),
        autostart: true,
    };
    login::run(&login, sys, output)
}

/// The likeliest mistake in a first setup ends on a page of Rally's, which rally-cred never sees.
const IF_REFUSED: &str = "if Rally shows an error in place of \"Allow Access\", client ID or callback URL are not those \
                          of the OAuth client: press Ctrl-C, and run rally-cred setup again";

/// Asks, and plans the changes that the answers need.
fn plan(
    options: &Options,
    path: PathBuf,
    mut config: ConfigText,
    profile: &str,
    draft: &mut Draft,
    sys: &dyn Terminal,
    output: &mut Output<'_>,
) -> Result<(Vec<Change>, bool), Fault> {
    let mut plan = Vec::new();
    let mut interview = Interview::new(sys, output);
    let base_url = answers::ask(&mut interview, draft, options, &config, profile, sys)?;
    let client = draft.client_id.as_deref().zip(draft.callback.as_deref());
    config.set_profile(profile, &base_url, client);
    let has_changed = config.has_changed();
    if has_changed {
        plan.extend(Change::Configure { path, text: config.to_string() }.noted());
        plan.push(Change::Reload);
    }
    plan.extend(machine::offer_completions(&mut interview, options.completions, sys)?);
    let units = machine::offer_units(&mut interview, options.units, &config.gateway_ports(), sys)?;
    let will_be_enabled = units.contains(&Change::Note(Made::Units));
    plan.extend(network::offer(&mut interview, options.network, will_be_enabled, sys)?);
    plan.extend(units);
    plan.extend(machine::offer_git(&mut interview, options.git, &base_url, sys)?);
    Ok((plan, has_changed))
}

/// Whether `setup` has configured git to ask about this server.
pub(crate) fn has_told_git_of(base_url: &str) -> bool {
    let key = machine::git_key(base_url);
    // An unreadable record counts as empty.
    record::load().unwrap_or_default().iter().any(|made| made.git_key() == Some(&key))
}

/// Removes what `setup` makes for a profile, and with the last profile what it makes for the machine.
fn remove(options: &Options, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let path = find_config(sys)?;
    let mut config = ConfigText::load(&path)?;
    let profile = options.profile.clone().or_else(|| config.default_profile());
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    let own = Made::File(path.clone());
    let (config_file, mut made): (Vec<_>, Vec<_>) =
        record::load()?.into_iter().partition(|made| *made == own);
    // What was made last goes first: units are disabled before their files go.
    made.reverse();
    let mut plan = Vec::new();
    let mut helper = None;
    if config.has_profile(&profile) {
        let base_url = config.value(&profile, "base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
        config.remove_profile(&profile);
        helper = (!config.serves(&base_url)).then(|| machine::git_key(&base_url));
        plan.push(Change::SignOut(profile));
        let text = config.to_string();
        if text.trim().is_empty() && !config_file.is_empty() {
            plan.extend(machine::undo(config_file, sys));
        } else if config.is_unused() {
            // The rest configures nothing, so there is nothing to check.
            plan.push(Change::Write { path, text });
        } else {
            plan.extend([Change::Configure { path, text }, Change::Reload]);
        }
    }
    if config.is_unused() {
        plan.extend(machine::undo(made, sys));
        if !plan.is_empty() {
            plan.push(Change::Stop);
        }
    } else {
        made.retain(|made| made.git_key().is_some() && made.git_key() == helper.as_deref());
        plan.extend(machine::undo(made, sys));
    }
    carry_out(&plan, options.dry_run, sys, output)?;
    Ok(0)
}

/// The config file's path. Fails if it, or the socket, would be in another user's folder.
fn find_config(sys: &dyn System) -> Result<PathBuf, Fault> {
    let path = config::find_path(sys)?;
    own_file::check_owner(&path)?;
    sys.socket().map_or(Ok(()), |socket| socket::check_owners(&socket))?;
    Ok(path)
}

/// Makes each change and reports it; with `dry_run` only says what it would do.
fn carry_out(plan: &[Change], dry_run: bool, sys: &dyn System, output: &mut Output<'_>) -> Result<(), Fault> {
    if plan.iter().all(Change::is_silent) {
        output.tell_line("nothing to change")?;
    }
    for change in plan {
        if !dry_run {
            change.make(sys, output)?;
        }
        if !change.is_silent() {
            let how = if dry_run { "would " } else { "" };
            output.tell_line(format!("{how}{change}"))?;
        }
    }
    Ok(())
}

/// The fault of a question that nobody can answer.
fn unanswered(what: &str, flag: &str) -> Fault {
    Fault::new(FaultKind::Usage, format!("{what} is not given"))
        .why("standard input is no terminal, so nobody can be asked")
        .remedy(format!("give {flag}; see rally-cred setup --help"))
}
