//! Looks through the vault for what is damaged or of no use, and mends what a person wants mended, for
//! `rally-cred keyring repair`.
//! Does not: touch an item of a later version, or one that has changed since it was judged.
//! Used by: `perform`, when a client asks for it.

use rally_cred_proto::{
    Event, Fault, FaultKind, Secret,
    message::{Flaw, FlawedItem, RepairItems},
};

use crate::{
    driver::Driver,
    vault::{EncryptedFiles, Vault},
};
use rally_cred_core::{
    event::AskId,
    profile::Config,
    repair,
    vault::{ItemKey, ItemKind, VaultTrouble},
};

/// Something that was found, and what the item held, if it could be read.
struct Found {
    name: String,
    flaw: Flaw,
    text: Option<Secret>,
}

/// Tells the client of each item that has a flaw, or of each that it mends; returns what was mended, and what then went
/// wrong. `files`: where the vault is encrypted files.
pub(super) async fn run(
    driver: &Driver,
    id: AskId,
    vault: &Vault,
    files: Option<EncryptedFiles>,
    config: &Config,
    ask: &RepairItems,
) -> (Vec<ItemKey>, Result<(), Fault>) {
    let mut mended = Vec::new();
    let ended = async {
        for found in look(vault, id, config, ask.profile.as_deref()).await? {
            let Found { name, flaw, text } = found;
            let aside = files.as_ref().and_then(|files| files.aside(&name, flaw));
            let aside = aside.map(|folder| folder.display().to_string());
            let is_wanted = ask.mend.contains(&name) && flaw != Flaw::OfLaterVersion;
            let is_mended =
                is_wanted && vault.mend(&name, flaw, text).await.map_err(|trouble| trouble.fault())?;
            if is_mended {
                mended.extend(ItemKey::of_account(&name));
            }
            if is_mended || ask.mend.is_empty() {
                let item = FlawedItem { item: name, flaw, aside, mended: is_mended };
                driver.tell(id, Event::Flaw(item));
            }
        }
        Ok(())
    };
    let ended = ended.await;
    (mended, ended)
}

async fn look(vault: &Vault, id: AskId, config: &Config, profile: Option<&str>) -> Result<Vec<Found>, Fault> {
    let told = |trouble: VaultTrouble| trouble.fault();
    let is_meant = |key: &ItemKey| {
        profile.is_none_or(|profile| {
            matches!(key.kind, ItemKind::Token | ItemKind::ClientSecret) && key.name == profile
        })
    };
    let accounts = vault.accounts().await.map_err(told)?;
    let keys: Vec<_> = accounts.iter().filter_map(|account| ItemKey::of_account(account)).collect();
    if let Some(profile) = profile.filter(|profile| !config.profiles.contains_key(*profile))
        && !keys.iter().any(is_meant)
    {
        let what = format!("there is no profile {profile}, and nothing is kept for one");
        return Err(Fault::new(FaultKind::UnknownProfile, what));
    }
    let mut of_place = vault.flaws().await.map_err(told)?;
    let mut found = Vec::new();
    for key in keys.into_iter().filter(is_meant) {
        let name = key.account();
        let is_doubled = of_place.extract_if(.., |(of, _)| *of == name).next().is_some();
        let (flaw, text) = match vault.load(&key).await {
            Ok(None) => continue,
            Ok(text) if key.kind == ItemKind::Check => (Some(Flaw::Leftover), text),
            Ok(Some(text)) => (repair::flaw(config, &key, &text), Some(text)),
            Err(VaultTrouble::OfLaterVersion(_)) => (Some(Flaw::OfLaterVersion), None),
            Err(VaultTrouble::Damaged(_)) => (Some(Flaw::Damaged), None),
            // It is the item's fault only where others can be written and read.
            Err(trouble) if trouble.is_of_one_item() => {
                let check = ItemKey { kind: ItemKind::Check, name: id.0.to_string() };
                vault.try_out(&check).await.map_err(told)?;
                (Some(Flaw::Damaged), None)
            }
            Err(trouble) => return Err(trouble.fault()),
        };
        let flaw = flaw.or(is_doubled.then_some(Flaw::Doubled));
        found.extend(flaw.map(|flaw| Found { name, flaw, text }));
    }
    if profile.is_none() {
        // Another program's items that are doubled are its own matter.
        let rest = of_place.into_iter().filter(|(_, flaw)| *flaw != Flaw::Doubled);
        found.extend(rest.map(|(name, flaw)| Found { name, flaw, text: None }));
    }
    Ok(found)
}
