//! How `--interactive auto` decides whether the user may be asked to sign in.
//! Does not: run on the hot path. It may start git, so it is used only once a sign-in is needed.
//! Used by: `get`; `browser`, which asks for the display.

use std::{ffi::OsStr, process::Command};

use crate::system::System;

/// Whether a user seems to be there and may be asked. The expensive check comes last.
pub(crate) fn may_ask(sys: &dyn System) -> bool {
    let is_automatic = sys.variable("CI").is_some_and(|value| !means_no(&value));
    let is_silenced = sys.variable("GIT_TERMINAL_PROMPT").is_some_and(|value| means_no(&value));
    !is_automatic && !is_silenced && (has_display(sys) || sys.has_terminal()) && !git_says_no(sys)
}

/// Whether git's setting, as overridden by its caller, forbids it.
fn git_says_no(sys: &dyn System) -> bool {
    let found = sys.output_of(Command::new("git").args(["config", "--get", "credential.interactive"]));
    found.is_ok_and(|found| {
        let value = String::from_utf8_lossy(&found.stdout);
        found.status.success() && means_no(OsStr::new(value.trim_end_matches(['\r', '\n'])))
    })
}

/// Whether programs can open windows here.
pub(crate) fn has_display(sys: &dyn System) -> bool {
    cfg!(any(windows, target_os = "macos"))
        || ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| sys.variable(name).is_some())
}

/// git's words for false, and `never`, which helpers take for `credential.interactive` too.
fn means_no(value: &OsStr) -> bool {
    ["0", "false", "no", "off", "never"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_person_is_asked_only_where_one_seems_to_be_and_may_be_asked() {
        let display: &[_] = &[("DISPLAY", ":0")];
        for (variables, has_terminal, git_says, expected) in [
            (display, false, None, true),
            (&[("WAYLAND_DISPLAY", "wayland-0")], false, None, true),
            (&[], true, None, true),
            (&[], false, None, cfg!(any(windows, target_os = "macos"))),
            (&[("CI", "true")], true, None, false),
            (&[("CI", "1"), ("DISPLAY", ":0")], true, None, false),
            (&[("CI", "yes, it is")], true, None, false),
            (&[("CI", "false")], true, None, true),
            (&[("CI", "0")], true, None, true),
            (&[("CI", "")], true, None, true),
            (&[("GIT_TERMINAL_PROMPT", "0")], true, None, false),
            (&[("GIT_TERMINAL_PROMPT", "False"), ("DISPLAY", ":0")], true, None, false),
            (&[("GIT_TERMINAL_PROMPT", "1")], true, None, true),
            (&[], true, Some("false"), false),
            (&[], true, Some("never"), false),
            (display, true, Some("No"), false),
            (&[], true, Some("true"), true),
            (&[], true, Some("auto"), true),
            (&[], true, Some(""), true),
        ] {
            let mut sys = Fake { has_terminal, ..Fake::default() };
            if let Some(value) = git_says {
                sys = sys.answering("git config --get credential.interactive", 0, &format!("{value}\n"));
            }
            for (name, value) in variables {
                sys = sys.with(name, value);
            }
            assert_eq!(may_ask(&sys), expected, "{variables:?} {has_terminal} {git_says:?}");
        }
    }
}
