//! `rally-cred get`: reads a request, asks the daemon, and writes the token in the caller's format.
//! Does not: look for a user before a sign-in is needed.
//! Used by: git, build tools and scripts. This is the hot path.

use std::time::Duration;

use rally_cred_proto::message::{Get, Got, StaticCredential, StatusAsk, Target};
use rally_cred_proto::{Deadline, Event, Fault, FaultKind, Origin, engflow, git, native};
use zeroize::Zeroizing;

use crate::events::{self, Audience};
use crate::format::{self, Format};
use crate::options::{Interactive, Options};
use crate::{connection::Connection, interactive, output::Output, system::System};

/// How long to wait for an optional request on standard input.
const BEGINNING: Duration = Duration::from_secs(1);

/// Answers one request. `Ok` is the exit code, which for a caller that speaks git is mostly 0 (see [`refuse`]).
pub(crate) fn run(options: &Options, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let connection = Connection::new(sys, options.start);
    let mut call = Call { options, sys, connection, deadline: options.deadline(), last_notice: None };
    let outcome = call.read_request().and_then(|request| call.answer(&request, output));
    output.or_json_fault(outcome, options.format == Some(Format::Json))
}

/// One `get`, with the connection and the deadline of all that it asks.
struct Call<'a> {
    options: &'a Options,
    sys: &'a dyn System,
    connection: Connection<'a>,
    deadline: Deadline,
    /// The daemon's last event, if that was a notice.
    last_notice: Option<Fault>,
}

impl Call<'_> {
    fn answer(&mut self, request: &Request, output: &mut Output<'_>) -> Result<u8, Fault> {
        let format = self.options.format.unwrap_or(request.native_format());
        if request.is_for_nobody() {
            return no_match(format);
        }
        match self.ask(request, format, output) {
            Ok(Got::Token(token)) if request.may_have(token.server()) => {
                format::give_token(&token, format, request.attributes(), output).map(|()| 0)
            }
            Ok(Got::StaticCredential(of)) if request.may_have_static(&of) => {
                format::give_static(&of, format, request.attributes(), output).map(|()| 0)
            }
            Ok(Got::Token(_) | Got::StaticCredential(_)) => no_match(format),
            // After a notice the search failed, so there may be a match. git goes on to its next helper.
            Ok(Got::NoMatch) => self.last_notice.take().map_or_else(|| no_match(format), Err),
            Err(fault) => refuse(fault, request, format, output),
        }
    }

    /// Asks without a sign-in first. Only if one is needed, finds out whether the user may be asked.
    fn ask(&mut self, request: &Request, format: Format, output: &mut Output<'_>) -> Result<Got, Fault> {
        match self.options.interactive {
            Interactive::Always => self.ask_once(true, request, format, output),
            Interactive::Never => self.ask_once(false, request, format, output),
            Interactive::Auto => match self.ask_once(false, request, format, output) {
                Err(fault) if needs_person(fault.kind) && interactive::may_ask(self.sys) => {
                    self.ask_once(true, request, format, output)
                }
                outcome => outcome,
            },
        }
    }

    fn ask_once(
        &mut self,
        interactive: bool,
        request: &Request,
        format: Format,
        output: &mut Output<'_>,
    ) -> Result<Got, Fault> {
        let Self { options, sys, connection, deadline, last_notice } = self;
        let get = Get {
            target: request.target(options.profile.clone()),
            interactive,
            wait: options.seconds_left(deadline),
            min_validity: options.min_validity,
            takes_authtype: request.takes_authtype(),
            awaits_sign_in: false,
            awaits_unlock: options.has_time,
        };
        // A git user wants no progress of a helper, unless a sign-in waits for them.
        let audience = Audience { has_browser: true, listens: interactive || format != Format::Git };
        connection.ask(get, deadline, &mut |event| {
            *last_notice = match &event {
                Event::Notice(fault) => Some(fault.clone()),
                _ => None,
            };
            events::react(&event, audience, *sys, output);
        })
    }

    /// Reads the request from standard input.
    ///
    /// git and build tools call `get` without a format and always write a request. With a format there may be none, and
    /// nobody to close the input: ssh and CI leave it open. Then there is no request if none has begun after a moment,
    /// unless another server could still be meant.
    fn read_request(&mut self) -> Result<Request, Fault> {
        let Self { options, sys, .. } = *self;
        let is_absent = options.leaves_stdin
            || sys.stdin_is_terminal()
            || options.has_optional_request()
                && !sys.stdin_begins_within(BEGINNING)
                && self.means_one_profile()?;
        if is_absent {
            return Ok(Request::Empty);
        }
        let operation = match options.format {
            Some(format) if options.has_optional_request() => format!("get --format {}", format.name()),
            _ => "get".to_owned(),
        };
        let input = read_input(&operation, &mut self.deadline, sys)?;
        if input.trim_ascii().is_empty() {
            return Ok(Request::Empty);
        }
        let bad = |what: String| Fault::new(FaultKind::BadRequest, what).remedy(WHAT_TO_WRITE);
        if engflow::looks_like_json(&input) {
            engflow::parse_request(&input).map(Request::EngFlow).map_err(|err| bad(err.to_string()))
        } else {
            git::parse(&input).map(Request::Git).map_err(|err| bad(err.to_string()))
        }
    }

    /// Whether every request would get the same token, or none.
    fn means_one_profile(&mut self) -> Result<bool, Fault> {
        if self.options.profile.is_some() {
            return Ok(true);
        }
        let (status, profiles) = self.connection.status(StatusAsk::default(), &mut self.deadline)?;
        Ok(profiles.len() <= 1 && status.static_hosts.is_empty())
    }
}

/// Whether a person could help, whom the daemon may be allowed to ask.
fn needs_person(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::SignInNeeded | FaultKind::ConsentNeeded)
}

/// No profile is for the server. git asks its next helper, so this one is silent; a build tool would take an empty answer
/// for "no credentials needed".
fn no_match(format: Format) -> Result<u8, Fault> {
    match format {
        Format::Git => Ok(0),
        _ => Err(Fault::new(FaultKind::NoMatch, "no profile is for this server").run("rally-cred status")),
    }
}

/// Answers with a fault. If git asked and the server is ours, git is told to quit: no other password works there. git
/// 2.47 obeys whatever the exit code is, but by its rules any other than 0 means that the helper failed.
fn refuse(fault: Fault, request: &Request, format: Format, output: &mut Output<'_>) -> Result<u8, Fault> {
    match (format, request, fault.kind) {
        // Without a profile no server is ours.
        (Format::Git, Request::Git(_), FaultKind::NotConfigured) => Ok(0),
        (Format::Git, Request::Git(_), kind) if kind.is_of_a_known_server() => {
            output.say(fault);
            output.answer(git::QUIT.as_bytes())?;
            Ok(0)
        }
        _ => Err(fault),
    }
}

/// The caller's request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them in a process")]
enum Request {
    /// None: the named profile, or the default one.
    Empty,
    Git(git::Attributes),
    EngFlow(engflow::Request),
}

/// The remedy for a bad request.
pub(crate) const WHAT_TO_WRITE: &str = native!(
    "write lines such as protocol=https and host=HOST, or nothing: rally-cred get </dev/null",
    windows: "write lines such as protocol=https and host=HOST, or nothing: $null | rally-cred get"
);

/// Reads all of standard input.
pub(crate) fn read_input(
    operation: &str,
    deadline: &mut Deadline,
    sys: &dyn System,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    git::read(&mut sys.stdin(deadline)).map_err(|err| match err {
        git::BadAttributes::Unreadable(std::io::ErrorKind::TimedOut) => {
            Fault::new(FaultKind::TimedOut, "the request did not come to an end in time")
                .why("the caller left standard input open")
                .remedy(native::without_input(&format!("rally-cred {operation}")))
        }
        err => Fault::new(FaultKind::BadRequest, err.to_string()).remedy(WHAT_TO_WRITE),
    })
}

impl Request {
    fn native_format(&self) -> Format {
        match self {
            Self::Empty | Self::Git(_) => Format::Git,
            Self::EngFlow(_) => Format::EngFlow,
        }
    }

    fn attributes(&self) -> Option<&git::Attributes> {
        match self {
            Self::Git(attributes) => Some(attributes),
            Self::Empty | Self::EngFlow(_) => None,
        }
    }

    /// Whether it is git's and lacks protocol or host: such a request matches nothing (CVE-2020-11008).
    fn is_for_nobody(&self) -> bool {
        let is_missing = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        match self {
            Self::Git(attributes) => is_missing(&attributes.protocol) || is_missing(&attributes.host),
            Self::Empty | Self::EngFlow(_) => false,
        }
    }

    fn target(&self, profile: Option<String>) -> Target {
        match self {
            Self::Empty => Target { profile, ..Target::default() },
            Self::Git(attributes) => target(attributes, profile),
            Self::EngFlow(request) => Target { profile, uri: Some(request.uri.clone()), ..Target::default() },
        }
    }

    /// Whether the caller supports `authtype` and `credential`.
    fn takes_authtype(&self) -> bool {
        match self {
            Self::Git(attributes) => attributes.takes_authtype,
            Self::EngFlow(_) => true,
            Self::Empty => false,
        }
    }

    /// Whether a token is for the requested server. The daemon has checked that; a token for the wrong server would be the
    /// worst failure, so it is checked here too.
    fn may_have(&self, server: &str) -> bool {
        let asked = match self {
            Self::Empty => return true,
            Self::Git(git::Attributes { protocol: Some(protocol), host: Some(host), .. }) => {
                Origin::from_git(protocol, host)
            }
            Self::Git(_) => None,
            Self::EngFlow(request) => Origin::from_uri(&request.uri),
        };
        asked.is_some() && asked == Origin::from_uri(server)
    }

    /// The same for a static credential, whose server need not be a web server.
    fn may_have_static(&self, of: &StaticCredential) -> bool {
        let StaticCredential { protocol, host, credential: _ } = of;
        match self {
            Self::Empty => false,
            Self::Git(attributes) => {
                let is = |asked: &Option<String>, given: &str| {
                    asked.as_ref().is_some_and(|asked| asked.eq_ignore_ascii_case(given))
                };
                is(&attributes.protocol, protocol) && is(&attributes.host, host)
            }
            Self::EngFlow(_) => self.may_have(&format!("{protocol}://{host}")),
        }
    }
}

/// A path as text. One that is not UTF-8 is percent-encoded, so that no two paths become the same.
pub(crate) fn text_of_path(path: &[u8]) -> String {
    match str::from_utf8(path) {
        Ok(text) => text.to_owned(),
        Err(_) => path
            .iter()
            .map(|byte| match byte {
                b'%' | 0x80.. => format!("%{byte:02X}"),
                byte => char::from(*byte).to_string(),
            })
            .collect(),
    }
}

/// The target that git's attributes name.
pub(crate) fn target(attributes: &git::Attributes, profile: Option<String>) -> Target {
    Target {
        profile,
        protocol: attributes.protocol.clone(),
        host: attributes.host.clone(),
        path: attributes.path.as_deref().map(text_of_path),
        uri: None,
        username: attributes.username.clone(),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
