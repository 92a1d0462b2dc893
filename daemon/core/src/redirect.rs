//! Reads the address that the browser was sent back to, and accepts only the one that the pending sign-in waits for.
//! Does not: listen, remember which redirect was used already, or exchange the code.
//! Used by: flow (each request on the redirect port) and the broker (an address pasted into `rally-cred login`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use rally_cred_proto::{Fault, FaultKind, Origin, Secret, remedy::Command};
use url::{Url, form_urlencoded};

use super::{profile::RedirectUri, sent::Sent};

/// What the pending sign-in waits for.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The callback URL as registered. Its own query must come back whole.
    pub redirect_uri: RedirectUri,
    /// The state in the authorization URL. It is good for one use; the caller sees to that.
    pub state: Secret,
    /// What Rally knows, and may quote in a refusal.
    pub secrets: Sent,
    /// The authorization URL, and the words of the one-time addresses that lead to it.
    pub start: Start,
}

/// One-time addresses on the redirect port, each of which leads a browser to the authorization URL. They stand in a
/// browser's arguments in its place: arguments are for every user of the machine to read, and with the state in them
/// anybody could send the browser's answer first.
#[derive(Clone, Debug)]
pub struct Start {
    /// The authorization URL.
    pub leads_to: Secret,
    /// A word for each address, good for one use; the caller sees to that.
    pub words: Vec<Secret>,
}

/// What precedes the word in the path of a one-time address.
const START: &str = "/start/";

/// What a request on the redirect port is.
#[derive(Clone, Debug)]
pub enum Target {
    /// The one-time address with this number.
    Start(usize),
    /// The redirect.
    Redirect(Redirect),
}

/// How Rally answered the authorization request (RFC 6749 §4.1.2).
#[derive(Clone, Debug)]
pub enum Redirect {
    /// The user pressed "Allow Access": exchange the code.
    Code(Secret),
    /// There will be no code. Both texts are plain.
    Refused {
        /// The error code; `access_denied` is the user's "Deny".
        error: String,
        /// Rally's words for it.
        description: Option<String>,
    },
}

/// Why an address is not the redirect. The sign-in stays pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// The pasted text is not a URL with a host.
    #[error("it is not a whole address")]
    NotAnAddress,
    /// The pasted text looks like a code without its address, and so without the state that tells whose it is.
    #[error("it is the code alone, which does not tell which sign-in it belongs to")]
    OnlyCode,
    /// The pasted address ends before its state does.
    #[error("its end is missing")]
    CutShort,
    /// The pasted address leads to another machine or port.
    #[error("it leads to another server than the redirect URI")]
    WrongServer,
    /// The path is not the registered one.
    #[error("its path is not that of the redirect URI")]
    WrongPath,
    /// A part of the registered URI's own query is missing.
    #[error("it lacks a part of the redirect URI's own query")]
    WrongQuery,
    /// The pasted address is one that only leads to Rally's page.
    #[error("it only leads to Rally's page")]
    StartAddress,
    /// There is no state.
    #[error("it carries no state")]
    NoState,
    /// The state is another sign-in's, or invented.
    #[error("its state is not that of the pending sign-in")]
    WrongState,
    /// `state`, `code` or `error` occurs more than once.
    #[error("it carries the state, the code or the error twice")]
    Repeated,
    /// There is neither a code nor an error.
    #[error("it carries neither a code nor an error")]
    NoAnswer,
    /// There are both a code and an error.
    #[error("it carries both a code and an error")]
    TwoAnswers,
    /// The code is empty, or not of visible ASCII and spaces (RFC 6749, appendix A.11).
    #[error("its code is empty or damaged")]
    BadCode,
}

impl Expected {
    /// Reads the target of a request on the redirect port: path and query, as the browser sent them.
    pub fn read_target(&self, path_and_query: &str) -> Result<Target, NotOurs> {
        let target = path_and_query.split_once('#').map_or(path_and_query, |(before, _)| before);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match self.start_word(path) {
            Some(word) => self.read_start(word),
            None => self.read(path, query).map(Target::Redirect),
        }
    }

    /// The one-time address with this number, if there is one and it can lead to this machine.
    pub fn start_address(&self, number: usize) -> Option<String> {
        let word = self.start.words.get(number)?;
        Some(format!("http://{}{START}{}", self.redirect_uri.listen_at()?.address_header, word.expose()))
    }

    /// Whether a target is that of a one-time address, good or not.
    pub fn is_start(&self, path_and_query: &str) -> bool {
        self.start_word(path_and_query).is_some()
    }

    /// The word in the path of a one-time address, if the redirect's own path does not look like one.
    fn start_word<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(START).filter(|_| !self.redirect_uri.url().path().starts_with(START))
    }

    fn read_start(&self, word: &str) -> Result<Target, NotOurs> {
        // An earlier sign-in's, most likely.
        let word = Secret::parse(word.to_owned()).map_err(|_| NotOurs::WrongState)?;
        let number = self.start.words.iter().position(|good| good.matches(&word));
        number.map(Target::Start).ok_or(NotOurs::WrongState)
    }

    /// Reads an address from a browser's address bar. White space anywhere, and quotes around it, come from the way that it
    /// was copied: a terminal breaks it into lines, a mail puts it in brackets.
    ///
    /// An address of this machine is read leniently: browsers turn http into https or hide it, and people try `127.0.0.1`
    /// where `localhost` does not open. Whoever knows the state got it from Rally, so the state decides.
    pub fn read_pasted(&self, pasted: &str) -> Result<Redirect, NotOurs> {
        let address = self.whole(pasted);
        // Behind the path, a backslash is a character as any other.
        let place = address.split(['?', '#']).next().unwrap_or_default();
        let is_whole = address.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        let origin = Origin::from_uri(place).filter(|_| is_whole).ok_or_else(|| no_address(pasted))?;
        let url = Url::parse(&address).map_err(|_| NotOurs::NotAnAddress)?;
        let registered = self.redirect_uri.url();
        let own = Origin::from_uri(registered.as_str()).ok_or(NotOurs::WrongServer)?;
        let is_local = own.is_loopback() && origin.is_loopback() && is_same_port(&own, &origin);
        if !is_local && own != origin {
            return Err(NotOurs::WrongServer);
        }
        if is_local && self.is_start(url.path()) {
            return Err(NotOurs::StartAddress);
        }
        let is_same_path = is_local && bare_path(url.path()) == bare_path(registered.path());
        let path = if is_same_path { registered.path() } else { url.path() };
        let query = url.query().unwrap_or_default();
        self.read(path, query).map_err(|not_ours| match not_ours {
            NotOurs::NoState | NotOurs::WrongState if self.is_cut_short(query) => NotOurs::CutShort,
            not_ours => not_ours,
        })
    }

    /// The address as it was before it was copied, with the scheme that browsers hide in front of a host.
    fn whole(&self, pasted: &str) -> String {
        let address: String = unquoted(pasted).chars().filter(|letter| !letter.is_whitespace()).collect();
        let own = self.redirect_uri.url();
        let with_scheme = format!("{}://{address}", own.scheme());
        let place = with_scheme.split(['?', '#']).next().unwrap_or_default();
        let origin = Origin::from_uri(place).filter(|_| !address.contains("://"));
        match origin
            .filter(|origin| origin.is_loopback() || Some(origin) == Origin::from_uri(own.as_str()).as_ref())
        {
            Some(_) => with_scheme,
            None => address,
        }
    }

    /// Whether the query ends before its state does. Only who pasted it is told: to the port anybody can come, and would
    /// learn how near a guess is.
    fn is_cut_short(&self, query: &str) -> bool {
        let last = query.rsplit('&').next().unwrap_or_default();
        match last.split_once('=') {
            Some(("state", value)) => self.state.expose().starts_with(value),
            Some(("code", _)) => !query.contains("state="),
            Some(_) => false,
            None => "state".starts_with(last) && !query.contains("state="),
        }
    }

    fn read(&self, path: &str, query: &str) -> Result<Redirect, NotOurs> {
        let registered = self.redirect_uri.url();
        if path != registered.path() {
            return Err(NotOurs::WrongPath);
        }
        let mut pairs: Vec<Pair<'_>> = form_urlencoded::parse(query.as_bytes()).collect();
        for own in registered.query_pairs() {
            let at = pairs.iter().position(|pair| *pair == own).ok_or(NotOurs::WrongQuery)?;
            pairs.remove(at);
        }
        // The state comes first: without it, nothing else in the address is believed.
        let state = take_once(&mut pairs, "state")?.ok_or(NotOurs::NoState)?;
        let state = Secret::parse(state).map_err(|_| NotOurs::WrongState)?;
        if !self.state.matches(&state) {
            return Err(NotOurs::WrongState);
        }
        let code = take_once(&mut pairs, "code")?;
        let error = take_once(&mut pairs, "error")?;
        match (code, error) {
            (Some(code), None) => read_code(code),
            (None, Some(error)) if !error.is_empty() => {
                let description = pairs.iter().find(|(name, _)| name == "error_description");
                Ok(Redirect::Refused {
                    error: self.secrets.shown(&error),
                    description: description
                        .map(|(_, text)| self.secrets.shown(text))
                        .filter(|text| !text.is_empty()),
                })
            }
            (None, _) => Err(NotOurs::NoAnswer),
            (Some(_), Some(_)) => Err(NotOurs::TwoAnswers),
        }
    }
}

/// The text without what it was wrapped in: white space, quotes or brackets, and the marks that a terminal puts around what
/// is pasted (bracketed paste).
fn unquoted(text: &str) -> &str {
    const QUOTES: [(&str, &str); 8] = [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("<", ">"),
        ("(", ")"),
        ("“", "”"),
        ("„", "“"),
        ("\x1b[200~", "\x1b[201~"),
    ];
    let mut text = text.trim();
    while let Some(inner) =
        QUOTES.iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))
    {
        text = inner.trim();
    }
    text
}

/// What a text is that has no address in it.
fn no_address(text: &str) -> NotOurs {
    let text = unquoted(text).trim_end_matches('=');
    // Shorter ones are words.
    const SHORTEST_CODE: usize = 8;
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
    let is_only_code = text.len() >= SHORTEST_CODE && text.bytes().all(is_code);
    if is_only_code { NotOurs::OnlyCode } else { NotOurs::NotAnAddress }
}

/// The same port, or each its scheme's own: a browser that turns http into https goes from 80 to 443 (RFC 6797 §8.3).
fn is_same_port(one: &Origin, other: &Origin) -> bool {
    let is_own = |origin: &Origin| origin.port() == if origin.is_https() { 443 } else { 80 };
    one.port() == other.port() || is_own(one) && is_own(other)
}

/// The path as bytes, without a final slash.
fn bare_path(path: &str) -> Vec<u8> {
    percent_decode_str(path.trim_end_matches('/')).collect()
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn take_once(pairs: &mut Vec<Pair<'_>>, name: &str) -> Result<Option<String>, NotOurs> {
    let Some(at) = pairs.iter().position(|(key, _)| key == name) else { return Ok(None) };
    let (_, value) = pairs.remove(at);
    if pairs.iter().any(|(key, _)| key == name) {
        return Err(NotOurs::Repeated);
    }
    Ok(Some(value.into_owned()))
}

fn read_code(code: String) -> Result<Redirect, NotOurs> {
    let is_usable = !code.is_empty() && code.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let code = Secret::parse(code).map_err(|_| NotOurs::BadCode)?;
    if is_usable { Ok(Redirect::Code(code)) } else { Err(NotOurs::BadCode) }
}

impl Redirect {
    /// Why there is no code, for people; `None` if there is one.
    pub fn fault(&self) -> Option<Fault> {
        let Self::Refused { error, description } = self else { return None };
        let fault = match error.as_str() {
            "access_denied" => {
                Fault::new(FaultKind::Denied, "the sign-in was denied in the browser").run("rally-cred login")
            }
            "temporarily_unavailable" | "server_error" => {
                Fault::new(FaultKind::Unreachable, "Rally cannot sign anyone in at the moment")
                    .remedy(Command::new("rally-cred login").and(", in a few minutes"))
            }
            _ => Fault::new(FaultKind::ClientRefused, "Rally refused the authorization request").remedy(
                "compare client_id, redirect_uri and scope in the config file with the OAuth client in Rally",
            ),
        };
        let why = description.as_ref().map_or_else(|| error.clone(), |text| format!("{error}: {text}"));
        Some(fault.why(why))
    }
}

impl NotOurs {
    /// The fault for the person who pasted the address.
    pub fn fault(self) -> Fault {
        let remedy = match self {
            Self::NotAnAddress | Self::OnlyCode => "paste the whole address, from http to its end",
            Self::CutShort => "paste the rest of it, or the whole address once more",
            Self::StartAddress => "open the address of Rally's that rally-cred shows, in any browser",
            Self::WrongState => "use the newest authorization page, and paste the address that it leads to",
            Self::WrongServer
            | Self::WrongPath
            | Self::WrongQuery
            | Self::NoState
            | Self::Repeated
            | Self::NoAnswer
            | Self::TwoAnswers
            | Self::BadCode => "press \"Allow Access\", then paste the address that the browser shows",
        };
        Fault::new(FaultKind::BadRedirect, "this address does not complete the sign-in")
            .why(self.to_string())
            .remedy(remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "0b5ff0a5-9d4e-4f7c-8a6d-1f7a6f0c2b11";

    fn expected(redirect_uri: &str) -> Expected {
        let state = Secret::parse(STATE.to_owned()).unwrap();
        Expected {
            redirect_uri: RedirectUri::parse(redirect_uri).unwrap(),
            secrets: Sent::new([state.clone(), Secret::parse("sesame".to_owned()).unwrap()]),
            state,
            start: Start {
                leads_to: secret("https://rally.example/auth?state=sesame"),
                words: vec![secret("first"), secret("second")],
            },
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::parse(text.to_owned()).unwrap()
    }

    fn redirect(read: Result<Target, NotOurs>) -> Result<Redirect, NotOurs> {
        read.map(|target| match target {
            Target::Redirect(redirect) => redirect,
            Target::Start(number) => panic!("the one-time address {number}"),
        })
    }

    /// What was read, as one text to compare.
    fn shown(read: Result<Redirect, NotOurs>) -> String {
        match read {
            Ok(Redirect::Code(code)) => format!("code {}", code.expose()),
            Ok(Redirect::Refused { error, description: None }) => format!("refused {error}"),
            Ok(Redirect::Refused { error, description: Some(text) }) => format!("refused {error}: {text}"),
            Err(not_ours) => format!("{not_ours:?}"),
        }
    }

    /// Checks a request target (`§` stands for the state) and, where it can be one, the same as a pasted address. What is
    /// wanted of that stands behind a `¦` if it differs.
    fn check(redirect_uri: &str, target: &str, wanted: &str) {
        let (wanted, of_pasted) = wanted.split_once('¦').unwrap_or((wanted, wanted));
        let target = target.replace('§', STATE);
        let expected = expected(redirect_uri);
        assert_eq!(shown(redirect(expected.read_target(&target))), wanted, "target {target}");
        let origin = expected.redirect_uri.url().origin().ascii_serialization();
        assert_eq!(
            shown(expected.read_pasted(&format!(" {origin}{target}\r\n"))),
            of_pasted,
            "pasted {target}"
        );
    }

    #[test]
    fn the_right_redirect_is_read_in_every_spelling() {
        for (target, wanted) in [
            ("/cb?code=abc&state=§", "code abc"),
            ("/cb?state=§&code=abc", "code abc"),
            ("/cb?iss=https%3A%2F%2Frally1.rallydev.com&code=abc&x&state=§&scope=alm&iss=2", "code abc"),
            ("/cb?code=a%2Bb%2F%3D%26c&state=§", "code a+b/=&c"),
            ("/cb?code=a+b&state=§", "code a b"),
            ("/cb?code=a=b&state=§", "code a=b"),
            ("/cb?c%6Fde=abc&st%61te=§", "code abc"),
            ("/cb?&&code=abc&&state=§&", "code abc"),
            ("/cb?code=abc&state=§#fragment", "code abc"),
            ("/cb?CODE=x&STATE=y&code=abc&state=§", "code abc"),
            ("/cb?error=access_denied&state=§", "refused access_denied"),
            ("/cb?error=access_denied&error_description=&state=§", "refused access_denied"),
            (
                "/cb?state=§&error=temporarily_unavailable&error_description=Back+soon%21",
                "refused temporarily_unavailable: Back soon!",
            ),
            ("/cb?state=§&error=x&error_description=no+sesame+for+§", "refused x: no … for …"),
            // Browsers leave a backslash in a query as it is.
            (r"/cb?state=§&error=x&error_description=no+ACME\me", r"refused x: no ACME\me"),
            ("/cb?state=§&error=x%1b%5b31m&error_description=a%0d%0ab%E2%80%AEc", "refused x[31m: abc"),
        ] {
            check("http://localhost:8477/cb", target, wanted);
        }
    }

    #[test]
    fn whatever_is_not_the_right_redirect_is_refused_by_reason() {
        let other = "/cb?code=abc&state=0b5ff0a5-9d4e-4f7c-8a6d-1f7a6f0c2b12";
        for (target, wanted) in [
            ("/", "WrongPath"),
            ("/favicon.ico", "WrongPath"),
            ("/CB?code=abc&state=§", "WrongPath"),
            ("//cb?code=abc&state=§", "WrongPath"),
            ("/cb", "NoState¦CutShort"),
            ("/cb?", "NoState¦CutShort"),
            ("/cb?code=abc", "NoState¦CutShort"),
            ("/cb?code=abc#state=§", "NoState¦CutShort"),
            ("/cb?error=access_denied", "NoState"),
            ("/cb?code=abc&state=", "WrongState¦CutShort"),
            ("/cb?code=abc&state", "WrongState¦CutShort"),
            ("/cb?code=abc&state=§0", "WrongState"),
            ("/cb?code=abc&state=§%00", "WrongState"),
            ("/cb?code=abc&state=§+", "WrongState"),
            (other, "WrongState"),
            ("/cb?code=abc&state=§&state=§", "Repeated"),
            ("/cb?state=x&code=abc&state=§", "Repeated"),
            ("/cb?code=abc&state=§&code=abc", "Repeated"),
            ("/cb?code=abc&state=§&c%6Fde=def", "Repeated"),
            ("/cb?error=a&error=b&state=§", "Repeated"),
            ("/cb?state=§", "NoAnswer"),
            ("/cb?state=§&error=", "NoAnswer"),
            ("/cb?state=§&Code=abc", "NoAnswer"),
            ("/cb?state=§&code=abc&error=access_denied", "TwoAnswers"),
            ("/cb?state=§&code=", "BadCode"),
            ("/cb?state=§&code=a%0Ab", "BadCode"),
            ("/cb?state=§&code=a%00", "BadCode"),
            ("/cb?state=§&code=%C3%A9", "BadCode"),
            ("/cb?state=§&code=%FF", "BadCode"),
        ] {
            check("http://localhost:8477/cb", target, wanted);
        }
    }

    #[test]
    fn the_port_answers_at_its_one_path_only() {
        for target in ["/cb/?code=abc&state=§", "/c%62?code=abc&state=§"] {
            let read = expected("http://localhost:8477/cb").read_target(&target.replace('§', STATE));
            assert_eq!(shown(redirect(read)), "WrongPath", "{target}");
        }
    }

    #[test]
    fn a_one_time_address_is_known_by_its_word_and_leads_to_loopback() {
        let start = |uri: &str, target: &str| match expected(uri).read_target(target) {
            Ok(Target::Start(number)) => format!("start {number}"),
            read => shown(redirect(read)),
        };
        let uri = "http://localhost:8477/cb";
        for (target, wanted) in [
            ("/start/first", "start 0"),
            ("/start/second#x", "start 1"),
            ("/start/third", "WrongState"),
            ("/start/", "WrongState"),
            ("/start/first/", "WrongState"),
            ("/start/firs", "WrongState"),
            ("/start/%66irst", "WrongState"),
            ("/start", "WrongPath"),
            ("/Start/first", "WrongPath"),
        ] {
            assert_eq!(start(uri, target), wanted, "{target}");
        }
        // A redirect URI that looks like one keeps its path.
        let target = format!("/start/first?code=abc&state={STATE}");
        assert_eq!(start("http://localhost:8477/start/first", &target), "code abc");
        let address = |uri: &str, number| expected(uri).start_address(number);
        assert_eq!(address(uri, 1).as_deref(), Some("http://127.0.0.1:8477/start/second"));
        assert_eq!(address("http://[::1]/cb", 0).as_deref(), Some("http://[::1]/start/first"));
        assert_eq!(address(uri, 2), None);
        assert_eq!(address("https://tools.example/cb", 0), None);
        let pasted = expected(uri).read_pasted("http://127.0.0.1:8477/start/first").unwrap_err();
        assert_eq!(pasted, NotOurs::StartAddress);
        assert!(!format!("{:?}", expected(uri)).contains("sesame"));
    }

    #[test]
    fn a_code_comes_through_whatever_it_holds_and_wherever_it_stands() {
        let printable: String = (b' '..=b'~').map(char::from).collect();
        let extra = [("iss", "https://a.example/?state=no&code=no"), ("session_state", "x"), ("", "code")];
        for length in 1..=printable.len() {
            let code = &printable[printable.len() - length..];
            let mut pairs = vec![("code", code), ("state", STATE)];
            pairs.extend(extra);
            pairs.rotate_left(length % 5);
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            check("http://127.0.0.1:8477/", &format!("/?{query}"), &format!("code {code}"));
        }
    }

    #[test]
    fn the_registered_query_has_to_come_back_and_is_not_taken_for_the_answer() {
        let uri = "http://localhost:8477/cb?tenant=a%20b&code=own";
        check(uri, "/cb?tenant=a%20b&code=own&code=abc&state=§", "code abc");
        check(uri, "/cb?state=§&code=abc&code=own&tenant=a+b", "code abc");
        check(uri, "/cb?code=abc&state=§", "WrongQuery");
        check(uri, "/cb?tenant=b&code=own&code=abc&state=§", "WrongQuery");
        check(uri, "/cb?tenant=a%20b&code=own&state=§", "NoAnswer");
    }

    #[test]
    fn a_pasted_address_is_taken_from_the_registered_server_only() {
        for (uri, address, wanted) in [
            ("http://localhost:8477/cb", "http://LOCALHOST:8477/cb?code=abc&state=§", "code abc"),
            ("http://localhost/cb", "http://localhost:80/cb?code=abc&state=§", "code abc"),
            ("http://localhost", "http://localhost?code=abc&state=§", "code abc"),
            ("http://localhost/", "http://localhost/?code=abc&state=§", "code abc"),
            ("https://tools.example/cb", "https://tools.example/cb?code=abc&state=§", "code abc"),
            ("http://localhost:8477/cb", "http://localhost/cb?code=abc&state=§", "WrongServer"),
            ("http://localhost:8477/cb", "http://192.168.1.7:8477/cb?code=abc&state=§", "WrongServer"),
            ("http://localhost:8477/cb", "https://localhost/cb?code=abc&state=§", "WrongServer"),
            ("http://localhost:443/cb", "http://localhost/cb?code=abc&state=§", "WrongServer"),
            ("https://tools.example/cb", "http://tools.example/cb?code=abc&state=§", "WrongServer"),
            ("https://tools.example/cb", "https://localhost/cb?code=abc&state=§", "WrongServer"),
            ("https://tools.example/cb", "https://tools.example/cb/?code=abc&state=§", "WrongPath"),
            (
                "http://localhost:8477/cb",
                "http://localhost.evil.example:8477/cb?code=abc&state=§",
                "WrongServer",
            ),
            (
                "http://localhost:8477/cb",
                "http://localhost:8477@evil.example/cb?code=abc&state=§",
                "NotAnAddress",
            ),
            ("http://localhost:8477/cb", "localhost:8478/cb?code=abc&state=§", "WrongServer"),
            ("http://localhost:8477/cb", "evil.example:8477/cb?code=abc&state=§", "NotAnAddress"),
            ("http://localhost:8477/cb", "/cb?code=abc&state=§", "NotAnAddress"),
            ("http://localhost:8477/cb", "?code=abc&state=§", "NotAnAddress"),
            ("http://localhost:8477/cb", "abc", "NotAnAddress"),
            ("http://localhost:8477/cb", "", "NotAnAddress"),
            ("http://localhost:8477/cb", "http://localhost:8477/cb?code=a\0bc&state=§", "NotAnAddress"),
        ] {
            let address = address.replace("=§", &format!("={STATE}"));
            assert_eq!(shown(expected(uri).read_pasted(&address)), wanted, "{address}");
        }
    }

    #[test]
    fn a_pasted_loopback_address_is_ours_as_the_browser_or_the_clipboard_changed_it() {
        for (uri, address) in [
            // A browser that was told once to use https on localhost (HSTS) keeps a port, and turns 80 into 443.
            ("http://localhost:8477/cb", "https://localhost:8477/cb?code=abc&state=§"),
            ("http://localhost/cb", "https://localhost/cb?code=abc&state=§"),
            ("http://localhost:80/cb", "https://localhost:443/cb?code=abc&state=§"),
            ("http://localhost", "https://localhost?code=abc&state=§"),
            ("http://127.0.0.1:8477/cb", "https://127.0.0.1:8477/cb?code=abc&state=§"),
            ("http://[::1]:8477/cb", "https://[::1]:8477/cb?code=abc&state=§"),
            // And the other way.
            ("https://localhost:8477/cb", "http://localhost:8477/cb?code=abc&state=§"),
            ("https://localhost/cb", "http://localhost/cb?code=abc&state=§"),
            // Somebody put in another name of this machine, since the one did not open.
            ("http://localhost:8477/cb", "http://127.0.0.1:8477/cb?code=abc&state=§"),
            ("http://localhost:8477/cb", "http://[::1]:8477/cb?code=abc&state=§"),
            ("http://127.0.0.1:8477/cb", "https://LocalHost:8477/cb?code=abc&state=§"),
            ("http://[::1]/cb", "https://127.0.0.1/cb?code=abc&state=§"),
            // The path, as an address bar or a proxy writes it.
            ("http://localhost:8477/cb", "http://localhost:8477/cb/?code=abc&state=§"),
            ("http://localhost:8477/cb/", "http://localhost:8477/cb?code=abc&state=§"),
            ("http://localhost:8477/a b~é", "http://localhost:8477/a%20b%7E%c3%A9?code=abc&state=§"),
            // As it came out of a message or a shell.
            ("http://localhost:8477/cb", "\"http://localhost:8477/cb?code=abc&state=§\""),
            ("http://localhost:8477/cb", "'https://localhost:8477/cb?code=abc&state=§' "),
            ("http://localhost:8477/cb", " <https://localhost:8477/cb?code=abc&state=§>"),
            ("http://localhost:8477/cb", "`http://localhost:8477/cb?code=abc&state=§`"),
            ("http://localhost:8477/cb", "“http://localhost:8477/cb?code=abc&state=§”"),
            ("https://tools.example/cb", "<https://tools.example/cb?code=abc&state=§>"),
            ("http://localhost:8477/cb", "\n(\"<http://localhost:8477/cb?code=abc&state=§>\")\r\n"),
            ("http://localhost:8477/cb", "\x1b[200~http://localhost:8477/cb?code=abc&state=§\x1b[201~"),
            // A terminal or a mail broke it into lines.
            ("http://localhost:8477/cb", "http://localhost:8477/cb?co\n  de=ab\r\nc&state=§"),
            // A browser hid the scheme.
            ("http://localhost:8477/cb", "localhost:8477/cb?code=abc&state=§"),
            ("https://tools.example/cb", "Tools.Example/cb?code=abc&state=§"),
        ] {
            let address = address.replace("=§", &format!("={STATE}"));
            assert_eq!(shown(expected(uri).read_pasted(&address)), "code abc", "{uri}: {address}");
            // The state decides all the same.
            let other = address.replace(STATE, "another");
            assert_eq!(shown(expected(uri).read_pasted(&other)), "WrongState", "{uri}: {other}");
        }
    }

    #[test]
    fn half_an_address_and_a_code_alone_are_told_from_a_wrong_address() {
        let begun = format!("http://localhost:8477/cb?code=abc&state={STATE}");
        for (length, wanted) in [
            (begun.len() - 1, "CutShort"),
            (begun.len() - STATE.len(), "CutShort"),
            (begun.len() - STATE.len() - 1, "CutShort"),
            (begun.len() - STATE.len() - "state=".len(), "CutShort"),
            ("http://localhost:8477/cb?code=a".len(), "CutShort"),
            ("http://localhost:8477/cb".len(), "CutShort"),
            ("http://localhost".len(), "WrongServer"),
            ("htt".len(), "NotAnAddress"),
        ] {
            let read = expected("http://localhost:8477/cb").read_pasted(&begun[..length]);
            assert_eq!(shown(read), wanted, "{}", &begun[..length]);
        }
        for (pasted, wanted) in [
            (format!("{}3", &begun[..begun.len() - 1]), "WrongState"),
            ("wXyz-0123_456.789~a+bcde==".to_owned(), "OnlyCode"),
            ("of two words".to_owned(), "NotAnAddress"),
            ("yes".to_owned(), "NotAnAddress"),
            ("code=wXyz0123456".to_owned(), "NotAnAddress"),
        ] {
            let read = expected("http://localhost:8477/cb").read_pasted(&pasted);
            assert_eq!(shown(read), wanted, "{pasted}");
        }
        // The port tells nobody how near a guess is.
        let target = &begun["http://localhost:8477".len()..begun.len() - 1];
        assert_eq!(shown(redirect(expected("http://localhost:8477/cb").read_target(target))), "WrongState");
    }

    #[test]
    fn a_refusal_is_told_by_who_refused() {
        let kind = |error: &str| {
            let refused =
                Redirect::Refused { error: error.to_owned(), description: Some("words".to_owned()) };
            let fault = refused.fault().unwrap();
            assert_eq!(fault.why, Some(format!("{error}: words")));
            fault.kind
        };
        assert_eq!(kind("access_denied"), FaultKind::Denied);
        assert_eq!(kind("temporarily_unavailable"), FaultKind::Unreachable);
        assert_eq!(kind("invalid_scope"), FaultKind::ClientRefused);
        assert!(Redirect::Code(Secret::parse("abc".to_owned()).unwrap()).fault().is_none());
    }

    #[test]
    fn a_refused_address_is_not_repeated_in_the_fault() {
        let fault = expected("http://localhost:8477/cb").read_pasted("canary").unwrap_err().fault();
        assert_eq!(fault.kind, FaultKind::BadRedirect);
        assert!(!fault.to_string().contains("canary"));
    }
}
