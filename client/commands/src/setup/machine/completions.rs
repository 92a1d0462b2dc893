//! What `setup` offers of a shell: that it completes command lines.
//! Does not: carry anything out, or plan what is done already.
//! Used by: `setup`.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use rally_cred::system::System;
use rally_cred_proto::Fault;

use super::{Change, folder, write};
use crate::{
    completions::Shell,
    setup::interview::{Interview, YesNo},
};

/// Where command lines are to be completed, as a flag says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum CompleteIn {
    Shell(Shell),
    Nowhere,
}

impl CompleteIn {
    pub(in super::super) fn parser() -> impl TypedValueParser<Value = Self> {
        let shells = Shell::value_variants().iter().filter_map(Shell::to_possible_value);
        PossibleValuesParser::new(shells.chain([PossibleValue::new("no")]))
            .map(|name| Shell::from_str(&name, false).map_or(Self::Nowhere, Self::Shell))
    }
}

fn own_shell(sys: &dyn System) -> Option<Shell> {
    let program = PathBuf::from(sys.variable("SHELL")?);
    Shell::from_str(program.file_name()?.to_str()?, false).ok()
}

/// Plans the completions of the person's shell, if that looks for them in a folder of the user.
pub(in super::super) fn offer_completions(
    interview: &mut Interview<'_, '_>,
    given: Option<CompleteIn>,
    sys: &dyn System,
) -> Result<Vec<Change>, Fault> {
    let (shell, answer) = match given {
        Some(CompleteIn::Nowhere) => return Ok(Vec::new()),
        Some(CompleteIn::Shell(shell)) => (shell, Some(YesNo::Yes)),
        None => match own_shell(sys) {
            Some(shell) => (shell, None),
            None => return Ok(Vec::new()),
        },
    };
    let Some(path) = completions_file(shell, sys) else {
        if answer.is_some() {
            interview.tell(&format!(
                "{shell} has no folder for completions; rally-cred completions --help says where they go"
            ));
        }
        return Ok(Vec::new());
    };
    let change =
        if has_packaged_completions(shell, sys) { None } else { write(path, shell.script().to_owned()) };
    if change.is_none() || !interview.yes(&format!("Have {shell} complete rally-cred's commands?"), answer)? {
        return Ok(Vec::new());
    }
    Ok(change.into_iter().flat_map(Change::noted).collect())
}

/// Whether a package has put them where this shell looks, for every user.
fn has_packaged_completions(shell: Shell, sys: &dyn System) -> bool {
    let below = match shell {
        Shell::Bash => "bash-completion/completions/rally-cred",
        Shell::Fish => "fish/vendor_completions.d/rally-cred.fish",
        Shell::Zsh | Shell::Powershell => return false,
    };
    let folders = sys.variable("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    std::env::split_paths(&folders).any(|folder| folder.join(below).is_file())
}

fn completions_file(shell: Shell, sys: &dyn System) -> Option<PathBuf> {
    let (folder, name) = match shell {
        Shell::Bash => {
            (folder("XDG_DATA_HOME", ".local/share", sys), "bash-completion/completions/rally-cred")
        }
        Shell::Fish => (folder("XDG_CONFIG_HOME", ".config", sys), "fish/completions/rally-cred.fish"),
        Shell::Zsh | Shell::Powershell => return None,
    };
    Some(folder?.join(name))
}
