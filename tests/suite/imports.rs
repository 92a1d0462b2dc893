//! Which file imports which: a crate's files form no circle, but for a module with what is below it.
//! Does not: look at tests, or at crates, whose circles cargo refuses.
//! Used by: `main`.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::tidy::{document, root};

/// A module's path in its crate, or that of something in it.
type Path = Vec<String>;

/// What the code of each file names within its own crate.
#[derive(Default)]
struct Crate {
    folder: &'static str,
    names: BTreeMap<Path, BTreeSet<Path>>,
}

impl Crate {
    fn read(folder: &'static str) -> Self {
        let mut all = Self { folder, ..Self::default() };
        all.read_file(&Path::new());
        assert!(all.names.len() > 5, "{folder}");
        all
    }

    fn read_file(&mut self, file: &Path) {
        let base = format!("{}/{}", self.folder, file.join("/"));
        let places = [format!("{base}lib.rs"), format!("{base}.rs"), format!("{base}/mod.rs")];
        let place = places.iter().find(|place| root().join(place).is_file());
        self.names.insert(file.clone(), BTreeSet::new());
        self.read_code(document(place.unwrap_or(&base)).parse().unwrap(), file, file);
    }

    fn read_code(&mut self, code: TokenStream, file: &Path, module: &Path) {
        let tokens: Vec<_> = code.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = after;
            match (token, after) {
                (hash, [TokenTree::Group(attribute), item @ ..])
                    if is(hash, '#') && is_for_tests(attribute) =>
                {
                    let end = item.iter().position(|token| is(token, ';') || is_block(token)).unwrap();
                    rest = &item[end + 1..];
                }
                (TokenTree::Ident(word), [TokenTree::Ident(name), body, ..]) if word == "mod" => {
                    let below = [module.as_slice(), &[name.to_string()]].concat();
                    match body {
                        TokenTree::Group(body) => self.read_code(body.stream(), file, &below),
                        _ => self.read_file(&below),
                    }
                    rest = &after[2..];
                }
                (TokenTree::Ident(word), _) if word == "crate" => self.read_path(Path::new(), after, file),
                (TokenTree::Ident(word), _) if word == "super" => {
                    let above = &module[..module.len().saturating_sub(1)];
                    self.read_path(above.to_vec(), after, file);
                }
                (TokenTree::Group(group), _) => self.read_code(group.stream(), file, module),
                _ => (),
            }
        }
    }

    /// What comes after the last name of a path is read into it too, which is no harm: it is no module.
    fn read_path(&mut self, mut path: Path, tokens: &[TokenTree], file: &Path) {
        for token in tokens {
            match token {
                TokenTree::Ident(word) if word == "super" => drop(path.pop()),
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(branches) if is_block(token) => {
                    let branches: Vec<_> = branches.stream().into_iter().collect();
                    return branches
                        .split(|token| is(token, ','))
                        .for_each(|branch| self.read_path(path.clone(), branch, file));
                }
                _ if is(token, ':') => (),
                _ => break,
            }
        }
        self.names.get_mut(file).unwrap().insert(path);
    }

    /// The files that each file imports, without itself and those above and below it in the tree of modules.
    fn imports(&self) -> BTreeMap<Path, BTreeSet<Path>> {
        let file_of = |path: &Path| {
            let longest = (0..=path.len()).rev().find(|&end| self.names.contains_key(&path[..end]));
            path[..longest.unwrap()].to_vec()
        };
        let of = |(file, names): (&Path, &BTreeSet<Path>)| {
            let files = names.iter().map(file_of);
            let aside = files.filter(|other| !other.starts_with(file) && !file.starts_with(other)).collect();
            (file.clone(), aside)
        };
        self.names.iter().map(of).collect()
    }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_block(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// Whether this is `[cfg(test)]`, or another condition with `test` in it.
fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string();
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.next() == Some("cfg") && words.any(|word| word == "test")
}

#[test]
fn files_import_each_other_in_one_direction_only() {
    for folder in [
        "proto/src",
        "daemon/core/src",
        "daemon/gateway/src",
        "daemon/src",
        "client/src",
        "client/commands/src",
    ] {
        let mut imports = Crate::read(folder).imports();
        // Files that import no other, or that no other imports, are in no circle; without these, more files are such.
        let mut before = usize::MAX;
        while imports.len() < before {
            before = imports.len();
            let known: BTreeSet<_> = imports.values().flatten().cloned().collect();
            imports.retain(|file, others| !others.is_empty() && known.contains(file));
            let left: BTreeSet<_> = imports.keys().cloned().collect();
            imports.values_mut().for_each(|others| others.retain(|other| left.contains(other)));
        }
        let circle = imports.iter().flat_map(|(file, others)| {
            others.iter().map(|other| format!("\n  {} imports {}", file.join("/"), other.join("/")))
        });
        assert!(imports.is_empty(), "{folder} has a circle:{}", circle.collect::<String>());
    }
}

/// The daemon's parts: each knows parts of earlier lines only, so no shell knows another.
const PARTS: [&str; 7] = [
    "bus clock descriptor environment episode loans outside private_file refusal words worker",
    "caller confinement notify program",
    "http netlink secret_source",
    "driver",
    "activation alert command_line config endpoint flow gateway ipc log logind token_command vault",
    "perform",
    "start",
];

#[test]
fn no_part_of_the_daemon_knows_what_stands_above_or_beside_it() {
    let line_of = |file: &Path| PARTS.iter().position(|line| line.split(' ').any(|part| part == file[0]));
    let mut imports = Crate::read("daemon/src").imports();
    imports.remove(&Path::new());
    for (file, others) in imports {
        let line = line_of(&file).ok_or_else(|| format!("{} has no place among the parts", file[0])).unwrap();
        for other in others.iter().filter(|other| other[0] != file[0]) {
            assert!(line_of(other) < Some(line), "{} imports {}", file.join("/"), other.join("/"));
        }
    }
}
