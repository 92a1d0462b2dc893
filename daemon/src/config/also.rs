//! Reads `[[profile.NAME.also]]`: the servers beside Rally's own that a profile's token is for.
//! Does not: decide which profile is asked for the token of one that several name (the broker does).
//! Used by: `config`, of which this is a part.

use rally_cred_core::{
    also::{Also, TokenHeader},
    profile::{BaseUrl, Profile},
};
use rally_cred_proto::{Fault, Origin};

use super::{
    PROFILE_KEYS,
    source::{Entry, Source},
};

const KEYS: &[&str] = &["origin", "header"];

/// The servers, each with the place where it stands.
pub(super) fn parse(source: &Source<'_>, entry: &Entry<'_>) -> Result<Vec<(Also, usize)>, Fault> {
    let mut found: Vec<(Also, usize)> = Vec::new();
    for table in source.tables(entry)? {
        let (also, at) = parse_one(source, &table)?;
        if found.iter().any(|(known, _)| known.origin == also.origin) {
            return Err(source.broken(at, "duplicate server in `also`").remedy("remove one of them"));
        }
        found.push((also, at));
    }
    Ok(found)
}

fn parse_one(source: &Source<'_>, entry: &Entry<'_>) -> Result<(Also, usize), Fault> {
    let (mut origin, mut header) = (None, TokenHeader::RALLYS);
    for value in source.entries(source.table(entry)?) {
        match value.key {
            "origin" => {
                let text = source.text(&value)?;
                let url = BaseUrl::parse(text.text).map_err(|why| {
                    source
                        .broken(text.at, "`origin` cannot be used")
                        .why(why.to_string())
                        .remedy("origin = \"https://mcp.rallydev.com\"")
                })?;
                origin = Some((url.origin().clone(), text.at));
            }
            "header" => {
                let text = source.text(&value)?;
                header = TokenHeader::parse(text.text).map_err(|why| {
                    source
                        .broken(text.at, "`header` cannot be used")
                        .why(why.to_string())
                        .remedy("header = \"Authorization: Bearer\", or no such line for ZSESSIONID")
                })?;
            }
            _ => return Err(source.unknown(&value, KEYS, PROFILE_KEYS, "[profile.NAME]")),
        }
    }
    let (origin, at) = origin.ok_or_else(|| {
        source
            .broken(entry.at, "`also` has no `origin`")
            .remedy("add origin = \"…\", the server that the token is for as well")
    })?;
    Ok((Also { origin, header }, at))
}

/// None of them is a profile's Rally: a profile's own takes its token anyway, and another's is for that one's tokens.
pub(super) fn check(
    source: &Source<'_>,
    profiles: &[Profile],
    servers: &[(Origin, usize)],
) -> Result<(), Fault> {
    for (origin, at) in servers {
        if let Some(profile) = profiles.iter().find(|profile| profile.base_url.origin() == origin) {
            return Err(source
                .broken(*at, &format!("this `origin` is the `base_url` of profile `{}`", profile.name))
                .why("a profile's own server takes its tokens anyway, and no other's")
                .remedy("remove it from `also`"));
        }
    }
    Ok(())
}
