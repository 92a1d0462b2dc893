//! Ten thousand random attribute blocks, read by git and by this project's codec, and as many answers as it takes.
//! Does not: run the helper (`git` does); the codec alone is tried here.
//! Used by: `main`.

use std::{collections::BTreeSet, fs, thread};

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::{collection::vec, prelude::*, strategy::ValueTree};
use rally_cred_proto::Secret;
use rally_cred_proto::git::{self, Attributes, Credential};
use rally_cred_tests::world::World;

/// A helper that shows what git sends it.
const SHOWS: &str = "credential.helper=!exec cat >&2 #";

/// What git has understood of a block: what `git credential reject` sends on to a helper. Empty if it refuses.
fn understood(world: &World, block: &str) -> String {
    let ended = world.run("git", &["-c", SHOWS, "credential", "reject"], block);
    if ended.code == Some(0) { ended.stderr } else { String::new() }
}

fn a_world() -> World {
    let mut world = World::new();
    world.set("GIT_TERMINAL_PROMPT", "0");
    fs::write(world.path(".gitconfig"), "[credential]\nuseHttpPath = true\n").unwrap();
    world
}

/// The attributes that this git knows: an older one drops the newer ones.
fn known_to_git(world: &World) -> BTreeSet<String> {
    let all = "capability[]=authtype\nprotocol=https\nhost=a\npath=b\nusername=c\npassword=d\npassword_expiry_utc=9999999999\n\
               oauth_refresh_token=e\nauthtype=f\ncredential=g\nephemeral=1\n\n";
    let shown = understood(world, all);
    assert!(shown.contains("protocol=https\nhost=a\npath=b\nusername=c\npassword=d\n"), "{shown}");
    shown.lines().map(|line| line.split_once('=').unwrap().0.to_owned()).collect()
}

/// How git writes these attributes, in its order, without those that it does not know.
fn as_git_writes(found: &Attributes, known: &BTreeSet<String>) -> String {
    let expose = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let if_announced = |value: Option<String>| value.filter(|_| found.takes_authtype);
    let path = found.path.clone().map(|path| String::from_utf8(path).unwrap());
    let lines = [
        ("capability[]", if_announced(Some("authtype".to_owned()))),
        ("authtype", if_announced(found.authtype.clone())),
        ("credential", if_announced(expose(&found.credential))),
        ("ephemeral", if_announced(found.ephemeral.then(|| "1".to_owned()))),
        ("protocol", found.protocol.clone()),
        ("host", found.host.clone()),
        ("path", path),
        ("username", found.username.clone()),
        ("password", expose(&found.password)),
        ("oauth_refresh_token", expose(&found.oauth_refresh_token)),
        ("password_expiry_utc", found.password_expiry_utc.map(|at| at.to_string())),
    ];
    let known = lines.into_iter().filter(|(key, _)| known.contains(*key));
    known.filter_map(|(key, value)| Some(format!("{key}={}\n", value?))).collect()
}

/// What the codec has understood, written as git writes it. Empty if it refuses, or if no server is named.
fn understood_by_codec(block: &str, known: &BTreeSet<String>) -> String {
    match git::parse(block.as_bytes()) {
        Ok(found) if found.protocol.is_some() && found.host.is_some() => as_git_writes(&found, known),
        _ => String::new(),
    }
}

/// The attributes that the codec does not keep.
fn is_passed_over(line: &str) -> bool {
    ["wwwauth[]=", "state[]=", "continue=", "capability[]=state"].iter().any(|start| line.starts_with(start))
}

/// Texts that try a parser, without what the codec refuses and git does not: CR, NUL, and bytes that are not UTF-8.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z0-9=:/@%.?#\\[\\] \"é\t]{0,12}",
        2 => "[^\r\n\0]{0,12}",
        1 => (990..1060_usize).prop_map(|length| "a".repeat(length) + "host=victim.example"),
    ]
}

fn url() -> impl Strategy<Value = String> {
    let part = || vec(word_of(URL_PIECES), 0..4).prop_map(|pieces| pieces.concat());
    let scheme =
        prop::sample::select(&["https://", "http://", "cert://", "HTTPS://", "://", "", "https:/"][..]);
    (scheme, part(), prop::option::of((part(), prop::option::of(part()))), part()).prop_map(
        |(scheme, host, user, path)| {
            let user = user.map(|(name, password)| match password {
                Some(password) => format!("{name}:{password}@"),
                None => format!("{name}@"),
            });
            format!("{scheme}{}{host}/{path}", user.unwrap_or_default())
        },
    )
}

const URL_PIECES: &str = "a b.example :8443 %41 %2f %40 %3a %20 %0a % %4 %zz [::1] @ : / // ? # é =";

/// One of these words.
fn word_of(words: &'static str) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words.split(' ').collect::<Vec<_>>())
}

fn line() -> impl Strategy<Value = String> {
    let single = word_of("protocol host path username password oauth_refresh_token authtype credential");
    let list = prop::sample::select(
        &["wwwauth[]", "state[]", "later[]", "later", "ntlm", "HOST", "host[]", " host"][..],
    );
    // What is neither yes nor no makes git give up.
    let yes_or_no = prop::sample::select(&["0", "1", "true", "False", "yes", "no", "on", "off", ""][..]);
    let about = word_of("ephemeral continue quit");
    // git's reader does not empty the list at an empty value, as its manual has it.
    let capability = word_of("authtype authtype state later");
    let time = prop_oneof![
        2 => "[ \t]{0,2}\\+?0{0,2}[1-9][0-9]{0,17}( years)?",
        1 => prop::sample::select(&["", "0", "soon", "99999999999999999999999", "+", "9223372036854775807"][..])
            .prop_map(str::to_owned),
    ];
    prop_oneof![
        12 => (single, text()).prop_map(|(key, value)| format!("{key}={value}")),
        4 => (list, text()).prop_map(|(key, value)| format!("{key}={value}")),
        3 => (about, yes_or_no).prop_map(|(key, value)| format!("{key}={value}")),
        4 => capability.prop_map(|value| format!("capability[]={value}")),
        3 => time.prop_map(|value| format!("password_expiry_utc={value}")),
        1 => url().prop_map(|url| format!("url={url}")),
    ]
}

fn credential() -> impl Strategy<Value = Credential> {
    let hidden = || prop::option::of(text().prop_map(|text| Secret::parse(text).unwrap()));
    let time = prop::option::of(4_102_444_800..=i64::MAX);
    (prop::option::of(text()), hidden(), time, hidden(), prop::option::of(text()), hidden()).prop_map(
        |(username, password, password_expiry_utc, oauth_refresh_token, authtype, credential)| Credential {
            username,
            password,
            password_expiry_utc,
            oauth_refresh_token,
            authtype,
            credential,
        },
    )
}

/// A block: random lines, mostly with a server and in any order; or an answer of ours, for a server.
fn block() -> impl Strategy<Value = String> {
    let server = ["protocol=https".to_owned(), "host=a.example:8443".to_owned()];
    let random = (vec(line(), 0..12), prop::bool::weighted(0.9), prop::bool::weighted(0.02)).prop_map(
        move |(mut lines, has_server, is_broken)| {
            lines.extend(server.iter().filter(|_| has_server).cloned());
            lines.extend(is_broken.then(|| "no equals sign".to_owned()));
            lines
        },
    );
    let answered = credential().prop_map(|credential| {
        let request = Attributes { takes_authtype: true, ..Attributes::default() };
        let answer = git::encode_credential(&request, &credential).unwrap();
        format!("protocol=https\nhost=a\n{}\n", str::from_utf8(&answer).unwrap())
    });
    prop_oneof![
        4 => random.prop_shuffle().prop_map(|lines| lines.join("\n") + "\n\n"),
        1 => answered,
    ]
}

/// The same values in every run; `number` tells one thread's from another's.
fn runner(number: u8) -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[number; 32]))
}

#[test]
fn ten_thousand_random_blocks_are_understood_as_git_understands_them() {
    let world = a_world();
    let known = known_to_git(&world);
    let refusals = |number: u8| {
        let (mut runner, strategy) = (runner(number), block());
        let mut refused = 0;
        for _ in 0..5000 {
            let block = strategy.new_tree(&mut runner).unwrap().current();
            let git = understood(&world, &block);
            let git: String = git.split_inclusive('\n').filter(|line| !is_passed_over(line)).collect();
            assert_eq!(git, understood_by_codec(&block, &known), "{block:?}");
            refused += usize::from(git.is_empty());
        }
        refused
    };
    let refused: usize = thread::scope(|scope| {
        let threads = [1, 2].map(|number| {
            let refusals = &refusals;
            scope.spawn(move || refusals(number))
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // The blocks are worth something only if most of them are read, and some are not.
    assert!((200..3000).contains(&refused), "{refused} are refused");
}

#[test]
fn git_takes_the_whole_of_every_answer() {
    let world = a_world();
    let known = known_to_git(&world);
    let announced = if known.contains("authtype") { "capability[]=authtype\n" } else { "" };
    let (mut runner, strategy) = (runner(3), credential());
    let credentials = (0..).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    for (number, credential) in credentials.filter(Credential::is_complete).take(200).enumerate() {
        let announced = if number % 3 == 0 { "" } else { announced };
        let request = format!("{announced}protocol=https\nhost=a.example\n\n");
        let answer = git::encode_credential(&git::parse(request.as_bytes()).unwrap(), &credential).unwrap();
        fs::write(world.path("answer"), &answer).unwrap();
        let filled =
            world.run("git", &["-c", "credential.helper=!exec cat answer #", "credential", "fill"], &request);
        let expected =
            git::parse(&[b"protocol=https\nhost=a.example\n", answer.as_slice()].concat()).unwrap();
        let has_password = credential.username.is_some() && credential.password.is_some();
        if has_password || expected.credential.is_some() {
            assert_eq!(filled.stdout, as_git_writes(&expected, &known), "{number}: {filled:?}");
        } else {
            // git goes on as after a miss, and may not ask anybody here.
            assert_eq!((filled.stdout.as_str(), filled.code), ("", Some(128)), "{number}: {filled:?}");
        }
    }
}
