//! Finds passwords for Rally's servers that git's own `store` keeps in plain text.
//! Does not: show a password, or remove one; the remedy does.
//! Used by: `doctor`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rally_cred::system::System;
use rally_cred_proto::git::{self, Attributes};
use rally_cred_proto::{Fault, FaultKind, Origin, native, own_file, shell_word::shell_word};
use zeroize::Zeroizing;

use super::Check;
use crate::installed;

/// More than anyone's passwords; a limit in case the path leads to something else.
const LONGEST: u64 = 1024 * 1024;

/// One failed check for each line about these servers, or one that passes if there are none.
pub(super) fn check<'a>(servers: impl IntoIterator<Item = &'a String>, sys: &dyn System) -> Vec<Check> {
    let Ok(settings) = installed::git_helpers(sys) else {
        return vec![Check::skipped("git_store", "there is no git")];
    };
    let origins: Vec<_> = servers.into_iter().filter_map(|server| Origin::from_uri(server)).collect();
    let helpers = settings.iter().map(|(_, helper)| helper.as_str());
    let mut checks = Vec::new();
    for file in files(helpers, sys) {
        // An unreadable file has nothing to show.
        let bytes = read(&file).unwrap_or_default();
        let is_of_ours = |line: &Attributes| {
            let (protocol, host) = (line.protocol.as_deref(), line.host.as_deref());
            Origin::from_git(protocol.unwrap_or_default(), host.unwrap_or_default())
                .is_some_and(|origin| origins.contains(&origin))
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(parse).filter(is_of_ours);
        checks.extend(lines.map(|line| Check::of("git_store", Err(fault(&line, &file)))));
    }
    if checks.is_empty() {
        let note = "git's store has nothing of Rally's in plain text".to_owned();
        checks.push(Check::of("git_store", Ok(note)));
    }
    checks
}

/// The files that `store` uses: its two defaults, and those in git's settings.
fn files<'a>(helpers: impl Iterator<Item = &'a str>, sys: &dyn System) -> Vec<PathBuf> {
    let folder = |name| sys.variable(name).map(PathBuf::from);
    let home = folder("HOME");
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let mut files: Vec<_> = home.iter().map(|home| home.join(".git-credentials")).collect();
    files.extend(config.map(|config| config.join("git/credentials")));
    for helper in helpers {
        let named = named_file(helper).and_then(|file| match file.strip_prefix("~/") {
            Some(below) => Some(home.as_ref()?.join(below)),
            None => Some(file.into()),
        });
        files.extend(named.filter(|file| file.is_absolute()));
    }
    files.sort();
    files.dedup();
    files
}

/// The value of `--file` in a `store` setting, read as a shell does.
fn named_file(helper: &str) -> Option<String> {
    let words = shlex::split(helper.trim_start_matches('!'))?;
    let is_store = |word: &String| word == "store" || word.ends_with("credential-store");
    let mut arguments = words.into_iter().skip_while(|word| !is_store(word)).skip(1);
    let file = arguments.find_map(|word| match word.as_str() {
        "--file" => Some(None),
        word => word.strip_prefix("--file=").map(|file| Some(file.to_owned())),
    })?;
    file.or_else(|| arguments.next())
}

/// Reads the beginning of a file.
fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    own_file::open_to_read(file)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a line of the file, a URL with user name and password. Other lines are skipped.
fn parse(line: &[u8]) -> Option<Attributes> {
    let url = Zeroizing::new([b"url=", line, b"\n"].concat());
    git::parse(&url).ok().filter(|attributes| attributes.username.is_some())
}

fn fault(line: &Attributes, file: &Path) -> Fault {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let (protocol, host) = (text(&line.protocol), text(&line.host));
    let username = text(&line.username);
    let words = [("protocol", &protocol), ("host", &host), ("username", &username)]
        .map(|(key, value)| shell_word(&format!("{key}={value}")));
    let file = file.display().to_string();
    let erase = format!("git credential-store --file {} erase", shell_word(&file));
    let lines = native!(format!("printf '%s\\n' {}", words.join(" ")), windows: words.join(", "));
    Fault::new(FaultKind::Failed, format!("{file} holds a password for {protocol}://{host} in plain text"))
        .why("git's helper `store` kept it, and answers with it even after it has expired")
        .remedy(format!("{lines} | {erase}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_setting_is_read_as_a_shell_reads_it() {
        for (helper, expected) in [
            ("store", None),
            ("store --file /a", Some("/a")),
            ("store --file='/a b'", Some("/a b")),
            ("/usr/lib/git-core/git-credential-store --file \"/a b\"", Some("/a b")),
            ("!git credential-store --file /a", Some("/a")),
            ("store --file", None),
            ("store --file 'unfinished", None),
            ("cache --file /a", None),
        ] {
            assert_eq!(named_file(helper).as_deref(), expected, "{helper}");
        }
    }

    #[test]
    fn a_line_is_read_for_whom_it_is_and_what_is_no_line_is_passed_over() {
        let line = parse(b"https://da%40na:p%3aw@Rally1.rallydev.com/x").unwrap();
        let parts = [&line.protocol, &line.host, &line.username];
        assert_eq!(parts.map(|part| part.as_deref().unwrap()), ["https", "Rally1.rallydev.com", "da@na"]);
        for text in ["", "https://a", "me:pw@host", "https://%ff:x@a", "https://%0a:x@a"] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
