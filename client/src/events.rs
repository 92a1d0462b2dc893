//! Reacts to the daemon's events while a request runs: opens the browser, and informs the user.
//! Does not: write to standard output.
//! Used by: `get` and `login`.

use rally_cred_proto::message::{Authorize, Waiting, WaitingOn};
use rally_cred_proto::{Event, Fault, plain::plain};

use crate::{browser, output::Output, system::System};

/// Who is informed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    /// Whether a browser may be opened when the daemon asks for it.
    pub has_browser: bool,
    /// Whether progress and warnings are shown, and not only addresses.
    pub listens: bool,
}

/// Reacts to one event.
pub fn react(event: &Event, audience: Audience, sys: &dyn System, output: &mut Output<'_>) {
    match event {
        Event::Authorize(authorize) => show(authorize, audience, sys, output),
        // Who does not hear of this would take it for a daemon that hangs.
        Event::Waiting(Waiting { profile, on })
            if audience.listens || matches!(on, WaitingOn::Unlock | WaitingOn::KeyringUnlock) =>
        {
            output.say(format_args!("profile {}: waiting for {}", plain(profile), awaited(*on)));
        }
        Event::Notice(notice) if audience.listens => warn(notice, output),
        // Not wanted, or an event of a newer daemon.
        _ => {}
    }
}

fn show(authorize: &Authorize, audience: Audience, sys: &dyn System, output: &mut Output<'_>) {
    let Authorize { profile, url, start, open, timeout: _ } = authorize;
    // Other users can read a browser's arguments, so the state stays out of them.
    let opened = *open && audience.has_browser && browser::open(start.as_ref().unwrap_or(url), sys);
    // The tab may get closed, or the user may sit at another machine, so Rally's own address is always shown.
    let how = if opened { "the browser opens" } else { "open" };
    let (profile, url) = (plain(profile), url.chars().filter(char::is_ascii_graphic).collect::<String>());
    let what = format_args!("{how} this address to sign in, press \"Allow Access\" there:\n  {url}");
    output.say(format_args!("profile {profile}: {what}"));
}

/// What the daemon waits for, in words.
pub fn awaited(on: WaitingOn) -> &'static str {
    match on {
        WaitingOn::Keyring => "the keyring; it may ask to be unlocked",
        WaitingOn::KeyringUnlock => "you to unlock the keyring",
        WaitingOn::Renewal => "Rally to renew the token",
        WaitingOn::Exchange => "Rally to give the token",
        WaitingOn::Unlock => "you to unlock; run rally-cred unlock",
        WaitingOn::Consent => "your word; a notification asks whether this program may have the token",
        _ => "the daemon",
    }
}

/// Shows a warning.
pub fn warn(notice: &Fault, output: &mut Output<'_>) {
    output.say(format_args!("warning: {notice}"));
}
