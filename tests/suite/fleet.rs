//! Daemons that share a vault on a real OpenBao, where something goes wrong: one is killed at each step of a renewal, the
//! vault is out of reach, sealed, or refuses the token, and clocks differ by an hour.
//! Does not: have many of them at work for long (`cargo fleet` does), or play every order of events (`cargo simulate` does).
//! Used by: `main`.

use std::{fs, thread, time::Instant};

use rally_cred_proto::Client;
use rally_cred_tests::{
    openbao::{Gate, Hold, OpenBao, Role, config_for, token_file},
    sandbox::Sandbox,
    toolkits,
    world::{self, Ended, Running, World},
};

/// A token that ends while a test waits for it.
const SHORT: u64 = 3;

/// A machine of the fleet, with its own way to the vault.
struct Machine {
    daemon: Running,
    world: World,
    gate: Gate,
}

impl Machine {
    fn start(bao: &OpenBao, sandbox: &Sandbox, path: &str, prepare: impl FnOnce(&mut World)) -> Self {
        let (gate, mut world) = (Gate::to(&bao.address()), World::new());
        let token = token_file(world.path(""), &bao.token(Role::Agent, "1h"));
        world.configure(&config_for(
            sandbox,
            &[
                ("https://bao.example.com:8200", &gate.address()),
                ("/run/rally-cred/bao-token", &token.display().to_string()),
                ("\"agents\"", &format!("\"agents/{path}\"")),
                ("renew-and-publish", "renew"),
            ],
        ));
        prepare(&mut world);
        Self { daemon: world.start_daemon(), world, gate }
    }

    fn sign_in(&self, sandbox: &Sandbox) {
        sign_in(&self.world, sandbox);
    }

    fn get(&self) -> Ended {
        self.world.client(&["get", "--interactive", "never", "--format", "token", "--wait", "90s"], "")
    }

    /// Asks until it is refused.
    fn until_refused(&self) -> Ended {
        loop {
            let ended = self.get();
            if ended.code != Some(0) {
                return ended;
            }
        }
    }

    /// Asks until it is served.
    fn until_served(&self) -> Ended {
        loop {
            let ended = self.get();
            if ended.code == Some(0) {
                return ended;
            }
        }
    }
}

fn sign_in(world: &World, sandbox: &Sandbox) {
    let mut client = Client::connect(&world.socket()).unwrap();
    world::sign_in(&mut client, None, sandbox).unwrap();
}

fn short_lived() -> Sandbox {
    world::sandbox_with(|options| options.token_life = SHORT)
}

/// The token request that renews.
fn renewals(sandbox: &Sandbox) -> usize {
    let log = sandbox.log();
    log.iter().filter(|request| request.field("grant_type") == Some("refresh_token")).count()
}

#[test]
fn whoever_is_killed_at_any_step_of_a_renewal_leaves_the_others_a_token_or_a_plain_answer() {
    let bao = OpenBao::start();
    let post = "POST /v1/rally/data/agents/";
    let get = "GET /v1/rally/data/agents/";
    thread::scope(|scope| {
        for (path, begins, number, is_answer, is_lost) in [
            ("look", get, 1, true, false),
            ("before-lease", post, 1, false, false),
            ("lease", post, 1, true, false),
            ("before-save", post, 2, false, true),
            ("save", post, 2, true, false),
        ] {
            let bao = &bao;
            scope.spawn(move || {
                let sandbox = short_lived();
                let mut first = Machine::start(bao, &sandbox, path, |_| {});
                first.sign_in(&sandbox);
                let old = first.get().succeeded();
                first.gate.hold(Hold { begins, number, is_answer });
                // It asks for the next token, and its daemon is killed in the middle of getting that.
                thread::scope(|asking| {
                    asking.spawn(|| {
                        let (held, asked) = loop {
                            let asked = Instant::now();
                            let ended =
                                first.world.client(&["get", "--no-autostart", "--format", "token"], "");
                            if ended != old {
                                break (ended, asked);
                            }
                        };
                        // Once Rally has answered, the new token may be out before the end.
                        let is_new = || number == 2 && sandbox.admits(held.stdout.trim(), asked);
                        assert!(held.code != Some(0) || is_new(), "{path}: {held:?}");
                    });
                    first.gate.until_held();
                    first.daemon.signal("KILL");
                });
                first.gate.let_go();
                first.daemon.wait();
                let second = Machine::start(bao, &sandbox, path, |_| {});
                let ended = second.get();
                match is_lost {
                    // Only the dead one had what Rally gave.
                    true => assert!(
                        ended.code == Some(3) && ended.said().contains("rally-cred login"),
                        "{path}: {ended:?}"
                    ),
                    false => assert!(ended.code == Some(0) && ended != old, "{path}: {ended:?}"),
                }
            });
        }
    });
}

#[test]
fn who_is_cut_off_in_mid_renewal_until_its_lease_has_lapsed_still_has_the_token_for_all() {
    let (bao, sandbox) = (OpenBao::start(), short_lived());
    let [first, second] = [0, 1].map(|_| Machine::start(&bao, &sandbox, "lapse", |_| {}));
    first.sign_in(&sandbox);
    first.get().succeeded();
    let save = Hold { begins: "POST /v1/rally/data/agents/", number: 2, is_answer: false };
    first.gate.hold(save);
    thread::scope(|asking| {
        asking.spawn(|| {
            first.gate.until_held();
            first.gate.cut(true);
            first.gate.let_go();
        });
        // Rally has given it the next token, which it cannot save.
        let refused = first.until_refused();
        assert!(refused.code == Some(7) && refused.said().contains("cannot be reached"), "{refused:?}");
    });
    // The second waits until the lease has lapsed, and finds the refresh token used up.
    let refused = second.until_refused();
    assert!(refused.code == Some(3) && refused.said().contains("rally-cred login"), "{refused:?}");
    first.gate.cut(false);
    for machine in [&first, &second] {
        machine.until_served();
    }
}

#[test]
fn without_the_vault_a_good_token_is_given_out_nothing_is_renewed_and_the_message_says_why() {
    let (bao, sandbox) = (OpenBao::start(), short_lived());
    let machine = Machine::start(&bao, &sandbox, "trouble", |_| {});
    machine.sign_in(&sandbox);
    let token = machine.world.path("bao-token");
    let revoke = || bao.run(&["token", "revoke", &fs::read_to_string(&token).unwrap()]);
    let give = || fs::write(&token, bao.token(Role::Agent, "1h")).unwrap();
    type Act<'a> = &'a dyn Fn();
    let breaks: [(&str, Act<'_>, Act<'_>); 3] = [
        ("cannot be reached", &|| machine.gate.cut(true), &|| machine.gate.cut(false)),
        ("is sealed", &|| bao.seal(), &|| bao.unseal()),
        ("refuses the daemon's token", &|| drop(revoke()), &give),
    ];
    for (says, break_it, mend) in breaks {
        machine.until_served();
        break_it();
        let before = renewals(&sandbox);
        let refused = machine.until_refused();
        assert_eq!(renewals(&sandbox), before, "{says}");
        assert!(refused.code == Some(7) && refused.said().contains(says), "{says}: {refused:?}");
        mend();
        machine.until_served();
        assert!(renewals(&sandbox) > before);
    }
}

#[test]
fn an_hour_between_two_clocks_ends_no_token_early_or_late() {
    let (bao, sandbox) = (OpenBao::start(), world::sandbox());
    let machines = ["-3600", "+0", "+3600"].map(|off| {
        Machine::start(&bao, &sandbox, "clocks", |world| {
            let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
            world.set("LD_PRELOAD", library).set("FAKETIME", off).set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        })
    });
    let [behind, right, ahead] = &machines;
    behind.sign_in(&sandbox);
    let token = behind.get().succeeded();
    for machine in [right, ahead] {
        assert_eq!(machine.get().succeeded(), token);
        let expires = machine.world.status()["profiles"][0]["expires_at"].as_i64().unwrap();
        let off = if std::ptr::eq(machine, ahead) { 3600 } else { 0 };
        let life = i64::try_from(sandbox.options().token_life).unwrap();
        let left = expires - off - jiff::Timestamp::now().as_second();
        assert!((life - 60..=life).contains(&left), "by its own clock it ends in {left} s");
    }
    assert_eq!(renewals(&sandbox), 0);
}

#[test]
fn by_a_proxys_socket_a_daemon_without_a_token_of_its_own_renews_and_finds_the_proxy_again() {
    let (bao, sandbox, world) = (OpenBao::start(), short_lived(), World::new());
    let mut proxy = bao.proxy(&world.path("run"));
    world.configure(&proxy.config_for(&sandbox));
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let get = || world.client(&["get", "--interactive", "never", "--format", "token", "--wait", "90s"], "");
    let until = |is_over: &dyn Fn(&Ended) -> bool| loop {
        let ended = get();
        if is_over(&ended) {
            break ended;
        }
    };
    until(&|ended| ended.code == Some(0) && renewals(&sandbox) > 0);
    assert!(bao.field("agents/token/default", "generation").is_some_and(|number| number.as_u64() > Some(0)));
    // The socket is reached by a daemon that has given up what it could.
    let confined = &world.status()["confinement"];
    assert!(confined["system_calls"] == true && confined["privileges"] == true, "{confined}");

    proxy.kill();
    let refused = until(&|ended| ended.code != Some(0));
    let says = format!("the vault at unix:{} cannot be reached", world.path("run/proxy.sock").display());
    assert!(refused.code == Some(7) && refused.said().contains(&says), "{refused:?}");
    let before = renewals(&sandbox);
    proxy.start_again(&bao);
    until(&|ended| ended.code == Some(0));
    assert!(renewals(&sandbox) > before);
}

#[test]
fn by_a_proxys_socket_a_program_has_the_token_that_another_keeps_in_the_vault() {
    let (bao, sandbox, mut world) = (OpenBao::start(), world::sandbox(), World::new());
    let proxy = bao.proxy(&world.path("run"));
    let tools = toolkits::installed("bao").parent().unwrap().display().to_string();
    world.set("PATH", format!("{tools}:{}", world.variable("PATH")));
    world.configure(&proxy.profile_for(&sandbox));
    let issue = |token: &str, version: &str, life: i64| {
        let ends = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + life).unwrap();
        let issued = format!("issued={{\"token\": \"{token}\", \"expires_at\": \"{ends}\"}}");
        bao.run(&["kv", "put", "-mount=rally", version, "agents/ci", &issued]);
        sandbox.admit(token);
    };
    issue("first", "-cas=0", 5);
    let get = || world.client(&["get", "--interactive", "never", "--format", "token"], "");
    assert_eq!(get().succeeded().stdout, "first\n");
    issue("second", "-cas=1", 3600);
    loop {
        let token = get().succeeded().stdout;
        assert!(["first\n", "second\n"].contains(&token.as_str()), "{token}");
        if token == "second\n" {
            break;
        }
    }
}
