//! `[gateway.NAME]`: a gateway that is open at all times.
//! Does not: hold a key, which is made.
//! Used by: `config`, of which this is a part.

use rally_cred_core::profile::{Config, GatewaySettings};
use rally_cred_proto::{Fault, ProfileName, gateway::Way};

use super::{
    PROFILE_KEYS, names_in, parse_span,
    source::{Entry, Source, Text},
};

const KEYS: &[&str] = &["profile", "port", "mode", "paths", "wait"];

/// Reads a gateway beside the profiles, one of which it is for.
pub(super) fn parse(
    source: &Source<'_>,
    entry: &Entry<'_>,
    config: &Config,
) -> Result<GatewaySettings, Fault> {
    if ProfileName::parse(entry.key).is_none() {
        return Err(source
            .broken(entry.at, "this gateway name cannot be used")
            .remedy("name it with at most 64 letters, digits, `-`, `_` and `.`"));
    }
    let mut settings = GatewaySettings::new(config.default_profile.clone());
    for value in source.entries(source.table(entry)?) {
        match value.key {
            "profile" => {
                let named = source.text(&value)?;
                if !config.profiles.contains_key(named.text) {
                    return Err(source
                        .broken(named.at, "`profile` names no profile of this file")
                        .remedy(format!("name one of: {}", names_in(config))));
                }
                named.text.clone_into(&mut settings.profile);
            }
            "port" => settings.port = Some(parse_port(source, &value, config)?),
            "mode" => settings.via = parse_mode(source, source.text(&value)?)?,
            "paths" => settings.paths = parse_paths(source, &value)?,
            "wait" => settings.wait = parse_span(source, &value, "90s")?,
            _ => return Err(source.unknown(&value, KEYS, PROFILE_KEYS, "[profile.NAME]")),
        }
    }
    if !config.profiles.contains_key(&settings.profile) {
        return Err(source
            .broken(entry.at, &format!("gateway `{}` has no profile to be for", entry.key))
            .remedy("add a [profile.NAME], which rally-cred setup writes"));
    }
    Ok(settings)
}

/// A port that no other gateway has. Below 1024 the daemon may not listen on most systems, and the fault would come late.
fn parse_port(source: &Source<'_>, entry: &Entry<'_>, config: &Config) -> Result<u16, Fault> {
    let port =
        source.number(entry).and_then(|number| u16::try_from(number).ok()).filter(|port| *port >= 1024);
    let port = port.ok_or_else(|| {
        source
            .broken(entry.at, "`port` must be a number from 1024 to 65535")
            .remedy("port = 8479, or no `port`, to have one chosen once")
    })?;
    match config.gateways.iter().find(|(_, other)| other.port == Some(port)) {
        Some((name, _)) => Err(source
            .broken(entry.at, &format!("port {port} is that of gateway `{name}` already"))
            .remedy("give each gateway a port of its own, or none")),
        None => Ok(port),
    }
}

fn parse_mode(source: &Source<'_>, text: Text<'_>) -> Result<Option<Way>, Fault> {
    let way = Way::ALL.into_iter().find(|way| way.name() == text.text);
    match (way, text.text) {
        (Some(way), _) => Ok(Some(way)),
        (None, "any") => Ok(None),
        (None, _) => Err(source
            .broken(text.at, "invalid value for `mode`")
            .remedy("write \"any\", \"http\", \"https\" or \"connect\"")),
    }
}

/// Where a tool may go. Plain beginnings, since whatever a path could be read as in more than one way is refused anyway.
fn parse_paths(source: &Source<'_>, entry: &Entry<'_>) -> Result<Vec<String>, Fault> {
    let paths = source.texts(entry)?;
    let is_plain = |text: &str| {
        text.starts_with('/')
            && text.ends_with('/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte))
            && !text.contains("//")
            && !text.contains("/.")
    };
    if paths.is_empty() || !paths.iter().all(|path| is_plain(path.text)) {
        return Err(source
            .broken(entry.at, "`paths` has something else than beginnings of paths")
            .remedy("paths = [\"/slm/\"], each with a `/` at both ends"));
    }
    Ok(paths.iter().map(|path| path.text.to_owned()).collect())
}
