//! `cargo gateway-proof`: toolkits that nobody here wrote and an MCP server, each started once behind a gateway and once
//! without, while their token ends every few seconds.
//! Does not: measure. Exit 0 only if no call failed behind a gateway, and every program without one died.
//! Used by: `tests/run`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::time::{Duration, Instant};
use std::{fs, process::ExitCode, thread};

use rally_cred_proto::Client;
use rally_cred_tests::{
    command_line::{number, run},
    sandbox::Sandbox,
    toolkits::{file, installed, python},
    world::{self, Running, World},
};
use serde_json::json;

/// The programs are those that this page shows.
const PAGE: &str = include_str!("../../../INTEGRATIONS.md");

/// Seconds for which a token is good.
const TOKEN_LIFE: u64 = 5;

fn main() -> ExitCode {
    let about = "Has programs that read their key once outlive their token, and shows that they die without a gateway";
    run("gateway-proof", about, [number("seconds", 10, "120", "How long")], |given| {
        prove(Duration::from_secs(given.number("seconds")))
    })
}

/// A program that answers each line that it reads.
struct Tool {
    name: &'static str,
    /// Its preset.
    preset: &'static str,
    /// The program and its arguments, which `rally-cred` starts, or a host of MCP servers that has it start them.
    program: Vec<String>,
    is_mcp: bool,
    question: &'static str,
    answer: &'static str,
}

/// What came of its calls.
struct Calls {
    answered: u64,
    /// What it said in the place of an answer; empty if it ended.
    failure: Option<String>,
    renewals: u64,
}

fn prove(span: Duration) -> Result<(), String> {
    let sandbox = world::sandbox_with(|options| {
        (options.tls, options.token_life) = (true, TOKEN_LIFE);
        // What dies without a gateway is to die of its token, and not of the cookies that pyral keeps.
        options.session_cookies = false;
    });
    let mut world = World::new();
    let authority = world.trust(&sandbox);
    for variable in ["REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"] {
        world.set(variable, authority.display());
    }
    world.set("NODE_PATH", installed("node_modules").display());
    let _daemon = world.start_daemon();
    let mut client = Client::connect(&world.socket()).map_err(|fault| fault.to_string())?;
    world::sign_in(&mut client, None, &sandbox)?;
    let tools = tools(&world, &sandbox)?;

    let call = |tool, way, span| call(tool, way, &world, &sandbox, Instant::now() + span);
    // One after the other, so that each has most of its token's life.
    let mut without = Vec::new();
    for tool in &tools {
        without.push(call(tool, "exec", Duration::from_secs(4 * TOKEN_LIFE))?);
    }
    let behind: Result<Vec<_>, _> = thread::scope(|scope| {
        let started: Vec<_> =
            tools.iter().map(|tool| scope.spawn(move || call(tool, "gateway", span))).collect();
        started.into_iter().map(|tool| tool.join().unwrap_or_else(|_| Err("a panic".to_owned()))).collect()
    });
    let outcomes = tools.iter().zip(behind?).zip(without);
    let failed: Vec<_> =
        outcomes.filter_map(|((tool, behind), without)| report(tool, &behind, &without, span)).collect();
    failed.into_iter().next().map_or(Ok(()), Err)
}

fn tools(world: &World, sandbox: &Sandbox) -> Result<[Tool; 3], String> {
    let folder = world.path("");
    let write = |name: &str| {
        let (_, rest) = PAGE.split_once(&format!(" {name}\n")).ok_or("the page does not have it")?;
        let (text, _) = rest.split_once("```").ok_or("the block does not end")?;
        let text = text.replace("https://rally1.rallydev.com", sandbox.base_url());
        fs::write(folder.join(name), text).map_err(|err| err.to_string()).map(|()| name.to_owned())
    };
    let (question, answer) = ("DE2", "Keep the key out of shell history");
    Ok([
        Tool {
            name: "pyral (PyPI)",
            preset: "pyral",
            program: vec![python(), write("bot.py")?],
            is_mcp: false,
            question,
            answer,
        },
        Tool {
            name: "rally (npm)",
            preset: "rally-node",
            program: vec!["node".to_owned(), write("bot.js")?],
            is_mcp: false,
            question,
            answer,
        },
        Tool {
            name: "MCP server",
            preset: "mcp",
            program: vec![python(), file("tests/tools/mcp_server.py")],
            is_mcp: true,
            question: "project_names",
            answer: "Example Project, Second Project",
        },
    ])
}

/// Starts a tool in one of the two ways.
fn start(tool: &Tool, way: &str, world: &World) -> Result<Running, String> {
    let preset = if way == "gateway" { "--tool" } else { "--for" };
    let words = [way, preset, tool.preset, "--"].map(str::to_owned);
    let args: Vec<_> = words.iter().chain(&tool.program).map(String::as_str).collect();
    if !tool.is_mcp {
        return Ok(world.start("rally-cred", &args));
    }
    let servers = world.path(&format!("{way}.json"));
    let wanted = json!({ "mcpServers": { "rally": { "command": "rally-cred", "args": args } } });
    fs::write(&servers, wanted.to_string()).map_err(|err| err.to_string())?;
    let host = [file("tests/tools/with_mcp.py"), servers.display().to_string()];
    Ok(world.start(&python(), &host.each_ref().map(String::as_str)))
}

/// Asks a tool as quickly as it answers, until the time is up or a call fails.
fn call(tool: &Tool, way: &str, world: &World, sandbox: &Sandbox, end: Instant) -> Result<Calls, String> {
    let before = sandbox.counters().refreshes();
    let mut program = start(tool, way, world)?;
    let (mut answered, mut failure) = (0, None);
    while failure.is_none() && Instant::now() < end {
        // A program that has ended reads nothing, which its silence shows.
        match program.try_ask(tool.question) {
            Some(answer) if answer == tool.answer => answered += 1,
            answer => failure = Some(answer.unwrap_or_default()),
        }
    }
    // Else what it started would outlive it.
    program.end();
    Ok(Calls { answered, failure, renewals: sandbox.counters().refreshes() - before })
}

/// Prints what a tool did, and returns what should not be so.
fn report(tool: &Tool, behind: &Calls, without: &Calls, span: Duration) -> Option<String> {
    let failed = u64::from(behind.failure.is_some());
    let end = match &without.failure {
        Some(_) => format!("died after {}", without.answered),
        None => format!("lived through {}", without.answered),
    };
    println!(
        "{:<14} {:>6} calls, {failed} failed, {:>3} renewals; without a gateway it {end}",
        tool.name, behind.answered, behind.renewals
    );
    let name = tool.name;
    if let Some(answer) = &behind.failure {
        return Some(format!("{name} failed behind a gateway: {answer:?}"));
    }
    if behind.answered == 0 || behind.renewals < span.as_secs() / TOKEN_LIFE / 2 {
        return Some(format!("{name} was not kept busy for several lives of its token"));
    }
    without.failure.is_none().then(|| format!("{name} went on without a gateway, so this proves nothing"))
}
