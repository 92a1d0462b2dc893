//! Says when the Secret Service of this session is unlocked or comes, and when the session's bus does.
//! Does not: unlock it, show a prompt or start it, or ask it for a secret. What it says is a hint: whoever wants a secret
//! asks for it.
//! Used by: the vault's handle, for as long as something is held up.

use std::{collections::HashMap, io, ops::ControlFlow, path::Path, time::Duration};

use rally_cred_proto::plain::plain;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::time::{sleep, timeout};
use zbus::{
    Address, Connection, MatchRule, MessageStream,
    message::Type,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use super::keyring::SERVICE as OURS;
use crate::{
    bus::{self, PATIENCE, next},
    descriptor::Descriptor,
};

const BUS: &str = "org.freedesktop.DBus";
const SERVICE: &str = "org.freedesktop.secrets";
const PLACE: &str = "/org/freedesktop/secrets";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";

/// Pause after a bus has ended, before it is looked for again.
const BUS_PAUSE: Duration = Duration::from_secs(5);

/// How often, and after which pause, a socket is tried again that has just been made: whoever makes it listens next.
const TRIES: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(50);

/// Reports each time that the service may have been unlocked, until a report breaks or nothing can be watched.
pub(super) async fn watch(report: impl FnMut() -> ControlFlow<()>) {
    if let Err(err) = watch_session(report).await {
        tracing::debug!(why = %plain(&err.to_string()), "the keyring is not watched");
    }
}

async fn watch_session(mut report: impl FnMut() -> ControlFlow<()>) -> zbus::Result<()> {
    let address = Address::session()?;
    let mut folder = bus::socket_file(&address).and_then(Path::parent).map(Folder::watch).transpose()?;
    let mut was_missing = false;
    loop {
        match connect(&address).await {
            Ok(bus) => {
                match bus::drive(&bus, listen(&bus, was_missing, &mut report)).await {
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Ok(ControlFlow::Continue(())) => {}
                    Err(err) => tracing::debug!(why = %plain(&err.to_string()), "the session bus has ended"),
                }
                sleep(BUS_PAUSE).await;
            }
            Err(err) => match &mut folder {
                Some(folder) => folder.changed().await?,
                None => return Err(err),
            },
        }
        was_missing = true;
    }
}

async fn connect(address: &Address) -> zbus::Result<Connection> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bus::connect(address).await {
            Err(zbus::Error::InputOutput(err))
                if err.kind() == io::ErrorKind::ConnectionRefused && tries < TRIES =>
            {
                sleep(TRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Waits for signals until the bus is gone. `has_come`: the bus was not there before, and may start the service.
async fn listen(
    bus: &Connection,
    has_come: bool,
    report: &mut impl FnMut() -> ControlFlow<()>,
) -> zbus::Result<ControlFlow<()>> {
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    // Some services tell of the collection, some of the service; whatever it is, the service is asked then.
    let any = signal().sender(SERVICE)?.path_namespace(PLACE)?.build();
    let owned = signal().sender(BUS)?.interface(BUS)?.member("NameOwnerChanged")?.arg(0, SERVICE)?.build();
    let mut any = MessageStream::for_match_rule(any, bus, Some(8)).await?;
    let mut owned = MessageStream::for_match_rule(owned, bus, Some(8)).await?;
    let mut is_open = has_come || is_unlocked(bus).await;
    tracing::debug!("the keyring is watched");
    loop {
        if is_open && report().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let signal = tokio::select! {
            signal = next(&mut any) => signal,
            signal = next(&mut owned) => signal,
        };
        if signal.transpose()?.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        is_open = is_unlocked(bus).await;
    }
}

/// Whether the service is there, and no item of ours and not the collection for new ones is locked.
async fn is_unlocked(bus: &Connection) -> bool {
    match timeout(PATIENCE, ask_whether_unlocked(bus)).await {
        Ok(Ok(is_unlocked)) => is_unlocked,
        Ok(Err(err)) => {
            tracing::debug!(why = %plain(&err.to_string()), "the keyring does not say whether it is locked");
            false
        }
        Err(_) => false,
    }
}

async fn ask_whether_unlocked(bus: &Connection) -> zbus::Result<bool> {
    // A call to a service that is not there would start it.
    let is_there =
        bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "NameHasOwner", &SERVICE).await?;
    if !is_there.body().deserialize::<bool>()? {
        return Ok(false);
    }
    let service = Some("org.freedesktop.Secret.Service");
    let alias = bus.call_method(Some(SERVICE), PLACE, service, "ReadAlias", &"default").await?;
    let collection: OwnedObjectPath = alias.body().deserialize()?;
    if collection.as_str() == "/" {
        return Ok(false);
    }
    let properties = Some("org.freedesktop.DBus.Properties");
    let locked =
        bus.call_method(Some(SERVICE), &collection, properties, "Get", &(COLLECTION, "Locked")).await?;
    if bool::try_from(locked.body().deserialize::<OwnedValue>()?)? {
        return Ok(false);
    }
    let ours = HashMap::from([("service", OURS)]);
    let found = bus.call_method(Some(SERVICE), PLACE, service, "SearchItems", &ours).await?;
    let (_, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) = found.body().deserialize()?;
    Ok(locked.is_empty())
}

/// A folder in which a socket may be made.
struct Folder(Descriptor);

impl Folder {
    fn watch(path: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let made = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::ONLYDIR;
        inotify::add_watch(&events, path, made)?;
        Descriptor::new(events).map(Self)
    }

    /// Waits until something in it was made.
    async fn changed(&mut self) -> io::Result<()> {
        self.0.read(&mut [0; 4096]).await.map(drop)
    }
}
