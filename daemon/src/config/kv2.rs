//! The table `kv2`: the vault that many daemons share.
//! Does not: reach the server, or read its token.
//! Used by: `config`.

use std::{env, path::PathBuf};

use rally_cred_proto::{Fault, native};

use super::{
    from_home, parse_command, parse_file,
    source::{Entry, Source, Text},
};
use rally_cred_core::{
    kv2::{Address, Kv2, ServerToken},
    profile::{BaseUrl, SecretSource},
};

#[rustfmt::skip]
pub(super) const KEYS: &[&str] = &[
    "address", "mount", "path", "namespace", "token_file", "token_command", "token_credential", "token_env", "ca_file",
    "mode",
];

/// The folder where systemd puts a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

pub(super) fn parse(source: &Source<'_>, entry: &Entry<'_>) -> Result<Kv2, Fault> {
    let mut address = None;
    // Its address is replaced below, or the table is refused.
    let mut kv2 = Kv2::new(Address::Socket(PathBuf::new()));
    for value in source.entries(source.table(entry)?) {
        match value.key {
            "address" => address = Some(parse_address(source, source.text(&value)?)?),
            "mount" => kv2.mount = parse_path(source, &value)?,
            "path" => kv2.path = parse_path(source, &value)?,
            "namespace" => kv2.namespace = Some(parse_path(source, &value)?),
            "ca_file" => kv2.ca_file = Some(parse_file(source, "ca_file", source.text(&value)?)?),
            "mode" => {
                let text = source.text(&value)?;
                (kv2.is_read_only, kv2.has_reader_items) = match text.text {
                    "renew" => (false, false),
                    "renew-and-publish" => (false, true),
                    "read-only" => (true, false),
                    _ => {
                        return Err(source
                            .broken(text.at, "invalid value for `mode`")
                            .remedy("write \"renew\", \"renew-and-publish\" or \"read-only\""));
                    }
                };
            }
            _ => {
                let token = parse_token(source, &value)?
                    .ok_or_else(|| source.unknown(&value, KEYS, super::TOP_KEYS, "the top of the file"))?;
                if kv2.token.replace(token).is_some() {
                    return Err(source.broken(value.at, "[kv2] names two tokens").remedy(
                        "keep one of `token_file`, `token_command`, `token_credential` and `token_env`",
                    ));
                }
            }
        }
    }
    let address = address.ok_or_else(|| {
        source
            .broken(entry.at, "[kv2] has no `address`")
            .remedy("add address = \"https://…\", the server, or \"unix:/…\", the socket of its proxy")
    })?;
    Ok(Kv2 { address, ..kv2 })
}

/// Where the server's token is; `None` if the key is not about that.
fn parse_token(source: &Source<'_>, entry: &Entry<'_>) -> Result<Option<ServerToken>, Fault> {
    let source = match entry.key {
        "token_file" => SecretSource::File(parse_file(source, entry.key, source.text(entry)?)?),
        "token_command" => SecretSource::Command(parse_command(source, entry)?),
        "token_credential" => SecretSource::File(parse_credential(source, source.text(entry)?)?),
        "token_env" => return Ok(Some(ServerToken::Variable(source.text(entry)?.text.to_owned()))),
        _ => return Ok(None),
    };
    Ok(Some(ServerToken::Source(source)))
}

fn parse_credential(source: &Source<'_>, text: Text<'_>) -> Result<PathBuf, Fault> {
    let folder = env::var_os(CREDENTIALS).map(PathBuf::from);
    let path = folder.filter(|_| !text.text.contains('/')).map(|folder| folder.join(text.text));
    path.ok_or_else(|| {
        source
            .broken(text.at, "`token_credential` names no credential of this service")
            .why(native!(
                format!("systemd sets {CREDENTIALS} for a service with LoadCredential="),
                windows: format!("{CREDENTIALS} names the folder that it would be in")
            ))
            .remedy(native!(
                format!("add LoadCredential={} to the unit", text.text),
                windows: "name a file instead"
            ))
    })
}

fn parse_address(source: &Source<'_>, text: Text<'_>) -> Result<Address, Fault> {
    if let Some(path) = text.text.strip_prefix("unix://").or_else(|| text.text.strip_prefix("unix:")) {
        let path = from_home(path).filter(|path| path.is_absolute());
        return path.map(Address::Socket).ok_or_else(|| {
            source
                .broken(text.at, "`address` names no socket by its whole path")
                .remedy("address = \"unix:/run/bao/proxy.sock\"")
        });
    }
    BaseUrl::parse(text.text).map(Address::Url).map_err(|why| {
        source
            .broken(text.at, "`address` cannot be used")
            .why(why.to_string())
            .remedy("address = \"https://bao.example.com:8200\"")
    })
}

/// What stands in a URL as it is.
fn parse_path(source: &Source<'_>, entry: &Entry<'_>) -> Result<String, Fault> {
    let text = source.text(entry)?;
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match text.text.split('/').all(is_plain) {
        true => Ok(text.text.to_owned()),
        false => Err(source
            .broken(text.at, &format!("`{}` cannot be used", entry.key))
            .why("it is made of letters, digits, `-`, `_` and `.`, with `/` between its parts")
            .remedy(format!("{} = \"teams/build\"", entry.key))),
    }
}
