//! A notification service on a bus of a test: keeps what it is asked to show, presses the button, and forges that.
//! Does not: show anything, or meet the desktop of whoever runs the tests.
//! Used by: the tests of the user's notifications.
#![expect(clippy::expect_used, reason = "a service that cannot be made is the end of its test")]

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};

use zbus::zvariant::OwnedValue;
use zbus::{blocking::Connection, blocking::connection::Builder, blocking::fdo::DBusProxy};

const SERVICE: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";

/// A service that owns the name until it is dropped.
#[derive(Debug)]
pub struct Desktop {
    bus: Connection,
    stranger: Connection,
    calls: Receiver<Call>,
}

/// What the service was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Show this.
    Show {
        /// The number that it got.
        id: u32,
        /// The title.
        summary: String,
        /// The text.
        body: String,
        /// Keys and labels, in turn.
        actions: Vec<String>,
        /// Milliseconds to its end; 0 for none.
        expires: i32,
    },
    /// Take it away.
    Close(u32),
}

impl Desktop {
    /// Takes the service's name on the bus at this address.
    pub fn start(address: &str) -> Self {
        let (sender, calls) = mpsc::channel();
        let bus = Builder::address(address)
            .and_then(|builder| builder.serve_at(OBJECT, Service { sender, last: 0 }))
            .and_then(|builder| builder.name(SERVICE))
            .and_then(Builder::build)
            .expect("a bus on which nobody has the name");
        let stranger = Builder::address(address).and_then(Builder::build).expect("the bus");
        Self { bus, stranger, calls }
    }

    /// Waits for the next call.
    pub fn next(&self) -> Call {
        self.calls.recv().expect("a service that runs")
    }

    /// What it was asked since the last look.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.try_iter().collect()
    }

    /// Presses a button of a notification, which takes it away.
    pub fn press(&self, id: u32, key: &str) {
        emit(&self.bus, None, "ActivationToken", &(id, "to-the-front"));
        emit(&self.bus, None, "ActionInvoked", &(id, key));
        self.dismiss(id);
    }

    /// Takes a notification away without an answer.
    pub fn dismiss(&self, id: u32) {
        emit(&self.bus, None, "NotificationClosed", &(id, 2_u32));
    }

    /// Has another program send every program on the bus what the service says when a button is pressed.
    pub fn forge_press(&self, id: u32, key: &str) {
        let bus = DBusProxy::new(&self.stranger).expect("the bus");
        let names = || bus.list_names().expect("the names on it");
        for name in names() {
            emit(&self.stranger, Some(name.as_str()), "ActionInvoked", &(id, key));
        }
        // Once the bus has answered this, it has passed the signals on.
        names();
    }
}

fn emit(
    from: &Connection,
    to: Option<&str>,
    name: &str,
    body: &(impl serde::Serialize + zbus::zvariant::DynamicType),
) {
    from.emit_signal(to, OBJECT, SERVICE, name, body).expect("a bus that takes a signal");
}

struct Service {
    sender: Sender<Call>,
    last: u32,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Service {
    #[expect(clippy::too_many_arguments, reason = "the specification has so many")]
    fn notify(
        &mut self,
        _app_name: String,
        _replaces_id: u32,
        _app_icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        expires: i32,
    ) -> u32 {
        self.last += 1;
        // A test that has seen enough does not listen any more.
        self.sender.send(Call::Show { id: self.last, summary, body, actions, expires }).ok();
        self.last
    }

    fn close_notification(&mut self, id: u32) {
        self.sender.send(Call::Close(id)).ok();
    }
}
