//! A stand-in for systemd-logind on a bus of a test: says that a session is locked, or that the machine goes to sleep.
//! Does not: meet the system bus of the machine that runs the tests.
//! Used by: the tests of what the daemon does then.
#![expect(clippy::expect_used, reason = "a service that cannot be made is the end of its test")]

use std::os::unix::fs::MetadataExt;

use zbus::zvariant::OwnedObjectPath;
use zbus::{blocking::Connection, blocking::connection::Builder, blocking::fdo::DBusProxy};

use crate::{keyring::KeyringSession, world::World};

const SERVICE: &str = "org.freedesktop.login1";
const SESSION: &str = "/org/freedesktop/login1/session/_31";
const SESSION_OF_ANOTHER: &str = "/org/freedesktop/login1/session/_32";

/// A service that owns the name until it is dropped, on a bus of its own.
#[derive(Debug)]
pub struct Logind {
    service: Connection,
    stranger: Connection,
    bus: KeyringSession,
}

impl Logind {
    /// A system bus on which logind knows a session of this user's and one of somebody else's.
    pub fn start() -> Self {
        let bus = KeyringSession::start_without_keyring();
        let address = bus.address();
        let own = own_user();
        let service = Builder::address(address)
            .and_then(|builder| builder.serve_at(SESSION, Session(own)))
            .and_then(|builder| builder.serve_at(SESSION_OF_ANOTHER, Session(own + 1)))
            .and_then(|builder| builder.name(SERVICE))
            .and_then(Builder::build)
            .expect("a bus on which nobody has the name");
        let stranger = Builder::address(address).and_then(Builder::build).expect("the bus");
        Self { service, stranger, bus }
    }

    /// Lets the programs of a world find this system bus.
    pub fn join(&self, world: &mut World) {
        world.set("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
    }

    /// Says that the user's session is locked.
    pub fn lock(&self) {
        emit(&self.service, None, SESSION, "org.freedesktop.login1.Session", "Lock", &());
    }

    /// Says that a session of another user is locked.
    pub fn lock_of_another(&self) {
        emit(&self.service, None, SESSION_OF_ANOTHER, "org.freedesktop.login1.Session", "Lock", &());
    }

    /// Says that the machine is about to sleep, or has slept.
    pub fn suspend(&self, is_beginning: bool) {
        emit_suspend(&self.service, None, is_beginning);
    }

    /// Has another program send every program on the bus what logind would say.
    pub fn forge_suspend(&self, is_beginning: bool) {
        let bus = DBusProxy::new(&self.stranger).expect("the bus");
        for name in bus.list_names().expect("the names on it") {
            emit_suspend(&self.stranger, Some(name.as_str()), is_beginning);
        }
    }
}

/// The user who runs the tests.
pub fn own_user() -> u32 {
    std::fs::metadata("/proc/self").expect("this process").uid()
}

fn emit_suspend(from: &Connection, to: Option<&str>, is_beginning: bool) {
    let (path, manager) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
    emit(from, to, path, manager, "PrepareForSleep", &is_beginning);
}

fn emit(
    from: &Connection,
    to: Option<&str>,
    path: &str,
    interface: &str,
    name: &str,
    body: &(impl serde::Serialize + zbus::zvariant::DynamicType),
) {
    from.emit_signal(to, path, interface, name, body).expect("a bus that takes a signal");
}

/// A session of the user with this number.
struct Session(u32);

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn user(&self) -> (u32, OwnedObjectPath) {
        let path = format!("/org/freedesktop/login1/user/_{}", self.0);
        (self.0, OwnedObjectPath::try_from(path).expect("a path"))
    }
}
