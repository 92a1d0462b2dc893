//! Which profile a request is for: by its name, or by the server and the user that the request names. A token goes to its
//! own server only.
//! Does not: know what a profile holds, but for its user.
//! Used by: `broker`.

use std::collections::{BTreeMap, HashMap};

use rally_cred_proto::{Fault, FaultKind, Origin, message::Target, shell_word::shell_word};

use crate::{
    account::{Account, is_user},
    nearness,
    profile::{Config, Profile},
};

/// The accounts by the name of their profile.
pub(super) type Accounts = BTreeMap<String, Account>;

/// The profile that a request is about, and the server that it names.
pub(super) struct Route {
    pub(super) profile: String,
    pub(super) server: Option<Origin>,
}

/// The ways to a profile.
#[derive(Debug)]
pub(super) struct Routes {
    default: String,
    /// The profiles of each server, in the order in which they are preferred.
    by_origin: HashMap<Origin, Vec<String>>,
    /// The config file, for those who name a profile that it has not.
    config_file: String,
}

impl Routes {
    pub(super) fn new(config: &Config, config_file: String) -> Self {
        let mut by_origin: HashMap<_, Vec<_>> = HashMap::new();
        let is_default = |profile: &&Profile| profile.name == config.default_profile;
        let (first, others): (Vec<_>, Vec<_>) = config.profiles.values().partition(is_default);
        for profile in first.into_iter().chain(others) {
            let servers =
                [profile.base_url.origin()].into_iter().chain(profile.also.iter().map(|also| &also.origin));
            for server in servers {
                by_origin.entry(server.clone()).or_default().push(profile.name.clone());
            }
        }
        Self { default: config.default_profile.clone(), by_origin, config_file }
    }

    /// The name of the profile that is meant where none is named.
    pub(super) fn default_name(&self) -> &str {
        &self.default
    }

    /// The profile that a request is about; `None` if no profile is for the server that it names. A profile named beside
    /// a server must be for that server, so that a default set in a shell gives no token away.
    pub(super) fn find(&self, accounts: &Accounts, target: &Target) -> Result<Option<Route>, Fault> {
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
        let is_wanted = |name: &&String| named.as_ref().is_none_or(|named| named == *name);
        let profile = self.candidates(accounts, &origin, target.username.as_deref()).find(is_wanted).cloned();
        Ok(profile.map(|profile| Route { profile, server: Some(origin) }))
    }

    /// The profiles of a server that may have this user's token: first those that are known to.
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

    /// The profile of this name, or all.
    pub(super) fn named_or_all(&self, accounts: &Accounts, name: Option<&str>) -> Result<Vec<String>, Fault> {
        match name {
            None => Ok(accounts.keys().cloned().collect()),
            Some(_) => self.named(accounts, name).map(|name| vec![name]),
        }
    }

    /// The profile of this name, or the default one.
    pub(super) fn named(&self, accounts: &Accounts, name: Option<&str>) -> Result<String, Fault> {
        let wanted = name.unwrap_or(&self.default);
        match accounts.contains_key(wanted) {
            true => Ok(wanted.to_owned()),
            false if accounts.is_empty() => {
                Err(Fault::new(FaultKind::NotConfigured, "no profile is configured")
                    .why(format!("{} holds none", self.config_file))
                    .remedy("rally-cred setup"))
            }
            false => {
                let names = nearness::list(wanted, accounts.keys().map(String::as_str));
                Err(Fault::new(FaultKind::UnknownProfile, format!("there is no profile {wanted}"))
                    .why(format!("there are: {names}"))
                    .remedy(format!(
                        "name one of these, or make it: rally-cred setup {}",
                        shell_word(wanted)
                    )))
            }
        }
    }
}
