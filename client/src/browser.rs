//! Opens an address in the user's browser.
//! Does not: run a shell, wait for the browser, or rely on it: callers show the address as well.
//! Used by: `events`.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use rally_cred_proto::Origin;

use crate::{interactive::has_display, system::System};

/// Opens an http or https address; `false` if no browser could be started. `$BROWSER` comes first.
pub fn open(url: &str, sys: &dyn System) -> bool {
    // Nothing but an http or https URL, since browsers also take options and other schemes.
    Origin::from_uri(url).is_some()
        && commands(url, sys.variable("BROWSER"), has_desktop(sys)).iter_mut().any(|command| {
            // A browser outlives this program, so it gets none of its streams.
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            sys.launch(command).is_ok()
        })
}

/// Whether there is a desktop to open a browser on. Without one, xdg-open can be started all the same, and then opens
/// nothing, or a browser for terminals that nobody sees. Windows' own browser opens from WSL.
fn has_desktop(sys: &dyn System) -> bool {
    has_display(sys) || sys.variable("WSL_DISTRO_NAME").is_some()
}

/// What to try, in this order: the entries of `$BROWSER`, read as xdg-open reads them but without a shell, then what
/// the desktop offers.
fn commands(url: &str, browser: Option<OsString>, has_desktop: bool) -> Vec<Command> {
    let browser = browser.and_then(|browser| browser.into_string().ok()).unwrap_or_default();
    let mut commands: Vec<_> =
        entries(&browser).into_iter().filter_map(|words| named_command(&words, url)).collect();
    if has_desktop {
        commands.extend(open::commands(url));
    }
    commands
}

/// The words of each entry of `$BROWSER`, by the rules of a shell: quotes hold blanks and colons together.
#[cfg(not(windows))]
fn entries(browser: &str) -> Vec<Vec<String>> {
    // An unclosed quote is part of a name.
    if shlex::split(browser).is_none() {
        let words = |entry: &str| entry.split_whitespace().map(str::to_owned).collect();
        return browser.split(':').map(words).collect();
    }
    let (mut quote, mut is_escaped) = (None, false);
    let is_between_entries = |letter: char| {
        match (letter, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', None | Some('"')) => is_escaped = true,
            (letter, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => quote = Some(letter),
            (':', None) => return true,
            _ => {}
        }
        false
    };
    browser.split(is_between_entries).filter_map(shlex::split).collect()
}

/// On Windows a path has a colon and backslashes, so the variable is one entry without quotes.
#[cfg(windows)]
fn entries(browser: &str) -> Vec<Vec<String>> {
    vec![browser.split_whitespace().map(str::to_owned).collect()]
}

/// A program and perhaps arguments, with `%s` where the address goes if not at the end.
fn named_command(words: &[String], url: &str) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|word| word.replace("%s", url)));
    if !words.iter().any(|word| word.contains("%s")) {
        command.arg(url);
    }
    Some(command)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    const URL: &str = "https://rally1.rallydev.com/login/oauth2/auth?a=%24(x)&b='c'";

    fn lines(browser: &str) -> Vec<String> {
        let shown = |command: &Command| {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join("|")
        };
        commands(URL, Some(browser.into()), true).iter().map(shown).collect()
    }

    #[test]
    fn the_address_is_one_argument_of_the_named_browser_and_no_shell_sees_it() {
        for (browser, expected) in [
            ("firefox", format!("firefox|{URL}")),
            ("firefox --new-window", format!("firefox|--new-window|{URL}")),
            ("chrome --app=%s --x", format!("chrome|--app={URL}|--x")),
            ("'/opt/My Browser/run' --new", format!("/opt/My Browser/run|--new|{URL}")),
            (r"/opt/My\ Browser/run", format!("/opt/My Browser/run|{URL}")),
            ("\"/opt/a: b/run\" --at='%s'", format!("/opt/a: b/run|--at={URL}")),
            // No shell, so nothing else is special.
            ("run $HOME `id` *", format!("run|$HOME|`id`|*|{URL}")),
            // An unclosed quote is part of a name.
            ("/opt/o'brien/run --x", format!("/opt/o'brien/run|--x|{URL}")),
        ] {
            assert_eq!(lines(browser)[0], expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_entries_are_tried_in_order_and_the_desktop_last() {
        let lines = lines(":first:second %s::");
        assert_eq!(lines[..2], [format!("first|{URL}"), format!("second|{URL}")]);
        assert!(lines.len() > 2, "{lines:?}");
        assert_eq!(commands(URL, None, true).len(), lines.len() - 2);
    }

    #[test]
    fn the_next_browser_is_tried_if_one_cannot_be_started() {
        let sys = Fake { missing_programs: vec!["absent".to_owned()], ..Fake::default() };
        let sys = sys.with("BROWSER", if cfg!(windows) { "there" } else { "absent:there" });
        assert!(open(URL, &sys));
        assert_eq!(*sys.launched.lock().unwrap(), [format!("there {URL}")]);
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn where_no_desktop_is_nothing_is_said_to_open() {
        let bare = Fake::default();
        assert!(!open(URL, &bare));
        assert!(bare.launched.lock().unwrap().is_empty());
        for (name, value) in
            [("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "wayland-0"), ("WSL_DISTRO_NAME", "Debian")]
        {
            assert!(open(URL, &Fake::default().with(name, value)), "{name}");
        }
    }

    #[test]
    fn what_is_no_web_address_is_not_opened() {
        let sys = Fake::default().with("BROWSER", "firefox");
        for url in ["file:///etc/passwd", "--version", "javascript:alert(1)", "https://a\n", ""] {
            assert!(!open(url, &sys), "{url}");
        }
        assert!(sys.launched.lock().unwrap().is_empty());
    }
}
