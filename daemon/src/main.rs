//! The program `rally-credd`: reads its command line.
//! Does not: anything more; see `start`.
//! Met by: the user's service manager, or a client that found no daemon.

use std::process::ExitCode;

use rally_credd::{
    command_line, environment,
    start::{self, Command},
};

fn main() -> ExitCode {
    environment::drop_empty_variables();
    let arguments = command_line::command().get_matches();
    let command = if arguments.contains_id("check-config") {
        Command::CheckConfig(arguments.get_one("check-config").cloned())
    } else if arguments.get_flag("detach") {
        Command::ServeDetached
    } else {
        Command::Serve { idle_exit: arguments.get_one("idle-exit").copied() }
    };
    start::run(command)
}
