//! Two promises about what people read: what a fault says to try exists, and what a document quotes is printed.
//! Does not: show that a remedy mends (`trouble`, `doctor`, `network` and others do, fault by fault). That no fault is
//! without one holds by how faults are made; the protocol crate tests it.
//! Used by: `main`.

use std::{collections::BTreeSet, fs};

use proc_macro2::{TokenStream, TokenTree};
use rally_cred_proto::FaultKind;
use rally_cred_tests::world::World;

use crate::tidy::{all_sources, root};

/// The texts in the product's source, and those of them that are handed to `remedy`.
#[derive(Default)]
struct Texts {
    all: BTreeSet<String>,
    remedies: BTreeSet<String>,
}

impl Texts {
    fn collect() -> Self {
        let mut texts = Self::default();
        for (path, text) in all_sources() {
            let is_product = ["proto", "daemon", "client"].iter().any(|folder| path.starts_with(folder));
            let is_test = path.to_string_lossy().contains("test");
            if !is_product || is_test {
                continue;
            }
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            // What stands before the tests may be an attribute of theirs.
            let code =
                code.trim_end().trim_end_matches("#[cfg(unix)]").trim_end_matches("#[cfg(not(windows))]");
            let tokens: TokenStream = code.parse().unwrap();
            texts.read(tokens, false);
        }
        texts.remedies.extend(FaultKind::ALL.iter().map(|kind| kind.remedy().to_string()));
        texts
    }

    fn read(&mut self, tokens: TokenStream, is_remedy: bool) {
        let (mut before, mut path) = (String::new(), String::new());
        for token in tokens {
            let name = match &token {
                TokenTree::Ident(name) => name.to_string(),
                _ => String::new(),
            };
            match token {
                TokenTree::Group(group) => self.read(
                    group.stream(),
                    is_remedy
                        || ["remedy", "run"].contains(&before.as_str())
                        || path.ends_with(" Command new"),
                ),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.remedies.extend(is_remedy.then(|| text.value()));
                        self.all.insert(text.value());
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
            if !name.is_empty() {
                path = path + " " + &name;
            }
            before = name;
        }
    }
}

/// The commands of ours in a remedy, each as its words. Whatever stands in braces is filled in.
fn commands(remedy: &str) -> Vec<Vec<String>> {
    let begin = remedy.match_indices("rally-cred ").map(|(at, _)| &remedy[at + "rally-cred ".len()..]);
    begin
        .map(|rest| {
            let end = rest.find([',', ';', ':', '<', '>', '&', '|', ')']).unwrap_or(rest.len());
            rest[..end].split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn every_command_that_a_fault_says_to_try_exists_with_its_flags() {
    let world = World::new();
    let texts = Texts::collect();
    let mut count = 0;
    for remedy in &texts.remedies {
        for command in commands(remedy) {
            let Some(name) = command.first().filter(|name| !name.starts_with('{')) else { continue };
            let mut line = vec![name.as_str()];
            let second = command.get(1).filter(|_| matches!(name.as_str(), "daemon" | "config"));
            line.extend(second.map(String::as_str));
            line.push("--help");
            let help = world.client(&line, "");
            assert_eq!(help.code, Some(0), "{remedy:?} names {command:?}");
            for flag in command.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let flag = flag.split(['=', '{']).next().unwrap();
                assert!(flag == "--help" || help.stdout.contains(flag), "{remedy:?} names {flag}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} commands were found");
}

/// Whether a text of the source, with what it fills in, can come out as this message.
fn prints(template: &str, message: &str) -> bool {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        pieces.push(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    pieces.push(rest);
    // A template of hardly more than gaps would print anything.
    let letters: usize = pieces.iter().map(|piece| piece.trim().len()).sum();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    if letters < 10 || !message.starts_with(first) {
        return false;
    }
    let mut left = &message[first.len()..];
    for piece in &pieces[1..] {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    pieces.len() == 1 && left.is_empty() || pieces.len() > 1 && (left.is_empty() || last.is_empty())
}

/// What the first column of the table in docs/troubleshooting.md quotes.
fn quoted_messages() -> Vec<String> {
    let mut found = Vec::new();
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let (_, table) = text.split_once("| what you see | what helps |\n|---|---|\n").unwrap();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cell = row.split('|').nth(1).unwrap();
        found.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

#[test]
fn every_message_that_the_troubleshooting_quotes_is_one_that_a_program_prints() {
    let texts = Texts::collect();
    for message in quoted_messages() {
        let is_printed = texts.all.iter().any(|template| prints(template, &message));
        assert!(is_printed, "no program prints `{message}`");
    }
}

#[test]
fn a_message_is_found_by_its_template_and_no_other() {
    assert!(prints(
        "another program listens on the redirect port {port}",
        "another program listens on the redirect port 8477"
    ));
    assert!(prints("the sign-in for profile {} timed out", "the sign-in for profile default timed out"));
    assert!(!prints("the certificate {} is trusted", "the certificate … is not trusted"));
    assert!(!prints("{name}: {why}", "Rally does not know this client: x"));
}
