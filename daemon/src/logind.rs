//! What systemd-logind tells: that a session of this user is locked, and that the machine goes to sleep and wakes.
//! Does not: decide what follows, or rely on it: where there is no system bus, that is one line in the debug log.
//! Used by: `start`.

use tokio::time::timeout;
use zbus::{
    Address, Connection, MatchRule, Message, MessageStream,
    message::Type,
    names::OwnedUniqueName,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use crate::{
    bus::{self, PATIENCE, next},
    driver::Driver,
};
use rally_cred_core::event::Event;
use rally_cred_proto::plain::plain;

const SERVICE: &str = "org.freedesktop.login1";
const SESSION: &str = "org.freedesktop.login1.Session";
const SESSIONS: &str = "/org/freedesktop/login1/session";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// Brings what logind tells to the driver, for as long as the system bus is there.
pub async fn watch(driver: Driver) {
    let outcome = async {
        let bus = bus::connect(&Address::system()?).await?;
        bus::drive(&bus, listen(&bus, &driver)).await
    };
    if let Err(err) = outcome.await {
        tracing::debug!(why = %plain(&err.to_string()), "logind is not watched");
    }
}

/// Waits for signals until the bus is gone, or the daemon has ended.
async fn listen(bus: &Connection, driver: &Driver) -> zbus::Result<()> {
    let signal = || MatchRule::builder().msg_type(Type::Signal).sender(SERVICE);
    let locked = signal()?.interface(SESSION)?.path_namespace(SESSIONS)?.member("Lock")?.build();
    let asleep = signal()?.interface(MANAGER)?.member("PrepareForSleep")?.build();
    let mut locked = MessageStream::for_match_rule(locked, bus, Some(8)).await?;
    let mut asleep = MessageStream::for_match_rule(asleep, bus, Some(8)).await?;
    tracing::debug!("logind is watched");
    loop {
        let signal = tokio::select! {
            signal = next(&mut locked) => signal,
            signal = next(&mut asleep) => signal,
        };
        let Some(signal) = signal.transpose()? else { return Ok(()) };
        let event = match timeout(PATIENCE, event_of(bus, &signal)).await {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => continue,
            Ok(Err(err)) => {
                tracing::debug!(why = %plain(&err.to_string()), "a signal of logind's was passed over");
                continue;
            }
            Err(_) => continue,
        };
        if driver.happened(event).is_break() {
            return Ok(());
        }
    }
}

/// What a signal means here. Any user of the machine may send one like it, so it has to come from logind itself.
async fn event_of(bus: &Connection, signal: &Message) -> zbus::Result<Option<Event>> {
    const BUS: &str = "org.freedesktop.DBus";
    let owner =
        bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetNameOwner", &SERVICE).await?;
    let (owner, header): (OwnedUniqueName, _) = (owner.body().deserialize()?, signal.header());
    if header.sender() != Some(&*owner) {
        return Ok(None);
    }
    if header.member().is_some_and(|member| member == "PrepareForSleep") {
        let is_beginning: bool = signal.body().deserialize()?;
        tracing::debug!(is_beginning, "the machine goes to sleep, or wakes");
        return Ok(Some(if is_beginning { Event::Sleeping } else { Event::Woke }));
    }
    let Some(session) = header.path() else { return Ok(None) };
    let properties = Some("org.freedesktop.DBus.Properties");
    let user = bus.call_method(Some(SERVICE), session, properties, "Get", &(SESSION, "User")).await?;
    let user: OwnedValue = user.body().deserialize()?;
    let (uid, _): (u32, OwnedObjectPath) = user.try_into()?;
    let is_ours = uid == rustix::process::geteuid().as_raw();
    tracing::debug!(uid, "a session was locked");
    Ok(is_ours.then_some(Event::SessionLocked))
}
