//! Carries out effects: hands each to its shell, and brings the outcome back as an event.
//! Does not: decide, wait, or fail; a failure is an outcome too.
//! Used by: `driver`, which has each effect begun in order; `start`, which makes it.

mod checkup;
mod handed_in;
mod moving;
mod repairing;

use std::{collections::HashMap, ops::ControlFlow, path::PathBuf, pin::Pin, rc::Rc};

use rally_cred_proto::{Reply, message};
use tokio::{
    sync::{Mutex, oneshot},
    task::{JoinSet, spawn_local},
};

use crate::{
    alert::Alerts,
    caller, config,
    driver::Driver,
    endpoint,
    flow::listener,
    gateway::{Gateways, HeldPorts},
    ipc::SocketGuard,
    log,
    notify::ServiceManager,
    outside, secret_source, token_command,
    vault::{Places, Vault},
};
use rally_cred_core::{
    event::{Effect, Entry, Epoch, Event, Found, Outcome, Page},
    profile::Keyring,
    redirect::Expected,
};

/// A job on the heap: some are so large that moved from call to call they take more stack than a system short of memory
/// may give.
type Job<T> = Pin<Box<dyn Future<Output = T>>>;

/// Carries out the broker's effects.
pub struct Performer {
    driver: Driver,
    vault: Vault,
    places: Places,
    /// Held by the move of items that is under way.
    moving: Rc<Mutex<()>>,
    alerts: Alerts,
    config_path: PathBuf,
    guard: SocketGuard,
    forward: Option<SocketGuard>,
    manager: Rc<ServiceManager>,
    listeners: HashMap<Epoch, oneshot::Sender<Page>>,
    /// What watches the vault, if anything does.
    vault_watch: JoinSet<()>,
    /// The same of the network.
    network_watch: JoinSet<()>,
    gateways: Gateways,
}

impl Performer {
    /// Opens nothing: keyring and TLS are set up by their first use.
    pub fn new(
        driver: Driver,
        keyring: &Keyring,
        alerts: Alerts,
        config_path: PathBuf,
        guard: SocketGuard,
        manager: Rc<ServiceManager>,
        held: HeldPorts,
    ) -> Self {
        let mut places = Places::new(keyring);
        Self {
            gateways: Gateways::new(driver.clone(), log::answered, held),
            driver,
            vault: places.open(keyring),
            places,
            moving: Rc::default(),
            alerts,
            config_path,
            guard,
            forward: None,
            manager,
            listeners: HashMap::new(),
            vault_watch: JoinSet::new(),
            network_watch: JoinSet::new(),
        }
    }

    /// Begins an effect, and returns at once. Breaks if the daemon is to end.
    pub fn begin(&mut self, effect: Effect) -> ControlFlow<()> {
        match effect {
            Effect::Tell(id, event) => self.driver.tell(id, event),
            Effect::Reply(id, reply) => self.driver.reply(id, reply),
            Effect::Load(epoch, key) => {
                self.ask_vault(epoch, async move |vault: Vault| {
                    Outcome::Loaded(handed_in::load(&vault, &key).await)
                });
            }
            Effect::FetchClientSecret(epoch, source) => {
                let job = async move { Outcome::ClientSecretFetched(secret_source::fetch(&source).await) };
                self.run(epoch, job);
            }
            Effect::FetchToken(epoch, command) => {
                let job = async move { Outcome::TokenFetched(token_command::fetch(&command).await) };
                self.run(epoch, job);
            }
            Effect::Change(epoch, change) => {
                self.ask_vault(epoch, async move |vault: Vault| {
                    Outcome::Changed(handed_in::change(&vault, change).await)
                });
            }
            Effect::Erase(epoch, key) => {
                self.ask_vault(epoch, async move |vault: Vault| Outcome::Erased(vault.erase(&key).await));
            }
            Effect::Unlock(epoch, key) => {
                let vault = self.vault.clone();
                self.run(epoch, async move { Outcome::Unlocked(vault.unlock(&key).await) });
            }
            Effect::OpenFiles { id, passphrase, is_new } => {
                let (driver, files) = (self.driver.clone(), self.places.files().clone());
                spawn_local(async move {
                    let unlocked = files.unlock(passphrase, is_new).await;
                    let is_open = unlocked.is_ok();
                    driver.reply(id, unlocked.map_or_else(Reply::Error, |()| Reply::Done));
                    if is_open {
                        // A daemon that has ended holds nothing up.
                        let _ = driver.happened(Event::VaultUnlocked);
                    }
                });
            }
            Effect::OpenVault(keyring) => {
                self.vault = self.places.open(&keyring);
                if !self.vault_watch.is_empty() {
                    self.watch_vault(true);
                }
            }
            Effect::WatchVault(is_wanted) => self.watch_vault(is_wanted),
            Effect::WatchNetwork(is_wanted) => self.watch_network(is_wanted),
            Effect::MoveItems { id, from, to, step, is_in_use } => {
                let vaults = (self.places.open(&from), self.places.open(&to));
                let (driver, turn) = (self.driver.clone(), Rc::clone(&self.moving));
                spawn_local(async move {
                    // Two at once would both write what neither finds in the new place.
                    let _turn = turn.lock().await;
                    Box::pin(moving::run(driver, id, vaults, step, is_in_use)).await;
                });
            }
            Effect::RepairItems { epoch, id, config, ask } => {
                let files = matches!(config.keyring, Keyring::File(_)).then(|| self.places.files().clone());
                let (driver, vault) = (self.driver.clone(), self.vault.clone());
                self.run(epoch, async move {
                    let (mended, ended) = repairing::run(&driver, id, &vault, files, &config, &ask).await;
                    Outcome::Repaired(mended, ended)
                });
            }
            Effect::Listen(epoch, expected) => self.listen(epoch, expected),
            Effect::EndListening(epoch, page) => {
                if let Some(listener) = self.listeners.remove(&epoch) {
                    // There is none if the listener could not be opened.
                    listener.send(page).ok();
                }
            }
            Effect::Post { epoch, profile, client_secret, form } => {
                self.run(epoch, async move {
                    Outcome::Answered(endpoint::post_token(&profile, &client_secret, &form).await)
                });
            }
            Effect::LookUpUser { epoch, profile, token } => {
                let job = async move { Outcome::UserLookedUp(endpoint::find_user(&profile, &token).await) };
                self.run(epoch, job);
            }
            Effect::Check { id, keyring, profiles, secrets } => {
                let (driver, vault) = (self.driver.clone(), self.vault.clone());
                spawn_local(Box::pin(checkup::run(driver, vault, id, keyring, profiles, secrets)));
            }
            Effect::OpenGateway(epoch, plan) => {
                let opening = self.gateways.open(epoch, *plan);
                self.run(epoch, async move { Outcome::GatewayOpened(opening.await) });
            }
            Effect::ReserveTurns { profile, turns } => self.gateways.reserve(&profile, turns),
            Effect::CloseGateway(epoch) => self.gateways.close(epoch),
            Effect::TellGateways(id, gateways) => {
                for (epoch, status) in gateways {
                    let status = self.gateways.count(epoch, status);
                    self.driver.tell(id, message::Event::Gateway(Box::new(status)));
                }
            }
            Effect::OpenForward(epoch) => {
                let outcome = self.guard.open_restricted(self.driver.clone()).map(|(path, guard)| {
                    self.forward = Some(guard);
                    path.display().to_string()
                });
                self.run(epoch, async { Outcome::ForwardOpened(outcome) });
            }
            Effect::CloseForward => self.forward = None,
            Effect::Identify(epoch, program) => {
                self.run(epoch, async move {
                    let (known, is_known) = oneshot::channel();
                    // Jobs are done in their order, and the look-up was one before.
                    caller::begin();
                    outside::submit(move || known.send(()).unwrap_or_default());
                    is_known.await.unwrap_or_default();
                    program.found(Found::default());
                    Outcome::Identified
                });
            }
            Effect::AskConsent(epoch, question) => {
                let answer = self.alerts.ask(epoch, question);
                self.run(epoch, async { Outcome::Consented(answer.await) });
            }
            Effect::WithdrawConsent(epoch) => self.alerts.withdraw_question(epoch),
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
            Effect::Log(entry) => self.note(entry),
            Effect::CloseSocket => {
                self.forward = None;
                self.guard.close();
            }
            Effect::Exit => return ControlFlow::Break(()),
            // Nothing is awaited before the guard closes, so no client can come in between. Later ones wait in the
            // service manager's queue.
            Effect::ExitIfDeserted if self.guard.is_deserted() => {
                self.note(Entry::Idle);
                return ControlFlow::Break(());
            }
            Effect::ExitIfDeserted => {}
        }
        ControlFlow::Continue(())
    }

    /// Watches the vault anew, or no more.
    fn watch_vault(&mut self, is_wanted: bool) {
        self.vault_watch = JoinSet::new();
        // Elsewhere, no keyring says when it is unlocked, and the broker does not order this.
        #[cfg(target_os = "linux")]
        if is_wanted {
            let (driver, vault) = (self.driver.clone(), self.vault.clone());
            let watch = async move { vault.watch(|| driver.happened(Event::VaultUnlocked)).await };
            self.vault_watch.spawn_local(watch);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = is_wanted;
    }

    /// Watches the network, or no more. Where the system does not say when it is another, pauses end by themselves.
    fn watch_network(&mut self, is_wanted: bool) {
        self.network_watch = JoinSet::new();
        #[cfg(target_os = "linux")]
        if is_wanted {
            let driver = self.driver.clone();
            let watch = async move { crate::netlink::watch(|| driver.happened(Event::Online)).await };
            self.network_watch.spawn_local(watch);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = is_wanted;
    }

    fn note(&self, entry: Entry) {
        self.manager.note(&entry);
        log::write(entry);
    }

    /// Opens the listener, reports what the browser brings, and holds its page until the flow has ended.
    fn listen(&mut self, epoch: Epoch, expected: Expected) {
        let (end, mut ended) = oneshot::channel();
        self.listeners.insert(epoch, end);
        let driver = self.driver.clone();
        spawn_local(async move {
            // A daemon that has ended needs no outcome.
            let report = |outcome| {
                let _ = driver.happened(Event::Outcome(epoch, outcome));
            };
            let mut listener = match listener::open(expected).await {
                Ok(listener) => listener,
                Err(trouble) => return report(Outcome::Listening(Err(trouble.fault()))),
            };
            report(Outcome::Listening(Ok(())));
            let arrival = tokio::select! {
                arrival = listener.arrival() => arrival,
                _ = &mut ended => return,
            };
            report(Outcome::Redirected(arrival.redirect));
            if let Ok(page) = ended.await {
                // The browser may have gone; the port closes with the listener either way.
                arrival.page.send(page).ok();
            }
        });
    }

    /// Asks the vault. What it says of its calendar is decided first, since the outcome may hold times.
    fn ask_vault(&self, epoch: Epoch, ask: impl AsyncFnOnce(Vault) -> Outcome + 'static) {
        let (driver, vault) = (self.driver.clone(), self.vault.clone());
        self.run(epoch, async move {
            let before = vault.calendar();
            let outcome = ask(vault.clone()).await;
            if let Some((least, most)) = vault.calendar().filter(|bounds| Some(*bounds) != before) {
                // A daemon that has ended needs no calendar.
                let _ = driver.happened(Event::VaultCalendar { least, most });
            }
            outcome
        });
    }

    /// Runs a job alongside the others, and has its outcome decided.
    fn report(&self, job: impl Future<Output = Event> + 'static) {
        let driver = self.driver.clone();
        // A daemon that has ended needs no outcome.
        spawn_local(async move {
            let _ = driver.happened(job.await);
        });
    }

    /// The same for a job with an epoch.
    fn run(&self, epoch: Epoch, job: impl Future<Output = Outcome> + 'static) {
        let job: Job<Outcome> = Box::pin(job);
        self.report(async move { Event::Outcome(epoch, job.await) });
    }
}
