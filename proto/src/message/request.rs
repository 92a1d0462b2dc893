//! Requests as types, each of which knows what it is answered with.
//! Does not: send one (`client` does).
//! Used by: whoever asks the daemon.

use super::{
    Ask, CheckAsk, Erase, Get, Login, Logout, MoveItems, Paste, RepairItems, Reply, SignedIn, SignedOut,
    StaticCredential, Status, StatusAsk, Store, Token, UnlockKeyring, WatchAsk,
};
use crate::{
    Fault, FaultKind,
    gateway::{HoldTurns, NamedGateway, OpenGateway, OpenedGateway},
};

/// A request whose result is known by its type.
pub trait Request: Into<Ask> {
    /// What it is answered with if it does not fail.
    type Done;

    /// Takes the result out of a reply; `None` if that is one to another kind of request.
    fn read(reply: Reply) -> Option<Self::Done>;

    /// The same, with a fault in place of `None`.
    fn result(reply: Reply) -> Result<Self::Done, Fault> {
        Self::read(reply).ok_or_else(|| {
            Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")
                .run("rally-cred daemon restart")
        })
    }
}

/// What a [`Get`] is answered with.
#[derive(Clone, Debug)]
pub enum Got {
    /// A ZSESSIONID.
    Token(Token),
    /// A static credential. It is boxed, since it is the largest, and a token is what most ask for.
    StaticCredential(Box<StaticCredential>),
    /// Neither a profile nor a static credential is for the server.
    NoMatch,
}

/// Declares requests without fields.
macro_rules! bare {
    ($($request:ident)*) => {
        $(
            #[doc = concat!("[`Ask::", stringify!($request), "`] as a request.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $request;
        )*
    };
}

bare! { Forward Audit Lock Unlock Reload Stop MakeWay }

/// [`Ask::ShowGateway`] as a request.
#[derive(Clone, Debug)]
pub struct ShowGateway(pub NamedGateway);

/// [`Ask::RevokeGateway`] as a request.
#[derive(Clone, Debug)]
pub struct RevokeGateway(pub NamedGateway);

/// Declares what each request is sent as, and which replies are its result.
macro_rules! requests {
    ($($request:ident as $ask:expr => $done:ty { $($reply:pat => $result:expr),* })*) => {
        $(
            impl From<$request> for Ask {
                fn from(request: $request) -> Self {
                    $ask(request)
                }
            }

            impl Request for $request {
                type Done = $done;

                fn read(reply: Reply) -> Option<Self::Done> {
                    match reply {
                        $($reply => Some($result),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

requests! {
    Get as Self::Get => Got {
        Reply::Token(token) => Got::Token(token),
        Reply::StaticCredential(credential) => Got::StaticCredential(credential),
        Reply::NoMatch => Got::NoMatch
    }
    Store as Self::Store => () { Reply::Done => () }
    Erase as Self::Erase => () { Reply::Done => () }
    Login as Self::Login => SignedIn { Reply::SignedIn(signed_in) => signed_in }
    Paste as Self::Paste => () { Reply::Done => () }
    Logout as Self::Logout => SignedOut { Reply::SignedOut(signed_out) => signed_out }
    StatusAsk as Self::Status => Box<Status> { Reply::Status(status) => status }
    CheckAsk as Self::Check => () { Reply::Done => () }
    WatchAsk as Self::Watch => () { Reply::Done => () }
    OpenGateway as Self::OpenGateway => () { Reply::Done => () }
    ShowGateway as |ShowGateway(name)| Self::ShowGateway(name) => Box<OpenedGateway> {
        Reply::ShownGateway(shown) => shown
    }
    RevokeGateway as |RevokeGateway(name)| Self::RevokeGateway(name) => () { Reply::Done => () }
    HoldTurns as Self::HoldTurns => () { Reply::Done => () }
    Forward as |Forward| Self::Forward => () { Reply::Done => () }
    Audit as |Audit| Self::Audit => () { Reply::Done => () }
    Lock as |Lock| Self::Lock => () { Reply::Done => () }
    Unlock as |Unlock| Self::Unlock => () { Reply::Done => () }
    UnlockKeyring as Self::UnlockKeyring => () { Reply::Done => () }
    MoveItems as Self::MoveItems => () { Reply::Done => () }
    RepairItems as Self::RepairItems => () { Reply::Done => () }
    Reload as |Reload| Self::Reload => () { Reply::Done => () }
    Stop as |Stop| Self::Stop => () { Reply::Done => () }
    MakeWay as |MakeWay| Self::MakeWay => () { Reply::Done => () }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Command;

    #[test]
    fn a_reply_to_another_kind_of_request_is_a_fault_with_a_remedy() {
        assert_eq!(Stop::result(Reply::Done), Ok(()));
        for outcome in [
            Login::result(Reply::Done).map(drop),
            Get::result(Reply::Done).map(drop),
            Stop::result(Reply::NoMatch),
        ] {
            let fault = outcome.unwrap_err();
            assert_eq!(
                (fault.kind, fault.remedy),
                (FaultKind::Failed, Some(Command::new("rally-cred daemon restart").into()))
            );
        }
    }
}
