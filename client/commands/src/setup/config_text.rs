//! The config file as text whose profiles are edited; comments, order and everything else stay as they are.
//! Does not: judge values. The daemon's program does, before the text is put in its place.
//! Used by: `setup`.

use std::{fmt, io, path::Path};

use rally_cred_proto::{Fault, FaultKind, Origin, origin::DEFAULT_BASE_URL, own_file};
use toml_edit::{DocumentMut, Item, RawString, Table, TableLike, Value, value};

/// A config file that is being edited.
pub(super) struct ConfigText {
    document: DocumentMut,
    before: String,
    /// Whether lines end as on Windows; in the document they do not.
    has_crlf: bool,
}

impl ConfigText {
    /// Reads the file; without one, there is nothing in it.
    pub(super) fn load(path: &Path) -> Result<Self, Fault> {
        let broken = |why: String| {
            Fault::new(FaultKind::ConfigBroken, format!("config file {} cannot be edited", path.display()))
                .why(why)
                .run("rally-cred config check")
        };
        let text = match own_file::open_to_read(path).and_then(io::read_to_string) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
            Err(err) => return Err(broken(err.to_string())),
        };
        // What the parser says may quote the file, and the daemon's program says it better.
        Self::parse(&text).ok_or_else(|| broken("it is not TOML".to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let document: DocumentMut = text.parse().ok()?;
        let mut config = Self { document, before: String::new(), has_crlf: text.contains("\r\n") };
        config.before = config.to_string();
        Some(config)
    }

    /// A text with one profile and nothing else.
    pub(super) fn of_one(name: &str, base_url: &str, client_id: &str, redirect_uri: &str) -> Self {
        let mut config = Self { document: DocumentMut::new(), before: String::new(), has_crlf: false };
        config.set_profile(name, base_url, Some((client_id, redirect_uri)));
        config
    }

    /// The same text without a profile; `None` if a daemon could then serve nothing, so that there is nothing to judge.
    pub(super) fn without_profile(&self, name: &str) -> Option<Self> {
        let mut rest = Self { document: self.document.clone(), before: String::new(), has_crlf: false };
        rest.remove_profile(name);
        (!rest.is_unused()).then_some(rest)
    }

    /// Whether the text is another than in the file.
    pub(super) fn has_changed(&self) -> bool {
        self.to_string() != self.before
    }

    pub(super) fn has_profile(&self, name: &str) -> bool {
        self.profiles().is_some_and(|profiles| profiles.contains_key(name))
    }

    /// The profile that is served when none is named, as the daemon would choose it.
    pub(super) fn default_profile(&self) -> Option<String> {
        let named = self.document.get("default_profile").and_then(Item::as_str);
        let names = self.names();
        let only = match names.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        named.or(only).map(str::to_owned)
    }

    pub(super) fn value(&self, profile: &str, key: &str) -> Option<String> {
        self.item(profile, key)?.as_str().map(str::to_owned)
    }

    /// Whether a program gives the profile's tokens, so that there is no OAuth client.
    pub(super) fn has_program(&self, profile: &str) -> bool {
        self.item(profile, "token_command").is_some()
    }

    fn item(&self, profile: &str, key: &str) -> Option<&Item> {
        self.profiles()?.get(profile)?.as_table_like()?.get(key)
    }

    /// The ports that it gives to gateways.
    pub(super) fn gateway_ports(&self) -> Vec<u16> {
        let gateways = self.document.get("gateway").and_then(Item::as_table_like);
        let ports = gateways.into_iter().flat_map(TableLike::iter).filter_map(|(_, gateway)| {
            u16::try_from(gateway.as_table_like()?.get("port")?.as_integer()?).ok()
        });
        ports.collect()
    }

    /// Whether a profile is for this server.
    pub(super) fn serves(&self, base_url: &str) -> bool {
        self.names().iter().any(|name| {
            let own = self.value(name, "base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
            Origin::from_uri(&own) == Origin::from_uri(base_url)
        })
    }

    /// Whether it holds nothing that a daemon could serve.
    pub(super) fn is_unused(&self) -> bool {
        self.names().is_empty() && !self.document.contains_key("static")
    }

    /// Sets where tokens are kept.
    pub(super) fn set_keyring(&mut self, keyring: &str) {
        put(self.document.as_table_mut(), "keyring", keyring);
    }

    /// Sets the values of a profile; `client`: ID and callback URL of its OAuth client, if it has one. Equal values are
    /// kept to the letter.
    pub(super) fn set_profile(&mut self, name: &str, base_url: &str, client: Option<(&str, &str)>) {
        let old_default = self.default_profile();
        let is_new = !self.has_profile(name);
        let profiles = self.document.entry("profile").or_insert_with(|| {
            let mut profiles = Table::new();
            profiles.set_implicit(true);
            Item::Table(profiles)
        });
        let Some(profiles) = profiles.as_table_like_mut() else { return };
        let profile = profiles.entry(name).or_insert_with(|| Item::Table(Table::new()));
        let Some(profile) = profile.as_table_like_mut() else { return };
        // One that names the same server stays as it is written.
        let known = profile.get("base_url").and_then(Item::as_str).unwrap_or(DEFAULT_BASE_URL);
        if Origin::from_uri(known).is_none() || Origin::from_uri(known) != Origin::from_uri(base_url) {
            put(profile, "base_url", base_url);
        }
        if let Some((client_id, redirect_uri)) = client {
            put(profile, "client_id", client_id);
            put(profile, "redirect_uri", redirect_uri);
        }
        // What was the default by being the only one stays the default.
        if is_new
            && name != "default"
            && !self.document.contains_key("default_profile")
            && let Some(old) = old_default.filter(|old| old != "default")
        {
            self.document.insert("default_profile", value(old));
        }
    }

    /// Takes a profile out, and its name as the default one.
    pub(super) fn remove_profile(&mut self, name: &str) {
        if let Some(profiles) = self.document.get_mut("profile").and_then(Item::as_table_like_mut) {
            let removed = profiles.remove(name);
            if let Some(removed) = removed.as_ref().and_then(Item::as_table) {
                self.keep_heading(removed);
            }
        }
        let names = self.names();
        if names.is_empty() {
            self.document.remove("profile");
        }
        if self.document.get("default_profile").and_then(Item::as_str) == Some(name) {
            self.document.remove("default_profile");
            match names.as_slice() {
                [] | [_] => {}
                [first, ..] => {
                    let next = names.iter().find(|name| *name == "default").unwrap_or(first);
                    self.document.insert("default_profile", value(next));
                }
            }
        }
    }

    /// Leaves the comments in the file that an empty line parts from the removed table: they are about more than it.
    fn keep_heading(&mut self, removed: &Table) {
        let before = removed.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
        let Some((heading, _)) = before.rsplit_once("\n\n") else { return };
        let heading = format!("{heading}\n\n");
        let mut next = None;
        visit_tables(self.document.as_table_mut(), &mut |table| {
            next = [next, table.position()]
                .into_iter()
                .flatten()
                .filter(|at| Some(*at) > removed.position())
                .min();
        });
        if next.is_none() {
            let both = heading.clone() + self.document.trailing().as_str().unwrap_or_default();
            self.document.set_trailing(both);
        }
        visit_tables(self.document.as_table_mut(), &mut |table| {
            if next.is_some() && table.position() == next {
                let own = table.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
                let both = heading.clone() + own.trim_start_matches('\n');
                table.decor_mut().set_prefix(both);
            }
        });
    }

    fn profiles(&self) -> Option<&dyn TableLike> {
        self.document.get("profile")?.as_table_like()
    }

    fn names(&self) -> Vec<String> {
        self.profiles()
            .map_or_else(Vec::new, |profiles| profiles.iter().map(|(name, _)| name.to_owned()).collect())
    }
}

impl fmt::Display for ConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.document.to_string();
        f.write_str(&if self.has_crlf { text.replace('\n', "\r\n") } else { text })
    }
}

/// Goes through the tables below one.
fn visit_tables(table: &mut Table, visit: &mut dyn FnMut(&mut Table)) {
    for (_, item) in table.iter_mut() {
        if let Item::Table(table) = item {
            visit(table);
            visit_tables(table, visit);
        }
    }
}

/// Puts a text under a key; what stands around an old one on its line stays.
fn put(table: &mut dyn TableLike, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) if old.as_str() == Some(text) => {}
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(text);
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, value(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ConfigText {
        ConfigText::parse(text).unwrap()
    }

    fn set(text: &str, name: &str) -> String {
        let mut config = of(text);
        config.set_profile(name, DEFAULT_BASE_URL, Some(("id", "http://localhost:8477/callback")));
        config.to_string()
    }

    const NEW: &str =
        "[profile.default]\nclient_id = \"id\"\nredirect_uri = \"http://localhost:8477/callback\"\n";

    #[test]
    fn an_empty_file_gets_a_profile_and_loses_it_again_without_a_trace() {
        let made = set("", "default");
        assert_eq!(made, NEW);
        assert_eq!(set(&made, "default"), made, "the same again is no change");
        let mut config = of(&made);
        assert_eq!((config.default_profile().as_deref(), config.is_unused()), (Some("default"), false));
        config.remove_profile("default");
        assert_eq!((config.to_string().as_str(), config.is_unused()), ("", true));
    }

    #[test]
    fn comments_other_profiles_and_other_keys_stay_to_the_letter() {
        let text = "# mine\nkeyring = \"os\"   # not memory\n\n[profile.'work']\n# the old one\n\
                    client_id    = \"old\" # changed in May\nredirect_uri = 'http://localhost:1/x'\nscope = \"alm\"\n\n\
                    [static]\nhosts = [ \"https://a\" ]\n";
        let expected = text
            .replace("\"old\"", "\"id\"")
            .replace("'http://localhost:1/x'", "\"http://localhost:8477/callback\"");
        assert_eq!(set(text, "work"), expected);
        let with_other = set(text, "home");
        assert!(with_other.contains("client_id    = \"old\" # changed in May"), "{with_other}");
        assert!(with_other.contains("default_profile = \"work\""), "{with_other}");
        let mut back = of(&with_other);
        back.remove_profile("home");
        assert_eq!(back.to_string().replace("default_profile = \"work\"\n", ""), text);
        assert!(back.serves(DEFAULT_BASE_URL) && !back.serves("https://eu1.rallydev.com"));
    }

    #[test]
    fn comments_that_are_about_the_whole_file_outlive_a_removed_profile() {
        let (head, foot) = ("# who I am at work\n# ask before changing\n\n", "# the end\n");
        let own = "# the default one\n[profile.default]\nclient_id = \"a\" # mine\nredirect_uri = \"b\"\n";
        let other = "[static]\nhosts = [\"*\"]\n";
        for (text, expected) in [
            (format!("{head}{own}{foot}"), format!("{head}{foot}")),
            (format!("{head}{own}\n# about static\n{other}"), format!("{head}# about static\n{other}")),
            (format!("{other}\n{head}{own}"), format!("{other}\n{head}")),
        ] {
            let mut config = of(&text);
            config.remove_profile("default");
            assert_eq!(config.to_string(), expected);
        }
    }

    #[test]
    fn the_same_values_are_no_change_however_they_are_written() {
        for text in [
            NEW.replace(
                "[profile.default]",
                "[profile.default]\nbase_url = \"https://Rally1.rallydev.com/\"",
            ),
            NEW.replace('\n', "\r\n"),
            format!("\u{feff}{NEW}"),
            NEW.trim_end().to_owned(),
        ] {
            let mut config = of(&text);
            config.set_profile("default", DEFAULT_BASE_URL, Some(("id", "http://localhost:8477/callback")));
            assert!(!config.has_changed(), "{text:?} became {:?}", config.to_string());
        }
        let windows = NEW.replace('\n', "\r\n");
        assert_eq!(set(&windows.replace("\"id\"", "\"old\""), "default"), windows);
    }

    #[test]
    fn tables_written_in_a_line_are_edited_too() {
        let edited = set("profile = { work = { client_id = \"a\", redirect_uri = \"b\" } }\n", "work");
        let mut config = of(&edited);
        assert_eq!(config.value("work", "client_id").as_deref(), Some("id"), "{edited}");
        config.remove_profile("work");
        assert!(config.is_unused(), "{config}");
    }

    #[test]
    fn a_file_always_has_a_default_profile_that_exists() {
        let two = set(&set("", "home"), "work");
        assert_eq!(of(&two).default_profile().as_deref(), Some("home"));
        let three = set(&two, "play");
        let mut config = of(&three);
        config.remove_profile("home");
        assert_eq!(config.default_profile().as_deref(), Some("work"), "{config}");
        config.remove_profile("work");
        assert_eq!(config.default_profile().as_deref(), Some("play"), "{config}");
    }
}
