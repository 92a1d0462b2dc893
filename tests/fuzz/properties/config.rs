//! What people write into the config file.
//! Does not: read a file.
//! Used by: `properties`.

use std::path::Path;

use rally_cred_core::{
    also::{Also, TokenHeader},
    profile::{
        CommandLine, Config, FileKey, Gate, GatewaySettings, LockSettings, Notify, Profile, SecretSource,
    },
};
use rally_cred_proto::FaultKind;
use rally_credd::config::parse;
use toml::{Table, Value};

use super::{CANARY, has_form, steers_nothing};

/// What is understood is the same once it is written and read again, and each of its parts leads to one that is there.
/// What is not understood is told without the secret that somebody wrote there.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let path = Path::new("/x/config.toml");
    let config = match parse(text, path) {
        Ok(config) => config,
        Err(fault) => {
            assert!(matches!(fault.kind, FaultKind::ConfigBroken | FaultKind::NotConfigured), "{fault:?}");
            has_form(&fault);
            steers_nothing(&serde_json::to_string(&fault).unwrap());
            let line = format!("client_secret = \"{CANARY}\"");
            let is_value = text.matches(CANARY).count() == 1 && text.lines().any(|found| found == line);
            assert!(!is_value || !fault.to_string().contains(CANARY), "{fault}");
            return;
        }
    };
    let written = written(&config).to_string();
    assert_eq!(parse(&written, path), Ok(config.clone()), "{written}");

    let Config {
        default_profile,
        keyring: _,
        file_key: _,
        profiles,
        static_hosts,
        notify: _,
        gateways,
        forward,
        lock: _,
    } = &config;
    assert_eq!(profiles.contains_key(default_profile), !profiles.is_empty(), "{config:?}");
    assert!(!profiles.is_empty() || !static_hosts.names().is_empty() && gateways.is_empty(), "{config:?}");
    for (name, profile) in profiles {
        assert_eq!((&*profile.name, profile.is_default), (&**name, name == default_profile));
        for Also { origin, header: _ } in &profile.also {
            assert!(profiles.values().all(|profile| profile.base_url.origin() != origin), "{origin}");
        }
    }
    assert!(forward.iter().flatten().all(|name| profiles.contains_key(name)), "{forward:?}");
    for GatewaySettings { profile, port, via: _, paths, wait: _ } in gateways.values() {
        assert!(profiles.contains_key(profile), "{profile}");
        assert!(!paths.is_empty() && paths.iter().all(|path| path.starts_with('/') && path.ends_with('/')));
        let same_port = gateways.values().filter(|other| port.is_some() && other.port == *port);
        assert!(port.is_none_or(|port| port >= 1024) && same_port.count() <= 1, "{port:?}");
    }
}

/// The config file that says this.
fn written(config: &Config) -> Table {
    let Config {
        default_profile,
        keyring,
        file_key,
        profiles,
        static_hosts,
        notify,
        gateways,
        forward,
        lock,
    } = config;
    let LockSettings { on_session, on_sleep, idle } = lock;
    let occasions = [("session", on_session), ("sleep", on_sleep)].into_iter().filter(|(_, is_one)| **is_one);
    let occasions: Vec<_> = occasions.map(|(name, _)| Value::from(name)).collect();
    let lock = table([
        ("on", Some(occasions.into())),
        ("idle", idle.map(|idle| format!("{}s", idle.as_seconds()).into())),
    ]);
    let file_key =
        if let FileKey::File(file) = file_key { Some(file.to_str().unwrap().into()) } else { None };
    let (way, command) = match notify {
        Notify::Desktop => ("desktop", None),
        Notify::Off => ("off", None),
        Notify::Command(command) => ("desktop", Some(words(command))),
    };
    let profiles: Table =
        profiles.iter().map(|(name, found)| (name.clone(), profile(found).into())).collect();
    let gateways: Table =
        gateways.iter().map(|(name, found)| (name.clone(), gateway(found).into())).collect();
    let hosts: Table = table([("hosts", Some(static_hosts.names().into()))]);
    table([
        ("default_profile", Some(default_profile.clone()).filter(|name| !name.is_empty()).map(Value::from)),
        ("keyring", Some(keyring.name().into())),
        ("keyring_key", file_key),
        ("notify", Some(way.into())),
        ("notify_command", command),
        ("profile", Some(profiles.into())),
        ("static", Some(hosts.into())),
        ("gateway", Some(gateways.into())),
        ("forward", forward.clone().map(|names| table([("profiles", Some(names.into()))]).into())),
        ("lock", Some(lock.into())),
    ])
}

fn profile(profile: &Profile) -> Table {
    let Profile {
        name: _,
        is_default: _,
        base_url,
        token_command,
        client_id,
        redirect_uri,
        scope,
        ca_file,
        username,
        client_secret_source,
        also,
        gate: Gate { allow, confirms_new },
    } = profile;
    let command = client_secret_source.as_ref().map(|source| match source {
        SecretSource::Command(command) => words(command),
        SecretSource::File(file) => panic!("no key of the file leads to {}", file.display()),
    });
    let header = |header: &TokenHeader| match header.scheme() {
        Some(scheme) => format!("{}: {scheme}", header.name()),
        None => header.name().to_owned(),
    };
    let also = also.iter().map(|also| {
        table([
            ("origin", Some(also.origin.to_string().into())),
            ("header", Some(header(&also.header).into())),
        ])
    });
    // Beside a program that gives the tokens, a client has no place.
    let signs_in = token_command.is_none();
    table([
        ("base_url", Some(base_url.origin().to_string().into())),
        ("token_command", token_command.as_ref().map(words)),
        ("client_id", signs_in.then(|| client_id.clone().into())),
        ("redirect_uri", signs_in.then(|| redirect_uri.as_str().into())),
        ("scope", signs_in.then(|| scope.clone().into())),
        ("ca_file", ca_file.as_ref().map(|file| file.to_str().unwrap().into())),
        ("username", username.clone().map(Value::from)),
        ("client_secret_command", command),
        ("also", Some(also.collect::<Vec<_>>().into())),
        ("allow", allow.clone().map(Value::from)),
        ("confirm", confirms_new.then(|| "new".into())),
    ])
}

fn gateway(gateway: &GatewaySettings) -> Table {
    let GatewaySettings { profile, port, via, paths, wait } = gateway;
    table([
        ("profile", Some(profile.clone().into())),
        ("port", port.map(|port| i64::from(port).into())),
        ("mode", Some(via.map_or("any", |way| way.name()).into())),
        ("paths", Some(paths.clone().into())),
        ("wait", Some(format!("{}s", wait.as_seconds()).into())),
    ])
}

fn words(CommandLine { program, arguments }: &CommandLine) -> Value {
    let program = program.to_str().unwrap().to_owned();
    [vec![program], arguments.clone()].concat().into()
}

fn table<const N: usize>(entries: [(&str, Option<Value>); N]) -> Table {
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}
