//! A daemon that is stopped, stuck or lets nobody in, and an input that nobody closes: every command ends in its time.
//! Does not: count milliseconds; a command that waits for ever would be cut off, and fail here.
//! Used by: `main`.

use std::time::{Duration, Instant};
use std::{fs, os::fd::OwnedFd, os::unix::net::UnixListener, path::Path, thread};

use rally_cred_tests::world::{self, Ended, World, make_private, set_mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::sign_in::{password, question, sign_in, signed_in, with_browser, world_with_browser};

/// Runs the client, which is cut off after 40 seconds, and takes the time.
fn timed(world: &World, line: &str) -> (Ended, Duration) {
    let begun = Instant::now();
    let arguments: Vec<_> = ["40", "rally-cred"].into_iter().chain(line.split(' ')).collect();
    let ended = world.run("timeout", &arguments, "");
    assert_ne!(ended.code, Some(124), "{line} does not end");
    (ended, begun.elapsed())
}

/// A socket at which nobody is let in, with so many before it that there is no room for one more.
fn crowded(socket: &Path) -> (UnixListener, Vec<OwnedFd>) {
    make_private(socket.parent().unwrap());
    let address = SocketAddrUnix::new(socket).unwrap();
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    set_mode(socket, 0o600);
    let connect = || {
        let client =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None);
        let client = client.unwrap();
        rustix::net::connect(&client, &address).ok().map(|()| client)
    };
    (UnixListener::from(listener), std::iter::from_fn(connect).collect())
}

#[test]
fn a_daemon_that_lets_nobody_in_holds_no_command_up() {
    let (_sandbox, world) = with_browser();
    let socket = world.socket();
    let _crowd = crowded(&socket);
    thread::scope(|scope| {
        let lines = "get --wait 1s,get --format token --wait 1s,exec --wait 1s -- true,erase --wait 1s,status,daemon stop,\
                     daemon reload,daemon start,login --timeout 1s,doctor";
        for line in lines.split(',') {
            let world = &world;
            scope.spawn(move || {
                let (ended, took) = timed(world, line);
                assert_eq!(ended.code, Some(6), "{line}: {ended:?}");
                assert!(took < Duration::from_secs(20), "{line}: {took:?}");
                assert!(ended.said().contains("the daemon did not answer in time"), "{line}: {ended:?}");
                ended.remedy();
            });
        }
    });
    fs::remove_file(socket).unwrap();
}

#[test]
fn a_stopped_daemon_is_told_with_the_command_that_has_it_go_on() {
    let (sandbox, world, daemon) = signed_in();
    let go_on = format!("kill -CONT {}", daemon.0.id());
    let tells = |line: &str, most: u64| {
        daemon.signal("STOP");
        let (ended, took) = timed(&world, line);
        assert_eq!(ended.code, Some(6), "{line}: {ended:?}");
        assert!(took < Duration::from_secs(most), "{line}: {took:?}");
        let said = ended.said();
        assert!(said.contains("is stopped") && said.contains(&format!("try: {go_on}")), "{line}: {said}");
        world.run("sh", &["-c", &go_on], "").succeeded();
    };
    for (line, most) in [("get --wait 1s", 4), ("get --wait 3s", 6), ("status", 10), ("doctor", 10)] {
        tells(line, most);
        assert!(password(&world, &sandbox).is_some());
    }
    // Once it goes on, it does what it was told.
    tells("daemon stop", 15);
    daemon.end().succeeded();
}

/// Runs the client with an input that stays open, as ssh and many CI runners leave it.
fn with_open_input(world: &World, line: &str, input: &str) -> Ended {
    let mut arguments = vec!["30", "rally-cred"];
    arguments.extend(line.split(' '));
    let mut running = world.start("timeout", &arguments);
    running.write(input);
    let output = running.0.stdin.take();
    let ended = running.end();
    assert_ne!(ended.code, Some(124), "{line} does not end");
    drop(output);
    ended
}

#[test]
fn a_token_is_had_over_an_input_that_nobody_closes() {
    let (sandbox, world, _daemon) = signed_in();
    let request = question(&sandbox);
    let token = world.client(&["get", "--format", "token"], "").stdout;
    for format in ["token", "header", "headers", "env", "curl", "json"] {
        let ended = with_open_input(&world, &format!("get --format {format}"), "");
        assert_eq!(ended.code, Some(0), "{format}: {ended:?}");
        assert!(ended.stdout.contains(token.trim()), "{format}: {ended:?}");
    }
    // What is asked is answered, whether or not the input goes on.
    for request in [request, format!("url={}\n\n", sandbox.base_url())] {
        let ended = with_open_input(&world, "get --format token --wait 3s", &request);
        assert_eq!((ended.code, &ended.stdout), (Some(0), &token), "{request}: {ended:?}");
    }
    with_open_input(&world, "get --format token", "url=https://example.com\n\n").refused(1);
    // A request that git or a build tool begins, and one that they always write, is waited for, and for no longer.
    for (line, input) in [
        ("get --wait 1s", ""),
        ("get --format git --wait 1s", ""),
        ("get --format token --wait 2s", "protocol=https\n"),
        ("erase --wait 1s", ""),
    ] {
        let ended = with_open_input(&world, line, input);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(5), ""), "{line}: {ended:?}");
        world.follow(&ended);
    }
}

#[test]
fn where_several_servers_could_be_meant_no_token_is_given_on_a_guess() {
    let (sandbox, other) = (world::sandbox(), world::sandbox());
    let world = world_with_browser(&sandbox);
    let second = world::profile_for(&other).replace("default", "other");
    world.configure(&format!("{}{second}", world::profile_for(&sandbox)));
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    with_open_input(&world, "get --format token --wait 2s", "").refused(5);
}
