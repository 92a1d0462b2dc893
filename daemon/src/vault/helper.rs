//! A program as a store: any that speaks the protocol of docker-credential-helpers, on its standard input and output.
//! Does not: put anything into the program's arguments but the operation, or show anything that it prints.
//! Used by: the vault's handle, when the config file says `keyring = "helper:NAME"`.

use std::{collections::BTreeMap, io, process::Stdio, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rally_cred_core::{profile::HelperName, vault::VaultTrouble};
use rally_cred_proto::{Secret, message::Flaw};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime, time,
};
use zeroize::Zeroizing;

use super::{
    keyring::damaged,
    thread::{Refusal, Store},
};
use crate::program::{self, Group};

/// How long a program may take: as long as a person takes to find and type the passphrase that it asks for. The daemon's
/// callers do not wait for this.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest output that is read. A list of a thousand items has 64 KiB.
const LONGEST: usize = 1024 * 1024;

/// The user name of every item. The server's address identifies them.
const USERNAME: &str = "rally-cred";

/// Where items seem to be. Some helpers take nothing but the URL of a server; this one can exist nowhere.
const SERVER: &str = "https://rally-cred.invalid/";

/// What an account name has that is no trouble in a URL's path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// What every helper prints, in these words, if there is no such item.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A way to the program.
pub(super) struct Helper(HelperName);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credential<'a> {
    #[serde(rename = "ServerURL")]
    server_url: std::borrow::Cow<'a, str>,
    #[serde(default)]
    username: std::borrow::Cow<'a, str>,
    secret: Secret,
}

/// What an answer is about, whatever the secret in it looks like.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "ServerURL")]
    server_url: String,
}

impl Helper {
    pub(super) fn new(name: HelperName) -> Self {
        Self(name)
    }

    /// What the program prints when it is given this; `None` if it says that there is no such item.
    fn ask(&self, operation: &str, input: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|err| failed(format!("the daemon cannot run it: {err}")))?;
        let name = self.0.program();
        let outcome = runtime.block_on(async { time::timeout(PATIENCE, run(&name, operation, input)).await });
        let (is_ok, output, status) = match outcome {
            Ok(Ok(ended)) => ended,
            Ok(Err(err)) if err.kind() == io::ErrorKind::NotFound => {
                let why = format!("the daemon finds no program {name} in its PATH");
                return Err(VaultTrouble::Missing(why).into());
            }
            Ok(Err(err)) => return Err(failed(format!("{name} cannot be run: {err}"))),
            Err(_) => {
                let why = format!("{name} did not end within {} s", PATIENCE.as_secs());
                return Err(VaultTrouble::Locked(why).into());
            }
        };
        match is_ok {
            true => Ok(Some(output)),
            false if output.trim_ascii() == NOT_FOUND.as_bytes() => Ok(None),
            false if operation == "get" => Err(failed(format!(
                "{name} get ended with {status}; run {name} list to see why, or, if it is this item's fault, \
                 rally-cred keyring repair"
            ))),
            false => {
                Err(failed(format!("{name} {operation} ended with {status}; run {name} list to see why")))
            }
        }
    }

    fn rubbish(&self, operation: &str) -> Refusal {
        failed(format!("{} {operation} printed something that no credential helper prints", self.0.program()))
    }
}

impl Store for Helper {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal> {
        let server = server(account);
        let Some(output) = self.ask("get", server.as_bytes())? else { return Ok(None) };
        let found: Credential<'_> = match serde_json::from_slice(&output) {
            Ok(found) => found,
            Err(_)
                if serde_json::from_slice::<Named>(&output).is_ok_and(|named| named.server_url == server) =>
            {
                return Err(damaged(account));
            }
            Err(_) => return Err(self.rubbish("get")),
        };
        // Some say by an empty answer that there is nothing, and some search by the beginning of the address.
        match found.secret.expose().is_empty() || !found.server_url.is_empty() && found.server_url != server {
            true => Ok(None),
            false => Ok(Some(found.secret)),
        }
    }

    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal> {
        let credential = Credential {
            server_url: server(account).into(),
            username: USERNAME.into(),
            secret: value.clone(),
        };
        let unfit = |_| failed("the item cannot be written as JSON".to_owned());
        let input = Zeroizing::new(serde_json::to_vec(&credential).map_err(unfit)?);
        self.ask("store", &input)?.map(drop).ok_or_else(|| self.rubbish("store"))?;
        // What a helper says it has stored is not always there.
        match self.load(account)? {
            Some(read) if read.matches(value) => Ok(()),
            _ => Err(failed(format!("{} does not give back what it was given", self.0.program()))),
        }
    }

    fn erase(&self, account: &str) -> Result<(), Refusal> {
        // Some fail if there is nothing to erase.
        if self.load(account)?.is_none() {
            return Ok(());
        }
        self.ask("erase", server(account).as_bytes()).map(drop)
    }

    /// Without a look, which may be what fails.
    fn mend(&self, name: &str, _flaw: Flaw) -> Result<(), Refusal> {
        self.ask("erase", server(name).as_bytes()).map(drop)
    }

    fn accounts(&self) -> Result<Vec<String>, Refusal> {
        let Some(output) = self.ask("list", b"")? else { return Ok(Vec::new()) };
        let listed: Option<BTreeMap<String, String>> =
            serde_json::from_slice(&output).map_err(|_| self.rubbish("list"))?;
        let servers = listed.unwrap_or_default().into_keys();
        Ok(servers.filter_map(|server| account(server.strip_prefix(SERVER)?)).collect())
    }
}

fn server(account: &str) -> String {
    format!("{SERVER}{}", utf8_percent_encode(account, PLAIN))
}

fn account(path: &str) -> Option<String> {
    Some(percent_decode_str(path).decode_utf8().ok()?.into_owned())
}

fn failed(why: String) -> Refusal {
    VaultTrouble::Failed(why).into()
}

/// Whether it succeeded, what it printed, and how it ended.
async fn run(
    name: &str,
    operation: &str,
    input: &[u8],
) -> io::Result<(bool, Zeroizing<Vec<u8>>, std::process::ExitStatus)> {
    let mut command = program::command(name);
    command.arg(operation).stdin(Stdio::piped()).stdout(Stdio::piped());
    program::keep_variables_of_stores(&mut command);
    let mut group = Group::start(command)?;
    let (stdin, stdout) = (group.child().stdin.take(), group.child().stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read what it needs will fail by itself.
            stdin.write_all(input).await.ok();
        }
    };
    let read = async {
        // Never grown, so that no piece of a secret is left behind.
        let mut output = Zeroizing::new(Vec::with_capacity(LONGEST));
        if let Some(stdout) = stdout {
            stdout.take(LONGEST as u64).read_to_end(&mut output).await?;
        }
        io::Result::Ok(output)
    };
    let ((), output) = tokio::join!(write, read);
    let status = group.child().wait().await?;
    Ok((status.success(), output?, status))
}
