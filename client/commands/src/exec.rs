//! `rally-cred exec`: runs a program with the variables from which Rally's tools take a token and a server.
//! Does not: put the token into an argument list, or stay: on Unix it execs the program, unless it holds turns for it.
//! Used by: people and scripts whose tools know nothing of credential helpers.

mod turns;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::{path::Path, process::Command};

use clap::Args;
use rally_cred::{events::warn, output::Output};
use rally_cred_proto::{Fault, FaultKind, Origin, Secret, gateway::HoldTurns, own_file};
use serde::Deserialize;

use crate::child;
use crate::variables::{Tool, Variable, names_server, stale};
use crate::{flags::GetFlags, terminal::Terminal};

/// What `exec` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The profile whose token it gets [env: RALLY_CRED_PROFILE]
    profile: Option<String>,
    /// Set the variables that this tool reads, instead of the usual three
    #[arg(long = "for", value_name = "TOOL")]
    tools: Vec<Tool>,
    /// Set this variable as well
    #[arg(long = "set", value_name = "NAME[=token|server|base-url|wsapi-url]", value_parser = Variable::parse)]
    set: Vec<Variable>,
    /// Leave it so many of the 12 requests that Rally serves at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=11))]
    requests: Option<u8>,
    #[command(flatten)]
    get: GetFlags,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    program: Vec<OsString>,
}

/// The part of `get --format json` that is needed here.
#[derive(Deserialize)]
struct Got {
    profile: String,
    base_url: String,
    token: Secret,
}

/// Execs the program, or returns the exit code of what failed.
///
/// A `get` in a process of its own fetches the token: to start a daemon or browser it closes inherited descriptors, which
/// the program may need, as for `<(…)`.
pub(crate) fn run(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let failed = |why: String| Fault::new(FaultKind::Failed, "there is no token").why(why);
    let mut arguments: Vec<OsString> = vec!["get".into(), "--format=json".into()];
    arguments.extend(options.profile.iter().map(|profile| format!("--profile={profile}").into()));
    arguments.extend(options.get.0.iter().cloned());
    let (code, answer) = sys.run_self(&arguments).map_err(|err| failed(err.to_string()))?;
    if code != 0 {
        // `get` has shown the fault.
        return Ok(code);
    }
    // The parser's error would help nobody.
    let got: Got =
        serde_json::from_slice(&answer).map_err(|_| failed("its answer is not understood".to_owned()))?;
    let server =
        Origin::from_uri(&got.base_url).ok_or_else(|| failed("its server is not understood".to_owned()))?;

    let variables = Variable::for_tools(&options.tools, &options.set);
    let (program, arguments) =
        options.program.split_first().ok_or_else(|| failed("no program is named".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments);
    for name in stale(&variables, &server, &format!("profile {} has", got.profile), sys, output) {
        command.env_remove(name);
    }
    for Variable { name, value } in &variables {
        command.env(name, value.text(&got.token, &server).as_str());
    }
    if variables.iter().any(|variable| variable.name == "APIKEY") {
        warn_of_pyral_config(&server, sys, output);
    }
    let ran = match options.requests {
        None => sys.run_in_place(&mut command),
        Some(requests) => {
            turns::hold(HoldTurns { profile: Some(got.profile), turns: requests })?;
            child::run(&mut command)
        }
    };
    ran.or_else(|err| Ok(cannot_be_run(program, &err, output)))
}

/// Says why a program does not start; the exit code is that of shells and env(1).
pub(crate) fn cannot_be_run(program: &OsStr, err: &io::Error, output: &mut Output<'_>) -> u8 {
    let program = program.display();
    let told = Fault::new(FaultKind::Failed, format!("{program} cannot be run")).why(err.to_string());
    let (code, remedy) = match err.kind() {
        io::ErrorKind::NotFound => (
            127,
            match cfg!(windows) {
                true => "install it, or give its path; a shell's own words and scripts need cmd /c …",
                false => "install it, or give its path; a shell's own words need sh -c \"…\"",
            },
        ),
        _ if cfg!(windows) => (126, "name a program that you may run; icacls shows whether it is one"),
        _ => (126, "name a program that you may run; ls -l shows whether it is one"),
    };
    output.say(told.remedy(remedy));
    code
}

/// pyral prefers two files to the variables: the one that `RALLY_CONFIG` names, and one in the working folder.
fn warn_of_pyral_config(server: &Origin, sys: &dyn Terminal, output: &mut Output<'_>) {
    let folder = sys.working_folder();
    let named = sys.variable("RALLY_CONFIG").map(|mut path| {
        let named = folder.join(&path);
        if named.exists() {
            return named;
        }
        path.push(".cfg");
        folder.join(path)
    });
    for path in named.into_iter().chain([folder.join("rally-v2.0.cfg")]) {
        if let Some(key) = overriding_key(&path, server) {
            let notice = Fault::new(FaultKind::Failed, format!("pyral takes {key} from {}", path.display()))
                .why("it prefers its config file to the variables")
                .remedy(format!("take the line {key}=… out of the file"));
            warn(&notice, output);
        }
    }
}

/// The first key in a pyral config file that overrides the token, or the server with another one.
fn overriding_key(path: &Path, server: &Origin) -> Option<&'static str> {
    let text = read_config(path).ok()?;
    text.lines().find_map(|line| {
        // As pyral reads it: upper case at the start of the line, then the value up to its end.
        let (key, value) = line.split_once('=')?;
        match key.trim_ascii_end() {
            "APIKEY" => Some("APIKEY"),
            "SERVER" if !names_server(value.trim_ascii_start(), server) => Some("SERVER"),
            _ => None,
        }
    })
}

/// Reads a small file, whatever the path leads to.
fn read_config(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    own_file::open_to_read(path)?.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
