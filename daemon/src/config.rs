//! Finds, opens and reads `config.toml`, and names file, line, key and remedy of whatever it cannot use.
//! Does not: guess, repair, look into the working directory, or hold a secret.
//! Used by: start, and the reload on SIGHUP.

mod also;
mod source;

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use rally_cred_proto::{
    Fault, FaultKind, Origin,
    shell_word::shell_word,
    variables::{self, CONFIG, SECRET_FILE, variable},
};

use crate::private_file::{self, Unusable};
use rally_cred_core::profile::{
    BadUrl, BaseUrl, Config, Keyring, Notify, Profile, RedirectUri, SecretSource, StaticHosts,
};
use source::{Source, Text};

/// The config file's path: `RALLY_CRED_CONFIG`, else `config.toml` in the user's config folder.
pub fn path() -> Result<PathBuf, Fault> {
    variables::config_file(variable(CONFIG))
}

/// Reads the config file; `None` if there is none, which is normal before the first set-up.
///
/// The file must be an ordinary file of this user or of root that nobody else may write to, since it decides where the
/// client secret is sent.
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

/// A few profiles need a few hundred bytes. The bound is for a path that leads to something else.
const LARGEST: u64 = 1024 * 1024;

/// Reads the text of a config file; `path` is for the faults only.
pub fn parse(text: &str, path: &Path) -> Result<Config, Fault> {
    let source = Source { path, text };
    let table = source.parse()?;
    let (mut default_profile, mut keyring, mut profiles) = (None, Keyring::default(), Vec::new());
    let (mut static_hosts, mut further) = (StaticHosts::default(), Vec::new());
    let (mut notify, mut notify_command) = (Notify::default(), None);
    for entry in source.entries(table.get_ref()) {
        match entry.key {
            "default_profile" => default_profile = Some(source.text(&entry)?),
            "keyring" => keyring = parse_keyring(&source, source.text(&entry)?)?,
            "notify" => notify = parse_notify(&source, source.text(&entry)?)?,
            "notify_command" => notify_command = Some(parse_command(&source, &entry)?),
            "profile" => {
                for profile in source.entries(source.table(&entry)?) {
                    profiles.push(parse_profile(&source, &profile, &mut further)?);
                }
            }
            "static" => {
                for value in source.entries(source.table(&entry)?) {
                    match value.key {
                        "hosts" => static_hosts = parse_static_hosts(&source, &value)?,
                        _ => {
                            return Err(source.unknown(&value, STATIC_KEYS, TOP_KEYS, "the top of the file"));
                        }
                    }
                }
            }
            _ => return Err(source.unknown(&entry, TOP_KEYS, PROFILE_KEYS, "[profile.NAME]")),
        }
    }
    also::check(&source, &profiles, &further)?;
    let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
    let default_profile = match (&default_profile, names.as_slice()) {
        // A file for static credentials alone.
        (None, []) if static_hosts != StaticHosts::default() => String::new(),
        _ => choose_default(&source, default_profile, &names)?,
    };
    let profiles = profiles.into_iter().map(|profile| (profile.name.clone(), profile)).collect();
    // A command takes the desktop's place; who writes `off` wants neither.
    let notify = match (notify, notify_command) {
        (Notify::Desktop, Some((program, arguments))) => Notify::Command { program, arguments },
        (notify, _) => notify,
    };
    Ok(Config { default_profile, keyring, profiles, static_hosts, notify })
}

const TOP_KEYS: &[&str] = &["default_profile", "keyring", "notify", "notify_command", "profile", "static"];
const PROFILE_KEYS: &[&str] = &[
    "base_url",
    "client_id",
    "redirect_uri",
    "scope",
    "ca_file",
    "username",
    "client_secret_command",
    "also",
];
const STATIC_KEYS: &[&str] = &["hosts"];

/// Rally's address for all but EU tenants.
const DEFAULT_BASE_URL: &str = "https://rally1.rallydev.com";

/// The only scope in Rally's documentation.
const DEFAULT_SCOPE: &str = "alm";

fn parse_keyring(source: &Source<'_>, text: Text<'_>) -> Result<Keyring, Fault> {
    [Keyring::Auto, Keyring::Os, Keyring::Memory]
        .into_iter()
        .find(|keyring| keyring.name() == text.text)
        .ok_or_else(|| {
            source
                .broken(text.at, "invalid value for `keyring`")
                .remedy("write \"auto\", \"os\" or \"memory\"")
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

/// Like base URLs, since a password is no less a secret than a token. Who writes `*` has git ask for whatever it meets.
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

/// Reads a profile. The further servers that it names go to `further`, with the places where they stand.
fn parse_profile(
    source: &Source<'_>,
    entry: &source::Entry<'_>,
    further: &mut Vec<(Origin, usize)>,
) -> Result<Profile, Fault> {
    let name = entry.key;
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if name.is_empty() || name.len() > LONGEST_NAME || !is_plain {
        return Err(source
            .broken(entry.at, "this profile name cannot be used")
            .remedy("name it with at most 64 letters, digits, `-`, `_` and `.`"));
    }
    let mut found = std::collections::BTreeMap::new();
    let (mut client_secret_source, mut also) = (None, Vec::new());
    for value in source.entries(source.table(entry)?) {
        let Some(key) = PROFILE_KEYS.iter().find(|key| **key == value.key) else {
            return Err(source.unknown(&value, PROFILE_KEYS, TOP_KEYS, "the top of the file"));
        };
        match *key {
            "client_secret_command" => {
                let (program, arguments) = parse_command(source, &value)?;
                client_secret_source = Some(SecretSource::Command { program, arguments });
            }
            "also" => {
                let found = also::parse(source, &value)?;
                further.extend(found.iter().map(|(also, at)| (also.origin.clone(), *at)));
                also.extend(found.into_iter().map(|(also, _)| also));
            }
            key => drop(found.insert(key, source.text(&value)?)),
        }
    }
    let missing = |key: &str, hint: &str| {
        source
            .broken(entry.at, &format!("profile `{name}` has no `{key}`"))
            .remedy(format!("add {key} = \"…\", {hint}"))
    };
    let bad_url = |key: &str, text: Text<'_>, why: BadUrl| {
        source.broken(text.at, &format!("`{key}` cannot be used")).why(why.to_string())
    };
    let client_id =
        *found.get("client_id").ok_or_else(|| missing("client_id", "from your OAuth client in Rally"))?;
    let redirect_uri = *found
        .get("redirect_uri")
        .ok_or_else(|| missing("redirect_uri", "the callback URL of your OAuth client, letter by letter"))?;
    let base_url = found.get("base_url").copied().unwrap_or(Text { text: DEFAULT_BASE_URL, at: entry.at });
    Ok(Profile {
        name: name.to_owned(),
        base_url: BaseUrl::parse(base_url.text).map_err(|why| {
            bad_url("base_url", base_url, why).remedy(format!("base_url = \"{DEFAULT_BASE_URL}\""))
        })?,
        client_id: client_id.text.to_owned(),
        redirect_uri: RedirectUri::parse(redirect_uri.text).map_err(|why| {
            bad_url("redirect_uri", redirect_uri, why).remedy("copy the callback URL of your OAuth client")
        })?,
        scope: found.get("scope").map_or(DEFAULT_SCOPE, |scope| scope.text).to_owned(),
        ca_file: found.get("ca_file").map(|text| parse_ca_file(source, *text)).transpose()?,
        username: found.get("username").map(|username| username.text.to_owned()),
        client_secret_source,
        also,
    })
}

/// A profile's name is part of an account name in the keyring, and some keyrings allow little room there.
const LONGEST_NAME: usize = 64;

/// A program by its name or its whole path, with its arguments. No shell reads them, so nothing needs quoting. A relative
/// path would mean another program in every working directory.
fn parse_command(source: &Source<'_>, entry: &source::Entry<'_>) -> Result<(PathBuf, Vec<String>), Fault> {
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
    Ok((program, words.iter().skip(1).map(|word| word.text.to_owned()).collect()))
}

/// A path that may begin with `~/`.
fn from_home(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(rest) => directories::BaseDirs::new().map(|folders| folders.home_dir().join(rest)),
        None => Some(PathBuf::from(text)),
    }
}

fn parse_ca_file(source: &Source<'_>, text: Text<'_>) -> Result<PathBuf, Fault> {
    from_home(text.text).filter(|path| path.is_absolute()).ok_or_else(|| {
        source
            .broken(text.at, "`ca_file` is not an absolute path")
            .remedy("write the whole path, or begin it with ~/")
    })
}

fn choose_default(source: &Source<'_>, named: Option<Text<'_>>, names: &[&str]) -> Result<String, Fault> {
    let one_of = || format!("name one of: {}", names.join(", "));
    match (named, names) {
        (_, []) => Err(Fault::new(
            FaultKind::NotConfigured,
            format!("config file {} has no profile", source.path.display()),
        )
        .remedy("rally-cred setup")),
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

/// What mends the file, unless a variable names it, which may lead to anything: then the variable is to change.
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
        Unusable::WritableByOthers { .. } => broken(path, "is not safe")
            .why(unusable.to_string())
            .remedy(mend(&format!("chmod go-w {}", shell_word(&path.display().to_string())))),
    }
}

#[cfg(test)]
mod tests;
