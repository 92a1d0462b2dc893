//! Finds, opens and reads `config.toml`, and names the file, line, key and remedy of whatever it cannot use.
//! Does not: guess, repair, search the working directory, or hold a secret.
//! Used by: start, and the reload on SIGHUP.

mod also;
mod gateway;
mod kv2;
mod source;

use std::{
    collections::BTreeMap,
    env,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rally_cred_proto::{
    Fault, FaultKind, Origin, ProfileName, duration, native,
    origin::DEFAULT_BASE_URL,
    shell_word::shell_word,
    variables::{self, CONFIG, SECRET_FILE, variable},
};

use crate::private_file::{self, Unusable};
use rally_cred_core::{
    profile::{
        BadUrl, BaseUrl, CommandLine, Config, FileKey, Gate, Keyring, LockSettings, Notify, Profile,
        RedirectUri, SecretSource, StaticHosts,
    },
    time::Ticks,
};
use source::{Source, Text};

/// The config file's path: `RALLY_CRED_CONFIG`, else `config.toml` in the user's config folder.
pub fn path() -> Result<PathBuf, Fault> {
    variables::config_file(variable(CONFIG))
}

/// Reads the config file; `None` if there is none, as before the first set-up. It must be an ordinary file of this user
/// or root that nobody else may write to, since it decides where the client secret is sent.
pub fn read(path: &Path) -> Result<Option<Config>, Fault> {
    let file = match private_file::open(path) {
        Ok(file) => file,
        Err(Unusable::NotOpened(err)) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(unusable) => return Err(refused(path, &unusable)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|err| refused(path, &err.into()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(broken(path, "is larger than 1 MiB").remedy("keep only rally-cred's keys in it"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => {
            let mut config = parse(text, path)?;
            if let Some(file) = variables::path(SECRET_FILE, variable(SECRET_FILE))? {
                config.use_client_secret_file(&file);
            }
            Ok(Some(config))
        }
        Err(why) => {
            let before = String::from_utf8_lossy(bytes.get(..why.valid_up_to()).unwrap_or_default());
            Err(Source { path, text: &before }
                .broken(before.len(), "this is not UTF-8")
                .remedy("save the file as UTF-8"))
        }
    }
}

/// A few profiles need a few hundred bytes. The limit is for a path that leads to something else.
const LARGEST: u64 = 1024 * 1024;

/// Parses a config file; `path` is for faults only.
pub fn parse(text: &str, path: &Path) -> Result<Config, Fault> {
    let source = Source { path, text };
    let table = source.parse()?;
    let mut config = Config { file_key: file_key_of_the_manager(), ..Config::default() };
    let (mut default_profile, mut keyring, mut shared, mut notify_command) = (None, None, None, None);
    let (mut profiles, mut further) = (Vec::new(), Vec::new());
    let (mut gateways, mut forward) = (Vec::new(), None);
    for entry in source.entries(table.get_ref()) {
        match entry.key {
            "default_profile" => default_profile = Some(source.text(&entry)?),
            "keyring" => keyring = Some(source.text(&entry)?),
            "keyring_key" => {
                config.file_key = FileKey::File(parse_file(&source, "keyring_key", source.text(&entry)?)?);
            }
            "kv2" => shared = Some(kv2::parse(&source, &entry)?),
            "notify" => config.notify = parse_notify(&source, source.text(&entry)?)?,
            "notify_command" => notify_command = Some(parse_command(&source, &entry)?),
            "profile" => {
                for profile in source.entries(source.table(&entry)?) {
                    profiles.push(parse_profile(&source, &profile, &mut further)?);
                }
            }
            "gateway" => gateways = source.entries(source.table(&entry)?),
            "forward" => {
                forward = Some(match only(&source, &entry, "profiles")? {
                    Some(profiles) => (profiles.at, source.texts(&profiles)?),
                    None => (entry.at, Vec::new()),
                });
            }
            "lock" => config.lock = parse_lock(&source, &entry)?,
            "static" => {
                if let Some(hosts) = only(&source, &entry, "hosts")? {
                    config.static_hosts = parse_static_hosts(&source, &hosts)?;
                }
            }
            _ => return Err(source.unknown(&entry, TOP_KEYS, PROFILE_KEYS, "[profile.NAME]")),
        }
    }
    config.keyring = match (keyring, shared) {
        (None, _) => Keyring::default(),
        (Some(Text { text: "kv2", .. }), Some(shared)) => Keyring::Kv2(Arc::new(shared)),
        (Some(text), _) => parse_keyring(&source, text, &config.file_key)?,
    };
    also::check(&source, &profiles, &further)?;
    let names: Vec<&str> = profiles.iter().map(|profile| &*profile.name).collect();
    config.default_profile = match (&default_profile, names.as_slice()) {
        // The file is for static credentials alone.
        (None, []) if config.static_hosts != StaticHosts::default() => String::new(),
        _ => choose_default(&source, default_profile, &names)?,
    };
    for profile in profiles {
        let is_default = *profile.name == *config.default_profile;
        config.profiles.insert(profile.name.to_string(), Profile { is_default, ..profile });
    }
    // A command replaces the desktop's notification; whoever writes `off` wants neither.
    if let (Notify::Desktop, Some(command)) = (&config.notify, notify_command) {
        config.notify = Notify::Command(command);
    }
    config.forward = forward.map(|(at, named)| parse_forward(&source, at, &named, &config)).transpose()?;
    for gateway in gateways {
        let settings = gateway::parse(&source, &gateway, &config)?;
        config.gateways.insert(gateway.key.to_owned(), settings);
    }
    Ok(config)
}

#[rustfmt::skip]
const TOP_KEYS: &[&str] = &[
    "default_profile", "keyring", "keyring_key", "kv2", "notify", "notify_command", "profile", "static", "gateway",
    "forward", "lock",
];
#[rustfmt::skip]
const PROFILE_KEYS: &[&str] = &[
    "base_url", "token_command", "client_id", "redirect_uri", "scope", "ca_file", "username", "client_secret_command",
    "also", "confirm", "allow",
];
const LOCK_KEYS: &[&str] = &["on", "idle"];

/// The one key that a table has, if it is there.
fn only<'t>(
    source: &Source<'t>,
    table: &source::Entry<'t>,
    key: &str,
) -> Result<Option<source::Entry<'t>>, Fault> {
    let mut entries = source.entries(source.table(table)?);
    match entries.iter().find(|entry| entry.key != key) {
        Some(other) => Err(source.unknown(other, &[key], TOP_KEYS, "the top of the file")),
        None => Ok(entries.pop()),
    }
}

/// The name of a systemd credential with the key of the encrypted files.
const CREDENTIAL: &str = "rally-cred.key";

/// What opens the encrypted files if the config file does not say: the credential that the service manager hands over, or
/// else a passphrase.
fn file_key_of_the_manager() -> FileKey {
    let credential = env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL));
    credential.filter(|file| file.is_file()).map_or(FileKey::Passphrase, FileKey::File)
}

fn parse_keyring(source: &Source<'_>, text: Text<'_>, key: &FileKey) -> Result<Keyring, Fault> {
    if text.text == "kv2" {
        return Err(source
            .broken(text.at, "`keyring` is \"kv2\", and [kv2] is missing")
            .remedy("add [kv2] with the server's `address` below"));
    }
    Keyring::parse(text.text, key).ok_or_else(|| {
        source.broken(text.at, "invalid value for `keyring`").remedy(
            "write \"auto\", \"os\", \"memory\", \"file\", \"keyutils\", \"kv2\", or \"helper:pass\" for docker-credential-pass",
        )
    })
}

fn parse_notify(source: &Source<'_>, text: Text<'_>) -> Result<Notify, Fault> {
    match text.text {
        "desktop" => Ok(Notify::Desktop),
        "off" => Ok(Notify::Off),
        _ => Err(source
            .broken(text.at, "invalid value for `notify`")
            .remedy("write \"desktop\" or \"off\"; a program of your own is a `notify_command`")),
    }
}

/// The same rules as for base URLs, since a password is as secret as a token. `*` lets git ask about any server.
fn parse_static_hosts(source: &Source<'_>, entry: &source::Entry<'_>) -> Result<StaticHosts, Fault> {
    let hosts = source.texts(entry)?;
    if let [Text { text: "*", .. }] = hosts.as_slice() {
        return Ok(StaticHosts::All);
    }
    let parse = |host: &Text<'_>| match BaseUrl::parse(host.text) {
        Ok(url) => Ok(url.origin().clone()),
        Err(why) => Err(source
            .broken(host.at, "`hosts` has a server that cannot be used")
            .why(if host.text == "*" { "`*` stands alone".to_owned() } else { why.to_string() })
            .remedy("hosts = [\"https://git.example.com\"], or [\"*\"] for every server")),
    };
    hosts.iter().map(parse).collect::<Result<_, _>>().map(StaticHosts::Listed)
}

/// The profiles that may be forwarded to another machine.
fn parse_forward(
    source: &Source<'_>,
    at: usize,
    named: &[Text<'_>],
    config: &Config,
) -> Result<Vec<String>, Fault> {
    if named.is_empty() {
        return Err(source
            .broken(at, "[forward] names no profile")
            .remedy(format!("name some of: {}; or take [forward] out", names_in(config))));
    }
    match named.iter().find(|name| !config.profiles.contains_key(name.text)) {
        None => Ok(named.iter().map(|name| name.text.to_owned()).collect()),
        Some(unknown) => Err(source
            .broken(unknown.at, "`profiles` names no profile of this file")
            .remedy(format!("name some of: {}", names_in(config)))),
    }
}

/// The profiles' names, for people.
fn names_in(config: &Config) -> String {
    config.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn parse_lock(source: &Source<'_>, entry: &source::Entry<'_>) -> Result<LockSettings, Fault> {
    let mut settings = LockSettings::default();
    for value in source.entries(source.table(entry)?) {
        match value.key {
            "on" => {
                for occasion in source.texts(&value)? {
                    match occasion.text {
                        "session" => settings.on_session = true,
                        "sleep" => settings.on_sleep = true,
                        _ => {
                            return Err(source
                                .broken(occasion.at, "`on` has something else than occasions to lock")
                                .remedy("on = [\"session\", \"sleep\"], or one of them"));
                        }
                    }
                }
            }
            "idle" => {
                settings.idle = Some(parse_span(source, &value, "30m")?).filter(|idle| *idle > Ticks(0))
            }
            _ => return Err(source.unknown(&value, LOCK_KEYS, TOP_KEYS, "the top of the file")),
        }
    }
    Ok(settings)
}

fn parse_span(source: &Source<'_>, entry: &source::Entry<'_>, example: &str) -> Result<Ticks, Fault> {
    let (text, key) = (source.text(entry)?, entry.key);
    let seconds = duration::parse(text.text).ok_or_else(|| {
        source
            .broken(text.at, &format!("`{key}` is no duration"))
            .remedy(format!("{key} = \"{example}\", with s, m or h behind a number"))
    })?;
    Ok(Ticks::seconds(u64::from(seconds)))
}

/// Reads a profile. The further servers that it names go to `further`, with the places where they stand.
fn parse_profile(
    source: &Source<'_>,
    entry: &source::Entry<'_>,
    further: &mut Vec<(Origin, usize)>,
) -> Result<Profile, Fault> {
    let name = ProfileName::parse(entry.key).ok_or_else(|| {
        source
            .broken(entry.at, "this profile name cannot be used")
            .remedy("name it with at most 64 letters, digits, `-`, `_` and `.`")
    })?;
    let mut found = BTreeMap::new();
    let (mut client_secret_source, mut token_command, mut also) = (None, None, Vec::new());
    let mut gate = Gate::default();
    // What a sign-in needs.
    let mut of_sign_in = None;
    for value in source.entries(source.table(entry)?) {
        let Some(key) = PROFILE_KEYS.iter().find(|key| **key == value.key) else {
            return Err(source.unknown(&value, PROFILE_KEYS, TOP_KEYS, "the top of the file"));
        };
        if let "client_id" | "redirect_uri" | "scope" | "client_secret_command" = *key {
            of_sign_in.get_or_insert((*key, value.at));
        }
        match *key {
            "token_command" => token_command = Some(parse_command(source, &value)?),
            "client_secret_command" => {
                client_secret_source = Some(SecretSource::Command(parse_command(source, &value)?));
            }
            "also" => {
                let found = also::parse(source, &value)?;
                further.extend(found.iter().map(|(also, at)| (also.origin.clone(), *at)));
                also.extend(found.into_iter().map(|(also, _)| also));
            }
            "confirm" => gate.confirms_new = parse_confirm(source, source.text(&value)?)?,
            "allow" => gate.allow = Some(parse_allow(source, &value)?),
            key => drop(found.insert(key, source.text(&value)?)),
        }
    }
    let bad_url = |key: &str, text: Text<'_>, why: BadUrl| {
        source.broken(text.at, &format!("`{key}` cannot be used")).why(why.to_string())
    };
    let base_url = found.get("base_url").copied().unwrap_or(Text { text: DEFAULT_BASE_URL, at: entry.at });
    let base_url = BaseUrl::parse(base_url.text).map_err(|why| {
        bad_url("base_url", base_url, why).remedy(format!("base_url = \"{DEFAULT_BASE_URL}\""))
    })?;
    let of_client = |key: &str, hint: &str| match (found.get(key), &token_command) {
        (Some(text), _) => Ok(*text),
        // Nobody signs in, so there is no client, and these are not used.
        (None, Some(_)) => Ok(Text { text: "http://localhost", at: entry.at }),
        (None, None) => Err(source
            .broken(entry.at, &format!("profile `{name}` has no `{key}`"))
            .remedy(format!("add {key} = \"…\", {hint}"))),
    };
    if let (Some(_), Some((key, at))) = (&token_command, of_sign_in) {
        return Err(source
            .broken(at, &format!("`{key}` is for a sign-in, and profile `{name}` has a `token_command`"))
            .remedy("take one of the two out"));
    }
    let client_id = of_client("client_id", "from your OAuth client in Rally")?;
    let redirect_uri = of_client("redirect_uri", "the callback URL of your OAuth client, letter by letter")?;
    let redirect_uri = RedirectUri::parse(redirect_uri.text).map_err(|why| {
        bad_url("redirect_uri", redirect_uri, why).remedy("copy the callback URL of your OAuth client")
    })?;
    let profile = Profile::new(name, base_url, client_id.text.to_owned(), redirect_uri);
    Ok(Profile {
        token_command,
        scope: found.get("scope").map_or(profile.scope, |scope| scope.text.to_owned()),
        ca_file: found.get("ca_file").map(|text| parse_file(source, "ca_file", *text)).transpose()?,
        username: found.get("username").map(|username| username.text.to_owned()),
        client_secret_source,
        also,
        gate,
        ..profile
    })
}

/// Whether the user is asked about programs that are new.
fn parse_confirm(source: &Source<'_>, text: Text<'_>) -> Result<bool, Fault> {
    knows_programs(source, text.at, "confirm")?;
    match text.text {
        "new" => Ok(true),
        "never" => Ok(false),
        _ => Err(source
            .broken(text.at, "invalid value for `confirm`")
            .remedy("write \"new\" to be asked about each program that is new, or \"never\"")),
    }
}

/// The only programs that are given tokens: by their whole paths, or gateways as `gateway NAME`.
fn parse_allow(source: &Source<'_>, entry: &source::Entry<'_>) -> Result<Vec<String>, Fault> {
    knows_programs(source, entry.at, "allow")?;
    let bad = |at| {
        source
            .broken(at, "`allow` has something else than whole paths of programs")
            .remedy("allow = [\"/usr/bin/git\"], with the paths that rally-cred status --audit shows")
    };
    let programs = source.texts(entry)?;
    if programs.is_empty() {
        return Err(bad(entry.at));
    }
    let parse = |program: &Text<'_>| match from_home(program.text).filter(|path| path.is_absolute()) {
        Some(path) => path.into_os_string().into_string().map_err(|_| bad(program.at)),
        None => match program.text.strip_prefix("gateway ") {
            Some(name) if ProfileName::parse(name).is_some() => Ok(program.text.to_owned()),
            _ => Err(bad(program.at)),
        },
    };
    programs.iter().map(parse).collect()
}

/// Only Linux tells for certain which program asks.
fn knows_programs(source: &Source<'_>, at: usize, key: &str) -> Result<(), Fault> {
    match cfg!(target_os = "linux") {
        true => Ok(()),
        false => Err(source
            .broken(at, &format!("`{key}` is known on Linux only"))
            .why("this system does not tell for certain which program asks")
            .remedy("take it out")),
    }
}

/// A program by its name or whole path, with its arguments. No shell reads them, so nothing needs quoting. A relative path
/// would mean another program in each working directory.
fn parse_command(source: &Source<'_>, entry: &source::Entry<'_>) -> Result<CommandLine, Fault> {
    let words = source.texts(entry)?;
    let program = words.first().and_then(|program| {
        from_home(program.text).filter(|path| path.is_absolute() || path.components().count() == 1)
    });
    let program = program.ok_or_else(|| {
        let key = entry.key;
        source
            .broken(entry.at, &format!("`{key}` names no program"))
            .remedy(format!("{key} = [\"program\", \"argument\"], by the program's name or whole path"))
    })?;
    let arguments = words.iter().skip(1).map(|word| word.text.to_owned()).collect();
    Ok(CommandLine { program, arguments })
}

/// A path that may begin with `~/`.
fn from_home(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(rest) => directories::BaseDirs::new().map(|folders| folders.home_dir().join(rest)),
        None => Some(PathBuf::from(text)),
    }
}

fn parse_file(source: &Source<'_>, key: &str, text: Text<'_>) -> Result<PathBuf, Fault> {
    from_home(text.text).filter(|path| path.is_absolute()).ok_or_else(|| {
        source
            .broken(text.at, &format!("`{key}` is not an absolute path"))
            .remedy("write the whole path, or begin it with ~/")
    })
}

fn choose_default(source: &Source<'_>, named: Option<Text<'_>>, names: &[&str]) -> Result<String, Fault> {
    let one_of = || format!("name one of: {}", names.join(", "));
    match (named, names) {
        (_, []) => {
            let what = format!("config file {} has no profile", source.path.display());
            Err(Fault::new(FaultKind::NotConfigured, what).run("rally-cred setup"))
        }
        (Some(named), _) if names.contains(&named.text) => Ok(named.text.to_owned()),
        (Some(named), _) => {
            Err(source.broken(named.at, "`default_profile` names no profile of this file").remedy(one_of()))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) if names.contains(&"default") => Ok("default".to_owned()),
        (None, _) => Err(source
            .broken(0, "`default_profile` is needed, since no profile is called `default`")
            .remedy(one_of())),
    }
}

fn broken(path: &Path, what: &str) -> Fault {
    Fault::new(FaultKind::ConfigBroken, format!("config file {} {what}", path.display()))
}

/// How to repair the file, unless a variable names it, which may lead to anything: then the variable is to change.
fn mend(file: &str) -> String {
    match variable(CONFIG).is_some() {
        true => format!("set {CONFIG} to a text file of your own that nobody else may write to"),
        false => file.to_owned(),
    }
}

fn refused(path: &Path, unusable: &Unusable) -> Fault {
    match unusable {
        Unusable::NotOpened(err) if err.kind() == ErrorKind::InvalidInput => {
            broken(path, "is not an ordinary file").remedy(mend("put a text file in its place"))
        }
        Unusable::NotOpened(err) => broken(path, "cannot be read")
            .why(err.to_string())
            .remedy("put a text file there that you may read"),
        Unusable::OfAnotherUser { .. } => broken(path, "is not safe")
            .why(unusable.to_string())
            .remedy(mend("put a file of your own in its place")),
        Unusable::WritableByOthers { .. } => {
            broken(path, "is not safe").why(unusable.to_string()).remedy(mend(&close_to_others(path)))
        }
    }
}

/// The command after which nobody else can write to a file.
fn close_to_others(path: &Path) -> String {
    let path = shell_word(&path.display().to_string());
    native!(format!("chmod go-w {path}"), windows: format!("icacls {path} /reset"))
}

#[cfg(test)]
mod tests;
