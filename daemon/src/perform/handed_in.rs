//! A sign-in that a file brings, for machines on which nobody signs in: it stands in for what the vault does not have.
//! Does not: write the file, or read the record. What becomes of the sign-in is kept in the vault.
//! Used by: `perform`, around what it asks the vault.

use std::{env, io::Read as _};

use rally_cred_core::{
    is_same_grant,
    vault::{Change, Changed, ItemKey, ItemKind, Read, VaultTrouble},
};
use rally_cred_proto::{
    Secret,
    frame::MAX_FRAME,
    variables::{self, PROFILE, SIGN_IN_FILE, variable},
};
use zeroize::Zeroizing;

use crate::{private_file, vault::Vault};

/// The profile that the file is for unless a variable names another.
const USUAL_PROFILE: &str = "default";

/// What the vault has under the key, else what the file has for it.
pub(super) async fn load(vault: &Vault, key: &ItemKey) -> Read {
    match vault.load(key).await {
        Err(trouble) if !trouble.is_missing() => Err(trouble),
        found @ Ok(Some(_)) => found,
        found => match file_for(key) {
            Ok(None) => found,
            handed_in => handed_in,
        },
    }
}

/// Makes the change. Whoever believes the vault to hold the grant that the file has is right if it holds nothing; the file
/// may have it in another release's words, or with an access token that Rally has refused.
pub(super) async fn change(vault: &Vault, change: Change) -> Result<Changed, VaultTrouble> {
    let changed = vault.change(change.clone()).await?;
    match (changed, &change.from) {
        (Changed::Conflict(None), Some(from)) => match file_for(&change.key)? {
            Some(handed_in) if is_same_grant(&handed_in, from) => {
                vault.change(Change { from: None, ..change }).await
            }
            _ => Ok(Changed::Conflict(None)),
        },
        (changed, _) => Ok(changed),
    }
}

fn file_for(key: &ItemKey) -> Read {
    let is_for = |name: &str| env::var(PROFILE).as_deref().unwrap_or(USUAL_PROFILE) == name;
    if key.kind != ItemKind::Token || !is_for(&key.name) {
        return Ok(None);
    }
    let Some(path) =
        variables::path(SIGN_IN_FILE, variable(SIGN_IN_FILE)).map_err(|fault| failed(&fault.what))?
    else {
        return Ok(None);
    };
    let cannot = |why: String| failed(&format!("the sign-in file {}: {why}", path.display()));
    let file = private_file::open(&path).map_err(|unusable| cannot(unusable.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FRAME));
    file.take(MAX_FRAME as u64).read_to_end(&mut bytes).map_err(|err| cannot(err.to_string()))?;
    let text = str::from_utf8(bytes.trim_ascii()).map_err(|_| cannot("it is not UTF-8".to_owned()))?;
    Secret::parse(text.to_owned()).map(Some).map_err(|_| cannot("it is not one line".to_owned()))
}

fn failed(why: &str) -> VaultTrouble {
    VaultTrouble::Failed(why.to_owned())
}
