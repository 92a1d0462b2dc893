//! Addresses that look like a server and are another one's, or nobody's: a token goes to none of them.
//! Does not: trust the URL parser of the product. Python's `urllib`, which shares nothing with it, says whose they are.
//! Used by: `main`.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::{prelude::*, sample::select, strategy::ValueTree};
use rally_cred_proto::{Origin, git};
use rally_cred_tests::world::World;
use serde::Deserialize;

use crate::sign_in::{signed_in, value};

/// Reads addresses as a JSON list, and prints what `urllib` makes of each, a line each; `null` where it refuses.
const URLLIB: &str = "
import json, sys
from urllib.parse import unquote, urlsplit
for address in json.load(sys.stdin):
    try:
        url = urlsplit(address)
        print(json.dumps(dict(scheme=url.scheme, host=url.hostname, decoded=unquote(url.hostname or ''), port=url.port,
            authority=url.netloc)))
    except ValueError:
        print('null')
";

/// An address, as an independent parser reads it.
#[derive(Debug, Deserialize)]
struct Judged {
    scheme: String,
    host: Option<String>,
    /// The host with its percent-encoding undone, as git takes it.
    decoded: String,
    port: Option<u16>,
    authority: String,
}

fn judge(world: &World, addresses: &[String]) -> Vec<Option<Judged>> {
    let ended = world.run("python3", &["-c", URLLIB], serde_json::to_string(addresses).unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let judged: Vec<_> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(judged.len(), addresses.len());
    judged
}

/// A server that a token is for. An IPv6 address has no brackets here.
#[derive(Clone, Debug)]
struct Server {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Server {
    fn new(scheme: &'static str, host: &str, port: u16) -> Self {
        Self { scheme, host: host.to_owned(), port }
    }

    fn default_port(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }

    fn written(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn origin(&self) -> Origin {
        Origin::from_git(self.scheme, &format!("{}:{}", self.written(), self.port)).unwrap()
    }

    fn is(&self, judged: &Judged) -> bool {
        judged.host.as_ref() == Some(&self.host) && self.has_scheme_and_port_of(judged)
    }

    /// The same for git, which undoes percent-encoding in a host before anybody sees it.
    fn is_for_git(&self, judged: &Judged) -> bool {
        judged.decoded.to_ascii_lowercase() == self.host && self.has_scheme_and_port_of(judged)
    }

    fn has_scheme_and_port_of(&self, judged: &Judged) -> bool {
        judged.scheme == self.scheme && judged.port.unwrap_or(self.default_port()) == self.port
    }

    /// Whether the address is this server's beyond doubt: nothing but host and port stands in its place.
    fn is_plainly(&self, judged: &Judged, address: &str) -> bool {
        let authority = judged.authority.to_ascii_lowercase();
        let is_plain = authority == self.written()
            || authority
                .strip_prefix(&format!("{}:", self.written()))
                .is_some_and(|port| port.parse::<u16>().is_ok());
        self.is(judged) && is_plain && !address.contains(['\\', ' ', '\t', '\n', '\r'])
    }
}

/// Addresses around a server: each part as it should be, or one of the ways to be almost that.
fn address_like(server: &Server) -> impl Strategy<Value = String> + use<> {
    let Server { scheme, port, .. } = server.clone();
    let host = server.written();
    let first = host.chars().next().unwrap();
    let inserted = |text: &str| format!("{}{text}{}", &host[..host.len() / 2], &host[host.len() / 2..]);

    let scheme = prop_oneof![
        6 => Just(format!("{scheme}://")),
        2 => select(vec!["HTTPS://", "Http://", "https://", "http://", "grpcs://", "ftp://", "https:", "https:/", "https:///",
            "//", "", "https:\\\\", "javascript://", " https://", "ht\ttps://", "https;//"]).prop_map(str::to_owned),
    ];
    let user = prop_oneof![
        6 => Just(String::new()),
        2 => select(vec!["u@", "u:p@", "@", ":@", "u%40@", "a:b:c@", "evil.example@", "evil.example:443@", "a@b@", "%@", "é@"])
            .prop_map(str::to_owned),
        1 => Just(format!("{host}@")),
        1 => Just(format!("{host}:{port}@")),
    ];
    let hosts = prop_oneof![
        5 => Just(host.clone()),
        2 => proptest::collection::vec(any::<bool>(), host.len()).prop_map({
            let host = host.clone();
            move |upper| host.chars().zip(upper).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect()
        }),
        3 => select(vec![
            format!("{host}."), format!("{host}.."), format!(".{host}"), format!("x.{host}"), format!("x{host}"),
            format!("{host}.evil.example"), format!("{host}%2eevil.example"), format!("{host}%00.evil.example"),
            format!("evil.example%2f{host}"), format!("evil.example#{host}"), format!("evil.example\\{host}"),
            format!("{host}\\.evil.example"), format!("%{:02x}{}", first as u32, &host[1..]),
            inserted("%2e"), inserted("\t"), inserted("\u{ad}"), inserted("\u{200d}"), inserted("\u{3002}"), inserted("é"),
            host.replacen('a', "\u{ff41}", 1), host.replacen('l', "\u{217c}", 1), host.replace('.', "\u{ff0e}"),
            format!("xn--{host}"), format!("{host}:1"), format!("[{host}]"), String::new(),
        ]),
        2 => select(vec!["evil.example", "xn--rlly-poa.example", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::1",
            "[::1%25lo]", "::1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1", "localhost",
            "localhost.", "LOCALHOST"]).prop_map(str::to_owned),
    ];
    let port = prop_oneof![
        3 => Just(String::new()),
        4 => Just(format!(":{port}")),
        1 => Just(format!(":0{port}")),
        2 => select(vec![":443", ":80", ":", ":0", ":-1", ":+443", ":1", ":443:443", ":99999", ":4 43", ":\u{661}", ":443@evil.example"])
            .prop_map(str::to_owned),
        1 => Just(format!(":{}", u32::from(port) + 65_536)),
    ];
    let rests = ",/,/slm/webservice,?x=1,#x,/?x=a@b,\\@evil.example,\\evil.example,/@evil.example,?@evil.example,\
                 #@evil.example,;@evil.example,.evil.example/,/%0d%0aHost:%20evil.example,\n,/\r\nHost: evil.example, ";
    let rest = select(rests.split(',').collect::<Vec<_>>());
    (scheme, user, hosts, port, rest)
        .prop_map(|(scheme, user, host, port, rest)| format!("{scheme}{user}{host}{port}{rest}"))
}

/// The same addresses in every run.
fn addresses(server: &Server, count: usize) -> Vec<String> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = address_like(server);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The origin that git's attributes name when they come as a URL. User information has attributes of its own there.
fn origin_by_git(address: &str) -> Option<Origin> {
    let found = git::parse(format!("url={address}\n").as_bytes()).ok()?;
    Origin::from_git(&found.protocol?, &found.host?)
}

#[test]
fn no_address_is_taken_for_a_server_that_it_is_not() {
    let world = World::new();
    for server in [
        Server::new("https", "rally1.rallydev.com", 443),
        Server::new("https", "eu1.rallydev.com", 8443),
        Server::new("https", "xn--rlly-poa.example", 443),
        Server::new("http", "localhost", 8080),
        Server::new("http", "127.0.0.1", 80),
        Server::new("https", "::1", 8443),
    ] {
        let addresses = addresses(&server, 5000);
        let (mut by_uri, mut by_git, mut others) = (0, 0, 0);
        for (address, judged) in addresses.iter().zip(judge(&world, &addresses)) {
            let is_it = judged.as_ref().is_some_and(|judged| server.is(judged));
            let is_it_for_git = judged.as_ref().is_some_and(|judged| server.is_for_git(judged));
            let is_plainly_it = judged.as_ref().is_some_and(|judged| server.is_plainly(judged, address));
            let uri_matches = Origin::from_uri(address) == Some(server.origin());
            let git_matches = origin_by_git(address) == Some(server.origin());
            assert!(is_it || !uri_matches, "{address:?} is taken for {server:?}, and is {judged:?}");
            assert!(is_it_for_git || !git_matches, "git takes {address:?} for {server:?}, not {judged:?}");
            assert!(uri_matches || !is_plainly_it, "{address:?} is not taken for {server:?}");
            assert!(git_matches || !is_plainly_it, "{address:?} is not taken by git for {server:?}");
            by_uri += usize::from(uri_matches);
            by_git += usize::from(git_matches);
            others += usize::from(!is_it);
        }
        assert!(by_uri > 200 && by_git > 200 && others > 2500, "{server:?}: {by_uri} {by_git} {others}");
    }
}

#[test]
fn the_helper_answers_for_no_server_but_its_own() {
    let (sandbox, world, _daemon) = signed_in();
    let (host, port) = sandbox.base_url().strip_prefix("http://").unwrap().rsplit_once(':').unwrap();
    let server = Server::new("http", host, port.parse().unwrap());
    let addresses = addresses(&server, 250);
    let mut answered = 0;
    for (address, judged) in addresses.iter().zip(judge(&world, &addresses)) {
        let is_it = [Server::is, Server::is_for_git]
            .map(|is| judged.as_ref().is_some_and(|judged| is(&server, judged)));
        let engflow = world.client(&["get"], serde_json::json!({"uri": address}).to_string());
        let git = world.client(&["get"], format!("url={address}\n\n"));
        let is_answered = [engflow.stdout.contains("ZSESSIONID"), value(&git.stdout, "password").is_some()];
        for ((ended, is_answered), is_it) in [engflow, git].iter().zip(is_answered).zip(is_it) {
            assert!(is_it || !is_answered, "{address:?} was answered: {ended:?}");
            assert!(is_answered || ended.stdout.is_empty(), "{address:?}: {ended:?}");
        }
        answered += is_answered.into_iter().filter(|is_answered| *is_answered).count();
    }
    assert!(answered > 10, "{answered} of {} were answered", addresses.len());
}
