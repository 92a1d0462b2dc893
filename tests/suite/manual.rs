//! The manual pages in `man/`: that they are what their sources say, and that they are sound. And their source
//! docs/reference.md: that it is complete.
//! Does not: judge their words.
//! Used by: `main`.

use std::{collections::BTreeSet, fs, path::Path};

use rally_cred_core::profile::{
    Config, FileKey, GatewaySettings, LockSettings, Notify, Profile, StaticHosts,
};
use rally_cred_proto::FaultKind;
use rally_cred_tests::{man, world::Ended, world::World};
use rally_credd::config;

use crate::tidy::document;

#[test]
fn the_pages_are_those_that_their_sources_make() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man");
    let pages = man::pages().unwrap();
    for (name, text) in &pages {
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == *text, "man/{name} is not what its sources make of it: run `cargo man`");
    }
    let found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), pages.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn mandoc_has_nothing_to_say_against_the_pages() {
    let world = World::new();
    for (name, text) in man::pages().unwrap() {
        let path = world.path(name);
        fs::write(&path, text).unwrap();
        let linted = world.run("mandoc", &["-Tlint", "-Wwarning", path.to_str().unwrap()], "");
        assert_eq!(linted, Ended::in_silence(), "{name}");
    }
}

#[test]
fn the_page_of_the_config_file_names_every_key_that_the_daemon_reads() {
    let config = config::parse(man::CONFIG_EXAMPLE, Path::new("config.toml")).unwrap();
    // A new field does not compile here until its key is looked for below.
    let Config {
        default_profile,
        keyring: _,
        file_key,
        profiles,
        static_hosts,
        notify,
        gateways,
        forward,
        lock,
    } = &config;
    let LockSettings { on_session, on_sleep, idle } = lock;
    assert!(*on_session && *on_sleep && idle.is_some());
    assert_eq!(default_profile, "work");
    assert_ne!(*static_hosts, StaticHosts::default());
    assert_ne!(*notify, Notify::default());
    assert!(forward.is_some());
    assert_ne!(*file_key, FileKey::default());
    #[rustfmt::skip]
    let Profile {
        name: _, is_default: _, base_url: _, token_command: _, client_id: _, redirect_uri: _, scope: _, ca_file, username,
        client_secret_source, also, gate,
    } = &profiles["europe"];
    assert!(profiles["ci"].token_command.is_some());
    assert!(ca_file.is_some() && username.is_some() && client_secret_source.is_some() && !also.is_empty());
    assert!(gate.allow.is_some() && gate.confirms_new);
    let GatewaySettings { profile: _, port, via, paths: _, wait: _ } = &gateways["mcp"];
    assert!(port.is_some() && via.is_some());
    let pages = man::pages().unwrap();
    let (_, page) = pages.iter().find(|(name, _)| *name == "rally-cred.toml.5").unwrap();
    let (described, example) = page.split_once(".SH \"EXAMPLE\"").unwrap();
    let keys = "default_profile keyring keyring_key notify notify_command base_url token_command client_id redirect_uri scope ca_file username \
                client_secret_command confirm allow origin header hosts profile port mode paths wait profiles on idle";
    for key in keys.split(' ') {
        assert!(described.contains(&format!("\\fB{key}\\fR")), "{key} is not described");
        assert!(example.contains(&format!("\n{key} = ")), "{key} is not in the example");
    }
}

/// The rows of a table in docs/reference.md, each as its cells.
fn rows_below(heading: &str) -> Vec<Vec<String>> {
    let page = document("docs/reference.md");
    let (_, text) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let table =
        text.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_reference_has_every_command_with_every_option() {
    let rows = rows_below("## Commands");
    let commands = man::commands_and_options();
    assert_eq!(rows.len(), commands.len());
    for (command, mut options) in commands {
        let named = |row: &&Vec<String>| {
            row[0].trim_matches('`').split([' ', '[']).zip(command.split(' ')).all(|(a, b)| a == b)
        };
        let row = rows.iter().find(named).unwrap_or_else(|| panic!("{command} is not in docs/reference.md"));
        let mut told: Vec<_> = row[2].split('`').filter(|word| word.starts_with("--")).collect();
        if row[2] == "those of `get`" {
            told = rows[0][2].split('`').filter(|word| word.starts_with("--")).collect();
        }
        told.sort_unstable();
        options.sort_unstable();
        assert_eq!(told, options, "{command}");
    }
}

#[test]
fn the_reference_has_every_exit_code_with_its_faults() {
    let rows = rows_below("## Exit codes");
    for kind in FaultKind::ALL {
        let code = kind.exit_code().to_string();
        let row = rows.iter().find(|row| row[0] == code).unwrap_or_else(|| panic!("no exit code {code}"));
        let name = kind.name();
        assert!(row[2].contains(&format!("`{name}`")), "{name} does not stand beside {code}");
    }
    let told: usize = rows.iter().map(|row| row[2].matches('`').count() / 2).sum();
    assert_eq!(told, FaultKind::ALL.len(), "a kind stands there twice, or is no more");
}
