//! Starts and stops the daemon: hardening, detaching, config, log, socket, signals, and the end in order.
//! Does not: serve anything itself.
//! Used by: `main`.

use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use rally_cred_proto::{
    Answer, Fault, FaultKind, Reply,
    forwarding::Door,
    frame, message, native, network, own_file,
    plain::{visible, visible_line},
    socket,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

use crate::{
    activation::{ClientSocket, Inherited},
    alert::Alerts,
    config, confinement,
    driver::Driver,
    gateway::HeldPorts,
    ipc::{self, OnlyClient},
    log::{self, LogFile, Sink},
    notify::ServiceManager,
    perform::Performer,
    vault,
};
use rally_cred_core::{
    Broker, Facts,
    event::Event,
    policy,
    profile::{Config, Notify},
    time::Ticks,
};

/// How long sessions may take to write their last answers, and notifications to disappear.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long unfinished jobs may delay the end; a hanging keyring call is left behind.
const LAST_JOBS: Duration = Duration::from_millis(200);

/// A command of the command line.
#[derive(Debug)]
pub enum Command {
    /// Serve in the foreground.
    Serve {
        /// Seconds without a client before it ends, if the service manager can start it again; zero for never.
        idle_exit: Option<u32>,
    },
    /// Leave the session of the client that started it, and report readiness on standard output.
    ServeDetached,
    /// Serve the client that started it, whose connection is standard input, and end with it.
    ServeOnlyClient,
    /// Read the config file, say what is wrong with it, and end.
    CheckConfig(Option<PathBuf>),
}

/// Shows help, or what is wrong with the command line.
pub fn show(told: &clap::Error) -> ExitCode {
    let (text, code) = (told.render().to_string(), u8::try_from(told.exit_code()).unwrap_or(2));
    let out: &mut dyn Write = if told.use_stderr() { &mut std::io::stderr() } else { &mut std::io::stdout() };
    say(out, text.trim_end(), ExitCode::from(code))
}

/// Runs the command.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::CheckConfig(path) => match check_config(path) {
            Ok(found) => say(&mut std::io::stdout(), &visible_line(&found), ExitCode::SUCCESS),
            Err(fault) => complain(&fault),
        },
        Command::ServeDetached => match serve_detached() {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever started it reads the fault; nobody reads standard error.
            Err(fault) => {
                report(&Answer::Reply(Reply::Error(fault.clone())));
                ExitCode::from(fault.kind.exit_code())
            }
        },
        Command::ServeOnlyClient => ended(harden().and_then(|()| serve_only_client())),
        Command::Serve { idle_exit } => ended(harden().and_then(|()| serve_in_foreground(idle_exit))),
    }
}

fn ended(outcome: Result<(), Fault>) -> ExitCode {
    outcome.map_or_else(|fault| complain(&fault), |()| ExitCode::SUCCESS)
}

fn check_config(path: Option<PathBuf>) -> Result<String, Fault> {
    let path = path.map_or_else(config::path, Ok)?;
    match config::read(&path)? {
        Some(Config { profiles, .. }) => {
            let s = if profiles.len() == 1 { "" } else { "s" };
            Ok(format!("{}: {} profile{s} in order", path.display(), profiles.len()))
        }
        None => {
            Err(Fault::new(FaultKind::NotConfigured, format!("there is no config file {}", path.display()))
                .run("rally-cred setup"))
        }
    }
}

fn serve_detached() -> Result<(), Fault> {
    harden()?;
    leave_session()?;
    socket::check_owners(&socket::own_path()?)?;
    let (sink, trouble) = match open_log() {
        Ok(file) => (Sink::File(file), None),
        // Standard error leads nowhere from here.
        Err(fault) => (Sink::Stderr, Some(fault)),
    };
    // A service manager's variables are meant for whoever started the client.
    let origins = Origins::of(Clients::Socket(None));
    serve(sink, origins, || {
        trouble.into_iter().for_each(|fault| report(&Answer::Event(message::Event::Notice(fault))));
        report(&Answer::Reply(Reply::Done));
        close_output();
    })
}

/// The log of a daemon that a client started. If it fails, the daemon serves without one, and tells that client.
fn open_log() -> Result<LogFile, Fault> {
    let folder = socket::state_folder()?;
    let path = folder.join("daemon.log");
    LogFile::open(&path).map_err(|err| {
        let remedy = own_file::owner_remedy(&path).unwrap_or_else(|| match path.symlink_metadata() {
            Ok(_) => own_file::put_aside(&path),
            Err(_) => native!(
                "set XDG_STATE_HOME to a folder in which you may write".to_owned(),
                windows: format!("icacls {} shows who may write there", folder.display())
            ),
        });
        Fault::new(FaultKind::Failed, format!("the log {} cannot be opened, so none is kept", path.display()))
            .why(err.to_string())
            .remedy(remedy)
    })
}

fn serve_in_foreground(idle_exit: Option<u32>) -> Result<(), Fault> {
    let path = socket::own_path()?;
    socket::check_owners(&path)?;
    let inherited = Inherited::take(&path)?;
    let idle_exit = idle_exit.map_or(policy::IDLE_EXIT, |seconds| Ticks::seconds(u64::from(seconds)));
    let waiting = inherited.try_clone().ok();
    let origins = Origins {
        // Without a socket that outlives it, a daemon that ends could lose a request.
        idle_exit: inherited.clients.is_some().then_some(idle_exit).filter(|after| *after > Ticks(0)),
        clients: Clients::Socket(inherited.clients),
        gateways: inherited.gateways,
        manager: ServiceManager::from_environment(),
    };
    let outcome = serve(Sink::Stderr, origins, || {});
    if let (Err(fault), Some(waiting)) = (&outcome, waiting) {
        waiting.refuse_waiting(fault);
    }
    outcome
}

/// Serves without a socket and a lock, so that a daemon which runs already is not disturbed.
fn serve_only_client() -> Result<(), Fault> {
    let client = OnlyClient::take()?;
    let waiting = client.try_clone()?;
    let outcome = serve(Sink::Stderr, Origins::of(Clients::Only(client)), || {});
    if let Err(fault) = &outcome {
        waiting.refuse(fault);
    }
    outcome
}

/// Where clients come from.
enum Clients {
    /// From the socket, which the service manager may have made.
    Socket(Option<ClientSocket>),
    /// There is one, connected from the start.
    Only(OnlyClient),
}

/// What whoever started the daemon passed on to it.
struct Origins {
    clients: Clients,
    /// Ports of gateways, which the service manager has made.
    gateways: Vec<TcpListener>,
    idle_exit: Option<Ticks>,
    manager: ServiceManager,
}

impl Origins {
    /// Of a daemon that no service manager started.
    fn of(clients: Clients) -> Self {
        Self { clients, gateways: Vec::new(), idle_exit: None, manager: ServiceManager::default() }
    }
}

/// Serves until it is told to stop. `when_ready` is called once clients would be answered.
fn serve(sink: Sink, origins: Origins, when_ready: impl FnOnce()) -> Result<(), Fault> {
    let cannot =
        |err: std::io::Error| Fault::new(FaultKind::Failed, "the daemon cannot start").why(err.to_string());
    let config_path = config::path()?;
    let mut config = config::read(&config_path)?.unwrap_or_default();
    if let Clients::Only(_) = origins.clients {
        // They are for as long as a daemon runs. Who asked for a token hears at once that a person is needed.
        config.gateways.clear();
        config.notify = Notify::Off;
    }
    log::open(sink, std::env::var("RALLY_CRED_LOG").ok().as_deref())?;
    std::panic::set_hook(Box::new(log_panic));
    let mut builder = Builder::new_current_thread();
    // The thread parks once everybody is answered.
    builder.enable_all().on_thread_park(log::catch_up);
    let runtime = builder.build_local(LocalOptions::default()).map_err(cannot)?;
    let outcome = runtime.block_on(serve_until_told(config, config_path, origins, when_ready));
    // A hanging keyring call must not delay the end.
    runtime.shutdown_timeout(LAST_JOBS);
    outcome
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    // The place helps to find the cause; the message could quote anything.
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "a part of the daemon failed");
}

async fn serve_until_told(
    config: Config,
    config_path: PathBuf,
    Origins { clients, gateways, idle_exit, manager }: Origins,
    when_ready: impl FnOnce(),
) -> Result<(), Fault> {
    let driver = Driver::default();
    let (path, (guard, sessions)) = match clients {
        Clients::Only(client) => (None, client.serve(driver.clone())?),
        Clients::Socket(inherited) => {
            let path = socket::own_path()?;
            match open_socket(inherited, &path)? {
                Some(socket) => (Some(path), socket.serve(Door::Own, driver.clone())),
                None => {
                    tracing::info!("another daemon serves {}", visible_line(&path.to_string_lossy()));
                    when_ready();
                    return Ok(());
                }
            }
        }
    };
    let confinement = confinement::begin(path.as_deref());
    let shown = path.as_deref().map_or("none".into(), Path::to_string_lossy);
    let shown = visible_line(&shown).into_owned();
    let facts = Facts {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config: config_path.display().to_string(),
        network: network::shown(|name| std::env::var_os(name)),
        places: vault::places(),
        confinement,
    };
    watch_signals(&driver)?;
    tracing::info!(profiles = config.profiles.len(), socket = %shown, "ready");
    manager.ready(config.profiles.len());
    let (alerts, mut all_gone) = Alerts::new(config.notify.clone());
    let manager = Rc::new(manager);
    let held = HeldPorts::new(gateways, &config);
    let mut performer = Performer::new(
        driver.clone(),
        &config.keyring,
        alerts,
        config_path,
        guard,
        Rc::clone(&manager),
        held,
    );
    when_ready();
    let broker = Broker::new(facts, config).with_idle_exit(idle_exit);
    // Before anything is awaited, so that nobody finds the driver without a broker.
    let end = driver.open(broker, Box::new(move |effect| performer.begin(effect)));
    #[cfg(target_os = "linux")]
    spawn_local(crate::logind::watch(driver.clone()));
    // As a task, since waking the runtime's own future takes a system call.
    spawn_local(driver.run(manager));
    end.await.map_err(|_| Fault::new(FaultKind::Failed, "the daemon failed").remedy("see its log"))?;
    // A client, or a bus, that does not take its last message is left behind.
    tokio::time::timeout(LAST_ANSWERS, async { tokio::join!(sessions, all_gone.recv()) }).await.ok();
    log::flush();
    tracing::info!("stopped");
    Ok(())
}

#[cfg(target_os = "linux")]
fn open_socket(inherited: Option<ClientSocket>, path: &Path) -> Result<Option<ipc::Socket>, Fault> {
    match inherited {
        Some(inherited) => ipc::adopt(inherited.into(), path).map(Some),
        None => ipc::open(path),
    }
}

/// No service manager passes a socket on here.
#[cfg(not(target_os = "linux"))]
fn open_socket(_inherited: Option<ClientSocket>, path: &Path) -> Result<Option<ipc::Socket>, Fault> {
    ipc::open(path)
}

#[cfg(unix)]
fn watch_signals(driver: &Driver) -> Result<(), Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = |kind, make_event: fn() -> Event| {
        let mut arrivals = signal(kind)
            .map_err(|err| Fault::new(FaultKind::Failed, "signals cannot be watched").why(err.to_string()))?;
        let driver = driver.clone();
        spawn_local(async move {
            while arrivals.recv().await.is_some() && driver.happened(make_event()).is_continue() {}
        });
        Ok(())
    };
    watch(SignalKind::terminate(), || Event::StopWanted)?;
    watch(SignalKind::interrupt(), || Event::StopWanted)?;
    watch(SignalKind::hangup(), || Event::ReloadWanted)
}

#[cfg(not(unix))]
fn watch_signals(driver: &Driver) -> Result<(), Fault> {
    let driver = driver.clone();
    spawn_local(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // It may have ended.
            let _ = driver.happened(Event::StopWanted);
        }
    });
    Ok(())
}

/// Keeps secrets out of core dumps, closes new files to others, and on Linux shields this process from others of its
/// user that may not trace.
#[cfg(unix)]
fn harden() -> Result<(), Fault> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let cannot = |err: rustix::io::Errno| {
        Fault::new(FaultKind::Failed, "core dumps cannot be switched off").why(err.to_string())
    };
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(cannot)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(cannot)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Many systems give a program 1,024 descriptors, which a thousand clients would use up. With the old limit, fewer
    // are served at once.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum.map(|most| most.min(4096)), maximum }).ok();
    // A daemon that can open no file would end at the first that it needs.
    crate::worker::rehearse_descriptors(32).map_err(|undone| {
        Fault::new(FaultKind::Failed, "the daemon may not open the files that it needs")
            .why(undone.to_string())
            .remedy("raise the limit (ulimit -n 256) and start it again")
    })
}

#[cfg(not(unix))]
fn harden() -> Result<(), Fault> {
    Ok(())
}

/// Leaves the terminal and the folder of the client that started it.
#[cfg(unix)]
fn leave_session() -> Result<(), Fault> {
    let cannot = |why: String| {
        Fault::new(FaultKind::Failed, "the daemon cannot leave the session that started it").why(why)
    };
    // Fails only for a group leader, which has nothing to leave.
    rustix::process::setsid().ok();
    std::env::set_current_dir("/").map_err(|err| cannot(err.to_string()))
}

#[cfg(not(unix))]
fn leave_session() -> Result<(), Fault> {
    Ok(())
}

/// Gives up standard output and standard error, so that whoever waits for their end can go on.
#[cfg(unix)]
fn close_output() {
    if let Ok(nothing) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        rustix::stdio::dup2_stdout(&nothing).ok();
        rustix::stdio::dup2_stderr(&nothing).ok();
    }
}

/// Gives up standard output; nobody waits for standard error, which is nowhere.
#[cfg(windows)]
fn close_output() {
    rally_cred_windows::close_standard_output();
}

/// Tells the client that started the daemon how it went, in a frame on standard output: `done`, or the error.
fn report(answer: &Answer) {
    if let Ok(line) = frame::encode(answer) {
        // Nobody may be waiting.
        std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush()).ok();
    }
}

fn complain(fault: &Fault) -> ExitCode {
    say(&mut std::io::stderr(), &format!("rally-credd: {fault}"), ExitCode::from(fault.kind.exit_code()))
}

fn say(out: &mut dyn Write, text: &str, code: ExitCode) -> ExitCode {
    // Whoever closed the pipe wants no text.
    writeln!(out, "{}", visible(text)).ok();
    code
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in the process that logs.
    const LOGS: &str = "RALLY_CRED_TEST_LOGS";

    #[test]
    fn what_a_library_logs_is_left_out_at_every_level() {
        if env::var_os(LOGS).is_some() {
            log::open(Sink::Stderr, Some("trace")).unwrap();
            tracing::error!(target: "a_library", "canary");
            tracing::trace!("our own line");
            return;
        }
        let this = "start::tests::what_a_library_logs_is_left_out_at_every_level";
        let mut again = Command::new(env::current_exe().unwrap());
        let logged = again.args(["--exact", this, "--nocapture"]).env(LOGS, "1").output().unwrap();
        let said = String::from_utf8_lossy(&logged.stderr);
        assert!(said.contains("our own line") && !said.contains("canary"), "{said}");
    }

    /// Set in the process that fails.
    const FAILS: &str = "RALLY_CRED_TEST_FAILS";

    #[test]
    fn a_failure_is_logged_with_its_place_and_without_its_message() {
        if env::var_os(FAILS).is_some() {
            log::open(Sink::Stderr, Some("trace")).unwrap();
            std::panic::set_hook(Box::new(log_panic));
            panic!("canary");
        }
        let this = "start::tests::a_failure_is_logged_with_its_place_and_without_its_message";
        let mut again = Command::new(env::current_exe().unwrap());
        let failed = again.args(["--exact", this, "--nocapture"]).env(FAILS, "1").output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&failed.stdout), String::from_utf8_lossy(&failed.stderr));
        assert!(!failed.status.success() && said.contains("a part of the daemon failed place="), "{said}");
        assert!(!said.contains("canary") && said.contains(file!()), "{said}");
    }
}
