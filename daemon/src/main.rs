//! The daemon's command line.
//! Does not: anything but read it; see `start`.
//! Met by: the user's service manager, or a client that found no daemon.

use std::{path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, value_parser};
use rally_credd::start::{self, Command};

const ABOUT: &str = "Keeps a Rally sign-in and hands out its ZSESSIONID to programs of the same user";

const AFTER: &str = "\
Usually nobody types this: rally-cred starts the daemon when it needs one, or systemd does.

Signals: SIGTERM and SIGINT stop it in order, SIGHUP reads the config file again.
Variables: RALLY_CRED_CONFIG (config file), RALLY_CRED_SOCKET (socket),
           RALLY_CRED_LOG (error, warn, info, debug or trace; info unless set)";

fn main() -> ExitCode {
    let arguments = clap::Command::new("rally-credd")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .arg(
            Arg::new("detach")
                .long("detach")
                .action(ArgAction::SetTrue)
                .help("Leave the session, log to a file, and report readiness on standard output"),
        )
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .value_name("FILE")
                .num_args(0..=1)
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("detach")
                .help("Read the config file, say what is wrong with it, and end"),
        )
        .get_matches();
    let command = if arguments.contains_id("check-config") {
        Command::CheckConfig(arguments.get_one("check-config").cloned())
    } else {
        Command::Serve { detach: arguments.get_flag("detach") }
    };
    start::run(command)
}
