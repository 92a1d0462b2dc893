//! What the shells make of this client: completed command lines, and variables.
//! Does not: run PowerShell, for which Debian has no package.
//! Used by: `main`.

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, Running, World};

use crate::sign_in::{sign_in, with_browser};

/// A world with a daemon that knows the profiles `default` and `work`.
fn two_profiles() -> (Sandbox, World, Running) {
    let (sandbox, world) = with_browser();
    let one = world::profile_for(&sandbox);
    world.configure(&format!("{one}{}", one.replace("profile.default", "profile.work")));
    let daemon = world.start_daemon();
    (sandbox, world, daemon)
}

/// The words that bash offers for a command line, whose words are cut as bash cuts them.
fn bash(world: &World, words: &[&str]) -> Vec<String> {
    let script = "eval \"$(rally-cred completions bash)\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  complete -p rally-cred | grep -q _rally_cred && _rally_cred && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let arguments: Vec<_> =
        ["--norc", "-c", script, "bash", "rally-cred"].iter().chain(words).copied().collect();
    offered(world, "bash", &arguments)
}

/// The words that fish offers for a command line.
fn fish(world: &World, words: &[&str]) -> Vec<String> {
    let script =
        format!("rally-cred completions fish | source; complete -C 'rally-cred {}'", words.join(" "));
    offered(world, "fish", &["--no-config", "-c", &script])
}

fn offered(world: &World, shell: &str, arguments: &[&str]) -> Vec<String> {
    let ended = world.run(shell, arguments, "");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}: {ended:?}");
    let words = ended.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn bash_and_fish_complete_commands_flags_values_and_the_names_of_profiles() {
    let (_sandbox, world, _daemon) = two_profiles();
    for (shell, complete) in [("bash", bash as fn(&World, &[&str]) -> _), ("fish", fish)] {
        for (words, expected) in [
            (["log"].as_slice(), ["login", "logout"].as_slice()),
            (&["login", ""], &["default", "work"]),
            (&["exec", "--for", "m"], &["mcp"]),
            (&["get", "--profile", "w"], &["work"]),
            (&["status", "--j"], &["--json"]),
        ] {
            assert_eq!(complete(&world, words), expected, "{shell}: {words:?}");
        }
    }
    assert_eq!(bash(&world, &["get", "--format", "=", "env-"]), ["env-fish", "env-powershell"]);
    assert_eq!(fish(&world, &["get", "--format=env-"]), ["--format=env-fish", "--format=env-powershell"]);
}

#[test]
fn where_nothing_is_known_files_are_offered() {
    let (_sandbox, world, _daemon) = two_profiles();
    std::fs::write(world.path("notes.toml"), "").unwrap();
    assert_eq!(fish(&world, &["config", "check", "no"]), ["notes.toml"]);
    // bash does that by itself when a function has no answer, which `-o default` asks for.
    assert_eq!(bash(&world, &["config", "check", "no"]), Vec::<String>::new());
    let script = "eval \"$(rally-cred completions bash)\"; complete -p rally-cred";
    let shown = world.run("bash", &["-c", script], "").stdout;
    assert_eq!(shown, "complete -o default -F _rally_cred rally-cred\n");
}

/// What zsh makes of a command line on which TAB is pressed, with the script set up as given. It completes only on a
/// terminal, so a second zsh gives it one.
fn zsh(world: &World, set_up: &str, typed: &str) -> String {
    let script = r#"
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PS1=READY\>; $1; echo SET-UP"
zpty -r -m shell seen '*SET-UP*READY>*'
zpty -w -n shell "$2"$'\t\C-aecho \n'
zpty -r -m shell seen '*READY>*'
print -r -- "$seen"
"#;
    let ended = world.run("zsh", &["-f", "-c", script, "zsh", set_up, typed], "");
    // The line that echo printed.
    ended.stdout.lines().map(str::trim_end).filter(|line| line.starts_with("rally-cred")).collect()
}

#[test]
fn zsh_completes_what_is_typed() {
    let (_sandbox, world, _daemon) = two_profiles();
    let evaluated = "autoload -U compinit; compinit -u -D; eval \"$(rally-cred completions zsh)\"";
    let installed = "mkdir f; rally-cred completions zsh >f/_rally-cred; fpath+=($PWD/f); autoload -U compinit; \
                     compinit -u -D";
    for set_up in [evaluated, installed] {
        for (typed, expected) in [
            ("rally-cred statu", "rally-cred status"),
            ("rally-cred login wo", "rally-cred login work"),
            ("rally-cred exec --for clo", "rally-cred exec --for clojure"),
        ] {
            assert_eq!(zsh(&world, set_up, typed), expected, "{set_up}");
        }
    }
}

#[test]
fn fish_and_sh_evaluate_the_variables_they_are_given() {
    let (sandbox, world, _daemon) = two_profiles();
    sign_in(&world, &sandbox);
    let token = world.client(&["get", "--format", "token"], "").stdout;
    for (shell, script) in [
        ("sh", "set=$(rally-cred get --format env </dev/null) && eval \"$set\" && printenv RALLY_APIKEY"),
        ("bash", "eval \"$(rally-cred get --format env </dev/null)\"; printenv RALLY_APIKEY"),
        ("zsh", "eval \"$(rally-cred get --format env </dev/null)\"; printenv RALLY_APIKEY"),
        ("fish", "rally-cred get --format env-fish </dev/null | source; printenv RALLY_APIKEY"),
    ] {
        let ended = world.run(shell, &["-c", script], "");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), token.as_str()), "{shell}: {ended:?}");
    }
}
