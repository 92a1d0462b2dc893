//! A stand-in for Rally's servers, quirks included: the login pages, the token endpoint, and as much of WSAPI as tools need.
//! Does not: reach further than loopback, or hold anything but made-up secrets.
//! Used by: the tests and the demo in the same process, and the program `rally-sandbox` for people and other processes.
//!
//! What it does where Rally's own behaviour is unproven is an option, or said at the place: statuses of refusals
//! ([`Options::error_status`], [`Options::cookie_status`], [`Options::busy_status`]), refresh ([`Options::allow_refresh`],
//! [`Options::rotate_refresh`]). Unknown parameters are refused everywhere: a client should send what is documented.

mod backlog;
mod catalogue;
mod control;
mod control_paths;
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
use tokio::task::JoinHandle;

pub use control::Control;
pub use fault::{Endpoint, Fault, Plan};
pub use grants::Planted;
pub use options::{Certificate, ExpiresIn, Options, User};
pub use record::{Counters, Entry};

use crate::browser::Browser;
use serve::Bound;

/// A host that no name server knows, and that only a proxy of the tests leads to a sandbox.
pub const HOST: &str = "rally.test";

/// A running sandbox. It derefs to [`Control`], which has everything a test may ask or change; dropping it ends it.
pub struct Sandbox {
    control: Arc<Control>,
    running: Running,
}

enum Running {
    Task(JoinHandle<()>),
    Thread { stop: Option<oneshot::Sender<()>>, thread: Option<thread::JoinHandle<()>> },
}

impl Sandbox {
    /// Starts on the caller's tokio runtime. It listens already when this returns.
    ///
    /// The error is the listener's (a fixed port is taken) or a failure to make the certificates.
    pub async fn start(options: Options) -> io::Result<Sandbox> {
        let bound = Bound::bind(options).await?;
        let control = bound.control.clone();
        Ok(Sandbox { control, running: Running::Task(tokio::spawn(bound.serve())) })
    }

    /// Starts on a thread and runtime of its own, for tests that are not async. Errors as [`start`](Sandbox::start).
    pub fn start_in_thread(options: Options) -> io::Result<Sandbox> {
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
        Ok(Sandbox { control, running: Running::Thread { stop: Some(stop), thread: Some(thread) } })
    }

    /// Ends it: when this returns the listener and every connection are closed. Dropping does the same,
    /// but for a sandbox on the caller's runtime only at the runtime's next turn.
    ///
    /// A child process that is being started at that moment keeps copies of the sockets until it runs its program:
    /// who starts another sandbox on the same port beside that may have to try twice.
    pub async fn stop(mut self) {
        if let Running::Task(task) = &mut self.running {
            task.abort();
            // The error says that it was aborted.
            let _ = task.await;
        }
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
        match &mut self.running {
            Running::Task(task) => task.abort(),
            Running::Thread { stop, thread } => {
                drop(stop.take());
                if let Some(thread) = thread.take() {
                    // A panic in there has already been printed, and the test saw its effect.
                    let _ = thread.join();
                }
            }
        }
    }
}
