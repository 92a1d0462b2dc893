//! What a command does while the daemon works on its request: opens the browser, and tells the person.
//! Does not: write to standard output.
//! Used by: `get` and `login`.

use rally_cred_proto::{
    Answer, Fault,
    message::{Authorize, Waiting, WaitingOn},
    plain::plain,
};

use crate::{browser, output::Output, system::System};

/// Who watches, and what they can do.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    /// Whether a browser may be opened when the daemon asks for it.
    pub has_browser: bool,
    /// Whether anything but an address is worth telling.
    pub listens: bool,
}

/// Reacts to one event.
pub fn react(event: &Answer, audience: Audience, sys: &dyn System, output: &mut Output<'_>) {
    match event {
        Answer::Authorize(authorize) => show(authorize, audience, sys, output),
        Answer::Waiting(Waiting { profile, on }) if audience.listens => {
            output.say(format_args!("profile {}: waiting for {}", plain(profile), awaited(*on)));
        }
        Answer::Notice(notice) if audience.listens => warn(notice, output),
        // Nobody listens, a newer daemon says something that this client does not know, or it is a result.
        _ => {}
    }
}

fn show(authorize: &Authorize, audience: Audience, sys: &dyn System, output: &mut Output<'_>) {
    let Authorize { profile, url, open, timeout: _ } = authorize;
    // Somebody may have closed the tab, or sit at another machine, so the address is shown even if a browser opens.
    let opened = *open && audience.has_browser && browser::open(url, sys);
    let how = if opened { "the browser opens" } else { "open" };
    output.say(format_args!(
        "profile {}: {how} this address to sign in, press \"Allow Access\" there:\n  {}",
        plain(profile),
        url.chars().filter(|c| c.is_ascii_graphic()).collect::<String>()
    ));
}

/// What the daemon waits for.
pub fn awaited(on: WaitingOn) -> &'static str {
    match on {
        WaitingOn::Keyring => "the keyring; it may ask to be unlocked",
        WaitingOn::Renewal => "Rally to renew the token",
        WaitingOn::Exchange => "Rally to give the token",
        _ => "the daemon",
    }
}

/// Tells of something that is in nobody's way yet.
pub fn warn(notice: &Fault, output: &mut Output<'_>) {
    output.say(format_args!("warning: {notice}"));
}
