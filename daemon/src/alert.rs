//! Notifies the user that a sign-in is needed, by a desktop notification or a program of their own, and asks them by a
//! notification whether a program may have a token.
//! Does not: decide when, open a browser, or block; each alert is a task.
//! Used by: `perform`.

#[cfg(all(unix, not(target_os = "macos")))]
mod desktop;

use std::{collections::HashMap, convert::Infallible, time::Duration};

use rally_cred_proto::{Fault, FaultKind, plain::plain, variables::PROFILE};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::program::{self, Group};
#[cfg(all(unix, not(target_os = "macos")))]
use desktop::{ask, show};
use rally_cred_core::{
    event::{Alert, Consent, Epoch, Question},
    profile::{CommandLine, Notify},
};

/// How long the user's program may take: enough for a message over the network, too short for one that hangs.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// The alerts of this daemon.
#[derive(Debug)]
pub struct Alerts {
    way: Notify,
    /// The last alert of each profile. Dropping its sender withdraws it.
    shown: HashMap<String, oneshot::Sender<()>>,
    /// The open questions, likewise.
    asked: HashMap<Epoch, oneshot::Sender<()>>,
    /// Every notification holds a copy while it is shown.
    alive: mpsc::Sender<Infallible>,
}

/// Closes once the last notification of [`Alerts`] is gone.
pub type AllGone = mpsc::Receiver<Infallible>;

impl Alerts {
    /// Alerts that are shown this way; nothing is opened yet. Dropping them withdraws what they show, since its button
    /// would be dead.
    pub fn new(way: Notify) -> (Self, AllGone) {
        let (alive, all_gone) = mpsc::channel(1);
        (Self { way, shown: HashMap::new(), asked: HashMap::new(), alive }, all_gone)
    }

    /// Shows an alert, in place of an earlier one for the same profile.
    pub fn raise(&mut self, alert: Alert) {
        match &self.way {
            Notify::Off => {}
            Notify::Command(command) => {
                tokio::spawn(run(command.clone(), alert));
            }
            Notify::Desktop => {
                let (withdraw, withdrawn) = oneshot::channel();
                self.shown.insert(alert.profile.clone(), withdraw);
                let alive = self.alive.clone();
                tokio::spawn(async move {
                    show(alert, withdrawn).await;
                    drop(alive);
                });
            }
        }
    }

    /// Withdraws the profile's alert, if it is still shown.
    pub fn withdraw(&mut self, profile: &str) {
        self.shown.remove(profile);
    }

    /// Asks the user, who may take their time.
    pub fn ask(
        &mut self,
        epoch: Epoch,
        question: Question,
    ) -> impl Future<Output = Result<Consent, Fault>> + 'static {
        let (withdraw, withdrawn) = oneshot::channel();
        self.asked.retain(|_, open| !open.is_closed());
        self.asked.insert(epoch, withdraw);
        let (alive, is_desktop) = (self.alive.clone(), self.way == Notify::Desktop);
        async move {
            let answer = match is_desktop {
                true => ask(question, withdrawn).await,
                false => Err(nobody("notifications are off, or a program of yours shows them")),
            };
            drop(alive);
            answer
        }
    }

    /// Takes a question away.
    pub fn withdraw_question(&mut self, epoch: Epoch) {
        self.asked.remove(&epoch);
    }

    /// Shows further alerts this way.
    pub fn change(&mut self, way: Notify) {
        self.way = way;
    }
}

/// Runs the user's program. The details are in its environment, so that no text from elsewhere is part of a command.
async fn run(CommandLine { program, arguments }: CommandLine, alert: Alert) {
    let Alert { profile, why, remedy, has_button: _ } = alert;
    let mut command = program::command(program);
    command
        .args(arguments)
        .env(PROFILE, plain(&profile))
        .env("RALLY_CRED_WHY", plain(&why))
        .env("RALLY_CRED_TRY", plain(&remedy.to_string()));
    let running = async { Group::start(command)?.child().wait().await };
    match timeout(COMMAND_PATIENCE, running).await {
        Ok(Ok(status)) if status.success() => tracing::debug!(profile, "notify_command ran"),
        Ok(Ok(status)) => tracing::warn!(profile, why = %status, "notify_command failed"),
        Ok(Err(err)) => tracing::warn!(profile, why = %err, "notify_command cannot be run"),
        Err(_) => tracing::warn!(profile, "notify_command was ended, since it took too long"),
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
async fn ask(_question: Question, _withdrawn: oneshot::Receiver<()>) -> Result<Consent, Fault> {
    Err(nobody("this system shows no notifications"))
}

/// The user cannot be asked.
fn nobody(why: &str) -> Fault {
    Fault::new(FaultKind::ConsentNeeded, "you cannot be asked").why(why)
}

/// Without a bus, the log will do.
#[cfg(not(all(unix, not(target_os = "macos"))))]
async fn show(alert: Alert, _withdrawn: oneshot::Receiver<()>) {
    tracing::debug!(profile = alert.profile, "this system shows no notifications");
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use rally_cred_proto::remedy::Command;
    use tokio::time::Instant;

    use super::*;

    fn alert() -> Alert {
        Alert {
            profile: "work".to_owned(),
            why: "Rally said $(touch x)\n".to_owned(),
            remedy: Command::new("rally-cred login work"),
            has_button: true,
        }
    }

    fn tell(words: &[&str]) -> impl Future<Output = ()> + Send + 'static {
        let arguments = words[1..].iter().map(|word| (*word).to_owned()).collect();
        run(CommandLine { program: words[0].into(), arguments }, alert())
    }

    #[tokio::test]
    async fn the_users_program_finds_what_it_is_about_in_its_environment() {
        let folder = tempfile::tempdir().unwrap();
        let line =
            r#"printf '%s|%s|%s|%s' "$1" "$RALLY_CRED_PROFILE" "$RALLY_CRED_WHY" "$RALLY_CRED_TRY" >"$0""#;
        let told = folder.path().join("told");
        let words = ["sh", "-c", line, told.to_str().unwrap(), "an argument"];
        tell(&words).await;
        let told = std::fs::read_to_string(told).unwrap();
        assert_eq!(told, "an argument|work|Rally said $(touch x)|rally-cred login work");
    }

    #[tokio::test]
    async fn a_program_that_is_missing_or_fails_harms_nothing() {
        for words in [["/nowhere/at-all"], ["false"]] {
            tell(&words).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_after_ten_seconds_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let words = ["sh", "-c", "exec 3>\"$0\"; cat /dev/zero >&3 & wait", pipe.to_str().unwrap()];
        let program = tokio::spawn(tell(&words));
        // The pipe opens once the program runs; from then on only the clock of this test goes.
        let mut reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
        let mut piece = [0; 1024];
        while tokio::io::AsyncReadExt::read(&mut reader, &mut piece).await.unwrap() == 0 {}
        tokio::time::pause();
        let now = Instant::now();
        program.await.unwrap();
        let ended_after = now.elapsed();
        tokio::time::resume();
        assert!(ended_after <= Duration::from_secs(10), "{ended_after:?}");
        // Its end closes the pipe.
        let rest =
            async { while tokio::io::AsyncReadExt::read(&mut reader, &mut piece).await.unwrap() > 0 {} };
        timeout(Duration::from_secs(30), rest).await.expect("the end of what it started");
    }
}
