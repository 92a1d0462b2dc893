//! Plans the agent by which launchd starts the daemon on macOS, and its end.
//! Does not: carry anything out.
//! Used by: `machine`, on macOS. On Linux, by its tests.

use std::path::PathBuf;

use rally_cred::{autostart, system::System};
use rally_cred_proto::Fault;

use super::{Change, Made, impossible, write};
use crate::installed::Units;
use crate::installed::launchd::{file, session, target, text};

/// Plans its file, and that launchd loads it at once.
pub(super) fn plan(state: &Units, sys: &dyn System) -> Result<Vec<Change>, Fault> {
    let home = sys.variable("HOME").map(PathBuf::from).unwrap_or_default();
    let daemon = autostart::daemon_program(sys)?;
    let text = text(&daemon, &home).ok_or_else(|| {
        impossible(&format!("{} is no text, and an agent has to name it", daemon.display()), "--units no")
    })?;
    let path = file(sys).ok_or_else(|| impossible("HOME names no folder", "--units no"))?;
    let load = launchctl(["bootstrap".into(), session(), path.display().to_string()]);
    let mut plan: Vec<_> = write(path, text).into_iter().flat_map(Change::noted).collect();
    if !state.are_enabled() {
        // A daemon that runs already would keep the socket from launchd's.
        plan.extend([Change::Stop, Change::Note(Made::Units), load]);
    }
    Ok(plan)
}

/// Has launchd forget it, and end its daemon.
pub(super) fn unload() -> Change {
    launchctl(["bootout".into(), target()])
}

fn launchctl(arguments: impl IntoIterator<Item = String>) -> Change {
    Change::Run { program: "launchctl", arguments: arguments.into_iter().map(Into::into).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn the_agent_is_written_and_loaded_once_and_unloaded_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let sys = Fake::beside("checks").with("HOME", home.path().to_str().unwrap());
        let plan = |state| super::plan(&state, &sys).unwrap();
        let path = file(&sys).unwrap();
        let shown = |plan: &[Change]| plan.iter().map(ToString::to_string).collect::<Vec<_>>();
        let load = format!("run launchctl bootstrap {} {}", session(), path.display());
        let all = plan(Units::NotInstalled);
        assert_eq!(all.first(), Some(&Change::Note(Made::File(path.clone()))));
        let written = format!("write {}", path.display());
        assert_eq!(shown(&all)[1..], [written, "stop the daemon".into(), "note Units".into(), load.clone()]);
        let Some(Change::Write { text, .. }) = all.get(1) else { panic!("{all:?}") };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        assert_eq!(shown(&plan(Units::Disabled("it"))).last(), Some(&load));
        assert_eq!(plan(Units::Enabled("it")), []);
        assert_eq!(unload().to_string(), format!("run launchctl bootout {}", target()));
    }
}
