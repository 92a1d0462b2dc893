//! The broker's decisions: which servers beside Rally's own a token goes to, and in which header.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{Origin, message::Also as Told};

use super::*;
use crate::also::{Also, TokenHeader};

const MCP: &str = "https://mcp.rallydev.com";

impl Stage {
    /// Each profile with the servers that it names beside its own, and the header for all of them.
    fn configure_also(&mut self, profiles: &[(&str, &[&str])], header: &str) {
        let also = |server: &&str| Also {
            origin: Origin::from_uri(server).unwrap(),
            header: TokenHeader::parse(header).unwrap(),
        };
        let of = |(name, servers): &(&str, &[&str])| Profile {
            also: servers.iter().map(also).collect(),
            ..profile(name)
        };
        self.play(Event::ConfigRead(Ok(config_of(profiles.iter().map(of)))));
    }

    fn get_for(&mut self, target: Target) -> AskId {
        self.ask(Ask::Get(Get { target, ..Get::default() }))
    }

    fn told(&self, id: AskId) -> Option<Told> {
        match self.result(id) {
            Some(Reply::Token(token)) => token.also.clone(),
            other => panic!("no token but {other:?}"),
        }
    }
}

fn at(uri: &str) -> Target {
    Target { uri: Some(uri.to_owned()), ..Target::default() }
}

fn signed_in(header: &str) -> Stage {
    let mut stage = Stage::new();
    stage.configure_also(&[("default", &[MCP])], header);
    stage.sign_in("access", Some("refresh"), HOUR);
    stage
}

#[test]
fn a_server_that_the_profile_names_gets_the_token_in_the_header_that_it_wants() {
    for (header, name, scheme) in
        [("Authorization: Bearer", "Authorization", Some("Bearer")), ("ZSESSIONID", "ZSESSIONID", None)]
    {
        let mut stage = signed_in(header);
        let get = stage.get_for(at("https://mcp.rallydev.com/mcp"));
        assert_eq!(stage.token(get), "access");
        let (origin, header) = (MCP.to_owned(), name.to_owned());
        assert_eq!(stage.told(get), Some(Told { origin, header, scheme: scheme.map(str::to_owned) }));
        let git = stage.ask(for_host("https", "mcp.rallydev.com"));
        assert_eq!(stage.told(git), stage.told(get));
        for own in [at("https://rally1.rallydev.com/slm"), Target::default()] {
            let get = stage.get_for(own);
            assert_eq!(stage.told(get), None, "Rally gets it as ever");
        }
    }
}

#[test]
fn no_other_server_gets_it_however_alike() {
    let mut stage = signed_in("Authorization: Bearer");
    for uri in [
        "http://mcp.rallydev.com",
        "https://mcp.rallydev.com:444",
        "https://a.mcp.rallydev.com",
        "https://rallydev.com",
        "https://mcp.rallydev.com.evil.example",
        "https://mcp.rallydev.com@evil.example",
    ] {
        let get = stage.get_for(at(uri));
        assert!(matches!(stage.result(get), Some(Reply::NoMatch)), "{uri}");
    }
}

#[test]
fn a_profile_named_beside_a_server_of_another_gives_it_nothing() {
    let mut stage = Stage::new();
    stage.configure_also(&[("default", &[]), ("other", &[MCP])], "Authorization: Bearer");
    stage.sign_in("access", Some("refresh"), HOUR);
    let get = stage.get_for(Target { profile: Some("default".to_owned()), ..at(MCP) });
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)));
}

#[test]
fn of_two_profiles_that_name_a_server_the_default_one_answers_unless_the_user_is_the_others() {
    let mut stage = Stage::new();
    let profiles: [(&str, &[&str]); 3] = [("another", &[]), ("default", &[MCP]), ("other", &[MCP])];
    stage.configure_also(&profiles, "Authorization: Bearer");
    stage.sign_in("access", None, HOUR);
    stage.sign_in_to("other", "theirs", "they@example.com");
    // A new daemon does not know yet whose tokens they are, so one profile hands on to the next of that server.
    stage.restart();
    stage.configure_also(&profiles, "Authorization: Bearer");
    let theirs = stage.get_for(Target { username: Some("they@example.com".to_owned()), ..at(MCP) });
    assert_eq!(stage.token(theirs), "theirs");
    assert_eq!(stage.told(theirs).map(|also| also.origin).as_deref(), Some(MCP));
    let anybodys = stage.get_for(at(MCP));
    assert_eq!(stage.token(anybodys), "access");
}

#[test]
fn a_token_that_such_a_server_refuses_is_reported_as_what_followed_the_scheme() {
    let mut stage = signed_in("Authorization: Bearer");
    stage.ask(Ask::Erase(Erase { target: at(MCP), token: None, credential: Some(secret("another")) }));
    assert_eq!(stage.look_ups(), 0, "it is not the one in hand");
    stage.ask(Ask::Erase(Erase { target: at(MCP), token: None, credential: Some(secret("access")) }));
    stage.answer_look_up(unauthorized());
    let get = stage.get_for(at(MCP));
    stage.answer_post(granted("renewed", Some("refresh"), HOUR));
    assert_eq!(stage.token(get), "renewed");
}

#[test]
fn who_waits_for_a_token_does_not_get_it_once_its_server_is_taken_from_the_config_file() {
    let mut stage = signed_in("Authorization: Bearer");
    stage.wait(Ticks::seconds(2 * HOUR));
    let get = stage.get_for(at(MCP));
    assert!(stage.result(get).is_none(), "the token has ended, and Rally is asked for another");
    let renewal = stage.posts().last().unwrap().0;
    stage.configure_also(&[("default", &[])], "ZSESSIONID");
    stage.play(Event::Outcome(renewal, Outcome::Answered(granted("renewed", Some("refresh"), HOUR))));
    assert!(!matches!(stage.result(get), None | Some(Reply::Token(_))), "{:?}", stage.result(get));
    let later = stage.get_for(at(MCP));
    assert!(matches!(stage.result(later), Some(Reply::NoMatch)));
}
