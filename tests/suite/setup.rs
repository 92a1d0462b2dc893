//! `rally-cred setup` on real processes: by flags, at a terminal, twice, dry, and undone.
//! Does not: look into the sign-in that it ends with (`sign_in` does).
//! Used by: `main`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::{
    collections::BTreeMap, ffi::OsStr, fs, io::Write, net::TcpListener, os::unix::ffi::OsStrExt,
    path::PathBuf, process::Stdio,
};

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Options, Sandbox};
use rally_cred_tests::world::{self, Ended, World, set_mode};

use crate::sign_in::{opened, password, question, value, world_with_browser};

/// A new user: nothing is configured, a browser is there, and a `systemctl --user` that notes what it is asked.
pub(crate) fn newcomer() -> (Sandbox, World, KeyringSession) {
    newcomer_at(world::sandbox())
}

fn newcomer_at(sandbox: Sandbox) -> (Sandbox, World, KeyringSession) {
    let mut world = world_with_browser(&sandbox);
    fs::remove_dir_all(world.path("config")).unwrap();
    let keyring = world.with_keyring();
    let script = "\
        shift\n\
        case $1 in\n\
        show) exit 0 ;;\n\
        is-failed) exit 1 ;;\n\
        is-enabled)\n\
        \x20 test -e \"$HOME/enabled\" && { echo enabled; exit; }\n\
        \x20 test -e \"$HOME/packaged\" && { echo disabled; exit 1; }\n\
        \x20 echo not-found; exit 4 ;;\n\
        esac\n\
        echo \"$*\" >> \"$HOME/asked-of-systemd\"\n\
        case $1 in enable) touch \"$HOME/enabled\" ;; disable) rm \"$HOME/enabled\" ;; esac\n";
    world.stand_in("systemctl", script);
    world.set("SHELL", "/bin/bash");
    (sandbox, world, keyring)
}

pub(crate) fn asked_of_systemd(world: &World) -> Vec<String> {
    let asked = fs::read_to_string(world.path("asked-of-systemd")).unwrap_or_default();
    asked.lines().map(str::to_owned).collect()
}

/// Every answer as a flag.
pub(crate) fn flags(sandbox: &Sandbox) -> Vec<String> {
    let options = sandbox.options();
    ["--base-url", sandbox.base_url(), "--client-id", &options.client_id, "--callback", &options.redirect_uri]
        .into_iter()
        .chain(["--units", "yes", "--git", "yes", "--completions", "bash"])
        .map(str::to_owned)
        .collect()
}

pub(crate) fn setup(world: &World, flags: &[String], more: &[&str], stdin: &str) -> Ended {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    world.client(&[&["setup"], flags.as_slice(), more].concat(), stdin)
}

/// Sets up by every flag, with the client secret on standard input.
pub(crate) fn set_up(world: &World, sandbox: &Sandbox) -> Ended {
    setup(world, &flags(sandbox), &["--client-secret-stdin"], &sandbox.options().client_secret).succeeded()
}

/// The files of a user that are not the daemon's, or the tests' own.
fn files(world: &World) -> BTreeMap<PathBuf, String> {
    let own =
        ["state", "run", "opened", "asked-of-systemd", "enabled", "packaged"].map(|name| world.path(name));
    let is_foreign = |path: &PathBuf| !own.iter().any(|own| path.starts_with(own));
    let files = world.files().into_iter().filter(|(path, _)| is_foreign(path));
    files.map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())).collect()
}

/// A set-up that asks nothing and offers nothing beside the profile.
pub(crate) const UNASKED: [&str; 9] =
    ["setup", "--client-id", "x", "--callback", "http://localhost:1/x", "--git", "no", "--units", "no"];

#[test]
fn flags_alone_lead_from_nothing_to_a_token_and_remove_leads_back() {
    let (sandbox, world, _keyring) = newcomer();
    let before = files(&world);
    let secret = sandbox.options().client_secret;

    let dry = setup(&world, &flags(&sandbox), &["--dry-run"], "").succeeded();
    assert!(dry.stdout.lines().all(|line| line.starts_with("would ")), "{dry:?}");
    assert_eq!(files(&world), before);
    assert!(asked_of_systemd(&world).is_empty() && !world.path("run/rally-cred").exists());

    let made = setup(&world, &flags(&sandbox), &["--client-secret-stdin"], &secret).succeeded();
    let done: Vec<_> = made.stdout.lines().collect();
    let planned: Vec<_> = dry.stdout.lines().map(|line| line.trim_start_matches("would ")).collect();
    assert_eq!(done[..done.len() - 1], planned[..planned.len() - 1]);
    assert!(done.last().unwrap().contains("signed in as dana@example.com"), "{made:?}");
    assert!(!format!("{made:?}").contains(&secret));
    assert_eq!(asked_of_systemd(&world), ["daemon-reload", "enable --now rally-cred.socket"]);
    let unit = fs::read_to_string(world.path("config/systemd/user/rally-cred.service")).unwrap();
    assert!(unit.contains(&format!("ExecSearchPath={}:", world::programs().display())), "{unit}");
    assert!(world.path(".local/share/bash-completion/completions/rally-cred").exists());
    let mode = fs::metadata(world.path("config/rally-cred/config.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(password(&world, &sandbox).is_some());
    world.client(&["doctor"], "").succeeded();

    let after = files(&world);
    let again = setup(&world, &flags(&sandbox), &[], "").succeeded().showed("already signed in");
    assert!(again.stdout.starts_with("nothing to change\n"), "{again:?}");
    assert_eq!((files(&world), asked_of_systemd(&world).len()), (after.clone(), 2));
    // Nobody knows more than the flags said: without any, the same holds.
    let bare = setup(&world, &[], &[], "");
    assert!(bare.code == Some(0) && bare.stdout.starts_with("nothing to change\n"), "{bare:?}");

    let dry = world.client(&["setup", "--remove", "--dry-run"], "");
    assert_eq!((dry.code, files(&world)), (Some(0), after));
    world.client(&["setup", "--remove"], "").succeeded();
    let left: Vec<_> = files(&world).into_iter().filter(|(_, text)| !text.is_empty()).collect();
    assert_eq!(left, before.into_iter().collect::<Vec<_>>());
    let undone = ["disable --now rally-cred.socket rally-cred.service", "daemon-reload"];
    assert_eq!(asked_of_systemd(&world)[2..], undone);
    let items = world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "");
    assert_eq!(items.stdout, "", "{items:?}");
    assert!(!world.socket().exists(), "the daemon has ended");
    let nothing = world.client(&["setup", "--remove"], "");
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "nothing to change\n"));
}

#[test]
fn a_person_at_a_terminal_is_asked_one_thing_after_the_other() {
    let change = |options: &mut Options| options.client_secret = "typed-by-hand".to_owned();
    let (sandbox, world, _keyring) = newcomer_at(world::sandbox_with(change));
    let options = sandbox.options();
    let slm = format!("{}/slm", sandbox.base_url());
    let mut setup = world.at_terminal("rally-cred setup");
    let mut shown = String::new();
    for (question, answer) in [
        ("Rally's address [https://rally1.rallydev.com]: ", "rally1.rallydev.com"),
        ("Rally's address [https://rally1.rallydev.com]: ", slm.as_str()),
        (&format!("Rally's address [{}]: ", sandbox.base_url()), ""),
        ("/callback]: ", options.redirect_uri.trim_start_matches("http://")),
        (&format!("Callback URL on this machine [{}]: ", options.redirect_uri), ""),
        ("Client ID: ", ""),
        ("Client ID: ", "sandbox client"),
        ("Client ID: ", options.client_id.as_str()),
        ("Have bash complete rally-cred's commands? [Y/n]: ", "n"),
        ("Have systemd start the daemon when it is needed? [Y/n]: ", "perhaps"),
        ("Have systemd start the daemon when it is needed? [Y/n]: ", "no"),
        ("about http://127.0.0.1:", ""),
        ("Client secret for profile default: ", "typed-by-hand"),
    ] {
        shown += &setup.wait_for_text(question);
        setup.write(&format!("{answer}\n"));
    }
    let ended = setup.end().succeeded().showed("signed in as dana@example.com");
    assert!(!shown.contains("typed-by-hand") && !ended.stdout.contains("typed-by-hand"), "{ended:?}");
    // What cannot be used is said at once, and asked again with what was probably meant.
    for said in [
        "this cannot be used: it is not a URL with a scheme and a host",
        "this cannot be used: it must end after the host and port",
        "a client ID has no blanks in it",
        "ask an administrator of your workspace or subscription",
    ] {
        assert!(shown.contains(said), "no {said:?} in {shown}");
    }
    assert!((shown + &ended.stdout).contains("press Ctrl-C, and run rally-cred setup again"), "{ended:?}");
    // The page where OAuth clients are made, with what to put there, then the one to sign in at.
    let page = format!("{}/login/accounts/index.html#/clients", sandbox.base_url());
    let opened = opened(&world);
    assert_eq!((opened.len(), opened.contains(&page)), (2, true), "{opened:?}");
    assert!(asked_of_systemd(&world).is_empty());
    let key = format!("credential.{}.helper", sandbox.base_url());
    assert_eq!(world.run("git", &["config", "--global", &key], "").stdout, "rally\n");
    world.client(&["doctor"], "").succeeded();
}

#[test]
fn a_person_who_goes_away_leaves_everything_as_it_was() {
    let (_sandbox, world, _keyring) = newcomer();
    let before = files(&world);
    let mut setup = world.at_terminal("rally-cred setup --no-browser");
    setup.wait_for_text("Rally's address");
    setup.write("\n");
    setup.wait_for_text("/callback]: ");
    // The end of what is typed.
    setup.write("\u{4}");
    setup.end().ended_with(4).showed("nothing was changed");
    assert_eq!(files(&world), before);
    assert!(opened(&world).is_empty());
}

#[test]
fn without_a_terminal_what_no_flag_says_is_an_error_that_names_the_flag() {
    let (_sandbox, world, _keyring) = newcomer();
    let before = files(&world);
    world.client(&["setup"], "").refused(2).told("--client-id");
    assert_eq!(files(&world), before);
}

#[test]
fn the_callback_is_proposed_with_a_port_that_is_free() {
    let (_sandbox, world, _keyring) = newcomer();
    let _taken = TcpListener::bind(("127.0.0.1", 8477));
    let mut setup = world.at_terminal("rally-cred setup --no-browser");
    setup.wait_for_text("Rally's address");
    setup.write("\n");
    let shown = setup.wait_for_text("/callback]: ");
    assert!(!shown.contains("8477"), "{shown}");
}

#[test]
fn an_existing_file_keeps_its_comments_its_other_profiles_its_mode_and_its_link() {
    let (sandbox, world, _keyring) = newcomer();
    let text = "# mine\nkeyring = \"auto\"   # for now\n\n[profile.home] # the first\nclient_id = \"x\"\n\
                redirect_uri = \"http://localhost:1/x\"\n";
    world.configure(text);
    let (path, elsewhere) = (world.path("config/rally-cred/config.toml"), world.path("dotfiles.toml"));
    fs::rename(&path, &elsewhere).unwrap();
    set_mode(&elsewhere, 0o644);
    symlink(&elsewhere, &path).unwrap();
    let mut flags = flags(&sandbox);
    flags.truncate(6);
    setup(&world, &flags, &["work", "--client-secret-stdin"], &sandbox.options().client_secret).succeeded();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o644);
    let now = fs::read_to_string(&path).unwrap();
    for line in text.lines().filter(|line| !line.is_empty()) {
        assert!(now.lines().any(|found| found == line), "{line:?} is not in {now}");
    }
    assert!(now.contains("default_profile = \"home\""), "{now}");
    world.client(&["config", "check"], "").succeeded();

    world.client(&["setup", "work", "--remove"], "").succeeded();
    // The profile that was the only one is the default by name now, which is as good.
    assert_eq!(fs::read_to_string(&path).unwrap().replace("default_profile = \"home\"\n", ""), text);
}

#[test]
fn values_that_the_daemon_would_not_take_change_nothing() {
    let (sandbox, world, _keyring) = newcomer();
    // Nor do they leave a record of a file that was never made.
    let all = world.files();
    let ended = setup(&world, &flags(&sandbox)[..2], &["--callback", "no address", "--client-id", "x"], "");
    assert_eq!((ended.code, world.files()), (Some(1), all), "{ended:?}");
    world.configure_for(&sandbox);
    let before = files(&world);
    for (flag, bad, code, expected, remedy) in [
        (
            "--base-url",
            "http://rally1.rallydev.com",
            1,
            "`base_url` cannot be used",
            "--base-url https://rally1",
        ),
        (
            "--base-url",
            "https://a.example.com/slm",
            1,
            "`base_url` cannot",
            "--base-url https://a.example.com",
        ),
        ("--callback", "no address", 1, "`redirect_uri` cannot be used", "callback URL of your OAuth client"),
        ("--client-id", " ", 1, "`client_id` is empty", "client_id = "),
        ("--client-id", "a b", 2, "a client ID has no blanks in it", "copy it once more"),
    ] {
        let ended = setup(&world, &[], &[flag, bad], "").refused(code);
        let tried = ended.stderr.lines().find_map(|line| line.strip_prefix("  try: ")).unwrap();
        assert!(ended.stderr.contains(expected) && tried.contains(remedy), "{ended:?}");
        assert_eq!(files(&world), before);
    }
    setup(&world, &flags(&sandbox)[..6], &["my work"], "")
        .ended_with(1)
        .told("this profile name cannot be used");
    assert_eq!(files(&world), before);
    world.configure("client_secret = \"canary");
    let ended = setup(&world, &[], &[], "").ended_with(1).told("rally-cred config check");
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
}

#[test]
fn what_cannot_be_asked_about_is_told_before_any_question() {
    let (_sandbox, world, _keyring) = newcomer();
    world.configure("[profile.home]\nclient_id = \"x\"\nredirect_uri = \"nonsense\"\n");
    for (name, expected) in
        [("'my work'", "this profile name cannot be used"), ("work", "`redirect_uri` cannot")]
    {
        let ended = world.at_terminal(&format!("rally-cred setup {name} --no-browser")).end().ended_with(1);
        assert!(ended.stdout.contains(expected) && !ended.stdout.contains("Rally's address"), "{ended:?}");
    }
}

#[test]
fn nothing_that_was_typed_has_to_be_typed_again() {
    let (sandbox, world, _keyring) = newcomer();
    world.configure("# mine\n");
    let path = world.path("config/rally-cred/config.toml");
    set_mode(&path, 0o400);
    let command = "rally-cred setup --no-browser --units no --git no --completions no";
    let options = sandbox.options();
    for last in [Some(options.client_id.as_str()), None] {
        let mut setup = world.at_terminal(command);
        for (question, answer) in
            [("Rally's address", sandbox.base_url()), ("/callback]: ", options.redirect_uri.as_str())]
        {
            setup.wait_for_text(question);
            setup.write(&format!("{answer}\n"));
        }
        setup.wait_for_text("Client ID: ");
        // The end of what is typed, if there is no last answer.
        setup.write(&last.map_or_else(|| "\u{4}".to_owned(), |answer| format!("{answer}\n")));
        let ended = setup.end();
        let again =
            ended.stdout.lines().find_map(|line| line.split_once("rally-cred setup --base-url ")).unwrap();
        let flags: Vec<_> = again.1.split_whitespace().collect();
        let mut expected = vec![sandbox.base_url(), "--callback", &options.redirect_uri];
        expected.extend(last.iter().flat_map(|id| ["--client-id", id]));
        assert_eq!(flags, expected, "{ended:?}");
    }
}

#[test]
fn a_callback_that_rally_cred_cannot_answer_at_is_taken_with_a_word_about_pasting() {
    let (sandbox, world, _keyring) = newcomer();
    let _taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = format!("http://localhost:{}/callback", _taken.local_addr().unwrap().port());
    for (callback, expected) in [
        ("https://localhost:8477/callback", "cannot answer at an https callback"),
        ("http://example.com/callback", "does not lead to this machine"),
        (taken.as_str(), "another program listens on port"),
    ] {
        let flags = [&flags(&sandbox)[..4], &["--callback".into(), callback.into()]].concat();
        setup(&world, &flags, &["--dry-run"], "").succeeded().told(expected).told("pasting");
    }
}

#[test]
fn git_is_told_the_path_of_the_helper_where_it_cannot_find_it_by_name() {
    let (sandbox, mut world, _keyring) = newcomer();
    let folder = world.path("my programs");
    fs::create_dir(&folder).unwrap();
    for name in ["rally-cred", "rally-cred-commands", "rally-credd", "git-credential-rally"] {
        World::copy_program(&world::programs().join(name), &folder.join(name));
    }
    world.set("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", world.path("bin").display()));
    let program = folder.join("rally-cred").display().to_string();
    // A helper for all servers is kept out, by path as by name.
    world.run("git", &["config", "--global", "credential.helper", "store"], "").succeeded();
    let before = fs::read_to_string(world.path(".gitconfig")).unwrap();
    let flags = flags(&sandbox);
    let run = |more: &[&str], stdin: &str| {
        let arguments: Vec<_> = more.iter().copied().chain(flags[..6].iter().map(String::as_str)).collect();
        world.run(&program, &arguments, stdin)
    };
    run(&["setup", "--git", "yes", "--client-secret-stdin"], &sandbox.options().client_secret).succeeded();
    let filled = world.run("git", &["credential", "fill"], question(&sandbox));
    assert!(value(&filled.stdout, "password").is_some(), "{filled:?}");
    world.run("git", &["credential", "approve"], &filled.stdout).succeeded();
    assert!(!world.path(".git-credentials").exists());
    world.run(&program, &["doctor"], "").succeeded();
    let again = run(&["setup", "--git", "yes"], "");
    assert!(again.stdout.starts_with("nothing to change\n"), "{again:?}");
    let gone = world.run(&program, &["setup", "--remove"], "").succeeded();
    assert_eq!(fs::read_to_string(world.path(".gitconfig")).unwrap(), before, "{gone:?}");
}

#[test]
fn a_home_folder_that_is_no_text_is_as_good_as_any() {
    let (sandbox, mut world, _keyring) = newcomer();
    world.unset("XDG_CONFIG_HOME").unset("XDG_STATE_HOME");
    let home = world.path("").join(OsStr::from_bytes(b"home-\xff"));
    fs::create_dir(&home).unwrap();
    let run = |arguments: &[&str], stdin: &str| {
        let flags = flags(&sandbox);
        let mut command = world.command("rally-cred");
        command.env("HOME", &home).args(arguments).stdin(Stdio::piped());
        if !arguments.contains(&"--remove") {
            command.args(flags);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let made = run(&["setup", "--client-secret-stdin"], &sandbox.options().client_secret);
    assert!(made.status.success(), "{made:?}");
    for file in [".config/rally-cred/config.toml", ".config/systemd/user/rally-cred.service", ".gitconfig"] {
        assert!(home.join(file).exists(), "{file}");
    }
    let again = run(&["setup"], "");
    assert!(again.status.success() && again.stdout.starts_with(b"nothing to change\n"), "{again:?}");
    let gone = run(&["setup", "--remove"], "");
    assert!(gone.status.success(), "{gone:?}");
    for file in [".config/rally-cred/config.toml", ".config/systemd/user/rally-cred.service"] {
        assert!(!home.join(file).exists(), "{file}");
    }
    assert_eq!(fs::read_to_string(home.join(".gitconfig")).unwrap_or_default(), "");
}

#[test]
fn the_daemon_of_systemd_gets_the_proxy_of_the_shell_and_loses_it_with_the_rest() {
    let (sandbox, mut world, _keyring) = newcomer();
    let secret = sandbox.options().client_secret;
    world.set("HTTPS_PROXY", "http://me:canary%40@proxy.example.com:3128");
    world.set("SSL_CERT_FILE", "/etc/ssl/certs/work.pem");
    let made =
        setup(&world, &flags(&sandbox), &["--network", "yes", "--client-secret-stdin"], &secret).succeeded();
    assert!(!format!("{made:?}").contains("canary"), "{made:?}");
    let path = world.path("config/systemd/user/rally-cred.service.d/network.conf");
    let text = fs::read_to_string(&path).unwrap();
    for line in
        ["HTTPS_PROXY=http://me:canary%%40@proxy.example.com:3128", "SSL_CERT_FILE=/etc/ssl/certs/work.pem"]
    {
        assert!(text.contains(&format!("Environment=\"{line}\"\n")), "{text}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(asked_of_systemd(&world).contains(&"daemon-reload".to_owned()));
    // What is so stays; another proxy is asked about, and none is none.
    assert!(setup(&world, &[], &["--network", "yes"], "").stdout.starts_with("nothing to change\n"));
    world.set("HTTPS_PROXY", "http://other:1");
    assert!(setup(&world, &[], &["--network", "yes"], "").stdout.contains("network.conf"));
    assert!(fs::read_to_string(&path).unwrap().contains("http://other:1"));
    world.unset("HTTPS_PROXY").unset("SSL_CERT_FILE");
    assert!(setup(&world, &[], &[], "").stdout.starts_with("nothing to change\n"));
    assert!(setup(&world, &[], &["--network", "yes"], "").stdout.contains("delete "));
    assert!(!path.exists() && !path.parent().unwrap().exists());
    world.set("ALL_PROXY", "http://other:1");
    setup(&world, &[], &["--network", "yes"], "").succeeded();
    world.client(&["setup", "--remove"], "").succeeded();
    assert!(!path.exists() && !path.parent().unwrap().exists());
}

#[test]
fn a_config_file_that_is_read_only_stays_as_it_is_and_the_remedy_opens_it() {
    let (sandbox, world, _keyring) = newcomer();
    world.configure_for(&sandbox);
    let path = world.path("config/rally-cred/config.toml");
    set_mode(&path, 0o400);
    let before = files(&world);
    let setup = |world: &World| setup(world, &[], &["--client-id", "other"], "");
    let ended = setup(&world);
    assert_eq!((ended.code, files(&world)), (Some(1), before), "{ended:?}");
    let remedy = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("try: ")).unwrap();
    assert_eq!(world.run("sh", &["-c", remedy], "").code, Some(0), "{remedy}");
    assert!(setup(&world).stdout.starts_with("write "));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_new_callback_url_is_proved_by_a_new_sign_in() {
    let (sandbox, world, _keyring) = newcomer();
    world.configure_for(&sandbox);
    crate::sign_in::sign_in(&world, &sandbox);
    let callback = format!("http://localhost:{}/other", world::free_port());
    sandbox.change(|options| options.redirect_uri.clone_from(&callback));
    setup(&world, &[], &["--callback", &callback], "")
        .succeeded()
        .showed("default: signed in as dana@example.com");
}

#[test]
fn what_is_asked_for_and_cannot_be_is_told_before_anything_changes() {
    let (sandbox, mut world, _keyring) = newcomer();
    let before = files(&world);
    let mut flags = flags(&sandbox);
    flags.truncate(6);
    world.set("PATH", world::programs().display());
    for (flag, what) in [("--units", "systemd runs nothing for this user"), ("--git", "there is no git")] {
        setup(&world, &flags, &[flag, "yes"], "").refused(1).told(what).told(format!("{flag} no"));
        assert_eq!(files(&world), before);
    }
}

#[test]
fn completions_that_a_package_brought_are_not_written_a_second_time() {
    let (sandbox, mut world, _keyring) = newcomer();
    let folder = world.path("share/bash-completion/completions");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rally-cred"), "").unwrap();
    world.set("XDG_DATA_DIRS", format!("/nowhere:{}", world.path("share").display()));
    let dry = setup(&world, &flags(&sandbox), &["--dry-run"], "").succeeded();
    assert!(dry.stdout.contains("config.toml") && !dry.stdout.contains("completion"), "{dry:?}");
}
