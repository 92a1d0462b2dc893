//! Carries effects out: hands each to the shell that can do it, and brings the outcome back as an event.
//! Does not: decide, wait, or fail; a failure is an outcome too.
//! Used by: `driver`, which calls it for each effect in order.

mod checkup;

use std::{collections::HashMap, path::PathBuf};

use rally_cred_proto::Answer;
use tokio::sync::{mpsc, oneshot};

use crate::{
    alert::Alerts,
    config,
    driver::{Inbox, Input},
    endpoint::Endpoint,
    flow::listener,
    ipc::SocketGuard,
    log,
    notify::ServiceManager,
    secret_source,
    vault::Vault,
};
use rally_cred_core::{
    event::{AskId, Effect, Epoch, Event, Page},
    profile::Keyring,
    redirect::Expected,
};

/// Where the answers to one request go. They are boxed, since a channel has room for 32 of them from the start.
pub type Answers = mpsc::UnboundedSender<Box<Answer>>;

/// The hands of the broker.
#[derive(Debug)]
pub struct Performer {
    inbox: Inbox,
    vault: Vault,
    alerts: Alerts,
    config_path: PathBuf,
    guard: SocketGuard,
    manager: ServiceManager,
    clients: HashMap<AskId, Answers>,
    listeners: HashMap<Epoch, oneshot::Sender<Page>>,
}

impl Performer {
    /// Nothing is opened yet: keyring and TLS are set up by their first use.
    pub fn new(
        inbox: Inbox,
        keyring: Keyring,
        alerts: Alerts,
        config_path: PathBuf,
        guard: SocketGuard,
        manager: ServiceManager,
    ) -> Self {
        Self {
            inbox,
            vault: Vault::open(keyring),
            alerts,
            config_path,
            guard,
            manager,
            clients: HashMap::new(),
            listeners: HashMap::new(),
        }
    }

    /// Notes where the answers to a request go.
    pub fn expect_answer(&mut self, id: AskId, answers: Answers) {
        self.clients.insert(id, answers);
    }

    /// The service manager, which wants to hear from the driver itself.
    pub fn manager(&mut self) -> &mut ServiceManager {
        &mut self.manager
    }

    /// Whether no client is connected.
    pub fn is_deserted(&self) -> bool {
        self.guard.is_deserted()
    }

    /// Forgets a client that left before its result.
    pub fn forget(&mut self, id: AskId) {
        self.clients.remove(&id);
    }

    /// Begins an effect, and returns at once.
    pub fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(id, event) => {
                if let Some(client) = self.clients.get(&id) {
                    // A client that left is reported by its session; what was meant for it is dropped.
                    client.send(Box::new(event)).ok();
                }
            }
            Effect::Reply(id, result) => {
                if let Some(client) = self.clients.remove(&id) {
                    client.send(Box::new(result)).ok();
                }
            }
            Effect::Load(epoch, key) => {
                let vault = self.vault.clone();
                self.report(async move { Event::Loaded(epoch, vault.load(&key).await) });
            }
            Effect::FetchClientSecret(epoch, source) => {
                self.report(
                    async move { Event::ClientSecretFetched(epoch, secret_source::fetch(&source).await) },
                );
            }
            Effect::Change(epoch, change) => {
                let vault = self.vault.clone();
                self.report(async move { Event::Changed(epoch, vault.change(change).await) });
            }
            Effect::Erase(epoch, key) => {
                let vault = self.vault.clone();
                self.report(async move { Event::Erased(epoch, vault.erase(&key).await) });
            }
            Effect::OpenVault(keyring) => self.vault = Vault::open(keyring),
            Effect::Listen(epoch, expected) => self.listen(epoch, expected),
            Effect::EndListening(epoch, page) => {
                if let Some(listener) = self.listeners.remove(&epoch) {
                    // A listener that could not be opened is gone already.
                    listener.send(page).ok();
                }
            }
            Effect::Post { epoch, profile, client_secret, form } => {
                self.report(async move {
                    Event::Answered(epoch, Endpoint::new().post_token(&profile, &client_secret, &form).await)
                });
            }
            Effect::LookUpUser { epoch, profile, token } => {
                self.report(async move {
                    Event::UserLookedUp(epoch, Endpoint::new().find_user(&profile, &token).await)
                });
            }
            Effect::Check { id, keyring, profiles, secrets } => {
                if let Some(client) = self.clients.remove(&id) {
                    tokio::spawn(checkup::run(self.vault.clone(), id, keyring, profiles, secrets, client));
                }
            }
            Effect::Alert(alert) => self.alerts.raise(alert),
            Effect::WithdrawAlert(profile) => self.alerts.withdraw(&profile),
            Effect::AlertBy(way) => self.alerts.change(way),
            Effect::ReadConfig => {
                self.manager.reloading();
                let path = self.config_path.clone();
                self.report(
                    async move { Event::ConfigRead(config::read(&path).map(Option::unwrap_or_default)) },
                );
            }
            Effect::Log(entry) => {
                self.manager.note(&entry);
                log::write(entry);
            }
            Effect::CloseSocket => self.guard.close(),
            Effect::Exit | Effect::ExitIfDeserted => {}
        }
    }

    /// Opens the listener, reports what the browser brings, and holds the browser's page back until the flow has ended.
    fn listen(&mut self, epoch: Epoch, expected: Expected) {
        let (end, mut ended) = oneshot::channel();
        self.listeners.insert(epoch, end);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let report = async |event| inbox.send(Input::Happened(event)).await.ok();
            let mut listener = match listener::open(expected).await {
                Ok(listener) => listener,
                Err(trouble) => {
                    report(Event::Listening(epoch, Err(trouble.fault()))).await;
                    return;
                }
            };
            report(Event::Listening(epoch, Ok(()))).await;
            let arrival = tokio::select! {
                arrival = listener.arrival() => arrival,
                _ = &mut ended => return,
            };
            report(Event::Redirected(epoch, arrival.redirect)).await;
            if let Ok(page) = ended.await {
                // The browser may have gone; the port closes with the listener either way.
                arrival.page.send(page).ok();
            }
        });
    }

    /// Runs a job beside the others and sends its outcome to the driver.
    fn report(&self, job: impl Future<Output = Event> + Send + 'static) {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            // A driver that is gone needs no outcome.
            inbox.send(Input::Happened(job.await)).await.ok();
        });
    }
}
