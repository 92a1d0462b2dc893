//! A stand-in for Rally's servers, quirks included: the login pages, the token endpoint, and as much of WSAPI as tools need.
//! Does not: reach further than loopback, or hold anything but made-up secrets.
//! Used by: the tests and the demo in the same process, and the program `rally-sandbox` for `tests/package`.
//!
//! What it does where Rally's own behaviour is unproven is said at the place, or an option
//! ([`Options::allow_refresh`], [`Options::rotate_refresh`]). Unknown parameters are refused everywhere: a client should
//! send what is documented.

mod backlog;
mod catalogue;
mod control;
mod fault;
mod gate;
mod grants;
mod login;
mod options;
mod pages;
mod query;
mod reading;
mod record;
mod schema;
mod serve;
mod shape;
mod tenant;
mod writing;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::oneshot;

pub use control::Control;
pub use fault::{Endpoint, Fault};
pub use grants::Planted;
pub use options::{Certificate, ExpiresIn, Options, User};
pub use record::{Counters, Entry};

use crate::browser::Browser;
use serve::Bound;

/// A host that no name server knows, and that only a proxy of the tests leads to a sandbox.
pub const HOST: &str = "rally.test";

/// A running sandbox on a thread of its own. It derefs to [`Control`], which has everything a test may ask or change.
/// When it has been dropped, its listener and every connection are closed.
pub struct Sandbox {
    control: Arc<Control>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sandbox {
    /// Starts one. It listens already when this returns.
    ///
    /// The error is the listener's (a fixed port is taken) or a failure to make the certificates.
    pub fn start(options: Options) -> io::Result<Sandbox> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, bound) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("rally-sandbox".into()).spawn(move || {
            runtime.block_on(async move {
                match Bound::bind(options).await {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(bound) => {
                        drop(started.send(Ok(bound.control.clone())));
                        tokio::select! {
                            () = bound.serve() => {}
                            _ = stopped => {}
                        }
                    }
                }
            });
        })?;
        let control = bound.recv().map_err(io::Error::other)??;
        Ok(Sandbox { control, stop: Some(stop), thread: Some(thread) })
    }

    /// A browser that trusts this sandbox.
    pub fn browser(&self) -> Browser {
        Browser::trusting(self.ca_pem())
    }
}

impl Deref for Sandbox {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been printed, and the test saw its effect.
            let _ = thread.join();
        }
    }
}
