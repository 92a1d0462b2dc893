//! The variables that decide how a program reaches Rally, as they may be shown: which proxy, and which authorities.
//! Does not: use them (the daemon's endpoint does).
//! Used by: the daemon, which tells what it was started with; `doctor` and `setup`, which compare that with a shell's.

use std::{collections::BTreeMap, ffi::OsString};

use crate::plain::plain;

/// Each group of variables that mean the same, the one that wins first.
pub const GROUPS: [&[&str]; 4] = [
    &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
    &["NO_PROXY", "no_proxy"],
    &["SSL_CERT_FILE"],
    &["SSL_CERT_DIR"],
];

/// Those that are set and not empty, with their values.
pub fn set(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let names = GROUPS.into_iter().flatten();
    names.filter_map(|name| Some((*name, variable(name).filter(|value| !value.is_empty())?))).collect()
}

/// The same, fit to be shown: without a proxy's user name and password.
pub fn shown(variable: impl Fn(&str) -> Option<OsString>) -> BTreeMap<String, String> {
    let show = |(name, value): (&str, OsString)| (name.to_owned(), show(name, &value.to_string_lossy()));
    set(variable).into_iter().map(show).collect()
}

/// A value without a user name and password.
pub fn show(name: &str, value: &str) -> String {
    let is_proxy = GROUPS.first().is_some_and(|names| names.contains(&name));
    match value.rsplit_once('@').filter(|_| is_proxy) {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let separator = if scheme.is_empty() { "" } else { "://" };
            plain(&format!("{scheme}{separator}…@{host}"))
        }
        None => plain(value),
    }
}

/// The variable of each group that counts, where two sets of shown variables differ: what one has, and what the other.
pub fn differences(
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Vec<(&'static str, Option<String>, Option<String>)> {
    let find = |set: &BTreeMap<String, String>, names: &[&'static str]| {
        names.iter().find_map(|name| Some((*name, set.get(*name)?.clone())))
    };
    let compare = |names: &'static [&'static str]| {
        let (one, other) = (find(one, names), find(other, names));
        let name = one.as_ref().or(other.as_ref())?.0;
        let (one, other) = (one.map(|(_, value)| value), other.map(|(_, value)| value));
        (one != other).then_some((name, one, other))
    };
    GROUPS.into_iter().filter_map(compare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_user_name_nor_a_password_of_a_proxy_is_shown_however_it_is_written() {
        for (value, expected) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:canary@proxy:3128", "http://…@proxy:3128"),
            ("canary:canary@proxy:3128", "…@proxy:3128"),
            ("http://me:can@ary@proxy", "http://…@proxy"),
            ("http://canary@proxy/\u{1b}[2J", "http://…@proxy/[2J"),
            ("me:http://canary@proxy", "me:http://…@proxy"),
        ] {
            let shown = show("HTTPS_PROXY", value);
            assert_eq!(shown, expected);
            assert!(!shown.contains("canary"), "{shown}");
        }
        assert_eq!(show("SSL_CERT_FILE", "/etc/me@work.pem"), "/etc/me@work.pem");
    }

    #[test]
    fn only_what_counts_is_compared() {
        let set = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let both = set(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://a:1")]);
        assert_eq!(differences(&both, &set(&[("all_proxy", "http://a:1")])), []);
        assert_eq!(
            differences(&both, &set(&[("SSL_CERT_FILE", "/x")])),
            [
                ("HTTPS_PROXY", Some("http://a:1".to_owned()), None),
                ("SSL_CERT_FILE", None, Some("/x".to_owned())),
            ]
        );
        assert_eq!(shown(|name| (name == "NO_PROXY").then(OsString::new)), BTreeMap::new());
    }
}
