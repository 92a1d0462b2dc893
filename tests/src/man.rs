//! The manual pages, from what is documented elsewhere: the programs' own help, docs/reference.md, a section of
//! docs/setup.md, and PROTOCOL.md.
//! Does not: say anything of its own, but for the lines that every manual page has.
//! Used by: `cargo man`, which writes them, and the test that holds them to their sources.

mod roff;

use std::{fs, path::Path};

use clap::{Arg, Command};

/// The date on the pages, changed by hand when they say something new: that of the day would differ in every run.
const DATE: &str = "2026-11-27";

/// A config file with every key, for its page; the tests have the daemon read it.
pub const CONFIG_EXAMPLE: &str = r#"default_profile = "work"
keyring = "auto"
keyring_key = "/run/keys/rally-cred"
notify = "desktop"
notify_command = ["logger", "-t", "rally-cred", "sign-in needed"]

[profile.work]
client_id = "the client ID"
redirect_uri = "http://localhost:8477/callback"

[profile.europe]
base_url = "https://eu1.rallydev.com"
client_id = "another client ID"
redirect_uri = "http://localhost:8478/callback"
scope = "alm"
ca_file = "~/.config/rally-cred/ca.pem"
username = "me@example.com"
client_secret_command = ["pass", "show", "rally/client-secret"]
confirm = "new"
allow = ["/usr/bin/git", "gateway mcp"]

[profile.ci]
token_command = ["give-rally-token", "--for", "ci"]

[[profile.europe.also]]
origin = "https://mcp-eu.rallydev.com"
header = "Authorization: Bearer"

[static]
hosts = ["https://git.example.com"]

[lock]
on = ["session", "sleep"]
idle = "30m"

[gateway.mcp]
profile = "work"
port = 8479
mode = "http"
paths = ["/slm/"]
wait = "2m"

[forward]
profiles = ["work"]
"#;

/// Every page, by its file name in `man/`. Fails if a source cannot be read or lacks a section that is needed.
pub fn pages() -> Result<Vec<(&'static str, String)>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).map_err(|err| format!("{name}: {err}"));
    let reference = Document(read("docs/reference.md")?);
    let setup = Document(read("docs/setup.md")?);
    let protocol = read("proto/PROTOCOL.md")?;

    let client = rally_cred_commands::command_line();
    let client = [
        name("rally-cred", &client),
        "## Synopsis\n\n`rally-cred` *COMMAND* [*OPTIONS*]\n\n`git credential-rally` *OPERATION*".to_owned(),
        format!("## Description\n\n{}", reference.first_paragraph()?),
        format!("## Commands\n\n{}", commands(client)),
        format!("## Exit status\n\n{}", reference.section("## Exit codes")?),
        format!("## Files and variables\n\n{}", reference.section("## Files and variables")?),
        format!("## Proxies\n\n{}", reference.section("## Proxies")?),
        see_also("rally-cred.toml(5), rally-cred-protocol(7), rally-credd(8), gitcredentials(7), curl(1)"),
    ];
    let mut daemon = rally_credd::command_line::command();
    daemon.build();
    let daemon = [
        name("rally-credd", &daemon),
        format!("## Synopsis\n\n{}", usage(&mut daemon)),
        format!("## Description\n\n{}", help(&daemon)),
        format!("## Options\n\n{}", options(&daemon)),
        format!("## Files and variables\n\n{}", reference.section("## Files and variables")?),
        format!("## Proxies\n\n{}", reference.section("## Proxies")?),
        format!("## systemd\n\n{}", setup.section("## systemd")?),
        see_also("rally-cred(1), rally-cred.toml(5), rally-cred-protocol(7), systemd.service(5)"),
    ];
    let config = [
        "## Name\n\nrally-cred.toml - the config file of rally-cred".to_owned(),
        format!("## Description\n\n{}", reference.section("## Config file")?),
        format!("## Example\n\n```\n{CONFIG_EXAMPLE}```"),
        format!("## Files\n\n{}", reference.section("## Files and variables")?),
        see_also("rally-cred(1), rally-credd(8)"),
    ];
    let protocol = [
        "## Name\n\nrally-cred-protocol - the socket protocol of rally-credd".to_owned(),
        format!("## Description\n\n{protocol}"),
        see_also("rally-cred(1), rally-credd(8)"),
    ];
    let release = concat!("rally-cred ", env!("CARGO_PKG_VERSION"));
    Ok([
        ("rally-cred.1", "rally-cred", 1, client.join("\n\n")),
        ("rally-credd.8", "rally-credd", 8, daemon.join("\n\n")),
        ("rally-cred.toml.5", "rally-cred.toml", 5, config.join("\n\n")),
        ("rally-cred-protocol.7", "rally-cred-protocol", 7, protocol.join("\n\n")),
    ]
    .map(|(file, title, section, text)| (file, roff::page(title, section, DATE, release, &text)))
    .into())
}

/// Every command of the client, as it is typed, and its options.
pub fn commands_and_options() -> Vec<(String, Vec<String>)> {
    fn collect(command: &Command, found: &mut Vec<(String, Vec<String>)>) {
        if command.has_subcommands() {
            let below = command.get_subcommands().filter(|command| command.get_name() != "help");
            below.for_each(|command| collect(command, found));
        }
        if command.has_subcommands() && !is_run(command) {
            return;
        }
        let options = command.get_arguments().filter(is_shown).filter_map(Arg::get_long);
        let options = options.map(|name| format!("--{name}")).collect();
        found.push((command.get_bin_name().unwrap_or_default().to_owned(), options));
    }
    let mut tree = rally_cred_commands::command_line();
    tree.build();
    let mut found = Vec::new();
    collect(&tree, &mut found);
    found
}

/// What an option of a command may be.
pub fn choices(command: &str, option: &str) -> Vec<String> {
    let tree = rally_cred_commands::command_line();
    let option = tree
        .find_subcommand(command)
        .and_then(|command| command.get_arguments().find(|arg| arg.get_long() == Some(option)));
    let values = option.map(Arg::get_possible_values).unwrap_or_default();
    values.iter().map(|value| value.get_name().to_owned()).collect()
}

/// A file in Markdown, of which pages take parts.
struct Document(String);

impl Document {
    /// The text below a heading, up to the next of its level or above.
    fn section(&self, heading: &str) -> Result<&str, String> {
        let (_, text) =
            self.0.split_once(&format!("\n{heading}\n")).ok_or(format!("no section {heading}"))?;
        Ok(text
            .find("\n## ")
            .into_iter()
            .chain(text.find("\n### "))
            .min()
            .map_or(text, |end| text.get(..end).unwrap_or(text)))
    }

    /// What stands below the title.
    fn first_paragraph(&self) -> Result<&str, String> {
        self.0.split("\n\n").nth(1).ok_or("no first paragraph".to_owned())
    }
}

fn name(program: &str, command: &Command) -> String {
    format!(
        "## Name\n\n{program} - {}",
        plain(&command.get_about().map(ToString::to_string).unwrap_or_default())
    )
}

fn see_also(pages: &str) -> String {
    format!("## See also\n\n{pages}")
}

/// Every command that has no commands below it, one after the other.
fn commands(mut tree: Command) -> String {
    tree.build();
    let get = tree.find_subcommand("get").map(options).unwrap_or_default();
    let mut text = String::new();
    describe(&mut tree, &get, &mut text);
    text
}

/// git passes the flags of `get` to each of its operations, and each takes them; they are told once.
fn describe(command: &mut Command, flags_of_get: &str, text: &mut String) {
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() && !is_run(command) {
            describe(command, flags_of_get, text);
            continue;
        }
        let title = command.get_bin_name().unwrap_or_default().to_owned();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut options = options(command);
        if options == flags_of_get && command.get_name() != "get" {
            options = "The options are those of `get`.".to_owned();
        }
        let parts = [format!("### `{title}`"), plain(&about), usage(command), options, help(command)];
        parts.iter().filter(|part| !part.is_empty()).for_each(|part| *text += &format!("{part}\n\n"));
        describe(command, flags_of_get, text);
    }
}

/// Whether a command with commands below it does something by itself too.
fn is_run(command: &Command) -> bool {
    command.get_positionals().next().is_some()
}

fn usage(command: &mut Command) -> String {
    format!("```\n{}\n```", command.render_usage().to_string().trim_start_matches("Usage: "))
}

/// The options and arguments as a list of definitions.
fn options(command: &Command) -> String {
    let shown: Vec<_> = command.get_arguments().filter(is_shown).map(definition).collect();
    shown.join("\n\n")
}

/// Whether it is told: every command has help.
fn is_shown(arg: &&Arg) -> bool {
    !matches!(arg.get_id().as_str(), "help" | "version")
}

fn definition(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(|value| format!("*{}*", plain(value)));
    let value = value.filter(|_| arg.get_action().takes_values());
    let term =
        [arg.get_long().map(|name| format!("`--{name}`")), value].into_iter().flatten().collect::<Vec<_>>();
    let mut meaning = plain(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !choices.is_empty() && arg.get_action().takes_values() && !arg.is_hide_possible_values_set() {
        meaning = format!("{meaning} ({})", choices.join(", "));
    }
    format!("{}\n:   {}", term.join(" "), meaning.trim())
}

/// The text below the options. What is indented stays as it is.
fn help(command: &Command) -> String {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut markdown = String::new();
    let mut in_block = false;
    for line in text.lines() {
        let is_indented = line.starts_with("  ");
        if is_indented != in_block {
            markdown.push_str(if is_indented { "\n```\n" } else { "```\n" });
            in_block = is_indented;
        }
        match line.strip_prefix("  ") {
            Some(line) => markdown.push_str(line),
            None => markdown.push_str(&plain(line)),
        }
        markdown.push('\n');
    }
    if in_block {
        markdown.push_str("```\n");
    }
    markdown
}

/// Text that Markdown shows as it is.
fn plain(text: &str) -> String {
    let escape = |c: char| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escape).collect()
}
