//! The browser is on another machine: how it comes back through SSH, and the address as a picture for a telephone.
//! Does not: write anything, or know the sign-in.
//! Used by: `login`.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use rally_cred_proto::Origin;

use crate::terminal::{Screen, Terminal};

/// The command that leads a browser's machine to the redirect port of this one, for whoever came by SSH. `start` is the
/// one-time address on that port; there is none unless it is open.
pub(super) fn forwarding(start: Option<&str>, sys: &dyn Terminal) -> Option<String> {
    let connection = sys.variable("SSH_CONNECTION")?.into_string().ok()?;
    let port = Origin::from_uri(start?)?.port();
    // The client's address and port, then the server's.
    let [_, _, address, ssh_port] = connection.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_plain = |name: &String| {
        !name.is_empty()
            && !name.starts_with(['-', '.'])
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._:".contains(letter))
    };
    let host = sys.host_name().filter(is_plain).filter(|name| name != "localhost");
    let host = host.or_else(|| Some(address.to_owned()).filter(is_plain))?;
    let user = sys.variable("LOGNAME").and_then(|name| name.into_string().ok()).filter(is_plain);
    let user = user.map_or_else(String::new, |name| format!("{name}@"));
    let ssh_port = ssh_port.parse::<u16>().ok().filter(|port| *port != 22);
    let ssh_port = ssh_port.map_or_else(String::new, |port| format!("-p {port} "));
    Some(format!("ssh -N -L {port}:127.0.0.1:{port} {ssh_port}{user}{host}"))
}

/// The address as a QR code, for `Output::draw`; the reason if there is none.
///
/// Cameras want dark on light. With colours the picture is that on every terminal; without, on dark ones, and cameras of
/// our days take the other too.
pub(super) fn picture(address: &str, screen: Option<Screen>) -> Result<String, String> {
    let code = QrCode::with_error_correction_level(address, EcLevel::L)
        .map_err(|_| "the address is too long for a QR code".to_owned())?;
    let has_colour = screen.is_some_and(|screen| screen.has_colour);
    let (dark, light) =
        if has_colour { (Dense1x2::Dark, Dense1x2::Light) } else { (Dense1x2::Light, Dense1x2::Dark) };
    let drawn = code.render::<Dense1x2>().dark_color(dark).light_color(light).build();
    let width = drawn.lines().next().map_or(0, |line| line.chars().count());
    if let Some(Screen { columns, .. }) = screen
        && columns < width
    {
        return Err(format!("the QR code needs {width} columns, and this terminal has {columns}"));
    }
    let (before, after) = if has_colour { ("\x1b[38;5;16;48;5;231m", "\x1b[0m") } else { ("", "") };
    Ok(drawn.lines().map(|line| format!("{before}{line}{after}\n")).collect())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, FakeTerminal};

    const START: Option<&str> = Some("http://127.0.0.1:8477/start/word");

    fn sys(host_name: Option<&str>, connection: &str) -> Fake {
        let terminal = FakeTerminal { host_name: host_name.map(str::to_owned), ..FakeTerminal::default() };
        Fake { terminal, ..Fake::default() }.with("SSH_CONNECTION", connection)
    }

    #[test]
    fn whoever_came_by_ssh_gets_the_command_that_brings_the_browser_back() {
        let usual = "192.0.2.7 50222 198.51.100.4 22";
        for (host, connection, user, expected) in [
            (Some("build-box"), usual, "", "ssh -N -L 8477:127.0.0.1:8477 build-box"),
            (Some("build-box"), usual, "dana", "ssh -N -L 8477:127.0.0.1:8477 dana@build-box"),
            (
                Some("box.example"),
                "192.0.2.7 50222 198.51.100.4 2222",
                "dana",
                "ssh -N -L 8477:127.0.0.1:8477 -p 2222 dana@box.example",
            ),
            (None, usual, "", "ssh -N -L 8477:127.0.0.1:8477 198.51.100.4"),
            (Some("localhost"), usual, "", "ssh -N -L 8477:127.0.0.1:8477 198.51.100.4"),
            (None, "2001:db8::1 50222 2001:db8::2 22", "", "ssh -N -L 8477:127.0.0.1:8477 2001:db8::2"),
            // Nothing that a shell would read as more than a name.
            (Some("$(id)"), usual, "a;b", "ssh -N -L 8477:127.0.0.1:8477 198.51.100.4"),
            (Some("-oProxyCommand=x"), usual, "-l", "ssh -N -L 8477:127.0.0.1:8477 198.51.100.4"),
        ] {
            let sys = sys(host, connection).with("LOGNAME", user);
            assert_eq!(forwarding(START, &sys).as_deref(), Some(expected));
        }
        assert_eq!(forwarding(None, &sys(Some("build-box"), usual)), None, "the port is not open");
        assert_eq!(forwarding(START, &sys(Some("build-box"), "")), None, "nobody came by SSH");
        assert_eq!(forwarding(START, &sys(None, "a b;c $(id) 22")), None);
    }

    /// The modules of a picture, from what a terminal would show: whether each is dark.
    fn modules(picture: &str, has_colour: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in picture.lines() {
            let line = line.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "");
            let half = |is_upper: bool| {
                let is_block = move |letter| match letter {
                    ' ' => false,
                    '█' => true,
                    '▀' => is_upper,
                    '▄' => !is_upper,
                    other => panic!("{other:?}"),
                };
                line.chars().map(|letter| is_block(letter) == has_colour).collect::<Vec<_>>()
            };
            rows.extend([half(true), half(false)]);
        }
        rows
    }

    #[test]
    fn the_address_is_drawn_dark_on_light_with_its_margin() {
        let address = "https://rally1.rallydev.com/login/oauth2/auth?state=0b5ff0a5&client_id=x";
        let code = QrCode::with_error_correction_level(address, EcLevel::L).unwrap();
        let (colours, size) = (code.to_colors(), code.width());
        for has_colour in [true, false] {
            let picture = picture(address, Some(Screen { columns: 80, has_colour })).unwrap();
            let modules = modules(&picture, has_colour);
            assert!(modules.len() >= size + 8 && modules.iter().all(|row| row.len() == size + 8));
            for (y, row) in modules.iter().take(size + 8).enumerate() {
                for (x, is_dark) in row.iter().enumerate() {
                    let is_inside = (4..size + 4).contains(&x) && (4..size + 4).contains(&y);
                    let expected = is_inside && colours[(y - 4) * size + x - 4] == qrcode::Color::Dark;
                    assert_eq!(*is_dark, expected, "{x},{y}");
                }
            }
        }
    }

    #[test]
    fn a_picture_that_would_be_broken_into_lines_is_not_drawn() {
        let narrow = Some(Screen { columns: 20, has_colour: true });
        assert_eq!(
            picture("https://a.example/", narrow).unwrap_err(),
            "the QR code needs 33 columns, and this terminal has 20"
        );
        assert!(picture(&"x".repeat(4000), None).is_err());
        assert!(!picture("https://a.example/", None).unwrap().contains('\x1b'));
    }
}
