//! Turns WSAPI's answer to the user query into the user's names, or into what is wrong with the token.
//! Does not: take an application error for a dead token unless it says so.
//! Used by: the broker, after a sign-in and for `status --check`.

use rally_cred_proto::{
    Fault,
    object::Object,
    plain::{cut, one_line, plain},
};
use serde::Deserialize;

use super::{
    RawAnswer, Retry, SendTrouble, address_trouble, bad_answer,
    body::{Loose, parse_object},
    not_the_api, status_trouble, token_refused,
};

/// What WSAPI knows of the token's owner.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum UserAnswer {
    /// The token works. `username` is for signing in, usually an email address, `display_name` for people; both are
    /// plain.
    Found { username: Option<String>, display_name: Option<String> },
    /// Rally refuses the token, whatever its expiry.
    TokenRefused(Fault),
    /// The subscription does not allow this machine's address. The token may be good.
    AddressNotAllowed(Fault),
    /// Nothing learnt about the token: keep it, and ask again.
    Passing { fault: Fault, retry: Retry },
}

/// Reads the answer to `GET …/user`: 200 with `User`, 200 with `Errors`, or an HTML page with an error status.
pub fn read_user_answer(raw: RawAnswer) -> UserAnswer {
    let (status, retry_after, body, sent) = match raw {
        RawAnswer::Arrived { status, retry_after, body, sent } => (status, retry_after, body, sent),
        RawAnswer::Failed(trouble @ SendTrouble::BadToken) => {
            return UserAnswer::TokenRefused(trouble.fault());
        }
        RawAnswer::Failed(trouble) => {
            return UserAnswer::Passing { fault: trouble.fault(), retry: trouble.retry() };
        }
    };
    let passing = |fault| UserAnswer::Passing { fault, retry: Retry::asked(retry_after) };
    if let Some(fault) = status_trouble(status, retry_after) {
        return passing(fault);
    }
    if let Some(fault) = address_trouble(status, &body, &sent) {
        return UserAnswer::AddressNotAllowed(fault);
    }
    if matches!(status, 401 | 403) {
        return UserAnswer::TokenRefused(token_refused(&format!("it answered with status {status}")));
    }
    let Some(answer) = parse_object::<UserBody>(&body).filter(|_| (200..300).contains(&status)) else {
        return passing(not_the_api(status));
    };
    match answer.error() {
        Some(error) if speaks_of_the_token(error) => {
            return UserAnswer::TokenRefused(token_refused(&sent.shown(error)));
        }
        Some(error) => return passing(bad_answer(&sent.shown(error))),
        None => {}
    }
    match answer.user {
        Some(Object(user)) => UserAnswer::Found {
            username: user
                .username
                .text()
                .filter(|name| plain(name) == **name && sent.is_not_in(name))
                .map(str::to_owned),
            display_name: user
                .display_name
                .text()
                .map(one_line)
                .filter(|name| !name.is_empty() && sent.is_not_in(name))
                .map(|name| cut(&name)),
        },
        None => passing(bad_answer("it has no User")),
    }
}

/// With status 200, WSAPI reports a bad key as "Not authorized to perform action: Invalid key" (vendor article 127054).
fn speaks_of_the_token(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["not authorized", "invalid key", "authentication"].iter().any(|words| error.contains(words))
}

#[derive(Deserialize)]
struct UserBody {
    #[serde(rename = "User")]
    user: Option<Object<User>>,
    #[serde(rename = "OperationResult")]
    operation: Option<Object<Errors>>,
    #[serde(rename = "QueryResult")]
    query: Option<Object<Errors>>,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "UserName", default)]
    username: Loose,
    #[serde(rename = "DisplayName", default)]
    display_name: Loose,
    #[serde(rename = "Errors")]
    errors: Option<Vec<Loose>>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(rename = "Errors")]
    errors: Option<Vec<Loose>>,
}

impl UserBody {
    /// The first error, wherever WSAPI put it.
    fn error(&self) -> Option<&str> {
        let lists = [
            self.user.as_ref().and_then(|Object(user)| user.errors.as_ref()),
            self.operation.as_ref().and_then(|Object(result)| result.errors.as_ref()),
            self.query.as_ref().and_then(|Object(result)| result.errors.as_ref()),
        ];
        lists.into_iter().flatten().flatten().find_map(Loose::text)
    }
}
