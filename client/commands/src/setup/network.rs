//! This shell's proxy and certificate variables, for the daemon that systemd starts: it has none of them by itself. They
//! go into a file beside its unit, so that no other program of the user has them too.
//! Does not: touch a daemon that a client starts, which has the client's variables anyway.
//! Used by: `setup`.

use std::{ffi::OsString, fs, path::PathBuf};

use rally_cred::system::System;
use rally_cred_proto::{Fault, network};

use super::interview::{Interview, YesNo};
use super::machine::{impossible, systemctl, user_unit, write};
use super::{change::Change, record::Made};
use crate::installed;

/// The file, below the folder of the user's units.
const DROP_IN: &str = "rally-cred.service.d/network.conf";

const HEADING: &str = "# Written by rally-cred setup: how the daemon reaches Rally, taken from the shell that it ran in.\n\
                       # rally-cred setup --network yes takes it anew; setup --remove deletes it.\n[Service]\n";

/// Plans the file, where systemd starts the daemon, or is about to.
pub(super) fn offer(
    interview: &mut Interview<'_, '_>,
    given: Option<YesNo>,
    will_be_enabled: bool,
    sys: &dyn System,
) -> Result<Vec<Change>, Fault> {
    if !cfg!(target_os = "linux") {
        return Ok(if given == Some(YesNo::Yes) { vec![Change::Stop] } else { Vec::new() });
    }
    let set = network::set(|name| sys.variable(name));
    let is_run_by_systemd = will_be_enabled || installed::units(sys).are_enabled();
    let path = user_unit(DROP_IN, sys).filter(|_| is_run_by_systemd);
    let Some(path) = path else {
        // The next one has what this shell has.
        return Ok(if given == Some(YesNo::Yes) { vec![Change::Stop] } else { Vec::new() });
    };
    if set.is_empty() {
        return Ok(if given == Some(YesNo::Yes) { take_away(path) } else { Vec::new() });
    }
    let change = write(path, drop_in(&set)?);
    let Some(change) = change else { return Ok(Vec::new()) };
    let shown: Vec<_> = network::shown(|name| sys.variable(name))
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let question = format!("Have systemd's daemon use this shell's {}?", shown.join(" "));
    if !interview.yes(&question, given)? {
        return Ok(Vec::new());
    }
    let mut plan = change.noted();
    plan.extend([systemctl(&["daemon-reload"]), Change::Stop]);
    Ok(plan)
}

/// The file goes once the shell that it was taken from has nothing to say any more.
fn take_away(path: PathBuf) -> Vec<Change> {
    match fs::symlink_metadata(&path) {
        Ok(_) => vec![
            Change::Delete(path.clone()),
            Change::Forget(Made::File(path)),
            systemctl(&["daemon-reload"]),
            Change::Stop,
        ],
        Err(_) => vec![Change::Stop],
    }
}

/// The text of the file. systemd reads backslashes and quotes as a shell does, and `%` as the beginning of a name of its
/// own.
fn drop_in(set: &[(&'static str, OsString)]) -> Result<String, Fault> {
    let mut text = HEADING.to_owned();
    for (name, value) in set {
        let value = value.to_str().filter(|value| !value.chars().any(char::is_control));
        let value = value.ok_or_else(|| {
            impossible(&format!("the value of {name} cannot stand in a unit"), "--network no")
        })?;
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
        text += &format!("Environment=\"{name}={value}\"\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_systemd_reads_them() {
        let text = drop_in(&[("HTTPS_PROXY", r#"http://me:a%40"\b@proxy"#.into())]).unwrap();
        assert!(
            text.ends_with("[Service]\nEnvironment=\"HTTPS_PROXY=http://me:a%%40\\\"\\\\b@proxy\"\n"),
            "{text}"
        );
        drop_in(&[("HTTPS_PROXY", "a\nExecStart=/bin/false".into())]).unwrap_err();
    }
}
