//! A desktop notification (freedesktop.org's specification, version 1.2) with a button that opens the sign-in, or with the
//! answers to a question.
//! Does not: rely on it: where there is no bus or no service, that is one line in the debug log.
//! Used by: `alert`.

use std::{
    collections::HashMap, env, future::poll_fn, io, path::PathBuf, pin::Pin, process::ExitStatus,
    time::Duration,
};

use rally_cred_proto::{Fault, forwarding::Door, plain::plain};
use tokio::{process::Command, sync::oneshot, time::timeout};
use zbus::{
    Connection, MatchRule, Message, MessageStream, connection::Builder, export::futures_core::Stream,
    message::Type, names::OwnedUniqueName, zvariant::Value,
};

use super::nobody;
use crate::{environment, program, worker};
use rally_cred_core::event::{Alert, Consent, Question};

const SERVICE: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";

/// How long the bus and the service may take; a service that must be started first needs a second or two.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows the alert until it is answered, closed or withdrawn. The button starts the client, which opens the browser.
pub(super) async fn show(alert: Alert, withdrawn: oneshot::Receiver<()>) {
    let profile = alert.profile.as_str();
    if let Err(undone) = worker::rehearse() {
        return tracing::debug!(profile, why = %undone, "no notification is shown");
    }
    let Alert { profile: _, why, remedy, has_button } = &alert;
    let body =
        format!("Profile {}: {}.\nTry: {}", unmarked(profile), unmarked(why), unmarked(&remedy.to_string()));
    // `default` is a click on the notification itself.
    let actions: &[&str] = if *has_button { &["default", "Sign in", "login", "Sign in"] } else { &[] };
    let opening = Notification::open("Rally: sign-in needed", &body, actions);
    let outcome = match timeout(PATIENCE, opening).await {
        Ok(Ok(notification)) => notification.answer(withdrawn).await,
        Ok(Err(err)) => Err(err),
        Err(_) => return tracing::debug!(profile, "the notification service does not answer"),
    };
    match outcome {
        Ok(Some(Pressed { activation, action: _ })) => sign_in(profile, activation).await,
        Ok(None) => tracing::debug!(profile, "the notification is gone"),
        Err(err) => tracing::debug!(profile, why = %plain(&err.to_string()), "no notification is shown"),
    }
}

/// Asks until there is an answer, or the question is closed or withdrawn; or says why it cannot be asked.
pub(super) async fn ask(question: Question, withdrawn: oneshot::Receiver<()>) -> Result<Consent, Fault> {
    let failed = |err: zbus::Error| nobody(&plain(&err.to_string()));
    worker::rehearse().map_err(|undone| nobody(&undone.to_string()))?;
    let Question { profile, program, door } = question;
    let by = match door {
        Door::Own => "",
        Door::Forwarded => ", for another machine, by the forwarded socket",
    };
    let body = format!("{} asks for a token of profile {}{by}.", unmarked(&program), unmarked(&profile));
    // A click on the notification itself is no answer.
    let opening = Notification::open("Rally: may this program have a token?", &body, &ANSWERS);
    let notification = match timeout(PATIENCE, opening).await {
        Ok(opened) => opened.map_err(failed)?,
        Err(_) => return Err(nobody("the notification service does not answer")),
    };
    let pressed = notification.answer(withdrawn).await.map_err(failed)?;
    Ok(match pressed.as_ref().map(|pressed| pressed.action.as_str()) {
        Some("once") => Consent::Once,
        Some("session") => Consent::Session,
        Some("deny") => Consent::Denied,
        _ => Consent::Unanswered,
    })
}

/// Keys and labels, in turn.
const ANSWERS: [&str; 6] = ["once", "Allow once", "session", "Allow for this session", "deny", "Deny"];

struct Notification {
    bus: Connection,
    signals: MessageStream,
    id: u32,
    /// Who shows it. Any program on the bus can send this one a signal like the service's, which no rule keeps out.
    service: Option<OwnedUniqueName>,
}

struct Pressed {
    /// The value of [`ACTIVATION`].
    activation: Option<String>,
    /// The key of the button.
    action: String,
}

impl Notification {
    async fn open(summary: &str, body: &str, actions: &[&str]) -> zbus::Result<Self> {
        let bus = Builder::session()?.method_timeout(PATIENCE).build().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SERVICE)?
            .interface(SERVICE)?
            .path(OBJECT)?
            .build();
        // Before the notification, so as to miss no signal about it.
        let signals = MessageStream::for_match_rule(rule, &bus, None).await?;
        let normal_urgency = HashMap::from([("urgency", Value::U8(1))]);
        // The program, no replacement, the desktop's own icon; it stays until it is closed.
        let notification =
            ("rally-cred", 0_u32, "dialog-password", summary, body, actions, normal_urgency, 0_i32);
        let reply = bus.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "Notify", &notification).await?;
        let service = reply.header().sender().map(|service| service.to_owned().into());
        Ok(Self { id: reply.body().deserialize()?, bus, signals, service })
    }

    /// Waits for the button, or the end of the notification.
    async fn answer(mut self, mut withdrawn: oneshot::Receiver<()>) -> zbus::Result<Option<Pressed>> {
        let mut activation = None;
        loop {
            let signal = tokio::select! {
                signal = next(&mut self.signals) => signal,
                _ = &mut withdrawn => {
                    self.bus.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "CloseNotification", &self.id).await?;
                    return Ok(None);
                }
            };
            let Some(signal) = signal.transpose()? else { return Ok(None) };
            let (header, body) = (signal.header(), signal.body());
            if header.sender() != self.service.as_deref() {
                continue;
            }
            match header.member().map(|member| member.as_str()) {
                Some("ActivationToken") => {
                    let (id, token): (u32, String) = body.deserialize()?;
                    activation = Some(token).filter(|_| id == self.id).or(activation);
                }
                Some("ActionInvoked") => {
                    let (id, action): (u32, String) = body.deserialize()?;
                    if id == self.id {
                        return Ok(Some(Pressed { activation, action }));
                    }
                }
                Some("NotificationClosed") if body.deserialize::<(u32, u32)>()?.0 == self.id => {
                    return Ok(None);
                }
                _ => {}
            }
        }
    }
}

async fn next(signals: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|cx| Pin::new(&mut *signals).poll_next(cx)).await
}

async fn sign_in(profile: &str, activation: Option<String>) {
    let client = client();
    let words = ["login", "--force", "--", profile];
    if environment::is_of_a_unit() {
        // A browser in the daemon's own unit would share its sandbox and end with it.
        let mut command = program::command("systemd-run");
        command.args(["--user", "--quiet", "--collect", "--service-type=exec"]);
        let ours = env::vars().filter(|(name, _)| name.starts_with("RALLY_CRED_"));
        for (name, value) in ours.chain(activation.clone().map(|token| (ACTIVATION.to_owned(), token))) {
            command.arg(format!("--setenv={name}={value}"));
        }
        command.arg("--").arg(&client).args(words);
        if run(command).await.is_ok_and(|status| status.success()) {
            return tracing::debug!(profile, "the sign-in from the notification is a unit of its own");
        }
    }
    let mut command = program::command(client);
    command.args(words).envs(activation.map(|token| (ACTIVATION, token)));
    match run(command).await {
        Ok(status) => tracing::debug!(profile, how = %status, "the sign-in from the notification ended"),
        Err(err) => tracing::warn!(profile, why = %err, "rally-cred cannot be run"),
    }
}

async fn run(command: Command) -> io::Result<ExitStatus> {
    program::start(command)?.wait().await
}

/// Lets the browser's window come to the front.
const ACTIVATION: &str = "XDG_ACTIVATION_TOKEN";

/// The client next to this daemon, else the one in `PATH`.
fn client() -> PathBuf {
    let beside = env::current_exe().ok().map(|own| own.with_file_name("rally-cred"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "rally-cred".into())
}

/// The text for a service that reads markup, or one that does not.
fn unmarked(text: &str) -> String {
    plain(text).replace(['<', '>', '&'], " ")
}
