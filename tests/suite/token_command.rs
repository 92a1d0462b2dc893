//! Tokens that a program gives, on real processes: nobody signs in, and everything that takes a token works.
//! Does not: play what may go wrong in which order (`cargo simulate` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::{
    sandbox::Sandbox,
    world::{self, Ended, World},
};

/// Gives another token with each run, which ends after this many seconds.
fn world_with_program(sandbox: &Sandbox, life: u64) -> World {
    let world = World::new();
    let script = format!(
        "cd \"$HOME\"; echo x >> runs; runs=$(wc -l < runs)\n\
         printf '{{\"token\": \"canary-token-%s\", \"expires_in\": {life}}}\\n' \"$runs\"\n"
    );
    fs::write(world.path("give-token"), script).unwrap();
    (1..500).for_each(|run| sandbox.admit(&token(run)));
    let (base_url, script) = (sandbox.base_url(), world.path("give-token"));
    let command = format!("token_command = [\"sh\", \"{}\"]", script.display());
    world.configure(&format!("[profile.default]\nbase_url = \"{base_url}\"\n{command}\n"));
    world
}

fn token(run: usize) -> String {
    format!("canary-token-{run}")
}

fn get(world: &World) -> Ended {
    world.client(&["get", "--interactive", "never", "--format", "token"], "")
}

#[test]
fn a_program_gives_the_token_to_get_exec_and_a_gateway_and_nobody_signs_in() {
    let sandbox = world::sandbox();
    let mut world = world_with_program(&sandbox, 3600);
    world.set("RALLY_CRED_LOG", "trace");
    world.client(&["config", "check"], "").succeeded();
    let _daemon = world.start_daemon();
    let status = world.client(&["status"], "").succeeded().stdout;
    assert!(status.contains("its program was not asked for a token yet, renewed without you"), "{status}");
    assert_eq!(get(&world).succeeded().stdout.trim_end(), token(1));
    let ran = world.client(&["exec", "--for", "pyral", "--", "sh", "-c", "echo $APIKEY"], "").succeeded();
    assert_eq!(ran.stdout.trim_end(), token(1));
    let script = "curl -s -S --fail -H \"ZSESSIONID: $RALLY_API_KEY\" \"$SERVER/slm/webservice/v2.0/user\"";
    let words = ["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c", script];
    assert!(world.client(&words, "").succeeded().stdout.contains("UserName"));
    let sent = sandbox.log().iter().any(|request| request.header("zsessionid") == Some(&token(1)));
    assert!(sent, "the gateway sent the program's token");

    let status = world.status()["profiles"][0].clone();
    for field in ["ready", "renewable", "kept"] {
        assert_eq!(status[field], true, "{status}");
    }
    let doctor = world.client(&["doctor"], "").stdout;
    assert!(doctor.contains("\nok    token_command  sh gives a token\n"), "{doctor}");
    assert!(!doctor.contains("redirect_port"), "{doctor}");

    // What it gave is forgotten, and it gives another.
    let before = get(&world).succeeded();
    world.client(&["logout"], "").succeeded();
    assert_ne!(get(&world).succeeded(), before);
    let own = world.client(&["get", "--no-daemon", "--profile", "default", "--format", "token"], "");
    assert!(own.succeeded().stdout.starts_with("canary-token-"));
    assert!(!world.log().contains("canary-token"), "{}", world.log());
    for (path, bytes) in world.files() {
        assert!(memchr::memmem::find(&bytes, b"canary-token-1").is_none(), "{}", path.display());
    }
}

#[test]
fn it_is_run_again_before_each_end_and_all_callers_share_what_it_gives() {
    let sandbox = world::sandbox();
    let world = world_with_program(&sandbox, 4);
    let _daemon = world.start_daemon();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let got = get(&world).succeeded().stdout;
        if seen.last() != Some(&got) {
            seen.push(got);
        }
    }
    assert_eq!(seen, [1, 2, 3].map(|run| format!("{}\n", token(run))));
}

#[test]
fn one_that_fails_is_named_without_its_words_and_login_helps_once_it_works() {
    let sandbox = world::sandbox();
    let world = world_with_program(&sandbox, 3600);
    let _daemon = world.start_daemon();
    let works = fs::read(world.path("give-token")).unwrap();
    fs::write(world.path("give-token"), "echo canary-word; exit 3\n").unwrap();
    for ended in [get(&world), world.client(&["login"], "")] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("why: sh ended with exit status: 3"), "{ended:?}");
    }
    let doctor = world.client(&["doctor"], "").stdout;
    assert!(doctor.contains("\nFAIL  token_command  token_command gives no token"), "{doctor}");
    assert!(!format!("{doctor}{}", world.log()).contains("canary"), "{doctor}");
    fs::write(world.path("give-token"), works).unwrap();
    let login = world.client(&["login"], "").succeeded();
    assert!(login.said().contains("profile default: signed in"), "{login:?}");
    get(&world).succeeded();
}

#[test]
fn setup_asks_for_no_oauth_client_where_a_program_gives_the_tokens() {
    let sandbox = world::sandbox();
    let world = world_with_program(&sandbox, 3600);
    let config = || fs::read_to_string(world.path("config/rally-cred/config.toml")).unwrap();
    let before = config();
    let words = ["setup", "--units", "no", "--git", "no", "--network", "no", "--completions", "no"];
    let made = world.client(&words, "").succeeded().showed("signed in");
    assert!(made.stdout.starts_with("nothing to change\n"), "{made:?}");
    let mut setup = world.at_terminal(&format!("rally-cred {} --no-browser", words.join(" ")));
    setup.wait_for_text(&format!("Rally's address [{}]: ", sandbox.base_url()));
    setup.write("\n");
    let ended = setup.end().succeeded().showed("signed in");
    assert!(!ended.stdout.contains("Client ID") && !ended.stdout.contains("Allow Access"), "{ended:?}");
    for flags in
        [&["--client-id", "x"][..], &["--callback", "http://localhost:1/x"], &["--client-secret-stdin"]]
    {
        let refused = world.client(&[&words[..], flags].concat(), "");
        assert!(refused.code != Some(0) && refused.stderr.contains("has a `token_command`"), "{refused:?}");
        assert!(refused.remedy().starts_with(&format!("leave {} out", flags[0])), "{refused:?}");
    }
    assert_eq!(config(), before);
    get(&world).succeeded();
    world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(config().trim(), "");
}
