//! The open gateways, on a thread of their own, so that what they pass on delays nobody who asks the daemon.
//! Does not: decide which are open or renew a token (the broker does), or pass on a request (`rally_cred_gateway` does).
//! Used by: `perform`.

mod held_ports;
mod questions;

use std::{
    cell::RefCell,
    collections::HashMap,
    env, io, iter,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    rc::Rc,
    sync::{Arc, Mutex},
    thread,
    time::SystemTime,
};

use rally_cred_gateway::{Answered, Audit, Further, Gateway, Identity, Settings, Share, TokenHeader, Ways};
use rally_cred_proto::{
    Fault, FaultKind, Secret,
    gateway::{GatewayStatus, Way, WayOut},
    native::who_listens_on,
    network,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot, watch},
    task::spawn_local,
};

use crate::driver::Driver;
pub use held_ports::HeldPorts;
use questions::{Question, Questions, answer};
use rally_cred_core::{
    also::Also,
    event::{Epoch, GatewayPlan, GatewayReady, Peer, Program},
    loans::Loans,
};

/// The open gateways. Their thread is there while at least one is open, or is being opened or closed.
pub struct Gateways {
    questions: mpsc::UnboundedSender<Question>,
    loans: Arc<Mutex<Loans>>,
    open: Rc<RefCell<HashMap<Epoch, Place>>>,
    /// How many are being closed. None is opened before that is over, since it may be at the port of one.
    closing: watch::Sender<usize>,
    /// Where each gateway's requests are written down.
    log: Log,
    /// By profile, which stands for a user of Rally.
    shares: HashMap<String, Share>,
    held: HeldPorts,
}

/// Writes down a request to the gateway of this name.
type Log = fn(&str, Answered);

/// What is closed when this is dropped.
struct Place {
    /// `None` while it is being opened.
    gateway: Option<Arc<Gateway>>,
    /// The port that the config file gives it.
    port: Option<u16>,
    thread: Thread,
    _end: oneshot::Sender<()>,
}

/// A thread that ends when the last of these is dropped.
#[derive(Clone)]
struct Thread {
    runtime: Handle,
    _end: Arc<oneshot::Sender<()>>,
}

impl Gateways {
    /// None so far. Their tokens come from this driver, their requests are written down by this log, and some ports are
    /// held for them.
    pub fn new(driver: Driver, log: Log, held: HeldPorts) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let loans = Arc::clone(driver.loans());
        spawn_local(answer(driver, asked));
        let (closing, _) = watch::channel(0);
        Self { questions, loans, open: Rc::default(), closing, log, shares: HashMap::new(), held }
    }

    /// Opens one, which has this epoch as its name until it is closed.
    pub fn open(
        &mut self,
        epoch: Epoch,
        plan: GatewayPlan,
    ) -> impl Future<Output = Result<GatewayReady, Fault>> + 'static {
        let tokens = Questions {
            questions: self.questions.clone(),
            loans: Arc::clone(&self.loans),
            profile: plan.profile.name.to_string(),
            // What one gateway may use, another may be refused.
            borrower: format!("{} {}", plan.name, plan.profile.name),
            peer: asker(&plan),
        };
        let share = self.shares.entry(plan.profile.name.to_string()).or_default().clone();
        let port = plan.settings.port;
        let listener = port.and_then(|port| self.held.take_over(port));
        let (end, ended) = oneshot::channel();
        let (told, opened) = oneshot::channel();
        let thread = self.thread().map(|thread| {
            let life = live(
                open(plan, listener, tokens, share, self.log),
                told,
                ended,
                self.closing.clone(),
                thread.clone(),
            );
            thread.runtime.spawn(life);
            self.open.borrow_mut().insert(epoch, Place { gateway: None, port, thread, _end: end });
        });
        let (all, closing) = (Rc::clone(&self.open), self.closing.clone());
        async move {
            thread.map_err(|err| failed(&format!("the system starts no thread for it ({err})")))?;
            match opened.await.unwrap_or_else(|_| Err(failed("it was closed again"))) {
                Ok((gateway, ready)) => {
                    if let Some(place) = all.borrow_mut().get_mut(&epoch) {
                        place.gateway = Some(gateway);
                    }
                    Ok(ready)
                }
                Err(fault) => {
                    let_go(&all, &closing, epoch);
                    Err(fault)
                }
            }
        }
    }

    /// Leaves so many turns of a profile's user to programs that go to Rally by themselves.
    pub fn reserve(&mut self, profile: &str, turns: u8) {
        self.shares.entry(profile.to_owned()).or_default().reserve(turns);
    }

    /// Closes one, with its connections.
    pub fn close(&mut self, epoch: Epoch) {
        if let Some(port) = let_go(&self.open, &self.closing, epoch) {
            self.held.give_back(port);
        }
    }

    /// Adds what an open gateway has passed on to what is known of it.
    pub fn count(&self, epoch: Option<Epoch>, status: GatewayStatus) -> GatewayStatus {
        let open = self.open.borrow();
        let Some(gateway) = epoch.and_then(|epoch| open.get(&epoch)?.gateway.as_ref()) else { return status };
        let counts = gateway.counts();
        GatewayStatus {
            requests: counts.requests,
            waiting: counts.waiting,
            bytes_up: counts.up,
            bytes_down: counts.down,
            renewals: counts.renewals,
            last_error: counts.last_error,
            ..status
        }
    }

    fn thread(&self) -> io::Result<Thread> {
        let of_another = self.open.borrow().values().next().map(|place| place.thread.clone());
        of_another.map_or_else(Thread::start, Ok)
    }
}

/// Who asks for a gateway: whatever a command's was opened by, or itself.
fn asker(plan: &GatewayPlan) -> Peer {
    let by_itself = || Peer { program: Program::of(&format!("gateway {}", plan.name)), ..Peer::default() };
    Peer { gateway: Some(plan.name.as_str().into()), ..plan.opener.clone().unwrap_or_else(by_itself) }
}

/// Closes it. The port that the config file gave it.
fn let_go(
    open: &RefCell<HashMap<Epoch, Place>>,
    closing: &watch::Sender<usize>,
    epoch: Epoch,
) -> Option<u16> {
    let place = open.borrow_mut().remove(&epoch)?;
    closing.send_modify(|closing| *closing += 1);
    place.port
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        // An error says that the sender is gone, which is what is waited for.
        thread::Builder::new().name("gateway".to_owned()).spawn(move || runtime.block_on(ended).ok())?;
        Ok(Self { runtime: handle, _end: Arc::new(end) })
    }
}

/// The life of one gateway, from the end of those before it to its own, which is when its port is free again.
async fn live(
    opening: impl Future<Output = Result<(Gateway, GatewayReady), Fault>>,
    told: oneshot::Sender<Result<(Arc<Gateway>, GatewayReady), Fault>>,
    mut ended: oneshot::Receiver<()>,
    closing: watch::Sender<usize>,
    _thread: Thread,
) {
    let mut others = closing.subscribe();
    let others_are_closed = async { others.wait_for(|closing| *closing == 0).await.map(drop).is_ok() };
    let is_wanted = tokio::select! {
        are_closed = others_are_closed => are_closed,
        _ = &mut ended => false,
    };
    if is_wanted {
        let opened = opening.await.map(|(gateway, ready)| (Arc::new(gateway), ready));
        let gateway = opened.as_ref().ok().map(|(gateway, _)| Arc::clone(gateway));
        told.send(opened).ok();
        // An error says that its place is gone.
        ended.await.ok();
        if let Some(gateway) = gateway {
            gateway.close();
            gateway.closed().await;
        }
    }
    closing.send_modify(|closing| *closing -= 1);
}

/// Opens a gateway with the identity that it had before, as far as that still fits.
async fn open(
    plan: GatewayPlan,
    held: Option<TcpListener>,
    tokens: Questions,
    share: Share,
    log: Log,
) -> Result<(Gateway, GatewayReady), Fault> {
    let GatewayPlan { name, settings, profile, way_out, identity, opener: _ } = plan;
    let origin = profile.base_url.origin().clone();
    let further: Vec<_> = profile.also_through_gateways().filter_map(further).collect();
    let hosts: Vec<_> =
        iter::once(origin.host()).chain(further.iter().map(|further| further.origin.host())).collect();
    // What cannot be read is made anew, as if there had been none.
    let before = identity.and_then(|identity| Identity::read(&identity).ok());
    let listener = match held {
        Some(listener) => listener,
        None => listen(&name, settings.port.or(before.as_ref().map(Identity::port)))?,
    };
    let port = listener.local_addr().map_err(|err| failed(&err.to_string()))?.port();
    let now = SystemTime::now();
    let identity = match before.map(|before| before.at_port(port)) {
        Some(before) if before.authority().serves(&hosts, now) => Ok(before),
        Some(before) => before.with_new_authority(&hosts, now),
        None => Identity::fresh(port, &hosts, now),
    };
    let identity = identity.map_err(|err| failed(&err.to_string()))?;
    let ready = GatewayReady {
        port,
        identity: identity.to_secret().map_err(|err| failed(&err.to_string()))?,
        key: identity.key().secret().clone(),
        authority: identity.authority().certificate_pem().to_owned(),
    };
    let WayOut { proxy, no_proxy } = way_out.unwrap_or_else(own_way_out);
    let settings = Settings {
        name: name.clone(),
        upstream: origin,
        further,
        ca_file: profile.ca_file,
        no_proxy: no_proxy.unwrap_or_default(),
        ways: ways(settings.via),
        paths: settings.paths,
        patience: settings.wait.as_duration(),
        share,
        audit: Audit::to(move |answered| log(&name, answered)),
    };
    let gateway = Gateway::open(listener, settings, identity, Arc::new(tokens), proxy).await?;
    Ok((gateway, ready))
}

fn further(also: &Also) -> Option<Further> {
    let header = TokenHeader::new(also.header.name(), also.header.scheme())?;
    Some(Further { origin: also.origin.clone(), header })
}

fn ways(via: Option<Way>) -> Ways {
    let is_open = |way| via.is_none_or(|via| via == way);
    Ways { http: is_open(Way::Http), https: is_open(Way::Https), connect: is_open(Way::Connect) }
}

/// Ports that no system gives to outgoing connections, so that a gateway finds its own again: Linux begins at 32768.
const LASTING_PORTS: Range<u16> = 20_000..32_768;

/// A free port, of the lasting ones as long as some are free.
fn any_port() -> io::Result<TcpListener> {
    let tries = (0..64).filter_map(|_| getrandom::u32().ok());
    let ports = tries.map(|dice| {
        let count = u32::from(LASTING_PORTS.end - LASTING_PORTS.start);
        LASTING_PORTS.start + u16::try_from(dice % count).unwrap_or_default()
    });
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    ports.map(bind).find_map(Result::ok).map_or_else(|| bind(0), Ok)
}

fn listen(name: &str, port: Option<u16>) -> Result<TcpListener, Fault> {
    let Some(port) = port else { return any_port().map_err(|err| failed(&err.to_string())) };
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|err| match err.kind() {
        io::ErrorKind::AddrInUse => {
            Fault::new(FaultKind::PortTaken, format!("port {port} of gateway {name} is taken"))
                .why("another program listens on it")
                .remedy(format!(
                    "end that program ({} names it), or give [gateway.{name}] another port",
                    who_listens_on(port)
                ))
        }
        _ => failed(&err.to_string()),
    })
}

/// What the daemon's own variables say of the way out.
fn own_way_out() -> WayOut {
    let [proxies, spared, ..] = network::GROUPS;
    let first =
        |names: &[&str]| names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    WayOut { proxy: first(proxies).and_then(|proxy| Secret::parse(proxy).ok()), no_proxy: first(spared) }
}

fn failed(why: &str) -> Fault {
    Fault::new(FaultKind::Failed, "a gateway cannot be opened").why(why)
}
