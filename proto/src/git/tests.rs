//! What the git codec takes, refuses and answers.
//! Does not: run git itself (the integration tests do).
//! Used by: `cargo test`.

use std::io::Cursor;

use proptest::{collection::vec, prelude::*};

use super::*;

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

fn refused(input: impl AsRef<[u8]>) -> BadAttributes {
    parse(input.as_ref()).unwrap_err()
}

#[test]
fn a_request_of_git_is_read_with_every_attribute() {
    let found = parse(
        b"protocol=https\nhost=rally1.rallydev.com:443\npath=slm/x=y\nusername=\npassword=a=b\npassword_expiry_utc=9999999999\n\
          oauth_refresh_token=rt\nauthtype=Bearer\ncredential=c\nephemeral=1\ncapability[]=authtype\n\ngarbage",
    )
    .unwrap();
    assert_eq!(found.protocol.as_deref(), Some("https"));
    assert_eq!(found.host.as_deref(), Some("rally1.rallydev.com:443"));
    assert_eq!(found.path.as_deref(), Some(b"slm/x=y".as_slice()));
    assert_eq!(found.username.as_deref(), Some(""));
    assert!(found.password.unwrap().matches(&secret("a=b")));
    assert_eq!(found.password_expiry_utc, Some(9_999_999_999));
    assert!(found.oauth_refresh_token.unwrap().matches(&secret("rt")));
    assert_eq!(found.authtype.as_deref(), Some("Bearer"));
    assert!(found.credential.unwrap().matches(&secret("c")));
    assert!(found.ephemeral && found.takes_authtype);
}

#[test]
fn an_empty_request_is_a_request() {
    for input in ["", "\n", "\nprotocol=https\n"] {
        assert!(parse(input.as_bytes()).unwrap().protocol.is_none());
    }
}

#[test]
fn the_last_line_needs_no_line_feed() {
    assert_eq!(parse(b"protocol=https\nhost=a").unwrap().host.as_deref(), Some("a"));
}

#[test]
fn the_last_value_counts_and_an_empty_one_empties_a_list() {
    assert_eq!(parse(b"host=a\nhost=b\n").unwrap().host.as_deref(), Some("b"));
    assert_eq!(parse(b"host=a\nhost=\n").unwrap().host.as_deref(), Some(""));
    for (lines, expected) in [
        ("capability[]=state\ncapability[]=authtype\ncapability[]=later\n", true),
        ("capability[]=authtype\ncapability[]=\n", false),
        ("capability[]=authtype\ncapability[]=\ncapability[]=authtype\n", true),
        ("capability=authtype\n", false),
        ("capability[]=Authtype\n", false),
    ] {
        assert_eq!(parse(lines.as_bytes()).unwrap().takes_authtype, expected, "{lines}");
    }
}

#[test]
fn unknown_attributes_are_passed_over_whatever_their_bytes() {
    let found =
        parse(b"ntlm=suppressed\nwwwauth[]=\xff\xfe\nstate[]=x\n[]=\nHOST=b\npath=\xff\nhost=a\n").unwrap();
    assert_eq!(found.host.as_deref(), Some("a"));
    assert_eq!(found.path.as_deref(), Some(b"\xff".as_slice()));
}

#[test]
fn carriage_return_and_nul_are_refused_in_every_attribute_and_at_its_end() {
    for (key, shown) in
        [("host", "host"), ("password", "password"), ("wwwauth[]", "an attribute"), ("x\ty", "an attribute")]
    {
        for breaker in ["\r", "\0"] {
            let at = "protocol=https\n".len() + key.len() + "=canary".len();
            let expected = BadAttributes::LineBreaker { key: shown, at };
            assert_eq!(refused(format!("protocol=https\n{key}=canary{breaker}\n")), expected);
            assert_eq!(refused(format!("protocol=https\n{key}=canary{breaker}b\n")), expected);
        }
    }
    assert_eq!(refused("protocol=https\r\n\r\n"), BadAttributes::LineBreaker { key: "protocol", at: 14 });
    assert_eq!(refused("\r\n"), BadAttributes::LineBreaker { key: "an attribute", at: 0 });
}

#[test]
fn a_line_without_a_key_or_an_equals_sign_is_refused() {
    assert_eq!(refused("protocol=https\nhost\n"), BadAttributes::NoEquals(15));
    assert_eq!(refused("protocol=https\n=a\n"), BadAttributes::NoKey(15));
}

#[test]
fn a_line_of_65535_bytes_passes_and_a_longer_one_only_if_it_is_not_kept() {
    let line = |key: &str, length: usize| format!("{key}={}\n", "a".repeat(length - key.len() - 2));
    assert!(parse(line("password", MAX_LINE).as_bytes()).is_ok());
    let too_long = BadAttributes::LineTooLong { at: 0, length: MAX_LINE + 1 };
    assert_eq!(refused(line("password", MAX_LINE + 1)), too_long);
    assert!(parse(line("wwwauth[]", 3 * MAX_LINE).as_bytes()).is_ok());
}

#[test]
fn only_our_own_note_in_the_state_is_taken_and_an_empty_one_empties_it() {
    let profile = |states: &str| parse(states.as_bytes()).unwrap().profile;
    let ours = "state[]=rally-cred:profile=work\n";
    assert_eq!(profile(ours).as_deref(), Some("work"));
    assert_eq!(
        profile(&format!("state[]=other:profile=x\n{ours}state[]=other:y\n")).as_deref(),
        Some("work")
    );
    assert_eq!(profile(&format!("{ours}state[]=\n")), None);
    assert!(parse(b"state[]=other:\xff\n").is_ok());
}

#[test]
fn a_long_header_is_not_mistaken_for_a_host() {
    for length in 1000..1050 {
        let header = format!("wwwauth[]={}host=victim.example", "a".repeat(length));
        let found = parse(format!("protocol=https\nhost=a\n{header}\n").as_bytes()).unwrap();
        assert_eq!(found.host.as_deref(), Some("a"));
    }
}

#[test]
fn texts_that_are_kept_must_be_utf8() {
    for key in ["protocol", "host", "username", "password", "oauth_refresh_token", "authtype", "credential"] {
        let input = [key.as_bytes(), b"=\xff\n"].concat();
        assert_eq!(refused(input), BadAttributes::NotUtf8 { key, at: 0 });
    }
}

#[test]
fn an_expiry_is_read_as_git_reads_it() {
    for (value, expected) in [
        ("", None),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("99999999999999999999", None),
        ("9223372036854775807", Some(i64::MAX)),
        (" \t+12 years", Some(12)),
        ("007.5", Some(7)),
        ("+-7", None),
    ] {
        let input = format!("password_expiry_utc=5\npassword_expiry_utc={value}\n");
        assert_eq!(parse(input.as_bytes()).unwrap().password_expiry_utc, expected, "{value}");
    }
}

#[test]
fn what_only_other_helpers_use_is_passed_over_with_its_resets() {
    let found = parse(
        b"capability[]=state\nstate[]=other:x\nstate[]=\nstate[]=rally-cred:y\ncontinue=1\nquit=1\nwwwauth[]=Basic\n\
          wwwauth[]=\nwwwauth[]=Bearer realm=\"host=b\"\nprotocol=https\nhost=a\n",
    )
    .unwrap();
    assert_eq!((found.protocol.as_deref(), found.host.as_deref()), (Some("https"), Some("a")));
    assert!(!found.takes_authtype);
}

#[test]
fn what_is_not_certainly_storable_is_ephemeral() {
    for (value, expected) in
        [("", false), ("0", false), ("False", false), ("1", true), ("true", true), ("?", true)]
    {
        assert_eq!(parse(format!("ephemeral={value}\n").as_bytes()).unwrap().ephemeral, expected, "{value}");
    }
}

#[test]
fn a_url_stands_for_its_parts_and_nothing_before_it_counts() {
    let found =
        parse(b"capability[]=authtype\nusername=old\npath=old\nurl=https://a:8443\nusername=new\n").unwrap();
    assert_eq!(found.protocol.as_deref(), Some("https"));
    assert_eq!(found.host.as_deref(), Some("a:8443"));
    assert_eq!(found.username.as_deref(), Some("new"));
    assert_eq!(found.path, None);
    assert!(!found.takes_authtype);
}

#[test]
fn neither_debug_nor_an_error_shows_a_value() {
    let found = parse(b"password=canary\noauth_refresh_token=canary\ncredential=canary\n").unwrap();
    let mut shown = format!("{found:?}");
    for input in
        ["canary\n", "=canary\n", "canary\r=\n", "password=canary\0\n", "url=canary\n", "url=canary://%0a\n"]
    {
        let fault = refused(input);
        shown += &format!("{fault} {fault:?}");
    }
    assert!(!shown.contains("canary"), "{shown}");
}

/// Gives its pieces one at a time, then breaks, so that reading on is noticed.
struct Pieces<'a>(Vec<&'a [u8]>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.remove(0).read(buffer)
    }
}

#[test]
fn reading_ends_at_the_blank_line_even_if_the_input_does_not() {
    let held = read(&mut Pieces(vec![b"host=a\n", b"", b"never"])).unwrap();
    assert_eq!(*held, b"host=a\n");
    let held = read(&mut Pieces(vec![b"host=a", b"\n", b"\n"])).unwrap();
    assert_eq!(*held, b"host=a\n\n");
    let held = read(&mut Pieces(vec![b"\nhost=a\n"])).unwrap();
    assert_eq!(*held, b"\nhost=a\n");
    assert_eq!(
        read(&mut Pieces(vec![b"host=a\n"])).unwrap_err(),
        BadAttributes::Unreadable(io::ErrorKind::BrokenPipe)
    );
}

#[test]
fn json_is_read_to_the_end_whatever_blank_lines_it_has() {
    let held = read(&mut Pieces(vec![b"\n\n", b" {\n\n", b"\"uri\":\"https://a\"}\n\n", b""])).unwrap();
    assert_eq!(*held, b"\n\n {\n\n\"uri\":\"https://a\"}\n\n");
}

#[test]
fn a_request_of_1_mib_is_read_and_a_longer_one_refused() {
    let lines = |count: usize| Cursor::new("a=\n".repeat(count / 3) + &"b".repeat(count % 3));
    assert_eq!(read(&mut lines(MAX_REQUEST)).unwrap().len(), MAX_REQUEST);
    assert_eq!(read(&mut lines(MAX_REQUEST + 1)).unwrap_err(), BadAttributes::TooLong);
    assert_eq!(read(&mut io::repeat(b'a')).unwrap_err(), BadAttributes::TooLong);
}

/// Lines that git could write: keys that are kept, by their place in this list, or any other.
const SINGLE: [&str; 7] =
    ["protocol", "host", "username", "password", "oauth_refresh_token", "authtype", "credential"];

fn line_of_git() -> impl Strategy<Value = (String, String)> {
    let kept = prop::sample::select(SINGLE.as_slice()).prop_map(str::to_owned);
    let other =
        "[^=\r\n\0]{1,20}".prop_filter("not a known key", |key| !KNOWN.split(' ').any(|known| known == key));
    (prop_oneof![kept, other], "[^\r\n\0]{0,40}")
}

/// A line of a key that is kept, with whatever may break a line in its value.
fn line_nearly_of_git() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec!["protocol", "host", "path", "username", "authtype"]);
    let byte = prop_oneof![4 => b' '..=b'~', 1 => Just(b'\r'), 1 => Just(b'\0'), 1 => any::<u8>()];
    (key, vec(byte, 0..6)).prop_map(|(key, value)| [key.as_bytes(), b"=", &value, b"\n"].concat())
}

/// Of what is no [`Secret`], which cannot hold one.
fn has_no_line_break(found: &Attributes) -> bool {
    let texts = [&found.protocol, &found.host, &found.username, &found.authtype];
    let texts = texts.into_iter().flatten().map(String::as_bytes).chain(found.path.as_deref());
    texts.map(line_breaker).all(|at| at.is_none())
}

proptest! {
    #[test]
    fn whatever_git_writes_is_read_back(lines in vec(line_of_git(), 0..20)) {
        let input: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let found = parse(input.as_bytes()).unwrap();
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let kept = [
            found.protocol.clone(), found.host.clone(), found.username.clone(), exposed(&found.password),
            exposed(&found.oauth_refresh_token), found.authtype.clone(), exposed(&found.credential),
        ];
        for (key, kept) in SINGLE.into_iter().zip(kept) {
            let last = lines.iter().rfind(|line| line.0 == key).map(|line| line.1.clone());
            prop_assert_eq!(kept, last, "{}", key);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic_or_leak_a_line_break(
        input in prop_oneof![vec(any::<u8>(), 0..400), vec(line_nearly_of_git(), 0..4).prop_map(|lines| lines.concat())]
    ) {
        if let Ok(found) = parse(&input) {
            prop_assert!(has_no_line_break(&found), "{found:?}");
        }
    }

    #[test]
    fn no_url_makes_the_parser_panic_or_leak_a_line_break(
        url in "[a%:/@?#0-9\r]{0,8}(://)?([a%0-9A-Fd:/@?#é]|%0[0aAdD]){0,30}"
    ) {
        if let Ok(found) = parse(format!("url={url}\n").as_bytes()) {
            prop_assert!(found.protocol.is_some() && found.host.is_some());
            prop_assert!(has_no_line_break(&found), "{found:?}");
        }
    }

    #[test]
    fn reading_in_pieces_is_reading_at_once(pieces in vec(prop::sample::select(vec!["a=b\n", "\n", "{", " ", "a", "="]), 0..12)) {
        let whole = pieces.concat();
        let mut parts: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        parts.push(b"");
        let (once, apart) = (read(&mut Cursor::new(&whole)).unwrap(), read(&mut Pieces(parts)).unwrap());
        // Apart, reading may stop at a blank line that at once was followed by more.
        prop_assert!(once.starts_with(&apart));
        if !engflow::looks_like_json(&once) {
            let shown = |bytes: &[u8]| format!("{:?}", parse(bytes));
            prop_assert_eq!(shown(&once), shown(&apart));
        }
    }
}
