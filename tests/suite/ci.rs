//! docs/ci.md: every command of the page runs, with the page's own variables, as plain processes.
//! Does not: need a runner, a container or a cluster; their paths stand for folders of a world.
//! Used by: `main`.

use std::{fs, path::Path};

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, Ended, World, set_mode};
use serde_json::Value;

use crate::no_daemon::handed_in;
use crate::sign_in::{signed_in, with_browser, world_with_keyring};

/// The block below a heading.
fn block(heading: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md")).unwrap();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = below.split_once("\n```").unwrap();
    let (_, block) = block.split_once('\n').unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// A world without a keyring, with a sign-in in files.
fn ci() -> (Sandbox, World) {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    handed_in(&sandbox, &mut world);
    for name in ["RALLY_CRED_SIGN_IN_FILE", "RALLY_CRED_CLIENT_SECRET_FILE"] {
        world.unset(name);
    }
    (sandbox, world)
}

fn text(world: &World, name: &str) -> String {
    fs::read_to_string(world.path(name)).unwrap().trim().to_owned()
}

fn is_token(sandbox: &Sandbox, ended: &Ended) {
    assert!(sandbox.admits(ended.stdout.trim(), std::time::Instant::now()), "{ended:?}");
}

/// The words of a command in JSON's notation, which is YAML's and a Dockerfile's too.
fn words(line: &str) -> Vec<String> {
    serde_json::from_str(line).map_err(|err| format!("{err}: {line}")).unwrap()
}

fn run(world: &World, words: &[String]) -> Ended {
    let (program, arguments) = words.split_first().unwrap();
    world.run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "")
}

#[test]
fn the_item_that_is_copied_by_the_documented_lines_signs_another_machine_in() {
    let (sandbox, mut person, _keyring) = world_with_keyring();
    fs::write(person.path("secret"), sandbox.options().client_secret).unwrap();
    person.set("RALLY_CRED_CLIENT_SECRET_FILE", person.path("secret").display());
    person.run("sh", &["-ec", &block("What a machine without a person needs")], "").succeeded();
    let mut world = World::new();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    for (variable, file) in
        [("RALLY_CRED_SIGN_IN_FILE", "sign-in"), ("RALLY_CRED_CLIENT_SECRET_FILE", "secret")]
    {
        world.set(variable, person.path(file).display());
    }
    is_token(
        &sandbox,
        &world.client(&["get", "--no-daemon", "--profile", "default", "--format", "token"], ""),
    );
}

#[test]
fn each_step_of_the_runner_does_what_its_name_says() {
    let (sandbox, mut world) = ci();
    for (name, folder) in [("RUNNER_TEMP", "temp"), ("GITHUB_WORKSPACE", "work/.ci")] {
        fs::create_dir_all(world.path(folder)).unwrap();
        world.set(name, world.path(folder).display());
    }
    fs::rename(world.path("config/rally-cred/config.toml"), world.path("work/.ci/rally.toml")).unwrap();
    world.set("GITHUB_ENV", world.path("github-env").display());
    world.set("RALLY_BASE_URL", sandbox.base_url());
    let value_of = |world: &World, value: &str| match value {
        "${{ secrets.RALLY_SIGN_IN }}" => text(world, "sign-in"),
        "${{ secrets.RALLY_CLIENT_SECRET }}" => text(world, "client-secret"),
        value => value.replace("${{ github.workspace }}", &world.path("work").display().to_string()),
    };
    let block = block("A GitHub-style runner");
    let mut lines = block.lines().peekable();
    let mut said = Vec::new();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.trim_start().split_once(": ").map(|(key, value)| (key, value.trim()))
        else {
            continue;
        };
        if key.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_') {
            let value = value_of(&world, value);
            world.set(key, value);
        }
        if key != "run" {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let mut script = if value == "|" { String::new() } else { value.to_owned() };
        while let Some(more) =
            lines.next_if(|more| value == "|" && more.len() - more.trim_start().len() > indent)
        {
            script += &format!("{}\n", more.trim_start());
        }
        let step = world.run("sh", &["-e", "-c", &script], "");
        assert_eq!((step.code, step.stderr.as_str()), (Some(0), ""), "{script}");
        said.push(step.stdout);
        for line in fs::read_to_string(world.path("github-env")).unwrap().lines() {
            let (name, value) = line.split_once('=').unwrap();
            world.set(name, value);
        }
    }
    assert_eq!(said.len(), 4);
    assert!(said[1].contains("dana@example.com"), "{said:?}");
    assert_eq!(fs::read_dir(world.path("temp")).unwrap().count(), 0, "what was handed in is gone");
}

#[test]
fn the_image_checks_its_config_when_it_is_built_and_gives_a_token_when_it_is_run() {
    let (sandbox, mut world) = ci();
    for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        world.unset(name);
    }
    fs::create_dir_all(world.path("secrets")).unwrap();
    for name in ["sign-in", "client-secret"] {
        fs::rename(world.path(name), world.path(&format!("secrets/rally-{name}"))).unwrap();
    }
    let config = world.path("config/rally-cred/config.toml").display().to_string();
    let secrets = world.path("secrets").display().to_string();
    let mut ran = Vec::new();
    for line in block("A Dockerfile").lines() {
        let (instruction, rest) = line.split_once(' ').unwrap();
        match instruction {
            "ENV" => {
                let (name, value) = rest.split_once('=').unwrap();
                let value = value.replace("/etc/rally-cred.toml", &config).replace("/run/secrets", &secrets);
                world.set(name, value);
            }
            "COPY" if rest.ends_with("/bin/") => {
                let programs = rest.split(' ').filter(|word| !word.contains('/'));
                programs.for_each(|program| assert!(world::programs().join(program).is_file(), "{program}"));
            }
            "RUN" | "CMD" => ran.push(run(&world, &words(rest)).succeeded()),
            "FROM" | "COPY" | "USER" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(ran.len(), 2);
    is_token(&sandbox, &ran[1]);
}

#[test]
fn a_devcontainer_asks_the_daemon_outside_through_its_socket() {
    let (sandbox, mut outside, _daemon) = signed_in();
    let settings: Value = serde_json::from_str(&block("A devcontainer")).unwrap();
    let command =
        |name: &str| settings[name].as_str().unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>();
    run(&outside, &command("initializeCommand")).succeeded();
    // The mount, as the kernel would show it: the same folder by another path.
    let mount = settings["mounts"][0].as_str().unwrap();
    let field =
        |name: &str| mount.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let source = field("source").replace("${localEnv:XDG_RUNTIME_DIR}", outside.variable("XDG_RUNTIME_DIR"));
    let socket = settings["containerEnv"]["RALLY_CRED_SOCKET"].as_str().unwrap();
    let socket = socket.replace(field("target"), &source);
    let mut inside = World::new();
    inside.set("RALLY_CRED_SOCKET", socket);
    is_token(&sandbox, &run(&inside, &command("postStartCommand")).succeeded());
    outside.unset("RALLY_CRED_SOCKET");
}

#[test]
fn a_sidecar_serves_the_other_container_of_its_pod() {
    let (sandbox, world) = ci();
    let pod = block("A sidecar in Kubernetes");
    // An emptyDir can be written by everybody.
    let shared = world.path("empty-dir");
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o777);
    fs::copy(world.path("config/rally-cred/config.toml"), world.path("rally.toml")).unwrap();
    let place = |text: &str| {
        text.replace("/run/rally/", &format!("{}/", shared.display()))
            .replace("/etc/rally-secrets", &world.path("").display().to_string())
    };
    let (_, containers) = pod.split_once("  initContainers:\n").unwrap();
    let (sidecar, app) = containers.split_once("  containers:\n").unwrap();
    let container = |text: &str| {
        let mut own = World::new();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("- {name: ")) {
            if let Some((name, value)) = line.split_once(", value: ") {
                own.set(name, place(value.trim_end_matches('}')));
            }
        }
        let commands = text.lines().filter_map(|line| line.trim().strip_prefix("command: "));
        (own, commands.map(|command| words(&place(command))).collect::<Vec<_>>())
    };
    let (sidecar, commands) = container(sidecar);
    let [daemon, probe] = commands.as_slice() else { panic!("{commands:?}") };
    let arguments: Vec<_> = daemon[1..].iter().map(String::as_str).collect();
    let mut daemon = sidecar.start(&daemon[0], &arguments);
    daemon.wait_for_line("ready");
    run(&sidecar, probe).succeeded();
    let (app, commands) = container(app);
    is_token(&sandbox, &run(&app, &commands[0]).succeeded());
    daemon.stop();
}
