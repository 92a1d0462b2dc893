//! The broker's decisions: which gateways are open, for how long, and with which port and key.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{
    Fault, Origin,
    gateway::{GatewayStatus, NamedGateway, OpenGateway, OpenedGateway, WayOut},
    message,
};

use super::*;
use crate::{
    also::{Also, TokenHeader},
    event::{GatewayPlan, GatewayReady},
    policy,
    profile::GatewaySettings,
};

impl Stage {
    fn plans(&self) -> Vec<(Epoch, &GatewayPlan)> {
        of_effects!(self, Effect::OpenGateway(epoch, plan) => (*epoch, &**plan))
    }

    fn closed(&self) -> Vec<Epoch> {
        of_effects!(self, Effect::CloseGateway(epoch) => *epoch)
    }

    /// Plays the gateway that was ordered last: it opens, with what it had or with something fresh.
    fn gateway_opens(&mut self, fresh: &str) -> Epoch {
        let (epoch, plan) = *self.plans().last().expect("no gateway was ordered");
        let identity = plan.identity.clone().unwrap_or_else(|| secret(fresh));
        let ready = GatewayReady {
            port: plan.settings.port.unwrap_or(40_000),
            key: identity.clone(),
            identity,
            authority: "PEM".to_owned(),
        };
        self.play(Event::Outcome(epoch, Outcome::GatewayOpened(Ok(ready))));
        epoch
    }

    pub(super) fn open_for_a_command(&mut self, identity: Option<&str>) -> AskId {
        self.ask(Ask::OpenGateway(OpenGateway {
            profile: None,
            tool: "pyral".to_owned(),
            via: None,
            wait: 60,
            way_out: WayOut::default(),
            identity: identity.map(secret),
        }))
    }

    fn told_open(&self, id: AskId) -> Option<&OpenedGateway> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Tell(own, message::Event::GatewayOpen(opened)) if *own == id => Some(&**opened),
            _ => None,
        })
    }

    fn reload(&mut self, config: Config) {
        self.play(Event::ConfigRead(Ok(config)));
        self.play(Event::TimePassed);
    }

    fn shown(&mut self) -> Vec<GatewayStatus> {
        self.effects.clear();
        self.ask(Ask::Status(StatusAsk::default()));
        let shown = self.effects.iter().find_map(|effect| match effect {
            Effect::TellGateways(_, shown) => Some(shown.iter().map(|(_, status)| status.clone()).collect()),
            _ => None,
        });
        shown.unwrap_or_default()
    }
}

fn config(keyring: Keyring, gateways: &[(&str, Option<u16>)]) -> Config {
    let settings = |port| GatewaySettings { port, ..GatewaySettings::new("default".to_owned()) };
    Config {
        gateways: gateways.iter().map(|(name, port)| ((*name).to_owned(), settings(*port))).collect(),
        ..config_with(keyring)
    }
}

fn stage(keyring: Keyring, gateways: &[(&str, Option<u16>)]) -> Stage {
    let mut stage = Stage::with(keyring.clone(), &["default"]);
    stage.broker = Broker::new(Facts::default(), config(keyring, gateways));
    stage.wait(Ticks(0));
    stage
}

fn port_taken() -> Fault {
    Fault::new(FaultKind::PortTaken, "port 8478 is taken")
}

#[test]
fn a_gateway_of_the_config_file_has_the_same_key_and_port_after_a_restart() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    stage.gateway_opens("first");
    assert_eq!(stage.vault.get("gateway:mcp").unwrap().expose(), "first");
    stage.restart();
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]));
    stage.wait(Ticks(0));
    let (_, plan) = stage.plans()[0];
    assert_eq!(plan.identity.as_ref().map(Secret::expose), Some("first"));
    stage.gateway_opens("another");
    assert!(stage.shown()[0].kept);
}

#[test]
fn without_a_keyring_a_gateway_opens_and_says_that_its_key_ends_with_the_daemon() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.broker = Broker::new(Facts::default(), config(Keyring::Auto, &[("mcp", None)]));
    stage.wait(Ticks(0));
    stage.gateway_opens("fresh");
    let shown = stage.shown();
    assert_eq!((shown[0].kept, shown[0].port), (false, Some(40_000)));
    assert_eq!(shown[0].fault.as_ref().map(|fault| fault.kind), Some(FaultKind::VaultMissing));
}

#[test]
fn a_gateway_whose_key_is_in_a_locked_keyring_opens_once_that_is_unlocked() {
    let mut stage = Stage::with(Keyring::Os, &["default"]);
    stage.vault.insert("gateway:mcp".to_owned(), secret("kept"));
    stage.vault_trouble = Some(VaultTrouble::Locked("dismissed".to_owned()));
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]));
    stage.wait(Ticks(0));
    assert!(stage.plans().is_empty());
    stage.vault_trouble = None;
    stage.wait(Ticks(policy::UNASKED_LOAD.0 + 1));
    assert_eq!(stage.plans()[0].1.identity.as_ref().map(Secret::expose), Some("kept"));
}

#[test]
fn a_gateway_whose_key_cannot_be_read_does_not_read_it_without_pause_because_the_keyring_is_open() {
    let mut stage = Stage::with(Keyring::Os, &["default"]);
    stage.vault_trouble = Some(VaultTrouble::Failed("an error".to_owned()));
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]));
    stage.wait(Ticks(0));
    assert!(!stage.is_watching());
    stage.vault_trouble = None;
    stage.wait(Ticks(policy::UNASKED_LOAD.0 + 1));
    assert_eq!(stage.plans().len(), 1);
}

#[test]
fn a_taken_port_is_tried_again_until_it_is_free() {
    let mut stage = stage(Keyring::Memory, &[("mcp", Some(8478))]);
    let (epoch, _) = stage.plans()[0];
    stage.play(Event::Outcome(epoch, Outcome::GatewayOpened(Err(port_taken()))));
    assert_eq!(stage.shown()[0].fault, Some(port_taken()));
    stage.wait(policy::GATEWAY_PAUSE);
    assert_eq!(stage.plans().len(), 1);
    stage.gateway_opens("key");
    let shown = stage.shown();
    assert_eq!((shown[0].port, &shown[0].fault), (Some(8478), &None));
}

#[test]
fn a_reload_opens_closes_and_changes_gateways_and_leaves_the_others_alone() {
    let mut stage = stage(Keyring::Memory, &[("gone", None), ("moved", Some(1)), ("same", Some(3))]);
    let epochs: BTreeMap<_, _> =
        stage.plans().iter().map(|(epoch, plan)| (plan.name.clone(), *epoch)).collect();
    for (name, epoch) in &epochs {
        let (identity, key, authority) = (secret(name), secret(name), String::new());
        stage.play(Event::Outcome(
            *epoch,
            Outcome::GatewayOpened(Ok(GatewayReady { port: 9, identity, key, authority })),
        ));
    }
    stage.effects.clear();
    stage.reload(config(Keyring::Memory, &[("moved", Some(2)), ("new", None), ("same", Some(3))]));
    assert_eq!(stage.closed(), [epochs["gone"], epochs["moved"]]);
    let opened: Vec<_> =
        stage.plans().iter().map(|(_, plan)| (plan.name.as_str(), plan.settings.port)).collect();
    assert_eq!(opened, [("moved", Some(2)), ("new", None)]);
    let moved = stage.plans()[0].1.identity.as_ref().map(Secret::expose);
    assert_eq!(moved, Some("moved"), "whoever has its key can go on using it");
}

#[test]
fn a_gateway_of_a_command_lives_until_its_client_leaves() {
    let mut stage = Stage::new();
    let id = stage.open_for_a_command(None);
    let epoch = stage.gateway_opens("key");
    assert_eq!(stage.told_open(id).unwrap().identity.as_ref().map(Secret::expose), Some("key"));
    assert!(stage.vault.is_empty(), "its client holds what it is");
    stage.play(Event::Left(id));
    assert_eq!(stage.closed(), [epoch]);
    assert_eq!(stage.shown(), []);
}

#[test]
fn a_client_that_leaves_before_its_gateway_is_open_leaves_none_behind() {
    let mut stage = Stage::new();
    let id = stage.open_for_a_command(None);
    let (epoch, _) = stage.plans()[0];
    stage.play(Event::Left(id));
    assert_eq!(stage.closed(), [epoch]);
}

#[test]
fn a_gateway_of_a_command_has_a_plain_name_and_waits_no_longer_than_any_request() {
    let mut stage = Stage::new();
    let (tool, way_out) = ("py\u{1b}ral/../x y".to_owned(), WayOut::default());
    let ask = OpenGateway { profile: None, tool, via: None, wait: u32::MAX, way_out, identity: None };
    stage.ask(Ask::OpenGateway(ask));
    let (_, plan) = stage.plans()[0];
    assert_eq!((plan.name.as_str(), plan.settings.wait), ("pyral..xy-0", policy::LONGEST_WAIT));
}

#[test]
fn whoever_does_not_wait_any_more_for_a_gateway_or_its_new_key_is_not_answered() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    let shows = stage.ask(Ask::ShowGateway(NamedGateway { name: "mcp".to_owned() }));
    stage.play(Event::Left(shows));
    stage.gateway_opens("old");
    assert!(stage.result(shows).is_none());
    stage.vault_is_silent = true;
    let revokes = stage.revoke("mcp");
    stage.play(Event::Left(revokes));
    stage.vault_answers(done);
    assert!(stage.result(revokes).is_none());
}

#[test]
fn a_client_that_comes_back_to_a_new_daemon_finds_its_gateway_as_it_was() {
    let mut stage = Stage::new();
    stage.open_for_a_command(Some("as it was"));
    assert_eq!(stage.plans()[0].1.identity.as_ref().map(Secret::expose), Some("as it was"));
}

#[test]
fn a_gateway_of_a_command_that_cannot_be_opened_is_an_error_and_not_tried_again() {
    let mut stage = Stage::new();
    let id = stage.open_for_a_command(None);
    let (epoch, _) = stage.plans()[0];
    stage.play(Event::Outcome(epoch, Outcome::GatewayOpened(Err(port_taken()))));
    assert_eq!(stage.fault(id), FaultKind::PortTaken);
    stage.wait(policy::GATEWAY_PAUSE);
    assert_eq!(stage.plans().len(), 1);
}

#[test]
fn a_revoked_key_is_worthless_and_a_gateway_of_the_config_file_gets_another_on_the_same_port() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    let epoch = stage.gateway_opens("old");
    let command = stage.open_for_a_command(None);
    let of_command = stage.gateway_opens("key");
    let name = stage.told_open(command).unwrap().name.clone();
    for name in ["mcp".to_owned(), name] {
        stage.does(Ask::RevokeGateway(NamedGateway { name }));
    }
    assert_eq!(stage.closed(), [epoch, of_command]);
    assert!(stage.is_done(command));
    let (_, plan) = *stage.plans().last().unwrap();
    assert_eq!((plan.settings.port, plan.identity.is_some()), (Some(40_000), false));
    stage.gateway_opens("new");
    assert_eq!(stage.vault.get("gateway:mcp").unwrap().expose(), "new");
}

#[test]
fn an_open_gateway_is_shown_and_an_unknown_one_is_told_with_those_that_there_are() {
    let mut stage = stage(Keyring::Memory, &[("mcp", Some(8478))]);
    stage.gateway_opens("key");
    let shown = stage.ask(Ask::ShowGateway(NamedGateway { name: "mcp".to_owned() }));
    let Some(Reply::ShownGateway(shown)) = stage.result(shown) else { panic!("not shown") };
    assert_eq!((shown.port, shown.key.expose(), shown.identity.is_some()), (8478, "key", false));
    let unknown = stage.ask(Ask::ShowGateway(NamedGateway { name: "mpc".to_owned() }));
    let Some(Reply::Error(fault)) = stage.result(unknown) else { panic!("no fault") };
    assert_eq!(fault.why.as_deref(), Some("there are: mcp"));
}

#[test]
fn a_daemon_on_whose_gateway_tools_count_does_not_end_for_want_of_work() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]))
        .with_idle_exit(Some(Ticks::seconds(600)));
    stage.wait(Ticks(0));
    stage.gateway_opens("key");
    stage.wait(Ticks::seconds(3600));
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::ExitIfDeserted)));
}

#[test]
fn a_stop_closes_every_gateway_and_tells_the_clients_that_have_one() {
    let mut stage = stage(Keyring::Memory, &[("mcp", None)]);
    let standing = stage.gateway_opens("key");
    let id = stage.open_for_a_command(None);
    let of_command = stage.gateway_opens("key");
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(id), FaultKind::Stopping);
    let mut closed = stage.closed();
    closed.sort_unstable();
    assert_eq!(closed, [standing, of_command]);
}

#[test]
fn a_gateway_of_a_command_ends_with_the_profile_that_it_is_for() {
    let moved = BaseUrl::parse("https://eu1.rallydev.com").unwrap();
    let origin = Origin::from_uri("https://mcp.example").unwrap();
    let also = vec![Also { origin, header: TokenHeader::RALLYS }];
    for changed in [Profile { base_url: moved, ..profile("default") }, Profile { also, ..profile("default") }]
    {
        let mut stage = Stage::new();
        let id = stage.open_for_a_command(None);
        stage.gateway_opens("key");
        stage.reload(Config::of_one(changed));
        assert_eq!((stage.fault(id), stage.closed().len()), (FaultKind::ConfigBroken, 1));
    }
}

#[test]
fn a_tool_that_asks_after_a_sleep_of_eight_hours_waits_for_a_new_token_and_never_gets_the_ended_one() {
    let mut stage = Stage::signed_in("evening", Some("refresh"), 4 * HOUR);
    stage.open_for_a_command(None);
    let gateway = stage.gateway_opens("key");
    // Nothing happens while the machine sleeps, and then everything is late at once.
    stage.pass_to(stage.now.tick + Ticks::seconds(8 * HOUR));
    let get = stage.ask(Ask::Get(Get { awaits_sign_in: true, wait: 120, ..Get::default() }));
    assert!(stage.result(get).is_none());
    stage.answer_post(granted("morning", Some("refresh-2"), HOUR));
    assert_eq!(stage.token(get), "morning");
    assert!(!stage.closed().contains(&gateway));
}

impl Stage {
    fn revoke(&mut self, name: &str) -> AskId {
        self.ask(Ask::RevokeGateway(NamedGateway { name: name.to_owned() }))
    }

    fn kept(&self) -> Option<&str> {
        self.vault.get("gateway:mcp").map(Secret::expose)
    }

    /// Plays the vault's answer to what it was asked first while it was silent.
    fn vault_answers(&mut self, outcome: impl FnOnce(&Effect) -> (Epoch, Outcome)) {
        let asked = self.unanswered.remove(0);
        let (epoch, outcome) = outcome(&asked);
        self.hear(epoch, outcome);
    }
}

/// The vault writes what it was asked to.
fn done(effect: &Effect) -> (Epoch, Outcome) {
    let Effect::Change(epoch, _) = effect else { panic!("no write but {effect:?}") };
    (*epoch, Outcome::Changed(Ok(Changed::Done)))
}

/// What the vault was asked to put in the place of what.
fn change(effect: &Effect) -> (Option<&str>, Option<&str>) {
    let Effect::Change(_, Change { from, to, .. }) = effect else { panic!("no write but {effect:?}") };
    (from.as_ref().map(Secret::expose), to.as_ref().map(Secret::expose))
}

#[test]
fn a_key_that_was_revoked_while_it_was_being_saved_is_not_back_after_a_restart() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    stage.vault_is_silent = true;
    stage.gateway_opens("old");
    let revoked = stage.revoke("mcp");
    stage.gateway_opens("new");
    assert!(stage.result(revoked).is_none(), "the keyring may have it");
    stage.vault_answers(done);
    assert_eq!(change(&stage.unanswered[0]), (Some("old"), Some("new")));
    stage.vault_answers(done);
    assert!(stage.is_done(revoked));
}

#[test]
fn a_key_that_was_revoked_before_the_keyring_gave_it_is_not_used() {
    let mut stage = Stage::with(Keyring::Os, &["default"]);
    stage.vault.insert("gateway:mcp".to_owned(), secret("old"));
    stage.vault_is_silent = true;
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]));
    stage.wait(Ticks(0));
    let revoked = stage.revoke("mcp");
    assert!(stage.result(revoked).is_none(), "nobody knows what the keyring has");
    stage.vault_is_silent = false;
    stage.vault_answers(|asked| {
        let Effect::Load(epoch, _) = asked else { panic!("no read but {asked:?}") };
        (*epoch, Outcome::Loaded(Ok(Some(secret("old")))))
    });
    assert!(stage.is_done(revoked));
    assert!(stage.plans().iter().all(|(_, plan)| plan.identity.is_none()), "{:?}", stage.effects);
    stage.gateway_opens("new");
    assert_eq!(stage.kept(), Some("new"));
}

#[test]
fn a_key_that_the_keyring_does_not_let_go_is_reported_and_erased_once_it_does() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    let epoch = stage.gateway_opens("old");
    stage.vault_trouble = Some(VaultTrouble::Locked("dismissed".to_owned()));
    let revoked = stage.revoke("mcp");
    assert_eq!(stage.fault(revoked), FaultKind::VaultLocked);
    assert_eq!(stage.closed(), [epoch], "here it is worth nothing all the same");
    stage.gateway_opens("new");
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.kept(), Some("new"));
}

#[test]
fn a_gateway_that_was_opened_while_the_keyring_was_locked_is_kept_once_that_is_unlocked() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    stage.vault_trouble = Some(VaultTrouble::Locked("dismissed".to_owned()));
    stage.gateway_opens("key");
    assert!(!stage.shown()[0].kept);
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.kept(), Some("key"));
    assert!(stage.shown()[0].kept);
}

#[test]
fn without_a_keyring_a_key_can_be_revoked() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.broker = Broker::new(Facts::default(), config(Keyring::Auto, &[("mcp", None)]));
    stage.wait(Ticks(0));
    stage.gateway_opens("old");
    let revoked = stage.revoke("mcp");
    assert!(stage.is_done(revoked), "{:?}", stage.result(revoked));
}

#[test]
fn a_gateway_whose_key_was_asked_of_another_keyring_reads_the_new_one() {
    let mut stage = Stage::with(Keyring::Os, &["default"]);
    stage.vault_is_silent = true;
    stage.broker = Broker::new(Facts::default(), config(Keyring::Os, &[("mcp", None)]));
    stage.wait(Ticks(0));
    let read = stage.unanswered.len();
    stage.reload(config(Keyring::Auto, &[("mcp", None)]));
    let again = stage.unanswered[read..].iter().filter(|asked| matches!(asked, Effect::Load(..)));
    assert_eq!(again.count(), 1);
    stage.vault_answers(|asked| {
        let Effect::Load(epoch, _) = asked else { panic!("no read but {asked:?}") };
        (*epoch, Outcome::Loaded(Ok(Some(secret("of the other keyring")))))
    });
    assert!(stage.plans().is_empty(), "{:?}", stage.effects);
}

#[test]
fn a_new_gateway_of_the_config_file_leaves_none_behind_that_has_its_name() {
    let mut stage = Stage::with(Keyring::Memory, &["default"]);
    let id = stage.open_for_a_command(None);
    let of_command = stage.gateway_opens("key");
    let name = stage.told_open(id).unwrap().name.clone();
    stage.reload(config(Keyring::Memory, &[(&name, None)]));
    assert_eq!((stage.fault(id), stage.closed()), (FaultKind::ConfigBroken, vec![of_command]));
    let client_comes_back = stage.open_for_a_command(Some("key"));
    stage.gateway_opens("key");
    assert_ne!(stage.told_open(client_comes_back).unwrap().name, name);
}

#[test]
fn a_key_that_is_revoked_after_a_change_of_the_keyring_lets_nobody_in() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    let (opening, _) = stage.plans()[0];
    stage.vault_is_silent = true;
    stage.reload(config(Keyring::Auto, &[("mcp", None)]));
    let revoked = stage.revoke("mcp");
    assert_eq!(stage.closed(), [opening], "it would open with a key that nobody revoked");
    stage.vault_answers(|asked| {
        let Effect::Load(epoch, _) = asked else { panic!("no read but {asked:?}") };
        (*epoch, Outcome::Loaded(Ok(None)))
    });
    assert!(stage.is_done(revoked));
}

#[test]
fn a_key_that_a_keyring_may_still_have_under_its_other_name_is_not_called_revoked_while_none_answers() {
    let mut stage = stage(Keyring::Os, &[("mcp", None)]);
    stage.gateway_opens("old");
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.reload(config(Keyring::Auto, &[("mcp", None)]));
    let revoked = stage.revoke("mcp");
    assert_eq!(stage.fault(revoked), FaultKind::VaultMissing);
    stage.gateway_opens("new");
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.kept(), Some("new"));
}
