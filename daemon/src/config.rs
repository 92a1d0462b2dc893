//! Reads the config file, strictly: what is not understood is an error that names file, line, key and remedy.
//! Does not: hold the values (`core::profile` does), or look into the working directory.
//! Met by: `start` and perform, at the start and at each reload.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use rally_cred_proto::{Fault, FaultKind, plain::plain};
use serde::Deserialize;
use toml::Spanned;

use crate::core::profile::{BadUrl, BaseUrl, Config, Keyring, Profile, RedirectUri};

/// Largest config file. A thousand profiles take a quarter of it.
const LARGEST: u64 = 1024 * 1024;

/// Rally's own address, for profiles that name none.
const RALLY: &str = "https://rally1.rallydev.com";

/// The scope that Rally documents.
const SCOPE: &str = "alm";

/// Longest name of a profile: it is a part of a keyring item's name.
const LONGEST_NAME: usize = 64;

/// Every key that a profile may have, for suggestions.
const PROFILE_KEYS: [&str; 6] = ["base_url", "client_id", "redirect_uri", "scope", "ca_file", "username"];

/// Every key of the top level.
const TOP_KEYS: [&str; 3] = ["default_profile", "keyring", "profile"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    default_profile: Option<Spanned<String>>,
    keyring: Option<Spanned<String>>,
    #[serde(default)]
    profile: BTreeMap<Spanned<String>, ProfileTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileTable {
    base_url: Option<Spanned<String>>,
    client_id: Spanned<String>,
    redirect_uri: Spanned<String>,
    scope: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    username: Option<Spanned<String>>,
}

/// The config file's path: `RALLY_CRED_CONFIG`, else `rally-cred/config.toml` in the user's config folder.
pub fn path() -> Result<PathBuf, Fault> {
    if let Some(path) = env::var_os("RALLY_CRED_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let folders = directories::ProjectDirs::from("", "", "rally-cred").ok_or_else(|| {
        Fault::new(FaultKind::Failed, "the home folder of this user is not known")
            .remedy("set HOME or RALLY_CRED_CONFIG")
    })?;
    Ok(folders.config_dir().join("config.toml"))
}

/// Reads the file. `None` if there is none, which is normal before the set-up.
pub fn read(path: &Path) -> Result<Option<Config>, Fault> {
    let broken = |why: String, remedy: String| {
        Fault::new(FaultKind::ConfigBroken, format!("config file {} cannot be used", path.display()))
            .why(why)
            .remedy(remedy)
    };
    let look = format!("ls -l {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(broken(fault.to_string(), look)),
    };
    let found = file.metadata().map_err(|fault| broken(fault.to_string(), look.clone()))?;
    if !found.is_file() {
        return Err(broken("it is not a file".to_owned(), look));
    }
    if let Some((why, remedy)) = unsafe_mode(&found, path) {
        return Err(broken(why, remedy));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|fault| broken(fault.to_string(), look.clone()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(broken(format!("it is longer than {LARGEST} bytes"), look));
    }
    let text = String::from_utf8(bytes).map_err(|fault| {
        let line = 1 + fault
            .as_bytes()
            .iter()
            .take(fault.utf8_error().valid_up_to())
            .filter(|byte| **byte == b'\n')
            .count();
        broken(format!("line {line} is not UTF-8"), "save it as UTF-8".to_owned())
    })?;
    parse(&text, path).map(Some)
}

/// Whoever may write this file chooses where tokens are sent, so that is nobody but the user and root.
#[cfg(unix)]
fn unsafe_mode(found: &std::fs::Metadata, path: &Path) -> Option<(String, String)> {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me && found.uid() != 0 {
        return Some((
            format!("it belongs to uid {}, not {me}", found.uid()),
            format!("chown {me} {}", path.display()),
        ));
    }
    let is_writable = found.mode() & 0o022 != 0;
    is_writable.then(|| ("others may write to it".to_owned(), format!("chmod go-w {}", path.display())))
}

#[cfg(not(unix))]
fn unsafe_mode(_found: &std::fs::Metadata, _path: &Path) -> Option<(String, String)> {
    None
}

/// Reads the text of a config file; the path is for errors.
pub fn parse(text: &str, path: &Path) -> Result<Config, Fault> {
    let source = Source { text, path };
    let file: FileText = toml::from_str(text).map_err(|fault| source.not_understood(&fault))?;
    let keyring = match &file.keyring {
        None => Keyring::Auto,
        Some(name) => match name.get_ref().as_str() {
            "auto" => Keyring::Auto,
            "os" => Keyring::Os,
            "memory" => Keyring::Memory,
            _ => {
                return Err(source.broken(
                    name.span(),
                    "`keyring` is none of its values",
                    "auto, os or memory",
                ));
            }
        },
    };
    let mut profiles = BTreeMap::new();
    for (name, table) in &file.profile {
        let profile = source.profile(name, table)?;
        profiles.insert(profile.name.clone(), profile);
    }
    let default_profile = match file.default_profile {
        Some(name) if profiles.contains_key(name.get_ref()) => name.into_inner(),
        Some(name) => {
            let known = profiles.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(source.broken(
                name.span(),
                "`default_profile` names no profile",
                &format!("one of: {known}"),
            ));
        }
        None if profiles.len() == 1 => profiles.keys().next().cloned().unwrap_or_default(),
        None => "default".to_owned(),
    };
    Ok(Config { default_profile, keyring, profiles })
}

/// A config file's text, for errors that show where.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn profile(&self, name: &Spanned<String>, table: &ProfileTable) -> Result<Profile, Fault> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let text = name.get_ref();
        if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(is_name) {
            return Err(self.broken(
                name.span(),
                "a profile's name cannot be used",
                "letters, digits, - _ and ., at most 64",
            ));
        }
        let url = |key: &str, value: &Spanned<String>, fault: BadUrl| {
            self.broken(
                value.span(),
                &format!("`{key}` cannot be used: {fault}"),
                "compare it with the example in README.md",
            )
        };
        let base_url = match &table.base_url {
            Some(value) => BaseUrl::parse(value.get_ref()).map_err(|fault| url("base_url", value, fault))?,
            None => BaseUrl::parse(RALLY).map_err(|fault| url("base_url", name, fault))?,
        };
        let redirect = &table.redirect_uri;
        Ok(Profile {
            name: text.clone(),
            base_url,
            client_id: self.text("client_id", &table.client_id)?,
            redirect_uri: RedirectUri::parse(redirect.get_ref())
                .map_err(|fault| url("redirect_uri", redirect, fault))?,
            scope: table
                .scope
                .as_ref()
                .map_or_else(|| Ok(SCOPE.to_owned()), |value| self.text("scope", value))?,
            ca_file: table.ca_file.as_ref().map(|value| self.file("ca_file", value)).transpose()?,
            username: table.username.as_ref().map(|value| self.text("username", value)).transpose()?,
        })
    }

    /// A value that goes into requests and onto screens.
    fn text(&self, key: &str, value: &Spanned<String>) -> Result<String, Fault> {
        let text = value.get_ref();
        if text.is_empty() || plain(text) != *text {
            return Err(self.broken(
                value.span(),
                &format!("`{key}` is empty, too long or holds control characters"),
                "copy it again",
            ));
        }
        Ok(text.clone())
    }

    fn file(&self, key: &str, value: &Spanned<String>) -> Result<PathBuf, Fault> {
        let text = value.get_ref();
        let home = text
            .strip_prefix("~/")
            .and_then(|rest| Some(directories::BaseDirs::new()?.home_dir().join(rest)));
        let path = home.unwrap_or_else(|| PathBuf::from(text));
        if !path.is_absolute() {
            return Err(self.broken(
                value.span(),
                &format!("`{key}` is not a whole path"),
                "a path that begins with / or ~/",
            ));
        }
        Ok(path)
    }

    /// What the TOML reader stumbled over, without the values that it would quote.
    fn not_understood(&self, fault: &toml::de::Error) -> Fault {
        let span = fault.span().unwrap_or(0..0);
        let key = self.text.get(span.clone()).map(|text| plain(text.trim_matches(['"', '\''])));
        let message = fault.message();
        let named = message.split('`').nth(1).map(plain).unwrap_or_default();
        if message.starts_with("unknown field") && named == "client_secret" {
            return self.broken(
                span,
                "`client_secret` does not belong here",
                "remove it; rally-cred login asks for it and keeps it in the keyring",
            );
        }
        if message.starts_with("unknown field") {
            let is_top = message.contains("default_profile");
            let keys: &[&str] = if is_top { &TOP_KEYS } else { &PROFILE_KEYS };
            let near = keys.iter().find(|key| distance(key, &named) <= 2);
            let remedy = near.map_or_else(|| format!("one of: {}", keys.join(", ")), |key| format!("{key}?"));
            return self.broken(span, &format!("unknown key `{named}`"), &remedy);
        }
        if message.starts_with("missing field") {
            return self.broken(
                span,
                &format!("`{named}` is missing"),
                &format!("{named} = \"…\", as registered in Rally"),
            );
        }
        if message.starts_with("invalid type") {
            return self.broken(span, "a value has the wrong type", "a text in quotation marks");
        }
        if message.starts_with("duplicate") {
            return self.broken(
                span,
                &format!("`{}` stands twice", key.unwrap_or_default()),
                "keep one of them",
            );
        }
        self.broken(span, "it is not TOML here", "key = \"value\"")
    }

    fn broken(&self, at: Range<usize>, what: &str, remedy: &str) -> Fault {
        let line = 1 + self.text.bytes().take(at.start).filter(|byte| *byte == b'\n').count();
        Fault::new(
            FaultKind::ConfigBroken,
            format!("config file {}, line {line}: {what}", self.path.display()),
        )
        .remedy(remedy)
    }
}

/// How many letters have to be put in, taken out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let [above_left, above, left] =
                [row.get(j), row.get(j + 1), next.get(j)].map(|cost| cost.copied().unwrap_or(0));
            next.push((above_left + usize::from(a != *b)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Config, String> {
        parse(text, Path::new("c.toml")).map_err(|fault| {
            assert_eq!(fault.kind, FaultKind::ConfigBroken);
            fault.to_string()
        })
    }

    const PROFILE: &str =
        "[profile.default]\nclient_id = \"c\"\nredirect_uri = \"http://localhost:8477/callback\"\n";

    #[test]
    fn a_profile_needs_its_client_and_its_callback_and_no_more() {
        let config = read_text(PROFILE).unwrap();
        let profile = &config.profiles["default"];
        assert_eq!(profile.base_url.origin().to_string(), RALLY);
        assert_eq!((profile.scope.as_str(), config.keyring), ("alm", Keyring::Auto));
    }

    #[test]
    fn the_only_profile_is_the_default_one() {
        assert_eq!(read_text(&PROFILE.replace("default", "work")).unwrap().default_profile, "work");
        let two = format!(
            "default_profile = \"b\"\n{}{}",
            PROFILE.replace("default", "a"),
            PROFILE.replace("default", "b")
        );
        assert_eq!(read_text(&two).unwrap().default_profile, "b");
        assert_eq!(
            read_text("").unwrap(),
            Config { default_profile: "default".to_owned(), ..Config::default() }
        );
    }

    #[test]
    fn every_mistake_names_its_line_its_key_and_a_remedy() {
        let check = |text: &str, expected: &str| assert_eq!(read_text(text).unwrap_err(), expected, "{text}");
        check(
            "keyring = \"disk\"",
            "config file c.toml, line 1: `keyring` is none of its values\n  try: auto, os or memory",
        );
        check("\n\nkeyrng = \"os\"", "config file c.toml, line 3: unknown key `keyrng`\n  try: keyring?");
        check(
            &format!("{PROFILE}clientid = \"x\""),
            "config file c.toml, line 4: unknown key `clientid`\n  try: client_id?",
        );
        check(
            &format!("{PROFILE}colour = \"x\""),
            "config file c.toml, line 4: unknown key `colour`\n  try: one of: base_url, client_id, redirect_uri, scope, ca_file, username",
        );
        check(
            &format!("{PROFILE}client_secret = \"canary\""),
            "config file c.toml, line 4: `client_secret` does not belong here\n  try: remove it; rally-cred login asks for it and keeps it in the keyring",
        );
        check(
            "[profile.x]\nclient_id = 5",
            "config file c.toml, line 2: a value has the wrong type\n  try: a text in quotation marks",
        );
        check(
            "[profile.x]\nclient_id = \"c\"",
            "config file c.toml, line 1: `redirect_uri` is missing\n  try: redirect_uri = \"…\", as registered in Rally",
        );
        check(
            &format!("{PROFILE}base_url = \"http://rally1.rallydev.com\""),
            "config file c.toml, line 4: `base_url` cannot be used: it must begin with https:// (http:// is for loopback addresses only)\n  try: compare it with the example in README.md",
        );
        check(
            &format!("{PROFILE}username = \"a\\u001bb\""),
            "config file c.toml, line 4: `username` is empty, too long or holds control characters\n  try: copy it again",
        );
        check(
            &format!("{PROFILE}ca_file = \"ca.pem\""),
            "config file c.toml, line 4: `ca_file` is not a whole path\n  try: a path that begins with / or ~/",
        );
        check(
            &format!("default_profile = \"x\"\n{PROFILE}"),
            "config file c.toml, line 1: `default_profile` names no profile\n  try: one of: default",
        );
        check(
            "[profile.\"a b\"]\nclient_id = \"c\"\nredirect_uri = \"http://localhost\"",
            "config file c.toml, line 1: a profile's name cannot be used\n  try: letters, digits, - _ and ., at most 64",
        );
        check(
            "keyring = \"os\"\nkeyring = \"os\"",
            "config file c.toml, line 2: `keyring` stands twice\n  try: keep one of them",
        );
        check("a = = b", "config file c.toml, line 1: it is not TOML here\n  try: key = \"value\"");
    }

    #[test]
    fn a_missing_file_is_no_error_and_one_that_others_may_write_to_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(read(&path), Ok(None));
        std::fs::write(&path, PROFILE).unwrap();
        assert!(read(&path).unwrap().is_some());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
            let fault = read(&path).unwrap_err();
            assert_eq!(
                (fault.why.as_deref(), fault.remedy),
                (Some("others may write to it"), Some(format!("chmod go-w {}", path.display())))
            );
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, b"# one\n# \xff\n").unwrap();
        assert_eq!(read(&path).unwrap_err().why.as_deref(), Some("line 2 is not UTF-8"));
    }
}
