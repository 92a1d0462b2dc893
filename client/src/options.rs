//! The flags of the helper operations, in one table: `get`, `store`, `erase` and `capability` all take all of them,
//! since git passes what its configuration says to whatever operation it runs.
//! Does not: build a command tree, which would cost more time than the rest of a `get`.
//! Used by: `get`, `git_ops`, and the commands that people type, for the help.

use std::{ffi::OsString, time::Duration};

use rally_cred_proto::{Deadline, Fault, FaultKind, duration, message::Get, variables::PROFILE};

use crate::{autostart::Start, connection::GRACE, format::Format, system::System};

/// What the flags of a helper operation say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) profile: Option<String>,
    /// The format of the answer; without it that of the request.
    pub(crate) format: Option<Format>,
    pub(crate) interactive: Interactive,
    /// Longest time for the whole operation, in seconds.
    pub(crate) wait: u32,
    /// Whether the caller has said how long it waits, and so may be kept waiting for a keyring to be unlocked.
    pub(crate) has_time: bool,
    /// A token that ends sooner than this many seconds from now is renewed first.
    pub(crate) min_validity: u32,
    pub(crate) start: Start,
    /// Whether the flags say all that a request could, so that standard input is not read: a script that loops over its
    /// own input would lose the rest of it.
    pub(crate) leaves_stdin: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: None,
            format: None,
            interactive: Interactive::Auto,
            wait: Get::default_wait(),
            has_time: false,
            min_validity: Get::default_min_validity(),
            start: Start::Shared,
            leaves_stdin: false,
        }
    }
}

/// Whether the user may be asked to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interactive {
    /// If a user seems to be there (see `interactive`).
    Auto,
    Always,
    Never,
}

/// A flag, and what it sets.
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What it takes: choices with `|` between them, or the name of a value; nothing if it takes none.
    pub value: Option<&'static str>,
    /// What `--help` says of it.
    pub help: &'static str,
    set: fn(&mut Options, &str) -> Option<()>,
}

/// Every flag of the helper operations.
pub static FLAGS: [Flag; 7] = [
    Flag {
        name: "profile",
        value: Some("NAME"),
        help: "The profile to serve; a server in the request must be its own [env: RALLY_CRED_PROFILE]",
        set: |options, text| {
            options.profile = Some(text.to_owned());
            Some(())
        },
    },
    Flag {
        name: "format",
        value: Some("git|engflow|token|header|headers|json|env|env-fish|env-powershell|curl"),
        help: "Format of the answer [default: that of the request; git without one]",
        set: |options, text| Format::parse(text).map(|format| options.format = Some(format)),
    },
    Flag {
        name: "interactive",
        value: Some("auto|always|never"),
        help: "Whether the user may be asked to sign in [default: auto]",
        set: |options, text| {
            options.interactive = match text {
                "auto" => Interactive::Auto,
                "always" => Interactive::Always,
                "never" => Interactive::Never,
                _ => return None,
            };
            Some(())
        },
    },
    Flag {
        name: "wait",
        value: Some("DURATION"),
        help: "Time limit for everything together, such as 30s or 2m; if given, a locked keyring is waited for \
               [default: 2m]",
        set: |options, text| {
            duration::parse(text).map(|seconds| (options.wait, options.has_time) = (seconds, true))
        },
    },
    Flag {
        name: "min-validity",
        value: Some("DURATION"),
        help: "Renew a token that ends sooner than this [default: 60s]",
        set: |options, text| duration::parse(text).map(|seconds| options.min_validity = seconds),
    },
    Flag {
        name: "no-autostart",
        value: None,
        help: "Fail if no daemon is running, instead of starting one",
        set: |options, _| {
            options.start = Start::Never;
            Some(())
        },
    },
    Flag {
        name: "no-daemon",
        value: None,
        help: "Read the keyring once, answer, and leave nothing running, as for CI",
        set: |options, _| {
            options.start = Start::Own;
            Some(())
        },
    },
];

impl Options {
    /// Reads the flags around the operation's name. A fault of kind `usage` says which one is wrong.
    pub(crate) fn parse(args: &[OsString], sys: &dyn System) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(args);
        let mut operation = None;
        while let Some(arg) = parser.next().map_err(|err| wrong(err.to_string()))? {
            match arg {
                lexopt::Arg::Long(name) => match FLAGS.iter().find(|flag| flag.name == name) {
                    Some(flag) => flag.take(&mut options, &mut parser)?,
                    None => return Err(wrong(format!("there is no option --{name}"))),
                },
                lexopt::Arg::Short(name) => return Err(wrong(format!("there is no option -{name}"))),
                lexopt::Arg::Value(word) if operation.is_none() => operation = Some(word),
                lexopt::Arg::Value(_) => return Err(wrong("there is more than one operation")),
            }
        }
        options.leaves_stdin = options.profile.is_some() && options.has_optional_request();
        if options.profile.is_none() {
            options.profile = named_profile(sys)?;
        }
        Ok(options)
    }

    /// The end of the whole operation: reading the request, starting a daemon, its answer. If no time is given for
    /// anything else, there is enough for a request and an answer that are at hand.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(Duration::from_secs(self.wait.max(1).into()) + GRACE)
    }

    /// The seconds left for the operation, for the daemon's own timeout.
    pub(crate) fn seconds_left(&self, deadline: &Deadline) -> u32 {
        let left = deadline.left().unwrap_or_default().saturating_sub(GRACE) + Duration::from_millis(500);
        let whole = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
        // The daemon takes 0 for no wait at all.
        whole.max(1).min(self.wait)
    }

    /// Whether a request may come on standard input, but need not: that of a protocol always comes.
    pub(crate) fn has_optional_request(&self) -> bool {
        self.format.is_some_and(|format| !format.has_requests())
    }
}

impl Flag {
    fn take(&self, options: &mut Options, parser: &mut lexopt::Parser) -> Result<(), Fault> {
        let Some(expected) = self.value else {
            return (self.set)(options, "").ok_or_else(|| wrong(format!("--{} cannot be used", self.name)));
        };
        let value =
            parser.value().map_err(|_| wrong(format!("--{} needs a value: {expected}", self.name)))?;
        value
            .to_str()
            .and_then(|value| (self.set)(options, value))
            .ok_or_else(|| wrong(format!("--{} takes {expected}", self.name)))
    }
}

/// The profile that [`PROFILE`] names.
pub fn named_profile(sys: &dyn System) -> Result<Option<String>, Fault> {
    sys.variable(PROFILE)
        .map(|name| name.into_string().map_err(|_| wrong(format!("{PROFILE} is not UTF-8"))))
        .transpose()
}

/// The first argument that is neither a flag of the table nor the value of one: the operation or command.
pub(crate) fn first_word(args: &[OsString]) -> Option<&OsString> {
    let takes_value = |arg: &str| {
        let name = arg.strip_prefix("--");
        FLAGS.iter().any(|flag| flag.value.is_some() && Some(flag.name) == name)
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--") => return args.next(),
            Some(flag) if takes_value(flag) => drop(args.next()),
            Some(flag) if flag.starts_with('-') => {}
            Some(_) | None => return Some(arg),
        }
    }
    None
}

fn wrong(why: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::Usage, "the command line is not understood").why(why).run("rally-cred get --help")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn parse(line: &str) -> Result<Options, Fault> {
        Options::parse(&words(line), &Fake::default())
    }

    #[test]
    fn flags_stand_before_and_after_the_operation() {
        let expected = Options {
            profile: Some("work".to_owned()),
            format: Some(Format::Header),
            interactive: Interactive::Never,
            wait: 30,
            has_time: true,
            min_validity: 600,
            start: Start::Never,
            leaves_stdin: true,
        };
        assert_eq!(
            parse(
                "--profile work --format=header --interactive never get --wait 30s --min-validity 10m --no-autostart"
            ),
            Ok(expected)
        );
        assert_eq!(parse("get"), Ok(Options::default()));
    }

    #[test]
    fn the_variable_names_a_profile_unless_the_flag_does() {
        let sys = Fake::default().with("RALLY_CRED_PROFILE", "home");
        let profile = |line| Options::parse(&words(line), &sys).unwrap().profile;
        assert_eq!(profile("get").as_deref(), Some("home"));
        assert_eq!(profile("get --profile work").as_deref(), Some("work"));
    }

    #[test]
    fn standard_input_is_left_alone_only_if_flags_name_both_profile_and_format() {
        let sys = Fake::default().with("RALLY_CRED_PROFILE", "home");
        for (line, expected) in [
            ("get --profile work --format token", true),
            ("get --profile work --format json", true),
            ("get --profile work --format env", true),
            ("get --profile work --format curl", true),
            ("get --profile work --format git", false),
            ("get --profile work --format engflow", false),
            ("get --profile work", false),
            ("get --format token", false),
        ] {
            assert_eq!(Options::parse(&words(line), &sys).unwrap().leaves_stdin, expected, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_flag_is_said() {
        for (line, why) in [
            ("get --colour", "there is no option --colour"),
            ("get -x", "there is no option -x"),
            ("get --wait", "--wait needs a value: DURATION"),
            ("get --wait soon", "--wait takes DURATION"),
            (
                "get --format xml",
                "--format takes git|engflow|token|header|headers|json|env|env-fish|env-powershell|curl",
            ),
            ("get --interactive=yes", "--interactive takes auto|always|never"),
            ("get store", "there is more than one operation"),
        ] {
            let fault = parse(line).unwrap_err();
            assert_eq!((fault.kind, fault.why.as_deref()), (FaultKind::Usage, Some(why)), "{line}");
        }
        assert_eq!(parse("get --no-autostart=yes").unwrap_err().kind, FaultKind::Usage);
    }

    #[test]
    fn every_format_is_named_by_its_flag() {
        let flag = FLAGS.iter().find(|flag| flag.name == "format").unwrap();
        let names: Vec<_> = Format::ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(flag.value, Some(names.join("|").as_str()));
    }

    #[test]
    fn the_first_word_is_found_behind_flags_and_their_values() {
        for (line, expected) in [
            ("get", Some("get")),
            ("--profile get erase", Some("erase")),
            ("--profile=get erase", Some("erase")),
            ("--no-autostart store --wait 1", Some("store")),
            ("-x --unknown future-operation", Some("future-operation")),
            ("-- get", Some("get")),
            ("--profile", None),
            ("--help", None),
            ("", None),
        ] {
            let args = words(line);
            assert_eq!(first_word(&args).and_then(|word| word.to_str()), expected, "{line}");
        }
    }
}
