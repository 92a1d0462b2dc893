//! Which profile a request is for: by name, or by the server and user in the request. A token goes to its own server only.
//! Does not: know more of a profile than its user.
//! Used by: `broker`.

use std::collections::{BTreeMap, HashMap};

use rally_cred_proto::{Fault, FaultKind, Origin, message::Target, shell_word::shell_word};

use crate::{
    account::{Account, is_user},
    nearness,
    profile::{Config, Profile},
};

pub(super) type Accounts = BTreeMap<String, Account>;

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
        let is_default = |profile: &&Profile| profile.name == config.default_profile;
        let (first, others): (Vec<_>, Vec<_>) = config.profiles.values().partition(is_default);
        for profile in first.into_iter().chain(others) {
            by_origin.entry(profile.base_url.origin().clone()).or_default().push(profile.name.clone());
        }
        Self { default: config.default_profile.clone(), by_origin, config_file }
    }

    pub(super) fn default_name(&self) -> &str {
        &self.default
    }

    /// The profile of a request; `None` if its server has none. A profile that is named beside a server must be for that
    /// server, so that a default set in a shell gives no token away.
    pub(super) fn find(&self, accounts: &Accounts, target: &Target) -> Result<Option<String>, Fault> {
        let named = target.profile.as_deref().map(|name| self.named(accounts, Some(name))).transpose()?;
        let origin = match (&target.uri, &target.protocol, &target.host) {
            (Some(uri), _, _) => Origin::from_uri(uri),
            (None, None, None) => return named.map_or_else(|| self.named(accounts, None), Ok).map(Some),
            (None, protocol, host) => {
                Origin::from_git(protocol.as_deref().unwrap_or(""), host.as_deref().unwrap_or(""))
            }
        };
        let Some(origin) = origin else { return Ok(None) };
        let is_wanted = |name: &&String| named.as_ref().is_none_or(|named| named == *name);
        Ok(self.candidates(accounts, &origin, target.username.as_deref()).find(is_wanted).cloned())
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
