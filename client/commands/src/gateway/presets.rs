//! What a program needs to reach its gateway: which way suits its tool, and the variables of that way.
//! Does not: know which variables a tool reads its key and server from (`variables` does).
//! Used by: `gateway`.

use std::{iter, process::Command};

use rally_cred::system::System;
use rally_cred_proto::{
    Fault, FaultKind, Origin, Secret,
    gateway::{OpenedGateway, Way, WayOut},
    network,
};
use zeroize::Zeroizing;

use crate::variables::Tool;

/// Variables that name the proxy for https, as tools read them.
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// The way that suits these tools. As their proxy, the gateway serves programs that have Rally's address in their code,
/// follow the addresses in its answers, or know https only.
pub(super) fn way(tools: &[Tool]) -> Way {
    let suits = |tool: &Tool| match tool {
        // pyral and rally-tui know https only, and follow absolute addresses; pyral minds no NO_PROXY. rally for Node takes
        // its server in code, and so does the toolkit for Ruby.
        Tool::Pyral | Tool::RallyNode | Tool::RallyTui | Tool::Ruby => Way::Connect,
        // Node's fetch knows no HTTPS_PROXY before version 24.
        Tool::Clojure | Tool::Mcp => Way::Http,
    };
    match tools.split_first() {
        Some((first, others)) if others.iter().all(|tool| suits(tool) == suits(first)) => suits(first),
        _ => Way::Connect,
    }
}

/// How the program would have gone out itself.
pub(super) fn way_out(sys: &dyn System) -> WayOut {
    let [proxies, spared, ..] = network::GROUPS;
    let first = |names: &[&str]| names.iter().find_map(|name| sys.variable(name)?.into_string().ok());
    WayOut { proxy: first(proxies).and_then(|proxy| Secret::parse(proxy).ok()), no_proxy: first(spared) }
}

/// The server as the program is to name it.
pub(super) fn server(opened: &OpenedGateway, via: Way) -> Result<Origin, Fault> {
    let port = opened.port;
    let uri = match via {
        Way::Http => format!("http://127.0.0.1:{port}"),
        Way::Https => format!("https://localhost:{port}"),
        Way::Connect => opened.base_url.clone(),
    };
    Origin::from_uri(&uri).ok_or_else(|| {
        Fault::new(FaultKind::Failed, "the gateway's server is not understood")
            .remedy("rally-cred daemon restart")
    })
}

/// Sets the variables that lead to the gateway.
pub(super) fn reach(
    command: &mut Command,
    opened: &OpenedGateway,
    via: Way,
    tools: &[Tool],
    sys: &dyn System,
) -> Result<(), Fault> {
    let [proxies, spared, ..] = network::GROUPS;
    let before = spared.iter().find_map(|name| sys.variable(name)?.into_string().ok());
    let after = match via {
        Way::Connect => {
            let (key, port) = (opened.key.expose(), opened.port);
            let proxy = Zeroizing::new(format!("http://rally:{key}@127.0.0.1:{port}"));
            for name in PROXIES {
                command.env(name, proxy.as_str());
            }
            if tools.contains(&Tool::Ruby) {
                command.env("http_proxy", proxy.as_str());
            }
            // Node from version 24 on minds the others only then.
            command.env("NODE_USE_ENV_PROXY", "1");
            let further = opened.also.iter().filter_map(|also| Origin::from_uri(also));
            let servers = iter::once(server(opened, via)?).chain(further);
            let after = before.map(|before| servers.fold(before, |left, server| without(&left, &server)));
            after.filter(|after| !after.is_empty())
        }
        Way::Http | Way::Https => {
            let has_proxy =
                ["HTTP_PROXY", "http_proxy"].iter().chain(proxies).any(|name| sys.variable(name).is_some());
            let own = has_proxy.then_some("127.0.0.1,localhost");
            let all: Vec<_> = before.as_deref().into_iter().chain(own).collect();
            Some(all.join(",")).filter(|after| !after.is_empty())
        }
    };
    for name in spared {
        match &after {
            Some(after) => command.env(name, after),
            None => command.env_remove(name),
        };
    }
    Ok(())
}

/// A NO_PROXY without what covers this server.
fn without(spared: &str, server: &Origin) -> String {
    let covers = |entry: &str| {
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.ends_with(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, Some(port))
            }
            _ => (entry, None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        let below = server.host().strip_suffix(&name);
        let is_host = below.is_some_and(|below| below.is_empty() || name.is_empty() || below.ends_with('.'));
        is_host && port.is_none_or(|port| port == server.port().to_string())
    };
    let entries = spared.split([',', ' ']).filter(|entry| !entry.is_empty());
    entries.filter(|entry| !covers(entry)).collect::<Vec<_>>().join(",")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Fake;

    fn opened() -> OpenedGateway {
        OpenedGateway {
            name: "x".to_owned(),
            profile: "default".to_owned(),
            base_url: "https://rally1.rallydev.com".to_owned(),
            also: vec!["https://mcp.example".to_owned()],
            port: 4004,
            key: Secret::parse("_key".to_owned()).unwrap(),
            authority: String::new(),
            identity: None,
        }
    }

    /// What `reach` sets, and what it takes away as `-`.
    fn reached(via: Way, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        reached_by(&[], via, variables)
    }

    fn reached_by(tools: &[Tool], via: Way, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut sys = Fake::default();
        for (name, value) in variables {
            sys.variables.insert((*name).to_owned(), (*value).into());
        }
        let mut command = Command::new("x");
        reach(&mut command, &opened(), via, tools, &sys).unwrap();
        let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        command.get_envs().map(|(name, value)| (text(name), value.map_or("-".to_owned(), text))).collect()
    }

    #[test]
    fn a_proxy_takes_the_place_of_the_programs_own_and_is_spared_no_call_to_rally() {
        let proxy = "http://rally:_key@127.0.0.1:4004";
        let found = reached(
            Way::Connect,
            &[
                ("HTTPS_PROXY", "http://corp:3128"),
                ("no_proxy", "localhost,.rallydev.com,10.0.0.0/8,mcp.example"),
            ],
        );
        assert_eq!((found["HTTPS_PROXY"].as_str(), found["https_proxy"].as_str()), (proxy, proxy));
        assert_eq!(found["NO_PROXY"], "localhost,10.0.0.0/8");
        assert_eq!(reached(Way::Connect, &[("NO_PROXY", "*")])["NO_PROXY"], "-");
    }

    #[test]
    fn a_program_with_a_proxy_reaches_a_gateway_in_rallys_place_without_it() {
        let found = reached(Way::Http, &[("HTTP_PROXY", "http://corp:3128"), ("NO_PROXY", "intra.example")]);
        assert_eq!(found["no_proxy"], "intra.example,127.0.0.1,localhost");
        assert!(!found.contains_key("HTTPS_PROXY"));
    }

    #[test]
    fn rubys_toolkit_which_knows_one_proxy_for_all_gets_it_where_it_looks() {
        let found = reached_by(&[Tool::Ruby], Way::Connect, &[]);
        assert_eq!(found["http_proxy"], found["https_proxy"]);
        assert!(!reached(Way::Connect, &[]).contains_key("http_proxy"));
        assert!(!reached_by(&[Tool::Ruby], Way::Https, &[]).contains_key("http_proxy"));
    }

    #[test]
    fn only_what_covers_the_server_is_taken_out_of_no_proxy() {
        let server = Origin::from_uri("https://rally1.rallydev.com").unwrap();
        for (spared, left) in [
            ("a.example", "a.example"),
            ("rally1.rallydev.com,b", "b"),
            ("rally1.rallydev.com:443 b", "b"),
            ("rally1.rallydev.com:8443", "rally1.rallydev.com:8443"),
            ("rallydev.com", ""),
            (".RallyDev.com", ""),
            ("*.rallydev.com", ""),
            ("dev.com", "dev.com"),
            ("*", ""),
            ("::1", "::1"),
        ] {
            assert_eq!(without(spared, &server), left, "{spared}");
        }
    }

    #[test]
    fn tools_that_need_different_ways_get_the_one_that_suits_all() {
        assert_eq!(way(&[]), Way::Connect);
        assert_eq!(way(&[Tool::RallyTui, Tool::Ruby]), Way::Connect);
        assert_eq!(way(&[Tool::Mcp, Tool::Clojure]), Way::Http);
        assert_eq!(way(&[Tool::Mcp, Tool::Pyral]), Way::Connect);
    }

    #[test]
    fn the_server_is_named_as_the_way_wants_it() {
        let named = |via| server(&opened(), via).unwrap().to_string();
        assert_eq!(named(Way::Http), "http://127.0.0.1:4004");
        assert_eq!(named(Way::Https), "https://localhost:4004");
        assert_eq!(named(Way::Connect), "https://rally1.rallydev.com");
    }
}
