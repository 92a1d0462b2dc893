//! What the daemon does by a forwarded socket: which requests of another machine it takes, and how its answers read there.
//! Does not: know the profiles that are forwarded (the daemon's broker does), or carry anything to another machine.
//! Used by: the daemon, for each request and answer of such a connection, and `rally-cred forward`.

use crate::{
    Answer, Ask, Event, Fault, FaultKind, Remedy, Reply,
    message::{Get, ProfileStatus, Status, StatusAsk, VaultStatus},
};

/// Whether a connection came by the socket of this user's own programs, or by the one that is forwarded to another
/// machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// By the own socket: everything may be asked.
    #[default]
    Own,
    /// By the forwarded one: see [`Ask::from_afar`].
    Forwarded,
}

impl Ask {
    /// The request as another machine may have it, which is a `get` or a `status` that asks no person and not Rally; or
    /// why it may not have it. This is the one place that decides, and a request or field that is new does not compile
    /// until it does.
    pub fn from_afar(self) -> Result<Self, Fault> {
        let refuse = |what: &str, command: &str| {
            Err(Fault::new(FaultKind::Failed, format!("{what} is not done by a forwarded socket"))
                .why("it gives tokens of profiles that are signed in, and their status, and nothing else")
                .run(command))
        };
        match self {
            Self::Get(Get {
                target,
                interactive: _,
                wait,
                min_validity,
                // Static credentials stay where they are.
                takes_authtype: _,
                awaits_sign_in: _,
                awaits_unlock,
            }) => Ok(Self::Get(Get { target, wait, min_validity, awaits_unlock, ..Get::default() })),
            Self::Status(StatusAsk { profile, check: false }) => {
                Ok(Self::Status(StatusAsk { profile, check: false }))
            }
            Self::Status(StatusAsk { profile: _, check: true }) => {
                refuse("a check", "rally-cred status --check")
            }
            Self::Login(_) | Self::Paste(_) => refuse("a sign-in", "rally-cred login"),
            Self::Logout(_) => refuse("a sign-out", "rally-cred logout"),
            Self::Erase(_) => refuse("a report of a bad token", "rally-cred status --check"),
            Self::Store(_) => refuse("storing a credential", "git credential approve"),
            Self::Check(_) => refuse("a check", "rally-cred doctor"),
            Self::Watch(_) => refuse("watching", "rally-cred watch"),
            Self::OpenGateway(_) | Self::ShowGateway(_) | Self::RevokeGateway(_) => {
                refuse("a gateway", "rally-cred gateway --help")
            }
            Self::HoldTurns(_) => refuse("holding turns", "rally-cred exec --help"),
            Self::Forward => refuse("forwarding", "rally-cred forward --help"),
            Self::UnlockKeyring(_) | Self::MoveItems(_) | Self::RepairItems(_) => {
                refuse("work on the keyring", "rally-cred keyring --help")
            }
            Self::Audit => refuse("an audit", "rally-cred status --audit"),
            Self::Lock | Self::Unlock => refuse("locking", "rally-cred lock"),
            Self::Reload => refuse("a reload", "rally-cred daemon reload"),
            Self::Stop | Self::MakeWay => refuse("a stop", "rally-cred daemon stop"),
            Self::Unknown => refuse("what this release does not know", "rally-cred --version"),
        }
    }
}

impl Answer {
    /// The answer as another machine may have it, where `near` is the name of this one; `None` for an event that is none
    /// of its business. Whatever there is to do is to be done here, and says so.
    pub fn to_afar(self, near: &str) -> Option<Self> {
        match self {
            Self::Event(event) => match event {
                Event::Waiting(waiting) => Some(Self::Event(Event::Waiting(waiting))),
                Event::Notice(fault) => Some(Self::Event(Event::Notice(of_near(fault, near)))),
                Event::Profile(profile) => {
                    let fault = profile.fault.clone().map(|fault| of_near(fault, near));
                    Some(Self::Event(Event::Profile(Box::new(ProfileStatus { fault, ..*profile }))))
                }
                Event::Authorize(_)
                | Event::Finding(_)
                | Event::News(_)
                | Event::Gateway(_)
                | Event::GatewayOpen(_)
                | Event::TurnsHeld(_)
                | Event::Item(_)
                | Event::ForwardOpen(_)
                | Event::Decision(_)
                | Event::Flaw(_)
                | Event::Unknown => None,
            },
            Self::Reply(reply) => Some(Self::Reply(match reply {
                Reply::Token(_) | Reply::NoMatch => reply,
                Reply::Status(status) => Reply::Status(Box::new(status_of_near(*status, near))),
                Reply::Error(fault) => Reply::Error(of_near(fault, near)),
                Reply::StaticCredential(_)
                | Reply::SignedIn(_)
                | Reply::SignedOut(_)
                | Reply::ShownGateway(_)
                | Reply::Done => Reply::Error(of_near(
                    Fault::new(FaultKind::Failed, "this answer is not given by a forwarded socket"),
                    near,
                )),
            })),
        }
    }
}

/// What concerns this machine alone stays here.
fn status_of_near(status: Status, near: &str) -> Status {
    let Status {
        release,
        pid,
        config,
        vault,
        static_hosts: _,
        network: _,
        confinement: _,
        forwards: _,
        forwarded_by: _,
        locked,
    } = status;
    // What else it could use is its own matter.
    let VaultStatus { kind, keeps, fault, others: _ } = vault;
    let vault =
        VaultStatus { kind, keeps, fault: fault.map(|fault| of_near(fault, near)), others: Vec::new() };
    Status {
        release,
        pid,
        config,
        vault,
        static_hosts: Vec::new(),
        network: None,
        confinement: None,
        forwards: Vec::new(),
        forwarded_by: Some(near.to_owned()),
        locked,
    }
}

/// The fault with the machine on which it is mended.
fn of_near(fault: Fault, near: &str) -> Fault {
    if fault.kind == FaultKind::VersionSkew {
        return fault.remedy(format!("install the same release here and on {near}"));
    }
    let remedy = fault.remedy.map(|remedy| Remedy::from(format!("on {near}: {remedy}")));
    Fault { remedy, ..fault }
}

/// The name of this machine, for people on another one.
pub fn near() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    match crate::plain::plain(&name) {
        name if name.is_empty() => "the machine that forwards it".to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Got, Request, Target, Token};

    #[test]
    fn a_get_from_afar_asks_no_person_and_takes_no_static_credential() {
        let target = Target { profile: Some("work".to_owned()), ..Target::default() };
        let get = Get {
            target: target.clone(),
            interactive: true,
            wait: 7,
            min_validity: 9,
            takes_authtype: true,
            awaits_sign_in: true,
            awaits_unlock: true,
        };
        let Ok(Ask::Get(taken)) = Ask::Get(get).from_afar() else { panic!("a get is refused") };
        assert_eq!(taken, Get { target, wait: 7, min_validity: 9, awaits_unlock: true, ..Get::default() });
        assert!(!taken.interactive && !taken.takes_authtype && !taken.awaits_sign_in);
    }

    #[test]
    fn what_there_is_to_do_is_to_be_done_on_the_near_side() {
        let fault =
            Fault::new(FaultKind::SignInNeeded, "no sign-in for profile default").run("rally-cred login");
        let Some(Answer::Reply(Reply::Error(fault))) = Answer::Reply(Reply::Error(fault)).to_afar("laptop")
        else {
            panic!("no error")
        };
        assert_eq!(fault.remedy.unwrap().to_string(), "on laptop: rally-cred login");
    }

    #[test]
    fn two_machines_that_do_not_understand_each_other_need_one_release_on_both() {
        let skew = Fault::new(FaultKind::VersionSkew, "apart").run("rally-cred daemon restart");
        let Some(Answer::Reply(Reply::Error(fault))) = Answer::Reply(Reply::Error(skew)).to_afar("laptop")
        else {
            panic!("no error")
        };
        let remedy = "install the same release here and on laptop";
        assert_eq!(fault.remedy.unwrap().to_string(), remedy);
    }

    #[test]
    fn a_status_from_afar_tells_nothing_of_the_near_sides_network_and_stores() {
        let status = Status {
            release: "0.1.0".to_owned(),
            pid: 1,
            config: "/c".to_owned(),
            vault: VaultStatus { kind: "auto".to_owned(), keeps: None, fault: None, others: Vec::new() },
            static_hosts: vec!["https://git.example.com".to_owned()],
            network: Some([("HTTPS_PROXY".to_owned(), "http://proxy".to_owned())].into()),
            confinement: None,
            forwards: vec!["work".to_owned()],
            forwarded_by: None,
            locked: None,
        };
        let answer = Answer::Reply(Reply::Status(Box::new(status))).to_afar("laptop");
        let shown = serde_json::to_string(&answer).unwrap();
        assert!(!shown.contains("git.example.com") && !shown.contains("proxy"), "{shown}");
        assert!(shown.contains(r#""forwarded_by":"laptop""#), "{shown}");
    }

    #[test]
    fn an_answer_to_something_else_is_withheld() {
        let token = Token {
            profile: "default".to_owned(),
            base_url: "https://rally1.rallydev.com".to_owned(),
            username: None,
            token: crate::Secret::parse("token".to_owned()).unwrap(),
            expires_at: None,
            also: None,
        };
        let told = Answer::Reply(Reply::Token(token)).to_afar("laptop");
        let Some(Answer::Reply(reply)) = told else { panic!("no token") };
        assert!(matches!(Get::read(reply), Some(Got::Token(_))));
        let withheld = Answer::Reply(Reply::Done).to_afar("laptop");
        assert!(matches!(withheld, Some(Answer::Reply(Reply::Error(_)))));
    }
}
