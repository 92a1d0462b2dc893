//! The program `rally-credd`: reads its command line.
//! Does not: do anything else; see `start`.
//! Used by: the user's service manager, or a client that found no daemon.

use std::process::ExitCode;

use rally_cred_proto::plain::visible_line;
use rally_credd::{
    command_line, environment,
    start::{self, Command},
};

/// Whatever is freed is overwritten: the libraries for HTTP, TLS, JSON and D-Bus copy secrets into buffers of their own.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    environment::drop_empty_variables();
    let arguments = match command_line::command().try_get_matches() {
        Ok(arguments) => arguments,
        Err(told) => {
            // A line break in an argument would look like one in the message.
            let visible = std::env::args_os().map(|arg| visible_line(&arg.to_string_lossy()).into_owned());
            return start::show(&command_line::command().try_get_matches_from(visible).err().unwrap_or(told));
        }
    };
    let command = if arguments.contains_id("check-config") {
        Command::CheckConfig(arguments.get_one("check-config").cloned())
    } else if arguments.get_flag("detach") {
        Command::ServeDetached
    } else if arguments.get_flag("only-client") {
        Command::ServeOnlyClient
    } else {
        Command::Serve { idle_exit: arguments.get_one("idle-exit").copied() }
    };
    start::run(command)
}
