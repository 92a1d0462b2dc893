//! What the daemon gives up once it serves: seen from outside, by what the kernel says of each thread and by what can no
//! longer happen. The programs that a user configured are as free as ever.
//! Does not: try what systemd's unit adds (`systemd` does).
//! Used by: `main`.

use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, net::UnixStream},
    path::Path,
};

use rally_cred_tests::world;
use serde_json::json;

use crate::sign_in::{signed_in_with_keyring, with_browser};

/// Whether this machine's kernel has Landlock; the test is told by the kernel itself, and not by the daemon.
fn has_landlock() -> bool {
    let ask = "import ctypes; raise SystemExit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)";
    std::process::Command::new("python3").args(["-c", ask]).status().unwrap().success()
}

/// What the kernel says of how a thread, or a process, is confined: no new privileges, and the filter of system calls.
fn confined(process: &Path) -> [bool; 2] {
    let status = fs::read_to_string(process.join("status")).unwrap();
    ["NoNewPrivs:\t", "Seccomp:\t"].map(|name| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.is_some_and(|value| value != "0")
    })
}

#[test]
fn each_thread_is_confined_but_the_one_that_starts_programs_and_status_and_doctor_say_so() {
    let (_sandbox, world, _keyring, daemon) = signed_in_with_keyring();
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap();
    let tasks: Vec<_> = tasks.map(|task| task.unwrap().path()).collect();
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap().trim_end().to_owned();
    assert!(tasks.len() > 2 && tasks.iter().any(|task| name(task) == "keyring"));
    for task in &tasks {
        let free = confined(Path::new("/proc/self"));
        assert_eq!(confined(task), if name(task) == "outside" { free } else { [true; 2] }, "{}", name(task));
    }
    let all = json!({"files": has_landlock(), "system_calls": true, "privileges": true});
    assert_eq!(world.status()["confinement"], all);
    let shown = match has_landlock() {
        true => "files, system calls, privileges",
        false => "system calls, privileges; not files: this kernel has no Landlock",
    };
    let status = world.client(&["status"], "").stdout;
    assert!(status.contains(&format!("\nconfined {shown}\n")), "{status}");
    let doctor = world.client(&["doctor"], "").stdout;
    assert!(doctor.contains(&format!("\nok    confinement    {shown}\n")), "{doctor}");
}

#[test]
fn a_folder_that_is_put_in_the_place_of_the_logs_gets_nothing_written_into_it() {
    let (_sandbox, world) = with_browser();
    world.client(&["daemon", "start"], "").succeeded();
    let (ours, theirs) = (world.path("state/rally-cred"), world.path("precious"));
    fs::rename(&ours, world.path("aside")).unwrap();
    fs::create_dir(&theirs).unwrap();
    symlink(&theirs, &ours).unwrap();
    world.client(&["daemon", "reload"], "").succeeded();
    let made = fs::read_dir(&theirs).unwrap().count();
    assert_eq!(made, usize::from(!has_landlock()), "without Landlock, the log goes on there");
    // The log that is open is still the daemon's.
    let log = fs::read_to_string(world.path("aside/daemon.log")).unwrap();
    assert_eq!(log.contains("read the config file again"), has_landlock(), "{log}");
}

#[test]
fn no_program_is_started_by_way_of_the_daemons_libraries() {
    let (_sandbox, mut world) = with_browser();
    let started = world.path("started");
    // A bus is also what a program says on its standard output; the library that speaks to it would start that program.
    let address = format!("unixexec:path=touch,argv1={}", started.display());
    world.set("DBUS_SESSION_BUS_ADDRESS", address);
    let got = world.client(&["get", "--format", "token"], "");
    assert!(format!("{got:?}{}", world.log()).contains("Operation not permitted"), "{got:?}");
    assert!(!started.exists(), "{got:?}");
}

#[test]
fn a_command_of_the_config_file_is_as_free_as_its_user() {
    let (sandbox, world) = with_browser();
    let cache = world.path("cache");
    let line = format!(
        "cat /proc/self/status >{cache} && printf %s {secret}",
        cache = cache.display(),
        secret = sandbox.options().client_secret
    );
    world.configure(&format!(
        "{}client_secret_command = [\"sh\", \"-c\", \"{line}\"]\n",
        world::profile_for(&sandbox)
    ));
    world.client(&["login"], "").succeeded();
    fs::create_dir(world.path("process")).unwrap();
    fs::rename(&cache, world.path("process/status")).unwrap();
    assert_eq!(confined(&world.path("process")), confined(Path::new("/proc/self")));
    // Which program a client is, that thread reads as well. This one stays until it is known.
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.write_all(b"{\"v\":1,\"op\":\"get\"}\n").unwrap();
    let this = fs::canonicalize(std::env::current_exe().unwrap()).unwrap();
    world.logged(&format!("exe=\"{}\"", this.display()));
}
