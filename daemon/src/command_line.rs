//! The daemon's flags, with the help that explains them.
//! Does not: act on them.
//! Used by: `main`; the manual page, which is made from it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use rally_cred_proto::duration;

const ABOUT: &str = "Keeps a Rally sign-in and hands out its ZSESSIONID to programs of the same user";

const AFTER: &str = "\
Usually nobody types this: rally-cred starts the daemon when it needs one, or systemd does.

Signals:
  SIGTERM, SIGINT    stop it in order
  SIGHUP             has it read the config file again

Under systemd (see rally-cred.socket and rally-cred.service):
  It takes the socket that systemd made, tells systemd how it is, and ends when it has had nothing to do for a while and
  everything is in the keyring. The next connection starts it again.

Variables:
  RALLY_CRED_CONFIG  the config file
  RALLY_CRED_SOCKET  the socket
  RALLY_CRED_CLIENT_SECRET_FILE
                     a file with the client secret, for when the keyring has none
  RALLY_CRED_SIGN_IN_FILE
                     a file with a sign-in, as the keyring holds it, for when the keyring has none
  RALLY_CRED_LOG     error, warn, info, debug or trace; info unless set
  HTTPS_PROXY, ALL_PROXY, NO_PROXY
                     the proxy on the way to Rally, and the servers that are reached without it
  SSL_CERT_FILE, SSL_CERT_DIR
                     the certificate authorities that are trusted in place of the system's";

fn seconds(text: &str) -> Result<u32, &'static str> {
    duration::parse(text).ok_or("a duration looks like 90, 30s, 10m or 1h")
}

/// The program's command line.
pub fn command() -> Command {
    Command::new("rally-credd")
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
            Arg::new("idle-exit")
                .long("idle-exit")
                .value_name("DURATION")
                .value_parser(seconds)
                .conflicts_with("detach")
                .help("Under socket activation, end after this long without a client [default: 1h; 0 for never]"),
        )
        .arg(
            Arg::new("only-client")
                .long("only-client")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["detach", "idle-exit"])
                .help("Serve the one client whose connection is standard input, and end with it"),
        )
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .value_name("FILE")
                .num_args(0..=1)
                .value_parser(value_parser!(PathBuf))
                .conflicts_with_all(["detach", "only-client"])
                .help("Read the config file, say what is wrong with it, and end"),
        )
}
