//! Chooses the proxy on the way to a server from the variables that curl and others read, for every request alike.
//! Does not: connect.
//! Used by: `http`.

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use rally_cred_proto::Secret;

use rally_cred_core::{
    answer::{Proxy, SendTrouble},
    profile::BaseUrl,
};

/// Variables that name a proxy for https, by precedence. Plain http is for loopback only, which needs none.
const NAMING: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name servers to be reached without a proxy.
const SPARING: [&str; 2] = ["NO_PROXY", "no_proxy"];

#[derive(Debug)]
pub(super) enum Way {
    /// No variable is set; the system's settings hold, if it has any.
    Unsaid,
    Direct,
    /// Through this proxy; the variable's value may hold a password.
    Through(Proxy, Secret),
}

/// The way to a server. An empty variable counts as unset.
pub(super) fn way_to(base_url: &BaseUrl, read: impl Fn(&str) -> Option<String>) -> Result<Way, SendTrouble> {
    let origin = base_url.origin();
    if origin.is_loopback() {
        // A proxy would take the loopback address for its own machine's.
        return Ok(Way::Direct);
    }
    let find = |names: &[&'static str]| {
        names.iter().find_map(|name| Some((*name, read(name).filter(|value| !value.is_empty())?)))
    };
    let Some((variable, proxy)) = find(&NAMING) else { return Ok(Way::Unsaid) };
    let bad = SendTrouble::BadProxy(variable);
    let Ok(server) = origin.to_string().parse::<Uri>() else { return Err(bad) };
    let through =
        |spared: String| Matcher::builder().https(proxy.clone()).no(spared).build().intercept(&server);
    let Some(found) = through(String::new()) else { return Err(bad) };
    let spared = find(&SPARING).map(|(_, spared)| spared).unwrap_or_default();
    if through(spared).is_none() {
        return Ok(Way::Direct);
    }
    let has_user = found.basic_auth().is_some() || found.raw_auth().is_some();
    let address = found.uri().to_string().trim_end_matches('/').to_owned();
    let server = origin.to_string();
    let value = Secret::parse(proxy).map_err(|_| bad)?;
    Ok(Way::Through(Proxy { address, variable, server, has_user }, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way under these variables, in a word.
    fn way(base_url: &str, variables: &[(&str, &str)]) -> String {
        let base_url = BaseUrl::parse(base_url).unwrap();
        let value = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        match way_to(&base_url, value) {
            Ok(Way::Unsaid) => "unsaid".to_owned(),
            Ok(Way::Direct) => "direct".to_owned(),
            Ok(Way::Through(proxy, _)) => format!("{} by {}", proxy.address, proxy.variable),
            Err(trouble) => format!("{trouble:?}"),
        }
    }

    #[test]
    fn the_proxy_is_the_one_that_the_variables_name_and_an_empty_one_names_none() {
        for (variables, expected) in [
            (&[][..], "unsaid"),
            (&[("HTTPS_PROXY", "http://a:1")], "http://a:1 by HTTPS_PROXY"),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "http://b:1")], "http://b:1 by https_proxy"),
            (&[("ALL_PROXY", "c:1")], "http://c:1 by ALL_PROXY"),
            (&[("all_proxy", "socks5h://d:1")], "socks5h://d:1 by all_proxy"),
            (&[("ALL_PROXY", "http://c:1"), ("https_proxy", "http://b:1")], "http://b:1 by https_proxy"),
            (&[("HTTP_PROXY", "http://e:1")], "unsaid"),
            (&[("HTTPS_PROXY", "ftp://a:1")], "BadProxy(\"HTTPS_PROXY\")"),
            (&[("HTTPS_PROXY", "a proxy")], "BadProxy(\"HTTPS_PROXY\")"),
            (&[("HTTPS_PROXY", "http://me:canary@a:1")], "http://a:1 by HTTPS_PROXY"),
            (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "rallydev.com")], "direct"),
            (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", ""), ("no_proxy", "*")], "direct"),
            (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "dev.com")], "http://a:1 by HTTPS_PROXY"),
        ] {
            assert_eq!(way("https://rally1.rallydev.com", variables), expected, "{variables:?}");
        }
        assert_eq!(way("https://127.0.0.1:1", &[("HTTPS_PROXY", "http://a:1")]), "direct");
        assert_eq!(way("http://localhost:1", &[("ALL_PROXY", "nonsense nonsense")]), "direct");
    }
}
