//! A TOML text with its path, so that every fault can name file, line and key.
//! Does not: know what the keys mean.
//! Used by: `config`. Serde is left out, since its errors for unknown keys cannot carry a remedy.

use std::path::Path;

use rally_cred_proto::{Fault, FaultKind};
use strsim::levenshtein;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    /// The key's place, in bytes from the start of the file.
    pub(super) at: usize,
    value: &'t DeValue<'t>,
}

#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'a> Source<'a> {
    /// A fault at this byte of the file.
    pub(super) fn broken(&self, at: usize, what: &str) -> Fault {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let path = self.path.display();
        Fault::new(FaultKind::ConfigBroken, format!("config file {path}, line {line}: {what}"))
    }

    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Fault> {
        DeTable::parse(self.text).map_err(|err| {
            let span = err.span().unwrap_or_default();
            let at = span.start;
            if err.message() == "duplicate key" {
                let key = self.text.get(span).unwrap_or_default();
                return self.broken(at, &format!("duplicate key `{key}`")).remedy("remove one of them");
            }
            self.broken(at, "this is not TOML")
                .why(err.message())
                .remedy("write each line as key = \"value\"")
        })
    }

    /// The entries of a table in the order of the file.
    pub(super) fn entries<'t>(&self, table: &'t DeTable<'a>) -> Vec<Entry<'t>> {
        let mut entries: Vec<Entry<'t>> = table
            .iter()
            .map(|(key, value)| Entry { key: key.get_ref(), at: key.span().start, value: value.get_ref() })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    pub(super) fn table<'t>(&self, entry: &Entry<'t>) -> Result<&'t DeTable<'t>, Fault> {
        entry.value.as_table().ok_or_else(|| {
            let (key, found) = (entry.key, entry.value.type_str());
            self.broken(entry.at, &format!("`{key}` must be a table, not {}", with_article(found))).remedy(
                match key {
                    "static" => "write [static] with its key `hosts` below",
                    "kv2" => "write [kv2] with its keys below",
                    "gateway" => "write gateways as [gateway.NAME] with their keys below",
                    "also" => ALSO_REMEDY,
                    _ => "write profiles as [profile.NAME] with their keys below",
                },
            )
        })
    }

    /// A list of tables, each as an entry of its own.
    pub(super) fn tables<'t>(&self, entry: &Entry<'t>) -> Result<Vec<Entry<'t>>, Fault> {
        let items = entry.value.as_array().ok_or_else(|| {
            let (key, found) = (entry.key, entry.value.type_str());
            self.broken(entry.at, &format!("`{key}` must be a list of tables, not {}", with_article(found)))
                .remedy(ALSO_REMEDY)
        })?;
        Ok(items
            .iter()
            .map(|item| Entry { key: entry.key, at: item.span().start, value: item.get_ref() })
            .collect())
    }

    /// A text that is not empty, and has no control characters and no space at its ends.
    pub(super) fn text<'t>(&self, entry: &Entry<'t>) -> Result<Text<'t>, Fault> {
        let (key, at) = (entry.key, entry.at);
        let Some(text) = entry.value.as_str() else {
            let found = with_article(entry.value.type_str());
            return Err(self
                .broken(at, &format!("`{key}` must be a string, not {found}"))
                .remedy(format!("{key} = \"…\"")));
        };
        let trouble = if text.trim().is_empty() {
            "is empty"
        } else if text.chars().any(char::is_control) {
            "holds a control character"
        } else if text.trim() != text {
            "begins or ends with a space"
        } else {
            return Ok(Text { text, at });
        };
        Err(self.broken(at, &format!("`{key}` {trouble}")).remedy(format!("{key} = \"…\"")))
    }

    /// A whole number.
    pub(super) fn number(&self, entry: &Entry<'_>) -> Option<u64> {
        let number = entry.value.as_integer()?;
        u64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// A list of such texts.
    pub(super) fn texts<'t>(&self, entry: &Entry<'t>) -> Result<Vec<Text<'t>>, Fault> {
        let (key, at) = (entry.key, entry.at);
        let bad = |found: &str| {
            self.broken(at, &format!("`{key}` must be a list of strings, not {}", with_article(found)))
                .remedy(format!("{key} = [\"…\"]"))
        };
        let items = entry.value.as_array().ok_or_else(|| bad(entry.value.type_str()))?;
        let in_a_list = |fault: Fault| fault.remedy(format!("{key} = [\"…\"]"));
        items
            .iter()
            .map(|item| match item.get_ref().as_str() {
                Some(_) => self.text(&Entry { key, at, value: item.get_ref() }).map_err(in_a_list),
                None => Err(bad(&format!("list with {}", with_article(item.get_ref().type_str())))),
            })
            .collect()
    }

    /// The fault for a key that is not in `known`; `others` has the keys of another `place`.
    pub(super) fn unknown(&self, entry: &Entry<'_>, known: &[&str], others: &[&str], place: &str) -> Fault {
        let key = entry.key;
        let written = key.to_ascii_lowercase().replace('-', "_");
        let near = |known: &&&str| levenshtein(&written, known) <= FARTHEST;
        let nearest = known.iter().filter(near).min_by_key(|known| levenshtein(&written, known));
        let unknown = self.broken(entry.at, &format!("unknown key `{key}`"));
        if levenshtein(&written, SECRET_KEY) <= FARTHEST {
            self.broken(entry.at, &format!("`{key}` does not belong in this file"))
                .why("the client secret is kept in the vault")
                .remedy("remove the line; rally-cred login asks for the secret")
        } else if let Some(nearest) = nearest {
            unknown.remedy(format!("write `{nearest}`"))
        } else if others.contains(&key) {
            unknown.why(format!("`{key}` belongs to {place}")).remedy("move the line there")
        } else {
            unknown.remedy(format!("remove it; the keys here are {}", known.join(", ")))
        }
    }
}

const ALSO_REMEDY: &str = "write [[profile.NAME.also]] with its key `origin` below";

const SECRET_KEY: &str = "client_secret";

/// How many typing errors still make one word of two. With more, `scope` would be near to anything short.
const FARTHEST: usize = 2;

fn with_article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {type_name}")
}
