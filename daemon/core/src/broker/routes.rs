//! Which profile a request is for: by name, or by the server and user in the request. A token goes to its own server
//! only.
//! Does not: know more of a profile than its user.
//! Used by: `broker`.

use std::collections::{BTreeMap, HashMap};

use rally_cred_proto::{Fault, FaultKind, Origin, ProfileName, message::Target};

use crate::{
    account::{Account, is_user},
    profile::{Config, Profile},
};

pub(super) type Accounts = BTreeMap<String, Account>;

/// The profile of a request, and the server that it names.
pub(super) struct Route {
    pub(super) profile: String,
    pub(super) server: Option<Origin>,
}

#[derive(Debug)]
pub(super) struct Routes {
    default: String,
    /// The profiles of each server, by preference.
    by_origin: HashMap<Origin, Vec<String>>,
    /// The config file, for the fault about an unknown profile.
    config_file: String,
}

impl Routes {
    pub(super) fn new(config: &Config, config_file: String) -> Self {
        let mut by_origin: HashMap<_, Vec<_>> = HashMap::new();
        let is_default = |profile: &&Profile| *profile.name == *config.default_profile;
        let (first, others): (Vec<_>, Vec<_>) = config.profiles.values().partition(is_default);
        for profile in first.into_iter().chain(others) {
            let servers =
                [profile.base_url.origin()].into_iter().chain(profile.also.iter().map(|also| &also.origin));
            for server in servers {
                by_origin.entry(server.clone()).or_default().push(profile.name.to_string());
            }
        }
        Self { default: config.default_profile.clone(), by_origin, config_file }
    }

    pub(super) fn default_name(&self) -> &str {
        &self.default
    }

    /// The profile of a request; `None` if its server has none. A profile that is named beside a server must be for
    /// that server, so that a default set in a shell gives no token away. Of a server's profiles, only those are looked at
    /// that whoever asks may have.
    pub(super) fn find(
        &self,
        accounts: &Accounts,
        target: &Target,
        may_have: impl Fn(&str) -> bool,
    ) -> Result<Option<Route>, Fault> {
        let named = target.profile.as_deref().map(|name| self.named(accounts, Some(name))).transpose()?;
        let origin = match (&target.uri, &target.protocol, &target.host) {
            (Some(uri), _, _) => Origin::from_uri(uri),
            (None, None, None) => {
                let profile = named.map_or_else(|| self.named(accounts, None), Ok)?;
                return Ok(Some(Route { profile, server: None }));
            }
            (None, protocol, host) => {
                Origin::from_git(protocol.as_deref().unwrap_or(""), host.as_deref().unwrap_or(""))
            }
        };
        let Some(origin) = origin else { return Ok(None) };
        let is_wanted =
            |name: &&String| may_have(name.as_str()) && named.as_ref().is_none_or(|named| named == *name);
        let profile = self.candidates(accounts, &origin, target.username.as_deref()).find(is_wanted).cloned();
        Ok(profile.map(|profile| Route { profile, server: Some(origin) }))
    }

    /// The profiles of a server that may have this user's token, those known to have it first.
    pub(super) fn candidates(
        &self,
        accounts: &Accounts,
        origin: &Origin,
        username: Option<&str>,
    ) -> impl Iterator<Item = &String> {
        let names = self.by_origin.get(origin).map(Vec::as_slice).unwrap_or_default();
        let with = move |wanted: Option<bool>| {
            names.iter().filter(move |name| {
                let known = accounts.get(*name).map(Account::known_user);
                known.is_some_and(|known| is_user(username, known) == wanted)
            })
        };
        with(Some(true)).chain(with(None))
    }

    pub(super) fn named_or_all(&self, accounts: &Accounts, name: Option<&str>) -> Result<Vec<String>, Fault> {
        match name {
            None => Ok(accounts.keys().cloned().collect()),
            Some(_) => self.named(accounts, name).map(|name| vec![name]),
        }
    }

    pub(super) fn named(&self, accounts: &Accounts, name: Option<&str>) -> Result<String, Fault> {
        let wanted = name.unwrap_or(&self.default);
        match accounts.contains_key(wanted) {
            true => Ok(wanted.to_owned()),
            false if accounts.is_empty() => {
                Err(Fault::new(FaultKind::NotConfigured, "no profile is configured")
                    .why(format!("{} holds none", self.config_file))
                    .run("rally-cred setup"))
            }
            false => {
                let names = nearest_first(wanted, accounts.keys().map(String::as_str));
                Err(Fault::new(FaultKind::UnknownProfile, format!("there is no profile {wanted}"))
                    .why(format!("there are: {names}"))
                    .remedy(match ProfileName::parse(wanted) {
                        Some(name) => format!("name one of these, or make it: rally-cred setup {name}"),
                        None => "name one of these".to_owned(),
                    }))
            }
        }
    }
}

/// The fault for a client that goes on relying on a profile which the config file no longer has.
pub(super) fn profile_gone(name: &str) -> Fault {
    Fault::new(FaultKind::UnknownProfile, format!("there is no profile {name} any more"))
        .why("the config file was changed")
        .run("rally-cred status")
}

/// Most names that a message lists.
const LISTED: usize = 5;

/// The names as a list for people: the nearest to what was written first, and of many only the first few.
pub(super) fn nearest_first<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // What is long is no slip of a name, and would take long to compare.
    let written = written.get(..64).unwrap_or(written).to_ascii_lowercase();
    let mut names: Vec<_> = names
        .into_iter()
        .map(|name| (strsim::levenshtein(&written, &name.to_ascii_lowercase()), name))
        .collect();
    names.sort_unstable();
    let mut shown: Vec<_> = names.iter().take(LISTED).map(|(_, name)| (*name).to_owned()).collect();
    if names.len() > LISTED {
        shown.push(format!("{} more", names.len() - LISTED));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::nearest_first;

    #[test]
    fn the_nearest_name_comes_first_and_a_long_list_is_cut() {
        assert_eq!(nearest_first("wrok", ["default", "home", "work"]), "work, home, default");
        assert_eq!(nearest_first("WORK", ["home", "work"]), "work, home");
        let many: Vec<_> = (0..1000).map(|number| format!("p{number}")).collect();
        assert_eq!(
            nearest_first("p999", many.iter().map(String::as_str)),
            "p999, p199, p299, p399, p499, 995 more"
        );
    }
}
