//! The config file's rules, each with the whole text of its fault.
//! Does not: read the environment.
//! Used by: `cargo test`.

use super::*;
use rally_cred_core::{
    kv2::{Address, ServerToken},
    profile::GatewaySettings,
};
use rally_cred_proto::gateway::Way;

const PATH: &str = "/x/config.toml";

const PROFILE: &str =
    "[profile.default]\nclient_id = \"id\"\nredirect_uri = \"http://localhost:8477/callback\"\n";

fn parsed(text: &str) -> Result<Config, Fault> {
    parse(text, Path::new(PATH))
}

/// The fault without its beginning, which is the same each time.
fn fault(text: &str) -> String {
    let fault = parsed(text).unwrap_err();
    assert_eq!(fault.kind, FaultKind::ConfigBroken, "{fault}");
    fault.to_string().strip_prefix(&format!("config file {PATH}, ")).unwrap().to_owned()
}

#[test]
fn a_profile_needs_a_client_id_and_a_redirect_uri_and_the_rest_has_defaults() {
    let config = parsed(PROFILE).unwrap();
    assert_eq!(
        config,
        Config {
            default_profile: "default".to_owned(),
            keyring: Keyring::Auto,
            file_key: FileKey::Passphrase,
            static_hosts: StaticHosts::default(),
            notify: Notify::Desktop,
            gateways: BTreeMap::new(),
            forward: None,
            lock: LockSettings::default(),
            profiles: [(
                "default".to_owned(),
                Profile {
                    name: ProfileName::parse("default").unwrap(),
                    is_default: true,
                    base_url: BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
                    token_command: None,
                    client_id: "id".to_owned(),
                    redirect_uri: RedirectUri::parse("http://localhost:8477/callback").unwrap(),
                    scope: "alm".to_owned(),
                    ca_file: None,
                    username: None,
                    client_secret_source: None,
                    also: Vec::new(),
                    gate: Gate::default(),
                }
            )]
            .into(),
        }
    );
}

#[test]
fn a_profile_whose_tokens_a_program_gives_needs_no_client() {
    let config = parsed("[profile.ci]\ntoken_command = [\"give\", \"--for\", \"ci\"]\n").unwrap();
    let arguments = ["--for", "ci"].map(str::to_owned).to_vec();
    let command = CommandLine { program: "give".into(), arguments };
    assert_eq!(config.profiles["ci"].token_command, Some(command));
}

#[test]
fn every_key_is_read() {
    let text = r#"
        default_profile = "work.1"
        keyring = "memory"
        [profile."work.1"]
        base_url = "https://eu1.rallydev.com"
        client_id = "id"
        redirect_uri = "http://localhost"
        scope = "alm other"
        ca_file = "/etc/ca.pem"
        username = "me@example.com"
        client_secret_command = ["~/bin/secret", "show", "rally"]
        [[profile."work.1".also]]
        origin = "https://mcp.rallydev.com"
        header = "Authorization: Bearer"
        [[profile."work.1".also]]
        origin = "http://localhost:8080/"
        [profile.B_2-x]
        client_id = 'its'
        redirect_uri = "https://tools.example.com/callback?x=1"
        ca_file = "~/ca.pem"
    "#;
    let config = parsed(text).unwrap();
    assert_eq!((config.default_profile.as_str(), &config.keyring), ("work.1", &Keyring::Memory));
    let work = &config.profiles["work.1"];
    assert_eq!(work.base_url.origin().to_string(), "https://eu1.rallydev.com");
    assert_eq!((work.scope.as_str(), work.username.as_deref()), ("alm other", Some("me@example.com")));
    assert_eq!(work.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    let home = directories::BaseDirs::new().unwrap().home_dir().to_owned();
    assert_eq!(config.profiles["B_2-x"].ca_file, Some(home.join("ca.pem")));
    let arguments = vec!["show".to_owned(), "rally".to_owned()];
    let command = CommandLine { program: home.join("bin/secret"), arguments };
    assert_eq!(work.client_secret_source, Some(SecretSource::Command(command)));
    let header_for = |server| {
        let header = work.header_for(&Origin::from_uri(server).unwrap());
        header.map(|header| (header.name(), header.scheme()))
    };
    assert_eq!(header_for("https://mcp.rallydev.com/mcp"), Some(("Authorization", Some("Bearer"))));
    assert_eq!(header_for("http://localhost:8080"), Some(("ZSESSIONID", None)));
    assert_eq!(header_for("https://eu1.rallydev.com"), Some(("ZSESSIONID", None)));
    for other in ["https://localhost:8080", "https://mcp.rallydev.com:444", "https://rally1.rallydev.com"] {
        assert_eq!(header_for(other), None, "{other}");
    }
}

#[test]
fn what_is_wrong_with_a_further_server_is_named_with_its_line() {
    let also = |lines: &str| fault(&format!("{PROFILE}[[profile.default.also]]\n{lines}\n"));
    let origin = |text: &str| also(&format!("origin = \"{text}\""));
    for (found, expected) in [
        (
            also("header = \"Authorization: Bearer\""),
            "line 4: `also` has no `origin`\n  try: add origin = \"…\", the server that the token is for as well",
        ),
        (
            origin("http://mcp.rallydev.com"),
            "line 5: `origin` cannot be used\n  why: it must begin with https:// (http:// is for loopback addresses \
             only)\n  try: origin = \"https://mcp.rallydev.com\"",
        ),
        (
            origin("https://mcp.rallydev.com/mcp"),
            "line 5: `origin` cannot be used\n  why: it must end after the host and port\n  try: origin = \
             \"https://mcp.rallydev.com\"",
        ),
        (
            also("origin = \"https://a\"\nheader = \"Authorization Bearer\""),
            "line 6: `header` cannot be used\n  why: it is not a header's name, nor one with a scheme behind it\n  try: \
             header = \"Authorization: Bearer\", or no such line for ZSESSIONID",
        ),
        (
            also("origin = \"https://a\"\n[[profile.default.also]]\norigin = \"https://A:443\""),
            "line 7: duplicate server in `also`\n  try: remove one of them",
        ),
        (
            origin("https://rally1.rallydev.com"),
            "line 5: this `origin` is the `base_url` of profile `default`\n  why: a profile's own server takes its \
             tokens anyway, and no other's\n  try: remove it from `also`",
        ),
        (also("origins = \"https://a\""), "line 5: unknown key `origins`\n  try: write `origin`"),
        (
            also("scope = \"alm\""),
            "line 5: unknown key `scope`\n  why: `scope` belongs to [profile.NAME]\n  try: move the line there",
        ),
    ] {
        assert_eq!(found, expected);
    }
    let remedy = "\n  try: write [[profile.NAME.also]] with its key `origin` below";
    for (written, expected) in [
        ("also = \"https://a\"", "line 4: `also` must be a list of tables, not a string"),
        ("also = [\"https://a\"]", "line 4: `also` must be a table, not a string"),
        (
            "[profile.default.also]\norigin = \"https://a\"",
            "line 4: `also` must be a list of tables, not a table",
        ),
    ] {
        assert_eq!(fault(&format!("{PROFILE}{written}\n")), format!("{expected}{remedy}"));
    }
}

#[test]
fn another_profiles_rally_is_no_further_server_and_two_profiles_may_share_one() {
    let other = PROFILE
        .replace("default", "other")
        .replace("client_id", "base_url = \"https://eu1.rallydev.com\"\nclient_id");
    let also = |name: &str, server: &str| format!("[[profile.{name}.also]]\norigin = \"{server}\"\n");
    let text = format!("{PROFILE}{}{other}", also("default", "https://eu1.rallydev.com"));
    assert!(
        fault(&text).starts_with("line 5: this `origin` is the `base_url` of profile `other`"),
        "{}",
        fault(&text)
    );
    let shared = "https://mcp.rallydev.com";
    let config =
        parsed(&format!("{PROFILE}{}{other}{}", also("default", shared), also("other", shared))).unwrap();
    assert!(config.profiles.values().all(|profile| profile.also.len() == 1));
}

#[test]
fn a_person_is_told_by_the_desktop_by_a_program_or_not_at_all() {
    let command = |words: &[&str]| {
        let arguments = words[1..].iter().map(|word| (*word).to_owned()).collect();
        Notify::Command(CommandLine { program: words[0].into(), arguments })
    };
    for (text, expected) in [
        ("notify = \"desktop\"", Notify::Desktop),
        ("notify = \"off\"", Notify::Off),
        ("notify_command = [\"tell\", \"$(me) now\"]", command(&["tell", "$(me) now"])),
        ("notify = \"desktop\"\nnotify_command = [\"tell\"]", command(&["tell"])),
        ("notify = \"off\"\nnotify_command = [\"tell\"]", Notify::Off),
    ] {
        assert_eq!(parsed(&format!("{text}\n{PROFILE}")).unwrap().notify, expected, "{text}");
    }
    for (text, expected) in [
        (
            "notify = \"mail\"",
            "line 1: invalid value for `notify`\n  try: write \"desktop\" or \"off\"; a program of your own is a `notify_command`",
        ),
        (
            "notify_command = []",
            "line 1: `notify_command` names no program\n  try: notify_command = [\"program\", \"argument\"], by the program's name or whole path",
        ),
        (
            "notify_command = \"tell me\"",
            "line 1: `notify_command` must be a list of strings, not a string\n  try: notify_command = [\"…\"]",
        ),
    ] {
        assert_eq!(fault(text), expected);
    }
}

#[test]
fn the_default_profile_is_the_named_one_else_default_else_the_only_one() {
    let profile = |name: &str| PROFILE.replace("default", name);
    for (text, expected) in [
        (format!("default_profile = \"a\"\n{PROFILE}{}", profile("a")), "a"),
        (format!("{}{PROFILE}", profile("a")), "default"),
        (profile("a"), "a"),
    ] {
        let Config { default_profile, profiles, .. } = parsed(&text).unwrap();
        assert_eq!(default_profile, expected, "{text}");
        assert!(
            profiles.values().all(|profile| profile.is_default == (*profile.name == *expected)),
            "{text}"
        );
    }
    assert_eq!(
        fault(&format!("{}{}", profile("b"), profile("a"))),
        "line 1: `default_profile` is needed, since no profile is called `default`\n  try: name one of: b, a"
    );
    assert_eq!(
        fault(&format!("# x\ndefault_profile = \"c\"\n{}", profile("a"))),
        "line 2: `default_profile` names no profile of this file\n  try: name one of: a"
    );
    for text in ["", "keyring = \"os\"", "[profile]"] {
        let fault = parsed(text).unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotConfigured);
        assert_eq!(fault.to_string(), format!("config file {PATH} has no profile\n  try: rally-cred setup"));
    }
}

#[test]
fn static_hosts_are_listed_or_all_and_need_no_profile() {
    let listed =
        parsed("[static]\nhosts = [\"https://Git.example.com\", \"http://127.0.0.1:8080\"]").unwrap();
    assert_eq!(listed.static_hosts.names(), ["https://git.example.com", "http://127.0.0.1:8080"]);
    for (protocol, host, is_covered) in [
        ("https", "git.example.com", true),
        ("https", "GIT.example.com:443", true),
        ("http", "git.example.com", false),
        ("https", "x.git.example.com", false),
        ("http", "127.0.0.1:8080", true),
        ("http", "127.0.0.1", false),
        ("smtp", "git.example.com", false),
    ] {
        assert_eq!(listed.static_hosts.cover(protocol, host), is_covered, "{protocol} {host}");
    }
    let all = parsed(&format!("{PROFILE}[static]\nhosts = [\"*\"]")).unwrap();
    assert_eq!((all.static_hosts, all.default_profile.as_str()), (StaticHosts::All, "default"));
    for (text, expected) in [
        (
            "static = 1",
            "line 1: `static` must be a table, not an integer\n  try: write [static] with its key `hosts` below",
        ),
        ("[static]\nhost = []", "line 2: unknown key `host`\n  try: write `hosts`"),
        (
            "[static]\nhosts = \"*\"",
            "line 2: `hosts` must be a list of strings, not a string\n  try: hosts = [\"…\"]",
        ),
        (
            "[static]\nhosts = [\"*\", \"https://a\"]",
            "line 2: `hosts` has a server that cannot be used\n  why: `*` stands alone\n  try: hosts = [\"https://git.example.com\"], or [\"*\"] for every server",
        ),
        (
            "[static]\nhosts = [\"http://git.example.com\"]",
            "line 2: `hosts` has a server that cannot be used\n  why: it must begin with https:// (http:// is for loopback addresses only)\n  try: hosts = [\"https://git.example.com\"], or [\"*\"] for every server",
        ),
    ] {
        assert_eq!(fault(text), expected);
    }
}

#[test]
fn unknown_keys_are_named_with_the_key_that_was_meant_or_the_place_where_they_belong() {
    let keys = "base_url, token_command, client_id, redirect_uri, scope, ca_file, username, client_secret_command, \
                also, confirm, allow";
    for (line, expected) in [
        ("clientid = 1", "unknown key `clientid`\n  try: write `client_id`"),
        ("Base-URI = 1", "unknown key `Base-URI`\n  try: write `base_url`"),
        ("redirect_url = 1", "unknown key `redirect_url`\n  try: write `redirect_uri`"),
        (
            "keyring = \"os\"",
            "unknown key `keyring`\n  why: `keyring` belongs to the top of the file\n  try: move the line there",
        ),
        ("colour = 1", &format!("unknown key `colour`\n  try: remove it; the keys here are {keys}")),
        (
            "client_secret = \"canary\"",
            "`client_secret` does not belong in this file\n  why: the client secret is kept in the vault\n  try: \
             remove the line; rally-cred login asks for the secret",
        ),
        (
            "client-secret.x = 1",
            "`client-secret` does not belong in this file\n  why: the client secret is kept in the vault\n  try: \
             remove the line; rally-cred login asks for the secret",
        ),
    ] {
        assert_eq!(fault(&format!("{PROFILE}{line}\n")), format!("line 4: {expected}"));
    }
    for (line, expected) in [
        ("profiles = 1", "unknown key `profiles`\n  try: write `profile`"),
        (
            "scope = \"alm\"",
            "unknown key `scope`\n  why: `scope` belongs to [profile.NAME]\n  try: move the line there",
        ),
        (
            "pony = 1",
            "unknown key `pony`\n  try: remove it; the keys here are default_profile, keyring, keyring_key, kv2, notify, notify_command, profile, static, gateway, forward, lock",
        ),
        (
            "client_secret = \"canary\"",
            "`client_secret` does not belong in this file\n  why: the client secret is kept in the vault\n  try: remove the line; rally-cred login asks for the secret",
        ),
    ] {
        assert_eq!(fault(&format!("{line}\n{PROFILE}")), format!("line 1: {expected}"));
    }
}

#[test]
fn a_shared_vault_is_read_from_its_table() {
    let profile = "[profile.a]\nclient_id = \"c\"\nredirect_uri = \"http://localhost:1/c\"\n";
    let config = |keys: &str| parsed(&format!("keyring = \"kv2\"\n{profile}[kv2]\n{keys}"));
    let kv2 = |keys: &str| match config(keys).unwrap().keyring {
        Keyring::Kv2(kv2) => (*kv2).clone(),
        other => panic!("{other:?}"),
    };
    let least = kv2("address = \"https://bao.example.com:8200\"");
    assert_eq!((&*least.mount, &*least.path, &least.token), ("secret", "rally-cred", &None));
    assert_eq!((least.is_read_only, least.has_reader_items), (false, false));
    let most = kv2(
        "address = \"unix:///run/bao.sock\"\nmount = \"teams/kv\"\npath = \"build\"\nnamespace = \"eu\"\n\
         token_file = \"/run/token\"\nca_file = \"/etc/ca.pem\"\nmode = \"renew-and-publish\"",
    );
    assert_eq!(most.address, Address::Socket("/run/bao.sock".into()));
    assert_eq!(most.token, Some(ServerToken::Source(SecretSource::File("/run/token".into()))));
    assert!(most.has_reader_items);
    assert!(kv2("address = \"unix:/run/bao.sock\"\nmode = \"read-only\"").is_read_only);
    for (keys, expected) in [
        ("mount = \"kv\"", "[kv2] has no `address`"),
        ("address = \"http://bao.example.com\"", "`address` cannot be used"),
        ("address = \"unix:bao.sock\"", "`address` names no socket by its whole path"),
        ("address = \"https://b\"\npath = \"a/../b\"", "`path` cannot be used"),
        ("address = \"https://b\"\nmode = \"write\"", "invalid value for `mode`"),
        ("address = \"https://b\"\ntoken_env = \"A\"\ntoken_file = \"/b\"", "[kv2] names two tokens"),
        ("address = \"https://b\"\ntoken_credential = \"bao\"", "`token_credential` names no credential"),
        ("address = \"https://b\"\ntoken_flie = \"/b\"", "unknown key `token_flie`"),
    ] {
        let fault = config(keys).unwrap_err();
        assert!(fault.what.contains(expected), "{keys}: {fault:?}");
    }
    let fault = parsed(&format!("keyring = \"kv2\"\n{profile}")).unwrap_err();
    assert!(fault.what.contains("[kv2] is missing"), "{fault:?}");
}

#[test]
fn values_that_cannot_be_used_are_named_with_their_reason() {
    let uri = "redirect_uri = \"http://localhost\"";
    for (text, expected) in [
        ("keyring = 1", "line 1: `keyring` must be a string, not an integer\n  try: keyring = \"…\""),
        (
            "\n\nkeyring = \"helper:../pass\"",
            "line 3: invalid value for `keyring`\n  try: write \"auto\", \"os\", \"memory\", \"file\", \"keyutils\", \"kv2\", or \"helper:pass\" for docker-credential-pass",
        ),
        (
            "default_profile = [1]",
            "line 1: `default_profile` must be a string, not an array\n  try: default_profile = \"…\"",
        ),
        (
            "profile = true",
            "line 1: `profile` must be a table, not a boolean\n  try: write profiles as [profile.NAME] with their keys below",
        ),
        (
            "[[profile.a]]",
            "line 1: `a` must be a table, not an array\n  try: write profiles as [profile.NAME] with their keys below",
        ),
        (
            "[profile.\"a b\"]",
            "line 1: this profile name cannot be used\n  try: name it with at most 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            "[profile.\"\"]",
            "line 1: this profile name cannot be used\n  try: name it with at most 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            "# x\n[profile.a]\n# y",
            "line 2: profile `a` has no `client_id`\n  try: add client_id = \"…\", from your OAuth client in Rally",
        ),
        (
            "[profile.a]\nclient_id = \"x\"",
            "line 1: profile `a` has no `redirect_uri`\n  try: add redirect_uri = \"…\", the callback URL of your OAuth client, letter by letter",
        ),
        ("[profile.a]\nclient_id = \"\"", "line 2: `client_id` is empty\n  try: client_id = \"…\""),
        (
            "[profile.a]\r\nclient_id = \"canary\\r\\n\"",
            "line 2: `client_id` holds a control character\n  try: client_id = \"…\"",
        ),
        (
            "[profile.a]\nscope = \"a\\u0085b\"",
            "line 2: `scope` holds a control character\n  try: scope = \"…\"",
        ),
        (
            "[profile.a]\nclient_id = ' x'",
            "line 2: `client_id` begins or ends with a space\n  try: client_id = \"…\"",
        ),
        (
            &format!("[profile.a]\nbase_url = \"http://rally1.rallydev.com\"\nclient_id = \"x\"\n{uri}"),
            "line 2: `base_url` cannot be used\n  why: it must begin with https:// (http:// is for loopback addresses only)\n  try: base_url = \"https://rally1.rallydev.com\"",
        ),
        (
            "[profile.a]\nclient_id = \"x\"\nredirect_uri = \"localhost:80\"",
            "line 3: `redirect_uri` cannot be used\n  why: it is not a URL with a scheme and a host\n  try: copy the callback URL of your OAuth client",
        ),
        (
            "[profile.a]\ntoken_command = [\"x\"]\nscope = \"y\"\nclient_id = \"z\"",
            "line 3: `scope` is for a sign-in, and profile `a` has a `token_command`\n  try: take one of the two out",
        ),
        (
            "[profile.a]\ntoken_command = [\"./x\"]",
            "line 2: `token_command` names no program\n  try: token_command = [\"program\", \"argument\"], by the program's name or whole path",
        ),
        (
            &format!("[profile.a]\nca_file = \"ca.pem\"\nclient_id = \"x\"\n{uri}"),
            "line 2: `ca_file` is not an absolute path\n  try: write the whole path, or begin it with ~/",
        ),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
    let longest = "n".repeat(64);
    assert!(parsed(&PROFILE.replace("default", &longest)).is_ok());
    assert!(parsed(&PROFILE.replace("default", &format!("{longest}n"))).is_err());
}

#[test]
fn what_is_not_toml_is_named_with_its_line_and_never_repeated() {
    for (text, expected) in [
        (
            "keyring = canary",
            "line 1: this is not TOML\n  why: string values must be quoted, expected literal string\n  try: write each line as key = \"value\"",
        ),
        (
            "\nkeyring = \"canary\n",
            "line 2: this is not TOML\n  why: invalid basic string, expected `\"`\n  try: write each line as key = \"value\"",
        ),
        (
            "keyring = \"os\"\nkeyring = \"canary\"",
            "line 2: duplicate key `keyring`\n  try: remove one of them",
        ),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn no_file_is_no_config_and_a_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    assert_eq!(read(&path), Ok(None));
    std::fs::write(&path, PROFILE).unwrap();
    assert_eq!(read(&path), Ok(Some(parsed(PROFILE).unwrap())));
}

#[cfg(unix)]
#[test]
fn a_file_that_is_not_plainly_ours_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let shown = path.display().to_string();
    let refusal = |path: &Path| read(path).unwrap_err().to_string();
    let fill = |bytes: &[u8], mode: u32| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o620, 0o602] {
        fill(PROFILE.as_bytes(), mode);
        let expected = format!(
            "config file {shown} is not safe\n  why: others may write to it (mode {mode:04o})\n  try: chmod go-w {shown}"
        );
        assert_eq!(refusal(&path), expected);
    }
    fill(b"# \xc3\xa9\n# \xff\n", 0o644);
    assert_eq!(
        refusal(&path),
        format!("config file {shown}, line 2: this is not UTF-8\n  try: save the file as UTF-8")
    );
    fill(&vec![b'#'; 1024 * 1024 + 1], 0o600);
    assert_eq!(
        refusal(&path),
        format!("config file {shown} is larger than 1 MiB\n  try: keep only rally-cred's keys in it")
    );
    fill(&vec![b'#'; 1024 * 1024], 0o600);
    assert!(refusal(&path).contains("has no profile"));
    let not_a_file = folder.path().display();
    assert_eq!(
        refusal(folder.path()),
        format!("config file {not_a_file} is not an ordinary file\n  try: put a text file in its place")
    );
    assert_eq!(
        refusal(&path.join("below")),
        format!(
            "config file {shown}/below cannot be read\n  why: Not a directory (os error 20)\n  try: put a text file \
             there that you may read"
        )
    );
}

#[test]
fn a_file_of_another_user_is_not_used() {
    let fault = refused(Path::new("/c"), &Unusable::OfAnotherUser(1001, 1000));
    assert_eq!(
        fault.to_string(),
        "config file /c is not safe\n  why: it belongs to uid 1001, not to uid 1000 or root\n  try: put a file of your own in its place"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_pipe_in_the_files_place_does_not_hold_up_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let fault = read(&path).unwrap_err().to_string();
    assert!(fault.contains("is not an ordinary file"), "{fault}");
}

#[test]
fn the_command_for_the_client_secret_is_a_list_that_names_a_program_by_name_or_whole_path() {
    for (written, expected) in [
        ("\"pass rally\"", "line 4: `client_secret_command` must be a list of strings, not a string"),
        ("[]", "line 4: `client_secret_command` names no program"),
        ("[\"./pass\"]", "line 4: `client_secret_command` names no program"),
        ("[\"bin/pass\", \"x\"]", "line 4: `client_secret_command` names no program"),
        ("[\"pass\", \"\"]", "line 4: `client_secret_command` is empty"),
    ] {
        let fault = fault(&format!("{PROFILE}client_secret_command = {written}\n"));
        assert!(fault.starts_with(expected), "{written}: {fault}");
    }
}

#[test]
fn the_file_for_the_client_secret_is_for_profiles_without_a_command() {
    let other = PROFILE.replace("default", "other");
    let mut config = parsed(&format!("{PROFILE}{other}client_secret_command = [\"pass\"]\n")).unwrap();
    config.use_client_secret_file(Path::new("/run/secret"));
    let source = |name: &str| config.profiles[name].client_secret_source.clone().unwrap();
    assert_eq!(source("default"), SecretSource::File("/run/secret".into()));
    assert!(matches!(source("other"), SecretSource::Command(_)));
}

#[test]
fn what_is_forwarded_is_named_and_is_there() {
    let other = PROFILE.replace("default", "other");
    let config = parsed(&format!("{PROFILE}{other}[forward]\nprofiles = [\"other\"]\n")).unwrap();
    assert_eq!(config.forward, Some(vec!["other".to_owned()]));
    assert_eq!(parsed(PROFILE).unwrap().forward, None);
    for (section, expected) in [
        (
            "[forward]\nprofiles = [\"othr\"]",
            "`profiles` names no profile of this file\n  try: name some of: default",
        ),
        ("[forward]", "[forward] names no profile\n  try: name some of: default; or take [forward] out"),
        ("[forward]\nprofile = \"default\"", "unknown key `profile`\n  try: write `profiles`"),
    ] {
        let told = fault(&format!("{PROFILE}{section}\n"));
        let told = told.split_once(": ").unwrap().1;
        assert_eq!(told, expected);
    }
}

#[test]
fn a_gateway_is_for_the_default_profile_and_every_key_of_one_is_read() {
    let other = PROFILE.replace("default", "other");
    let text = format!(
        "{PROFILE}{other}[gateway.plain]\n[gateway.mcp]\nprofile = \"other\"\nport = 8_479\nmode = \"connect\"\n\
         paths = [\"/slm/\"]\nwait = \"2m\"\n"
    );
    let gateways = parsed(&text).unwrap().gateways;
    assert_eq!(gateways["plain"], GatewaySettings::new("default".to_owned()));
    let mcp = GatewaySettings {
        profile: "other".to_owned(),
        port: Some(8479),
        via: Some(Way::Connect),
        paths: vec!["/slm/".to_owned()],
        wait: Ticks::seconds(120),
    };
    assert_eq!(gateways["mcp"], mcp);
}

#[test]
fn what_is_wrong_with_a_gateway_is_told_with_its_line_and_what_to_write() {
    for (written, expected) in [
        (
            "profile = \"mine\"",
            "line 5: `profile` names no profile of this file\n  try: name one of: default",
        ),
        (
            "port = \"8479\"",
            "line 5: `port` must be a number from 1024 to 65535\n  try: port = 8479, or no `port`, to have one \
             chosen once",
        ),
        (
            "port = 80",
            "line 5: `port` must be a number from 1024 to 65535\n  try: port = 8479, or no `port`, to have one \
             chosen once",
        ),
        (
            "mode = \"proxy\"",
            "line 5: invalid value for `mode`\n  try: write \"any\", \"http\", \"https\" or \"connect\"",
        ),
        (
            "paths = [\"slm\"]",
            "line 5: `paths` has something else than beginnings of paths\n  try: paths = [\"/slm/\"], each with a `/` \
             at both ends",
        ),
        (
            "paths = [\"/slm/../login/\"]",
            "line 5: `paths` has something else than beginnings of paths\n  try: paths = [\"/slm/\"], each with a `/` \
             at both ends",
        ),
        (
            "wait = \"soon\"",
            "line 5: `wait` is no duration\n  try: wait = \"90s\", with s, m or h behind a number",
        ),
        ("ports = 1", "line 5: unknown key `ports`\n  try: write `port`"),
        (
            "port = 8479\n[gateway.b]\nport = 8479",
            "line 7: port 8479 is that of gateway `a` already\n  try: give each gateway a port of its own, or none",
        ),
    ] {
        assert_eq!(fault(&format!("{PROFILE}[gateway.a]\n{written}\n")), expected);
    }
    assert_eq!(
        fault("gateway = 1\n"),
        "line 1: `gateway` must be a table, not an integer\n  try: write gateways as [gateway.NAME] with their keys below"
    );
}

#[test]
fn the_daemon_locks_by_itself_only_on_what_is_named() {
    let lock = |lines: &str| parsed(&format!("{PROFILE}[lock]\n{lines}")).map(|config| config.lock);
    assert_eq!(lock("").unwrap(), LockSettings::default());
    let all = LockSettings { on_session: true, on_sleep: true, idle: Some(Ticks::seconds(1800)) };
    assert_eq!(lock("on = [\"session\", \"sleep\"]\nidle = \"30m\"").unwrap(), all);
    assert_eq!(lock("on = []\nidle = \"0\"").unwrap(), LockSettings::default());
    for (lines, what, remedy) in [
        ("on = [\"screen\"]", "something else than occasions", "on = [\"session\", \"sleep\"]"),
        ("idle = \"soon\"", "`idle` is no duration", "idle = \"30m\""),
        ("after = \"30m\"", "unknown key `after`", ""),
    ] {
        let told = fault(&format!("{PROFILE}[lock]\n{lines}"));
        assert!(told.contains(what) && told.contains(remedy), "{told}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_profile_may_be_for_some_programs_or_ask_about_those_that_are_new() {
    let gate = |lines: &str| {
        let config = parsed(&format!("{PROFILE}{lines}")).unwrap();
        config.profiles.into_values().next().unwrap().gate
    };
    assert!(gate("confirm = \"never\"\n").is_open());
    assert_eq!(gate("confirm = \"new\"\n"), Gate { confirms_new: true, allow: None });
    let allow = Some(vec!["/usr/bin/git".to_owned(), "gateway mcp".to_owned()]);
    assert_eq!(gate("allow = [\"/usr/bin/git\", \"gateway mcp\"]\n"), Gate { confirms_new: false, allow });
}

#[cfg(target_os = "linux")]
#[test]
fn what_names_no_program_or_no_occasion_to_ask_is_told_with_its_line() {
    let of_allow = "`allow` has something else than whole paths of programs\n  \
                    try: allow = [\"/usr/bin/git\"], with the paths that rally-cred status --audit shows";
    for allow in ["[]", "[\"git\"]", "[\"bin/git\"]", "[\"gateway a/b\"]"] {
        let told = fault(&format!("{PROFILE}allow = {allow}\n"));
        assert!(told.starts_with("line 4") && told.ends_with(of_allow), "{allow}: {told}");
    }
    let told = fault(&format!("{PROFILE}allow = [\"gateway \"]\n"));
    assert_eq!(told, "line 4: `allow` begins or ends with a space\n  try: allow = [\"…\"]");
    let told = fault(&format!("{PROFILE}confirm = \"always\"\n"));
    assert!(told.starts_with("line 4") && told.contains("invalid value for `confirm`"), "{told}");
}
