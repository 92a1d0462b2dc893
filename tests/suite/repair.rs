//! `rally-cred keyring repair` in every place: what is damaged or of no use is shown, and mended once that is wanted; what
//! a later version wrote stays.
//! Does not: test the places (`vault` and `places` do).
//! Used by: `main`.

use std::{fs, path::PathBuf};

use rally_cred_tests::{
    sandbox::Sandbox,
    world::{Ended, World},
};

use crate::{
    sign_in::{sign_in, signed_in_with_keyring, with_browser},
    vault::{KEY, PLACE, play_in},
};

/// What a later version might write.
const LATER: &str = r#"{"v":99,"everything":"is different"}"#;

/// Writes the config file of a user who keeps tokens there, before what it says of the profile.
fn keep_in(world: &World, place: &str) {
    let text = world.config();
    world.configure(&format!("{place}\n{text}"));
}

fn repair(world: &World, arguments: &[&str]) -> Ended {
    world.client(&[&["keyring", "repair"], arguments].concat(), "")
}

/// Whether the daemon that is started now serves a token without anybody's help.
fn is_served(world: &World) -> bool {
    let _daemon = world.start_daemon();
    world.get().code == Some(0)
}

/// A user with encrypted files, who is signed in by a daemon that has ended.
struct Files {
    world: World,
    sandbox: Sandbox,
}

impl Files {
    fn new() -> Self {
        let (sandbox, world) = with_browser();
        fs::write(world.path("the-key"), [7; 32]).unwrap();
        let key = world.path("the-key").display().to_string();
        keep_in(&world, &format!("keyring = \"file\"\nkeyring_key = \"{key}\""));
        let _daemon = world.start_daemon();
        sign_in(&world, &sandbox);
        Self { world, sandbox }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path("state/rally-cred/keyring").join(name)
    }

    /// Does to the files what a daemon does.
    fn play(&self, action: &str) -> String {
        let own = |name: &str| self.world.path(name).display().to_string();
        let env = [(PLACE, "file".to_owned()), (KEY, own("the-key")), ("XDG_STATE_HOME", own("state"))];
        play_in(env.map(|(name, value)| (name.to_owned(), value)).into(), action)
    }

    fn aside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("damaged")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn damaged_files_move_aside_by_the_command_that_their_error_names() {
    let scene = Files::new();
    let token = scene.path("token%3Adefault");
    let cut = fs::read(&token).unwrap()[..40].to_vec();
    fs::write(&token, &cut).unwrap();
    fs::write(scene.path(".unfinished-abc"), "half").unwrap();
    fs::write(scene.path("token%3Afuture"), "rally-cred 2\nwhatever").unwrap();
    assert_eq!(scene.play("name=old save=x name=default"), "saved");
    let _daemon = scene.world.start_daemon();
    let got = scene.world.get();
    assert_eq!((got.code, got.remedy().as_str()), (Some(7), "rally-cred keyring repair"), "{got:?}");
    assert!(scene.world.client(&["doctor"], "").stdout.contains("try: rally-cred keyring repair"));
    let before = scene.world.files();
    let shown = repair(&scene.world, &[]);
    let aside = scene.path("damaged").display().to_string();
    let told = format!(
        "token:default: damaged; it would be moved to {aside}\n\
         token:future: of a later version of rally-cred, and is left as it is\n\
         token:old: for no profile, server or gateway of this config file; it would be deleted\n\
         .unfinished-abc: left by something that was interrupted; it would be moved to {aside}\n"
    );
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(7), told.as_str()), "{shown:?}");
    assert_eq!(shown.remedy(), "rally-cred keyring repair --yes");
    let kept = |files: Vec<(PathBuf, Vec<u8>)>| {
        files.into_iter().filter(|(path, _)| path.to_string_lossy().contains("/keyring/")).collect::<Vec<_>>()
    };
    assert_eq!(kept(scene.world.files()), kept(before), "a look changes nothing");
    let mended = repair(&scene.world, &["--yes"]).succeeded().stdout;
    assert!(mended.contains(&format!("token:default: damaged; it is moved to {aside}\n")), "{mended}");
    assert_eq!(scene.aside(), [".unfinished-abc.1", "token%3Adefault.1"]);
    assert_eq!(fs::read(scene.path("damaged/token%3Adefault.1")).unwrap(), cut);
    assert!(!scene.path("token%3Aold").exists());
    assert_eq!(fs::read_to_string(scene.path("token%3Afuture")).unwrap(), "rally-cred 2\nwhatever");
    assert!(repair(&scene.world, &[]).succeeded().stdout.ends_with("nothing needs repair\n"));
    assert!(scene.world.status()["profiles"][0].get("fault").is_none());
    sign_in(&scene.world, &scene.sandbox);
    scene.world.get().succeeded();
}

#[test]
fn a_token_that_the_daemon_holds_takes_the_place_of_its_damaged_file() {
    let scene = Files::new();
    let mut daemon = scene.world.start_daemon();
    scene.world.get().succeeded();
    fs::write(scene.path("token%3Adefault"), "rubbish").unwrap();
    repair(&scene.world, &["default", "--yes"]).succeeded();
    assert_eq!(scene.aside(), ["token%3Adefault.1"]);
    // What is on its way to the files is there before it ends.
    scene.world.client(&["daemon", "stop"], "").succeeded();
    daemon.wait();
    assert!(is_served(&scene.world), "nobody has to sign in");
}

#[test]
fn where_the_key_of_the_files_is_damaged_or_gone_they_stay_until_all_are_moved_aside() {
    let scene = Files::new();
    let key = fs::read(scene.path("key")).unwrap();
    let token = fs::read(scene.path("token%3Adefault")).unwrap();
    for broken in [Some(&b"{}"[..]), None] {
        match broken {
            Some(broken) => fs::write(scene.path("key"), broken).unwrap(),
            None => fs::remove_file(scene.path("key")).unwrap(),
        }
        let _daemon = scene.world.start_daemon();
        let got = scene.world.get();
        assert_eq!((got.code, got.remedy().as_str()), (Some(7), "rally-cred keyring repair"), "{got:?}");
        assert_eq!(fs::read(scene.path("token%3Adefault")).unwrap(), token);
        // A backup of the key brings everything back.
        fs::write(scene.path("key"), &key).unwrap();
        scene.world.get().succeeded();
    }
    fs::write(scene.path("key"), r#"{"v":2}"#).unwrap();
    let daemon = scene.world.start_daemon();
    repair(&scene.world, &["--yes"]).succeeded().showed("key: of a later version");
    assert_eq!(fs::read(scene.path("token%3Adefault")).unwrap(), token);
    drop(daemon);
    fs::write(scene.path("key"), "{}").unwrap();
    let _daemon = scene.world.start_daemon();
    repair(&scene.world, &["--yes"]).succeeded();
    assert_eq!(scene.aside(), ["client-secret%3Adefault.1", "key.1", "token%3Adefault.1"]);
    sign_in(&scene.world, &scene.sandbox);
}

#[test]
fn what_is_no_file_is_moved_aside_too() {
    let scene = Files::new();
    fs::remove_file(scene.path("token%3Adefault")).unwrap();
    fs::create_dir(scene.path("token%3Adefault")).unwrap();
    let _daemon = scene.world.start_daemon();
    repair(&scene.world, &["--yes"]).succeeded();
    assert_eq!(scene.aside(), ["token%3Adefault.1"]);
    sign_in(&scene.world, &scene.sandbox);
}

#[test]
fn nothing_is_called_damaged_because_the_key_is_another_one() {
    let scene = Files::new();
    fs::write(scene.world.path("the-key"), [8; 32]).unwrap();
    let _daemon = scene.world.start_daemon();
    repair(&scene.world, &["--yes"]).ended_with(7).told("the-key is not the key");
    assert!(!scene.path("damaged").exists());
}

#[test]
fn a_person_is_asked_and_no_answer_is_no() {
    let scene = Files::new();
    fs::write(scene.path("token%3Adefault"), "rubbish").unwrap();
    let _daemon = scene.world.start_daemon();
    for (answer, is_mended) in [("\n", false), ("n\n", false), ("y\n", true)] {
        let mut terminal = scene.world.at_terminal("rally-cred keyring repair");
        terminal.wait_for_text("Mend them? [y/N]: ");
        terminal.write(answer);
        assert_eq!(terminal.end().code, Some(0));
        assert_eq!(scene.path("damaged").exists(), is_mended, "{answer:?}");
    }
}

#[test]
fn a_profile_that_nobody_knows_is_a_mistake() {
    let scene = Files::new();
    let _daemon = scene.world.start_daemon();
    assert_eq!(repair(&scene.world, &["nobody"]).code, Some(2));
    assert_eq!(repair(&scene.world, &["default"]).succeeded().stdout, "nothing needs repair\n");
}

/// What the keyring has under this account, of which there may be several.
fn in_keyring(world: &World, account: &str) -> Vec<String> {
    let found =
        world.run("secret-tool", &["search", "--all", "service", "rally-cred", "username", account], "");
    found.said().lines().filter_map(|line| line.strip_prefix("secret = ")).map(str::to_owned).collect()
}

fn plant(world: &World, account: &str, text: &str, more: &[&str]) {
    let store = ["store", "--label=x", "service", "rally-cred", "username", account];
    world.run("secret-tool", &[&store, more].concat(), text).succeeded();
}

#[test]
fn a_keyrings_items_are_mended_and_its_good_ones_and_later_ones_stay() {
    let (_sandbox, world, _keyring, daemon) = signed_in_with_keyring();
    drop(daemon);
    let good = in_keyring(&world, "client-secret:default");
    plant(&world, "token:default", "{\"v\":1,\"access_tok", &[]);
    plant(&world, "token:old", "two\nlines", &[]);
    plant(&world, "static:https://gone.example", "{\"v\":1}", &[]);
    plant(&world, "token:future", LATER, &[]);
    plant(&world, "check:5", "rally-cred was here", &[]);
    plant(&world, "another program's", "anything", &[]);
    let daemon = world.start_daemon();
    let told = repair(&world, &["--yes"]).succeeded().stdout;
    let mended: Vec<_> = told.lines().filter(|line| line.ends_with("; it is deleted")).collect();
    assert_eq!(
        mended,
        [
            "check:5: left by something that was interrupted; it is deleted",
            "static:https://gone.example: for no profile, server or gateway of this config file; it is deleted",
            "token:default: damaged; it is deleted",
            "token:old: damaged; it is deleted",
        ]
    );
    for account in ["check:5", "static:https://gone.example", "token:default", "token:old"] {
        assert!(in_keyring(&world, account).is_empty(), "{account}");
    }
    assert_eq!(in_keyring(&world, "token:future"), [LATER]);
    assert_eq!(in_keyring(&world, "another program's"), ["anything"]);
    assert_eq!(in_keyring(&world, "client-secret:default"), good);
    drop(daemon);
    let _daemon = world.start_daemon();
    world.client(&["login"], "").succeeded();
}

#[test]
fn of_several_items_the_newest_is_kept() {
    let (_sandbox, world, _keyring, daemon) = signed_in_with_keyring();
    drop(daemon);
    let mut record: serde_json::Value =
        serde_json::from_str(&in_keyring(&world, "token:default")[0]).unwrap();
    let newest = record.to_string();
    record["obtained_at"] = (record["obtained_at"].as_i64().unwrap() - 1000).into();
    record["refresh_token"] = "an older one".into();
    world.run("secret-tool", &["clear", "service", "rally-cred", "username", "token:default"], "");
    plant(&world, "token:default", &record.to_string(), &["in", "1"]);
    plant(&world, "token:default", &newest, &["in", "2"]);
    plant(&world, "token:default", "rubbish", &["in", "3"]);
    let _daemon = world.start_daemon();
    let told = repair(&world, &["--yes"]).succeeded().stdout;
    assert!(told.ends_with("token:default: there several times; all but the newest are deleted\n"), "{told}");
    assert_eq!(in_keyring(&world, "token:default"), [newest]);
    world.get().succeeded();
}

/// A key's name is this process's, since the kernel's keyring is that of whoever runs the tests; nothing but this
/// profile's items is looked at.
#[cfg(target_os = "linux")]
#[test]
fn the_kernels_keyring_is_repaired_and_a_later_record_in_it_stays() {
    let (sandbox, world) = with_browser();
    let profile = format!("repair-{}", std::process::id());
    let text = rally_cred_tests::world::profile_for(&sandbox)
        .replace("profile.default", &format!("profile.{profile}"));
    world.configure(&format!("keyring = \"keyutils\"\ndefault_profile = \"{profile}\"\n{text}"));
    let play = |action: &str| {
        play_in(vec![(PLACE.to_owned(), "keyutils".to_owned())], &format!("name={profile} {action}"))
    };
    assert_eq!(play("save={\"v\":1"), "saved");
    let daemon = world.start_daemon();
    let told = repair(&world, &[&profile, "--yes"]).succeeded().stdout;
    assert!(told.ends_with(&format!("token:{profile}: damaged; it is deleted\n")), "{told}");
    assert_eq!(play("load"), "nothing");
    let later = r#"{"v":99}"#;
    assert_eq!(play(&format!("save={later}")), "saved");
    assert!(repair(&world, &[&profile, "--yes"]).succeeded().stdout.contains("of a later version"));
    assert_eq!(play("load"), later);
    drop(daemon);
    assert_eq!(play("erase"), "erased");
}

#[test]
fn a_password_stores_damaged_item_is_deleted_by_its_helper_and_a_later_one_stays() {
    let (sandbox, mut world) = with_browser();
    let [gpg, store] = ["gpg", "store"].map(|name| world.path(name));
    world.run("mkdir", &["-m", "700", gpg.to_str().unwrap()], "").succeeded();
    world.set("GNUPGHOME", gpg.display()).set("PASSWORD_STORE_DIR", store.display());
    let key = "--batch --passphrase  --quick-gen-key rally-cred-test default default never";
    world.run("gpg", &key.split(' ').collect::<Vec<_>>(), "").succeeded();
    world.run("pass", &["init", "rally-cred-test"], "").succeeded();
    keep_in(&world, "keyring = \"helper:pass\"");
    let mut daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    daemon.kill();
    let helper = |operation: &str, input: String| world.run("docker-credential-pass", &[operation], input);
    let stored = |name: &str, secret: &str| {
        let item = serde_json::json!({
            "ServerURL": format!("https://rally-cred.invalid/{name}"), "Username": "rally-cred", "Secret": secret,
        });
        helper("store", item.to_string()).succeeded();
    };
    stored("token:default", "two\nlines");
    stored("token:future", LATER);
    stored("token:cut", "whatever");
    let cut = world.files().into_iter().map(|(path, _)| path).find(|path| {
        path.to_string_lossy().contains(&data_encoding_of("https://rally-cred.invalid/token:cut"))
    });
    fs::write(cut.unwrap(), "cut").unwrap();
    let daemon = world.start_daemon();
    let told = repair(&world, &["--yes"]).succeeded().stdout;
    assert!(told.contains("token:default: damaged; it is deleted\n"), "{told}");
    assert!(told.contains("token:cut: damaged; it is deleted\n"), "{told}");
    let future = helper("get", "https://rally-cred.invalid/token:future".to_owned()).succeeded();
    assert_eq!(future.json()["Secret"], LATER);
    assert!(repair(&world, &[]).succeeded().stdout.ends_with("nothing needs repair\n"));
    world.client(&["login"], "").succeeded();
    drop(daemon);
    world.run("gpgconf", &["--kill", "all"], "");
}

/// How `docker-credential-pass` names the folder of a server.
fn data_encoding_of(server: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE};
    URL_SAFE.encode(server)
}
