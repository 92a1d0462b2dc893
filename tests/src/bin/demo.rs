//! `cargo demo`: the whole product against the sandbox, in temporary folders, step by step as the documentation has it.
//! Does not: leave anything behind, or need anything but Rust. Exit 0 only if Rally's stand-in took the token.
//! Used by: whoever wants to see what rally-cred does before setting it up.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{env, path::Path, process::ExitCode};

use rally_cred_tests::browser::Browser;
use rally_cred_tests::command_line::{flag, run};
use rally_cred_tests::sandbox::{Entry, Sandbox};
use rally_cred_tests::world::{self, Ended, World};

fn main() -> ExitCode {
    let about = "Builds rally-cred, starts a stand-in for Rally and a daemon in temporary folders, signs in, and makes a query";
    let browser = "Opens your browser, for you to press \"Allow Access\"; without it the demo presses the button itself";
    run("demo", about, [flag("browser", browser)], |given| {
        show(given.has("browser"))?;
        println!("\nDone. Everything that the demo made is removed again.");
        Ok(())
    })
}

fn show(by_hand: bool) -> Result<(), String> {
    let sandbox = world::sandbox();
    let mut world = World::new();
    offer_keyring(&mut world);
    // A name of its own, so that nothing of yours in the keyring can be met.
    let profile = format!("demo-{}", std::process::id());
    world.configure(&world::profile_for(&sandbox).replace("profile.default", &format!("profile.{profile}")));

    step("1. A stand-in for Rally runs, and a profile is configured");
    println!("server     {}\nprofile    {profile}", sandbox.base_url());
    println!("callback   {}", sandbox.options().redirect_uri);

    step("2. rally-cred login");
    let outcome = sign_in(&world, &sandbox, &profile, by_hand).and_then(|()| use_token(&world, &sandbox));

    // Whatever came of it, the keyring is left as it was found.
    let left = world.client(&["logout", &profile, "--forget-client-secret"], "");
    world.client(&["daemon", "stop"], "");
    outcome?;
    step("8. rally-cred logout, and the daemon stops");
    println!("{}", left.stdout.trim_end());
    if left.code == Some(0) { Ok(()) } else { Err(format!("logout failed: {}", left.stderr)) }
}

/// Lets the demo's daemon find the user's own keyring, if there is one.
fn offer_keyring(world: &mut World) {
    let runtime_bus = || {
        let bus = Path::new(&env::var_os("XDG_RUNTIME_DIR")?).join("bus");
        bus.exists().then(|| format!("unix:path={}", bus.display()))
    };
    if let Some(bus) = env::var("DBUS_SESSION_BUS_ADDRESS").ok().or_else(runtime_bus) {
        world.set("DBUS_SESSION_BUS_ADDRESS", bus);
    }
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "BROWSER"] {
        if let Ok(value) = env::var(name) {
            world.set(name, value);
        }
    }
}

fn sign_in(world: &World, sandbox: &Sandbox, profile: &str, by_hand: bool) -> Result<(), String> {
    let mut arguments = vec!["login", profile, "--client-secret-stdin"];
    if !by_hand {
        arguments.push("--no-browser");
    }
    let mut login = world.start("rally-cred", &arguments);
    login.write(&format!("{}\n", sandbox.options().client_secret));
    let mut shown = Vec::new();
    let url = loop {
        let Some(line) = login.next_line_of_stderr() else {
            return Err(format!("no address was shown: {}", shown.join("\n")));
        };
        println!("  {line}");
        if let Some(at) = line.find("http").filter(|_| line.contains("/login/oauth2/auth?")) {
            break line.get(at..).unwrap_or_default().to_owned();
        }
        shown.push(line);
    };
    if by_hand {
        println!("  (waiting for you to press \"Allow Access\" in the browser)");
    } else {
        let visit = Browser::trusting(None).allow(&url).map_err(|trouble| trouble.to_string())?;
        let status = visit.status;
        println!("  (the demo follows the consent form as a browser would; the last page says {status})");
    }
    let Ended { stdout, stderr, code } = login.end();
    print!("{}", indented(&stderr));
    print!("{}", indented(&stdout));
    if code != Some(0) {
        return Err("the sign-in failed".to_owned());
    }
    if stderr.contains("no keyring answers") {
        println!("  (no OS keyring answers here, so the daemon keeps the token in memory)");
    } else {
        println!("  (the OS keyring keeps the token; the demo takes it out again at the end)");
    }
    explain_flow(&sandbox.log())
}

/// The documented walk-through, with what was really sent and answered.
fn explain_flow(log: &[Entry]) -> Result<(), String> {
    let find = |method: &str, path: &str| {
        log.iter()
            .find(|entry| entry.method == method && entry.path == path)
            .ok_or(format!("no {method} {path} was made"))
    };
    let authorization = find("GET", "/login/oauth2/auth")?;
    step("3. What the browser asked for");
    println!("GET {}", authorization.path);
    pairs(&authorization.query);

    let exchange = find("POST", "/login/oauth2/token")?;
    step("4. What the redirect brought: a code, which the daemon exchanged");
    println!("POST {}   ({})", exchange.path, exchange.header("content-type").unwrap_or("no content type"));
    pairs(&exchange.form);
    println!("answer: {}", exchange.status.unwrap_or(0));
    let answer: serde_json::Value =
        serde_json::from_str(exchange.answer.as_deref().unwrap_or("")).map_err(|err| err.to_string())?;
    for (name, value) in answer.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("  {name:<14} {}", masked(name, &text));
    }

    let look_up = find("GET", "/slm/webservice/v2.0/user")?;
    step("5. Whose token it is");
    let token = masked("access_token", look_up.header("zsessionid").unwrap_or(""));
    println!("GET {}   ZSESSIONID: {token}", look_up.path);
    println!("answer: {}", look_up.status.unwrap_or(0));
    Ok(())
}

fn use_token(world: &World, sandbox: &Sandbox) -> Result<(), String> {
    let base = sandbox.base_url();
    let (protocol, host) = base.split_once("://").ok_or("the base URL has no scheme")?;
    let request = format!("protocol={protocol}\nhost={host}\n\n");
    let requests = sandbox.log().len();
    let got = world.client(&["get"], &request);
    step("6. rally-cred get, in git's format");
    print!("{}", indented(&request));
    let password =
        got.stdout.lines().find_map(|line| line.strip_prefix("password=")).unwrap_or("").to_owned();
    for line in got.stdout.lines() {
        match line.split_once('=') {
            Some((name, value)) => println!("  {name}={}", masked(name, value)),
            None => println!("  {line}"),
        }
    }
    if got.code != Some(0) || password.is_empty() {
        return Err(format!("get failed: {}", got.stderr));
    }
    println!("  (requests to Rally for this: {})", sandbox.log().len() - requests);

    let query =
        format!("{base}/slm/webservice/v2.0/hierarchicalrequirement?fetch=FormattedID,Name&pagesize=3");
    step("7. A query with the ZSESSIONID");
    println!("GET {query}");
    let answer = query_wsapi(&query, &password)?;
    print!("{}", indented(&serde_json::to_string_pretty(&answer).unwrap_or_default()));
    let errors = answer.pointer("/QueryResult/Errors").and_then(|errors| errors.as_array());
    match errors {
        Some(errors) if errors.is_empty() => Ok(()),
        _ => Err("the query came back with errors".to_owned()),
    }
}

fn query_wsapi(url: &str, token: &str) -> Result<serde_json::Value, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|err| err.to_string())?;
    runtime.block_on(async {
        let client = rally_cred_tests::browser::client(None).map_err(|trouble| trouble.to_string())?;
        let answer =
            client.get(url).header("ZSESSIONID", token).send().await.map_err(|err| err.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the query was answered with {}", answer.status()));
        }
        let text = answer.text().await.map_err(|err| err.to_string())?;
        serde_json::from_str(&text).map_err(|err| err.to_string())
    })
}

fn step(title: &str) {
    println!("\n== {title}");
}

fn indented(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).map(|line| format!("  {line}\n")).collect()
}

fn pairs(pairs: &[(String, String)]) {
    for (name, value) in pairs {
        println!("  {name:<14} {}", masked(name, value));
    }
}

/// A value as the demo shows it: secrets by their length only.
fn masked(name: &str, value: &str) -> String {
    match name {
        "code" | "client_secret" | "access_token" | "refresh_token" | "id_token" | "password" => {
            format!("… ({} characters)", value.chars().count())
        }
        _ => value.to_owned(),
    }
}
