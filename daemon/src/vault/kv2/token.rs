//! The server's token: where it comes from, and the one that was found last.
//! Does not: renew it; whoever wrote the file or the program does.
//! Used by: `kv2`.

use std::{env, sync::Mutex};

use rally_cred_proto::{Secret, unpoisoned};

use crate::secret_source;
use rally_cred_core::{kv2::ServerToken, profile::SecretSource};

pub(super) struct Token {
    from: Option<ServerToken>,
    /// What a program printed. Files are read each time, since an agent of the server replaces them.
    found: Mutex<Option<Secret>>,
}

impl Token {
    pub(super) fn new(from: Option<ServerToken>) -> Self {
        Self { from, found: Mutex::default() }
    }

    /// The token to send, if any.
    pub(super) async fn get(&self) -> Result<Option<Secret>, String> {
        let found = unpoisoned(&self.found).clone();
        if found.is_some() { Ok(found) } else { self.get_anew().await }
    }

    /// The same, since the server refuses what was found last.
    pub(super) async fn get_anew(&self) -> Result<Option<Secret>, String> {
        let source = match &self.from {
            None => return Ok(None),
            Some(ServerToken::Variable(name)) => {
                let text = env::var(name).map_err(|_| format!("the daemon has no variable {name}"))?;
                let secret = Secret::parse(text).map_err(|_| format!("{name} holds a control character"))?;
                return Ok(Some(secret));
            }
            Some(ServerToken::Source(source)) => source,
        };
        let token = secret_source::ask(source).await?;
        if let SecretSource::Command(_) = source {
            *unpoisoned(&self.found) = Some(token.clone());
        }
        Ok(Some(token))
    }
}
