//! The shape of the source and of the documents: rules that a compiler does not know, checked as ordinary tests.
//! Does not: judge style.
//! Used by: `main`.

use std::path::{Path, PathBuf};
use std::{collections::BTreeSet, fs};

use proc_macro2::{TokenStream, TokenTree};
use pulldown_cmark::{Event, Options, Parser, Tag};
use rally_cred_tests::generated;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A document, by its path below the root.
pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).map_err(|err| format!("{path}: {err}")).unwrap()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
}

pub(crate) fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let folders = "proto/src proto/windows/src daemon/src daemon/core/src daemon/gateway/src client/src \
                   client/commands/src tests/src tests/suite tests/bench tests/fuzz";
    for folder in folders.split(' ') {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 40);
    found
}

#[test]
fn every_file_introduces_itself_and_is_listed() {
    let mut sources = all_sources();
    sources.sort_by_key(|(path, _)| (path.parent().unwrap().to_owned(), path.to_owned()));
    let mut list = String::new();
    let mut folder = PathBuf::new();
    for (path, text) in &sources {
        if path.parent().unwrap() != folder {
            path.parent().unwrap().clone_into(&mut folder);
            list += &format!("\n## `{}/`\n\n| file | is |\n|---|---|\n", folder.display());
        }
        let header = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        let about: Vec<_> =
            header.take_while(|line| !line.is_empty() && !line.starts_with("Does not:")).collect();
        assert!(!about.is_empty(), "{} does not say what it is", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        list += &format!("| `{name}` | {} |\n", about.join(" ").replace('|', "\\|"));
    }
    generated::check_after("docs/files.md", "## ", list.trim_start());
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A name of a file or folder of this repository.
fn is_path(word: &str) -> bool {
    let first = word.split('/').next().unwrap();
    !word.contains([' ', '*', '…']) && word != first && root().join(first).is_dir()
}

#[test]
fn the_map_leads_somewhere() {
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md"] {
        let map = document(name);
        let missing: Vec<_> =
            quoted(&map).filter(|word| is_path(word) && !root().join(word).exists()).collect();
        assert!(missing.is_empty(), "{name} leads to nothing: {missing:?}");
    }

    // Every folder of sources has its row, and what the map says to look for is there.
    let map = document("ARCHITECTURE.md");
    let folders: BTreeSet<_> =
        all_sources().iter().map(|(path, _)| path.parent().unwrap().to_owned()).collect();
    let (questions, rest) = map.split_once("\n## The folders\n").unwrap();
    let (rows, _) = rest.split_once("\n## ").unwrap();
    let on_map: Vec<_> = quoted(rows).map(Path::new).collect();
    for folder in folders {
        let is_on_map = folder.ancestors().any(|folder| on_map.contains(&folder));
        assert!(is_on_map, "{} is not in ARCHITECTURE.md", folder.display());
    }
    let (_, questions) = questions.split_once("\n## Where to find what\n").unwrap();
    for row in questions.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let [_, _, files, names, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let files: String = quoted(files).filter(|file| !file.ends_with('/')).map(document).collect();
        for name in quoted(names) {
            assert!(files.contains(name), "{name} is not in the files of this row: {row}");
        }
    }
}

/// Whether a name, as documents write it, is that of a test: modules and function, of which `…` leaves out the end, and `*`
/// stands for every test of the module.
fn is_test(name: &str, sources: &[(PathBuf, String)]) -> bool {
    let (modules, function) = name.rsplit_once("::").unwrap();
    let modules: Vec<_> = modules.split("::").filter(|module| *module != "tests").collect();
    let wanted = match function.trim_end_matches('…') {
        "*" => "test]\n".to_owned(),
        all if all == function => format!("fn {all}("),
        beginning => format!("fn {beginning}"),
    };
    sources.iter().any(|(path, text)| {
        let path = path.with_extension("");
        modules.iter().all(|module| path.iter().any(|part| part == *module)) && text.contains(&wanted)
    })
}

#[test]
fn each_test_that_a_defence_or_an_invariant_is_held_by_exists() {
    let sources = all_sources();
    for document_name in ["SECURITY.md", "ARCHITECTURE.md"] {
        let text = document(document_name);
        let rows = text.lines().filter(|line| line.starts_with('|'));
        // A name without either is that of a module.
        let is_name = |word: &&str| word.rsplit_once("::").is_some_and(|(_, last)| last.contains(['_', '*']));
        let names: Vec<_> = rows.flat_map(quoted).filter(is_name).collect();
        assert!(names.len() > 10, "{document_name}");
        let missing: Vec<_> = names.into_iter().filter(|name| !is_test(name, &sources)).collect();
        assert!(missing.is_empty(), "{document_name} names tests that there are not: {missing:#?}");
    }
}

/// The documents that people read, each with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "proto", "tests", "tests/bench", "contrib/windows"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(found.len() > 15);
    found
}

/// How forges name the place of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    for (path, text) in documents() {
        let name = path.display();
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            let target = match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    dest_url.to_string()
                }
                Event::InlineHtml(html) | Event::Html(html) => match html.split("src=\"").nth(1) {
                    Some(rest) => rest.split('"').next().unwrap().to_owned(),
                    None => continue,
                },
                _ => continue,
            };
            if target.contains("://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{name} links to {target}");
            if !place.is_empty() {
                let page = fs::read_to_string(file).unwrap();
                let mut headings = page.lines().filter(|line| line.starts_with('#'));
                let is_there = |line: &str| anchor(line.trim_start_matches('#')) == place;
                assert!(headings.any(is_there), "{name} links to {target}");
            }
        }
    }
}

#[test]
fn every_decision_is_in_the_index() {
    let index = document("docs/decisions/README.md");
    for (path, text) in documents().iter().filter(|(path, _)| path.parent().unwrap().ends_with("decisions")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some((number, _)) = name.split_once('-') else { continue };
        let (title, _) = text.split_once('\n').unwrap();
        let (shown, title) = title.trim_start_matches("# ").split_once(". ").unwrap();
        assert_eq!(number.trim_start_matches('0'), shown, "{name}");
        assert!(index.contains(&format!("\n{shown}. [{title}]({name})\n")), "{name} is not in the index");
    }
}

#[test]
fn the_readme_is_short_and_documents_have_no_long_lines() {
    assert!(document("README.md").split_whitespace().count() <= 900);
    // Written with a paragraph a line; the last is made of what files say of themselves.
    let long_lined =
        "CHANGELOG.md PROTOCOL.md tests/README.md bench/README.md windows/README.md docs/files.md";
    for (path, text) in documents() {
        if long_lined.split(' ').any(|name| path.ends_with(name)) {
            continue;
        }
        let mut is_code = false;
        for line in text.lines() {
            is_code ^= line.trim_start().starts_with("```");
            let longest_cell = line.split('|').map(|cell| cell.split_whitespace().count()).max();
            if line.starts_with('|') {
                assert!(longest_cell < Some(40), "{}: {longest_cell:?} words: {line}", path.display());
            } else if !is_code && !line.starts_with(['!', '<']) {
                assert!(line.chars().count() <= 120, "{}: {line}", path.display());
            }
        }
    }
}

/// clippy holds the core to the standard library's pure part; this holds it to libraries that have no other.
#[test]
fn the_core_has_no_library_that_reads_writes_waits_or_rolls_dice() {
    let manifest: toml::Table = document("daemon/core/Cargo.toml").parse().unwrap();
    let sections: Vec<&str> =
        manifest.keys().map(String::as_str).filter(|section| section.ends_with("dependencies")).collect();
    assert_eq!(sections, ["dependencies"]);
    let libraries: Vec<&str> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let pure = "base64 percent-encoding rally-cred-proto serde serde_json strsim thiserror url uuid zeroize";
    assert_eq!(libraries.join(" "), pure);
}

#[test]
fn the_lints_of_all_crates_hold_in_the_core_too() {
    let (everywhere, core): (toml::Table, toml::Table) =
        (document("clippy.toml").parse().unwrap(), document("daemon/core/clippy.toml").parse().unwrap());
    for (key, value) in everywhere {
        assert_eq!(core.get(&key), Some(&value), "{key}");
    }
}

#[test]
fn no_test_sleeps_or_looks_for_a_line_of_the_log_once_and_no_file_names_a_machine() {
    for (path, text) in all_sources() {
        if path.starts_with("tests/suite") && !path.ends_with("tidy.rs") {
            assert!(!text.contains("sleep("), "{} sleeps", path.display());
            // The line may come after the answer.
            assert!(!text.contains("assert!(world.log().contains("), "{} must use logged", path.display());
        }
        if !path.ends_with("tidy.rs") {
            let names_one = text.contains("/home/") || text.contains("/root/");
            assert!(!names_one, "{} names a machine's folder", path.display());
        }
    }
}

/// Finds the types whose `Debug` is derived, each with its name and what it is made of.
fn find_printed(code: TokenStream, found: &mut Vec<(String, TokenStream)>) {
    let mut is_printed = false;
    let mut tokens = code.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "struct" || word == "enum" => {
                let name = tokens.next().unwrap().to_string();
                let rest = tokens.by_ref().find_map(|token| match token {
                    TokenTree::Group(group) => Some(group.stream()),
                    TokenTree::Punct(end) if end.as_char() == ';' => Some(TokenStream::new()),
                    _ => None,
                });
                found.extend(std::mem::take(&mut is_printed).then_some((name, rest.unwrap_or_default())));
            }
            TokenTree::Group(group) => {
                let text = group.to_string();
                is_printed |= text.contains("derive") && text.contains("Debug");
                find_printed(group.stream(), found);
            }
            _ => {}
        }
    }
}

/// The fields of a type, by name and type.
fn fields(body: TokenStream) -> Vec<(String, String)> {
    let tokens: Vec<_> = body.into_iter().collect();
    let mut found = Vec::new();
    for field in tokens.split(|token| token.to_string() == ",") {
        let inner = field.iter().filter_map(|token| match token {
            TokenTree::Group(group) if group.to_string().starts_with(['{', '(']) => {
                Some(fields(group.stream()))
            }
            _ => None,
        });
        found.extend(inner.flatten());
        if let Some(at) = field.iter().position(|token| token.to_string() == ":") {
            let of_type = field[at + 1..].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            found.push((field[..at].last().unwrap().to_string(), of_type));
        }
    }
    found
}

#[test]
fn no_type_that_holds_a_secret_prints_it_as_debug() {
    let is_secret = |name: &str| {
        name.split('_').any(|word| matches!(word, "token" | "secret" | "password" | "passphrase" | "cookie"))
    };
    let is_text =
        |of_type: &str| ["String", "str", "Vec < u8 >", "Cow"].iter().any(|text| of_type.contains(text));
    let mut count = 0;
    for (path, text) in all_sources().into_iter().filter(|(path, _)| !path.starts_with("tests")) {
        let mut printed = Vec::new();
        find_printed(text.parse().unwrap(), &mut printed);
        for (name, body) in printed {
            count += 1;
            let place = format!("{} in {}", name, path.display());
            // What is wiped is a secret, and prints itself unless it is a `Secret`.
            assert!(
                name == "Secret" || !body.to_string().contains("Zeroizing"),
                "{place} prints what it wipes"
            );
            for (field, of_type) in fields(body) {
                assert!(!is_secret(&field) || !is_text(&of_type), "{place} prints its {field}: {of_type}");
            }
        }
    }
    assert!(count > 100, "{count}");
}
