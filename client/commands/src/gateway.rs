//! `rally-cred gateway`: runs a program that reads its key once, behind a gateway that outlives every token; and shows and
//! revokes gateways.
//! Does not: pass on a request, which the daemon does, or show a ZSESSIONID to the program.
//! Used by: people, and whatever starts their tools.

mod bundle;
mod presets;
mod session;
pub(crate) mod shown;
mod trust_store;

use std::{ffi::OsString, process::Command as Program, time::Duration};

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    gateway::{NamedGateway, OpenGateway, OpenedGateway, Way},
    message::{RevokeGateway, ShowGateway, StatusAsk},
};

use crate::{
    child, exec,
    flags::parse_duration,
    terminal::Terminal,
    variables::{Tool, Variable, stale},
};

/// The daemon answers at once what needs neither keyring nor network.
const PATIENCE: Duration = Duration::from_secs(5).saturating_add(GRACE);

/// What `gateway` was told on its command line.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// The profile whose token it adds [env: RALLY_CRED_PROFILE]
    profile: Option<String>,
    /// Set the variables that this tool reads, and use the way that suits it
    #[arg(long = "tool", value_name = "TOOL")]
    tools: Vec<Tool>,
    /// The way by which the program reaches the gateway
    #[arg(long, value_name = "http|https|connect", hide_possible_values = true, value_parser = way())]
    via: Option<Way>,
    /// Set this variable as well
    #[arg(long = "set", value_name = "NAME[=token|server|base-url|wsapi-url]", value_parser = Variable::parse)]
    set: Vec<Variable>,
    /// How long its requests wait for a sign-in
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    wait: u32,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    program: Vec<OsString>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show every gateway, and what it has passed on
    List,
    /// Show how a gateway is reached, with its key
    Show {
        /// The gateway's name
        name: String,
        /// Print the certificate of its authority alone, as PEM
        #[arg(long, conflicts_with = "json")]
        ca: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a gateway's key worthless; one of the config file gets another
    Revoke {
        /// The gateway's name
        name: String,
    },
}

/// Reads a [`Way`].
fn way() -> impl TypedValueParser<Value = Way> {
    PossibleValuesParser::new(Way::ALL.map(Way::name))
        .try_map(|name| Way::ALL.into_iter().find(|way| way.name() == name).ok_or("there is no such way"))
}

impl Options {
    /// Names the profile of a program that is to be run, where none is.
    pub(crate) fn or_profile(
        &mut self,
        otherwise: impl FnOnce() -> Result<Option<String>, Fault>,
    ) -> Result<(), Fault> {
        if self.command.is_none() && self.profile.is_none() {
            self.profile = otherwise()?;
        }
        Ok(())
    }
}

/// Runs one of the commands, or the program, whose exit code is returned.
pub(crate) fn run(options: Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    match options.command {
        None => run_program(&options, sys, output),
        Some(Command::List) => {
            let mut text = String::new();
            Connection::new(sys, false).ask(StatusAsk::default(), &mut deadline, &mut |event| {
                if let Event::Gateway(gateway) = event {
                    text.push_str(&shown::lines(&gateway));
                }
            })?;
            let text = if text.is_empty() { "no gateway is open\n".to_owned() } else { text };
            output.tell(text).map(|()| 0)
        }
        Some(Command::Show { name, ca, json }) => {
            let ask = ShowGateway(NamedGateway { name });
            let opened = *Connection::new(sys, false).ask(ask, &mut deadline, &mut |_| {})?;
            match (ca, json) {
                (true, _) => output.tell(opened.authority)?,
                (_, true) => output.answer_json(&opened)?,
                (false, false) => output.tell(shown::reached(&opened))?,
            }
            Ok(0)
        }
        Some(Command::Revoke { name }) => {
            let told = format!("the key of gateway {name} is worth nothing any more");
            let ask = RevokeGateway(NamedGateway { name });
            Connection::new(sys, false).ask(ask, &mut deadline, &mut |_| {})?;
            output.tell_line(told).map(|()| 0)
        }
    }
}

fn run_program(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let (program, arguments) =
        options.program.split_first().ok_or_else(|| Fault::new(FaultKind::Usage, "no program is named"))?;
    let via = options.via.unwrap_or_else(|| presets::way(&options.tools));
    let tool = std::path::Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
    let opened = session::open(
        OpenGateway {
            profile: options.profile.clone(),
            tool,
            via: Some(via),
            wait: options.wait,
            way_out: presets::way_out(sys),
            identity: None,
        },
        sys,
    )?;
    let server = presets::server(&opened, via)?;
    let variables = Variable::for_tools(&options.tools, &options.set);
    let mut command = Program::new(program);
    command.args(arguments);
    for name in stale(&variables, &server, &whose(&opened, via), sys, output) {
        command.env_remove(name);
    }
    for Variable { name, value } in &variables {
        command.env(name, value.text(&opened.key, &server).as_str());
    }
    // It lies there as long as the program runs.
    let bundle = match via {
        Way::Http => None,
        Way::Https | Way::Connect => Some(bundle::write(&opened.authority, sys)?),
    };
    presets::reach(&mut command, &opened, via, &options.tools, sys)?;
    let trust_store = bundle.as_ref().map(|bundle| trust_store::write(bundle)).transpose()?;
    if let Some(bundle) = &bundle {
        for name in bundle::NAMED_BY {
            command.env(name, bundle.as_os_str());
        }
    }
    if let Some(store) = &trust_store {
        command.envs(trust_store::variable(store, sys));
    }
    let ended = child::run(&mut command);
    // The exit code may end this process at once.
    drop((bundle, trust_store));
    ended.map(child::exit_code).or_else(|err| Ok(exec::cannot_be_run(program, &err, output)))
}

fn whose(opened: &OpenedGateway, via: Way) -> String {
    match via {
        Way::Connect => format!("profile {} has", opened.profile),
        Way::Http | Way::Https => "the gateway".to_owned(),
    }
}
