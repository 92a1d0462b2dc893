//! The way from a gateway to the broker, which is on another thread: a gateway asks for tokens as every client does, unless
//! it may use one without a question.
//! Does not: say for how long it may (`rally_cred_core::loans` does).
//! Used by: `gateway`, of which this is a part.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use rally_cred_core::{event::Peer, loans::Loans};
use rally_cred_gateway::{Later, Tokens};
use rally_cred_proto::{
    Answer, Ask, Event, Fault, FaultKind, Reply, Secret,
    message::{Erase, Get, Target, Token, Waiting, WaitingOn},
    unpoisoned,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
};

use super::failed;
use crate::{
    clock,
    driver::{Driver, Pending},
};

/// What a gateway asks the broker, on another thread.
pub(super) struct Question {
    peer: Peer,
    borrower: String,
    get: Get,
    /// A token that Rally does not take.
    refused: Option<Secret>,
    answer: oneshot::Sender<Result<Secret, Fault>>,
}

/// The way from a gateway to the broker.
pub(super) struct Questions {
    pub(super) questions: mpsc::UnboundedSender<Question>,
    pub(super) loans: Arc<Mutex<Loans>>,
    pub(super) profile: String,
    pub(super) borrower: String,
    pub(super) peer: Peer,
}

impl Questions {
    fn ask(&self, refused: Option<Secret>, patience: Duration) -> Later<'_, Result<Secret, Fault>> {
        let target = Target { profile: Some(self.profile.clone()), ..Target::default() };
        let wait = u32::try_from(patience.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        let get = Get { target, wait, awaits_sign_in: true, ..Get::default() };
        let (answer, answered) = oneshot::channel();
        // Without a broker there is nobody who drops the question later.
        let (peer, borrower) = (self.peer.clone(), self.borrower.clone());
        self.questions.send(Question { peer, borrower, get, refused, answer }).ok();
        Box::pin(async { answered.await.unwrap_or_else(|_| Err(stopping())) })
    }
}

impl Tokens for Questions {
    fn token(&self, patience: Duration) -> Later<'_, Result<Secret, Fault>> {
        let lent = unpoisoned(&self.loans).current(clock::tick(), &self.borrower).cloned();
        match lent {
            Some(token) => Box::pin(ready(Ok(token))),
            None => self.ask(None, patience),
        }
    }

    fn replace(&self, refused: &Secret, patience: Duration) -> Later<'_, Result<Secret, Fault>> {
        self.ask(Some(refused.clone()), patience)
    }
}

/// Has the broker answer, each question beside the others.
pub(super) async fn answer(driver: Driver, mut questions: mpsc::UnboundedReceiver<Question>) {
    while let Some(Question { peer, borrower, get, refused, mut answer }) = questions.recv().await {
        let driver = driver.clone();
        spawn_local(async move {
            let found = tokio::select! {
                found = find(&driver, &peer, &borrower, get, refused) => found,
                // The request that it was for is over.
                () = answer.closed() => return,
            };
            answer.send(found).ok();
        });
    }
}

/// A token other than the refused one. The broker hears of that first, and gives none out before it has asked Rally.
async fn find(
    driver: &Driver,
    peer: &Peer,
    borrower: &str,
    get: Get,
    refused: Option<Secret>,
) -> Result<Secret, Fault> {
    if let Some(token) = &refused {
        let erase = Erase { target: get.target.clone(), token: Some(token.clone()), credential: None };
        reply(driver.ask(peer.clone(), Ask::Erase(erase))).await?;
    }
    let as_of = unpoisoned(driver.loans()).as_of();
    match reply(driver.ask(peer.clone(), Ask::Get(get))).await? {
        Reply::Token(token) if refused.is_some_and(|refused| refused.matches(&token.token)) => {
            Err(Fault::new(FaultKind::TokenRefused, "Rally refuses this request, but not its token")
                .why("the sign-in may not have the right to it")
                .remedy("rally-cred status --check"))
        }
        Reply::Token(Token { token, expires_at, .. }) => {
            unpoisoned(driver.loans()).lend(clock::now(), borrower, &token, expires_at, as_of);
            Ok(token)
        }
        _ => Err(failed("the profile has no token")),
    }
}

async fn reply(mut pending: Pending) -> Result<Reply, Fault> {
    loop {
        match pending.next().await {
            // A tool is told at once.
            Some(Answer::Event(Event::Waiting(Waiting { on: WaitingOn::Unlock, .. }))) => {
                return Err(Fault::new(FaultKind::Locked, "rally-cred is locked"));
            }
            Some(Answer::Event(_)) => {}
            Some(Answer::Reply(Reply::Error(fault))) => return Err(fault),
            Some(Answer::Reply(reply)) => return Ok(reply),
            None => return Err(stopping()),
        }
    }
}

fn stopping() -> Fault {
    Fault::new(FaultKind::Stopping, "the daemon is stopping").remedy("rally-cred daemon start")
}
