//! The environment variables from which Rally's tools take a token and a server, as their public sources read them.
//! Does not: set them.
//! Used by: `exec` and `gateway` for the program that they run. Those that are given where none is named are in `rally_cred`.

use clap::ValueEnum;
use rally_cred::{TOKEN_VARIABLES, events::warn, output::Output, system::System};
use rally_cred_proto::{Fault, FaultKind, Origin, Secret};
use zeroize::Zeroizing;

/// Variables that hold a token and nothing else, so that one of another profile is stale. `APIKEY` and `API_KEY` are
/// not among them, since any other program may read these.
pub(crate) const TOKENS: [&str; 5] =
    ["RALLY_API_KEY", "RALLY_APIKEY", "RALLY_ZSESSIONID", "ZSESSIONID", "RALLY_API_TOKEN"];

/// Variables that say where a tool sends its token.
pub(crate) const SERVERS: [&str; 4] = ["RALLY_SERVER", "RALLY_BASE_URL", "RALLY_HOST", "RALLY_INSTANCE"];

/// A tool that `exec --for` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    Pyral,
    RallyNode,
    Clojure,
    #[value(alias = "rally-cli")]
    RallyTui,
    Ruby,
    Mcp,
}

impl Tool {
    /// The variables that it reads.
    ///
    /// `RALLY_BASE_URL` is in none of them: some MCP servers take it for the origin, others for the address of WSAPI.
    fn variables(self) -> Vec<Variable> {
        let variables: &[_] = match self {
            // pyral 1.6.0, config.py: a host without a scheme.
            Self::Pyral => &[("APIKEY", Value::Token), ("RALLY_SERVER", Value::Server)],
            // rally 2.1.3, restapi.js: the server is an option in the code.
            Self::RallyNode => &[("RALLY_API_KEY", Value::Token)],
            // RallyRestAPIForClojure, api.clj.
            Self::Clojure => &[("API_KEY", Value::Token), ("RALLY_HOST", Value::BaseUrl)],
            // rally-tui 1.2 and its rally-cli, rally_api.py: a host, always by https.
            Self::RallyTui => &[("RALLY_APIKEY", Value::Token), ("RALLY_SERVER", Value::Server)],
            // rally_api for Ruby, rally_json_connection.rb and its examples: key and server are options in the code.
            Self::Ruby => &[("RALLY_API_KEY", Value::Token)],
            // mcp-Rally and others read the first, ibm-rally-mcp the others.
            Self::Mcp => &[
                ("RALLY_API_KEY", Value::Token),
                ("RALLY_APIKEY", Value::Token),
                ("RALLY_INSTANCE", Value::BaseUrl),
            ],
        };
        variables.iter().map(|(name, value)| Variable { name: (*name).to_owned(), value: *value }).collect()
    }
}

/// A variable that a program is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Token,
    /// The host, with its port unless that is 443.
    Server,
    /// The host's address.
    BaseUrl,
    /// The address of Rally's web services there.
    WsapiUrl,
}

impl Variable {
    /// Reads `NAME` or `NAME=token|server|base-url|wsapi-url`. The error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text.split_once('=').unwrap_or((text, "token"));
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        let value = match value {
            "token" => Value::Token,
            "server" => Value::Server,
            "base-url" => Value::BaseUrl,
            "wsapi-url" => Value::WsapiUrl,
            _ => return Err("write token, server, base-url or wsapi-url behind the ="),
        };
        if !is_name {
            return Err("a variable is named with letters, digits and _");
        }
        Ok(Self { name: name.to_owned(), value })
    }

    /// What a program is to have: that of the tools, or [`TOKEN_VARIABLES`] where none is named, and what is asked for
    /// besides.
    pub(crate) fn for_tools(tools: &[Tool], besides: &[Self]) -> Vec<Self> {
        let usual = |name: &&str| Self { name: (*name).to_owned(), value: Value::Token };
        let usual = TOKEN_VARIABLES.iter().filter(|_| tools.is_empty()).map(usual);
        let of_tools = tools.iter().flat_map(|tool| tool.variables());
        usual.chain(of_tools).chain(besides.iter().cloned()).collect()
    }
}

impl Value {
    pub(crate) fn text(self, token: &Secret, server: &Origin) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::Token => token.expose().to_owned(),
            Self::Server => without_scheme(&server.to_string()).to_owned(),
            Self::BaseUrl => server.to_string(),
            Self::WsapiUrl => format!("{server}/slm/webservice/v2.0"),
        })
    }
}

/// Inherited variables to remove: tokens, which may be of another profile, and servers other than the one that is meant,
/// which must not get what the program is given. `whose` says whose server that is.
pub(crate) fn stale(
    variables: &[Variable],
    server: &Origin,
    whose: &str,
    sys: &dyn System,
    output: &mut Output<'_>,
) -> Vec<&'static str> {
    let is_set = |name: &str| variables.iter().any(|variable| variable.name == name);
    let mut stale = TOKENS.to_vec();
    for name in SERVERS {
        let value = sys.variable(name);
        let is_foreign =
            value.is_some_and(|value| !value.to_str().is_some_and(|value| names_server(value, server)));
        if is_foreign && !is_set(name) {
            warn(
                &Fault::new(FaultKind::Failed, format!("{name} is not passed on"))
                    .why(format!("it names another server than {whose}"))
                    .remedy(format!("unset it, or add --set {name}=server, =base-url or =wsapi-url")),
                output,
            );
            stale.push(name);
        }
    }
    stale
}

/// Whether the value of a variable in [`SERVERS`], a host or a URL, names this server.
pub(crate) fn names_server(value: &str, server: &Origin) -> bool {
    let uri = if value.contains("://") {
        value.to_owned()
    } else {
        format!("{}://{value}", if server.is_https() { "https" } else { "http" })
    };
    Origin::from_uri(&uri).as_ref() == Some(server)
}

fn without_scheme(uri: &str) -> &str {
    uri.split_once("://").map_or(uri, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_written_as_a_name_and_what_it_holds() {
        for (text, expected) in [
            ("X", Ok(("X", Value::Token))),
            ("RALLY_2=server", Ok(("RALLY_2", Value::Server))),
            ("_x=base-url", Ok(("_x", Value::BaseUrl))),
            ("X=wsapi-url", Ok(("X", Value::WsapiUrl))),
            ("X=token", Ok(("X", Value::Token))),
            ("X=", Err("write token, server, base-url or wsapi-url behind the =")),
            ("X=Y=token", Err("write token, server, base-url or wsapi-url behind the =")),
            ("", Err("a variable is named with letters, digits and _")),
            ("2X", Err("a variable is named with letters, digits and _")),
            ("A B", Err("a variable is named with letters, digits and _")),
        ] {
            let expected = expected.map(|(name, value)| Variable { name: name.to_owned(), value });
            assert_eq!(Variable::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn each_value_is_written_as_its_tools_read_it() {
        let token = Secret::parse("_abc".to_owned()).unwrap();
        for (url, server, wsapi) in [
            (
                "https://rally1.rallydev.com",
                "rally1.rallydev.com",
                "https://rally1.rallydev.com/slm/webservice/v2.0",
            ),
            ("http://localhost:8080", "localhost:8080", "http://localhost:8080/slm/webservice/v2.0"),
        ] {
            let origin = Origin::from_uri(url).unwrap();
            let text = |value: Value| value.text(&token, &origin).to_string();
            assert_eq!(text(Value::Token), "_abc");
            assert_eq!(text(Value::Server), server);
            assert_eq!(text(Value::BaseUrl), url);
            assert_eq!(text(Value::WsapiUrl), wsapi);
        }
    }

    #[test]
    fn a_server_is_the_same_whether_written_as_host_or_url() {
        let server = Origin::from_uri("https://rally1.rallydev.com").unwrap();
        for (value, expected) in [
            ("rally1.rallydev.com", true),
            ("Rally1.RallyDev.com:443", true),
            ("https://rally1.rallydev.com/", true),
            ("https://rally1.rallydev.com/slm/webservice/v2.0", true),
            ("rally1.rallydev.com/slm", true),
            ("http://rally1.rallydev.com", false),
            ("eu1.rallydev.com", false),
            ("rally1.rallydev.com:8443", false),
            ("rally1.rallydev.com@evil.example", false),
            ("rally1.rallydev.com.evil.example", false),
            ("", false),
        ] {
            assert_eq!(names_server(value, &server), expected, "{value}");
        }
    }
}
