//! Sends the daemon's two requests to Rally, and returns what came, unread.
//! Does not: follow redirects, keep cookies or connections, retry, or understand an answer (`core::answer` does).
//! Used by: perform, which turns the broker's effects into calls.

use std::time::Duration;

use rally_cred_proto::Secret;
use reqwest::{Client, RequestBuilder, Response, header::RETRY_AFTER};

use crate::http::{self, sort};
use rally_cred_core::{
    Sent,
    answer::{RawAnswer, SendTrouble, TokenForm},
    profile::Profile,
};

/// Sends the form to the profile's token endpoint, once.
pub async fn post_token(profile: &Profile, client_secret: &Secret, form: &TokenForm) -> RawAnswer {
    answer_in_time(profile, form.sent(client_secret), |client| {
        let fields = form.fields(&profile.client_id, client_secret);
        Ok(client.post(profile.base_url.token_endpoint()).form(&fields))
    })
    .await
    .0
}

/// Asks WSAPI whose token this is.
pub async fn find_user(profile: &Profile, token: &Secret) -> RawAnswer {
    answer_in_time(profile, Sent::new([token.clone()]), |client| {
        Ok(client.get(profile.base_url.user_query()).header("ZSESSIONID", http::secret_header(token)?))
    })
    .await
    .0
}

/// Sends the user query without a token, which a healthy Rally refuses; also returns by how many seconds Rally's clock
/// is ahead of this machine's, if it said so.
pub async fn reach(profile: &Profile) -> (RawAnswer, Option<i64>) {
    answer_in_time(profile, Sent::default(), |client| Ok(client.get(profile.base_url.user_query()))).await
}

/// Longest wait for a whole answer. Rally's WSAPI is known to take up to 10 seconds.
const ANSWER_IN: Duration = Duration::from_secs(20);

/// Largest body that is read. Rally's answers have about 1 kB, its error pages a few.
const LARGEST_BODY: usize = 256 * 1024;

/// The answer, and by how many seconds Rally's clock is ahead.
async fn answer_in_time(
    profile: &Profile,
    sent: Sent,
    request: impl FnOnce(Client) -> Result<RequestBuilder, SendTrouble>,
) -> (RawAnswer, Option<i64>) {
    let mut ahead = None;
    let exchange = async {
        let (client, proxy) = http::client_for(&profile.base_url, profile.ca_file.as_deref()).await?;
        let response = request(client)?.send().await.map_err(|error| sort(error, proxy.as_ref()))?;
        let now = jiff::Timestamp::now().as_second();
        ahead = http::date_of(&response).map(|date| date.saturating_sub(now));
        read(response, sent).await
    };
    let answer = match tokio::time::timeout(ANSWER_IN, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(trouble)) => RawAnswer::Failed(trouble),
        Err(_) => RawAnswer::Failed(SendTrouble::TimedOut),
    };
    (answer, ahead)
}

async fn read(mut response: Response, sent: Sent) -> Result<RawAnswer, SendTrouble> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(jiff::Timestamp::now(), value.to_str().ok()?));
    let body = http::read_body(&mut response, LARGEST_BODY).await?;
    Ok(RawAnswer::Arrived { status, retry_after, body, sent })
}

/// Seconds from now, given as a number or a date (RFC 9110 §10.2.3).
fn parse_retry_after(now: jiff::Timestamp, text: &str) -> Option<u32> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    u32::try_from(then.as_second().saturating_sub(now.as_second()).max(0)).ok()
}

#[cfg(test)]
mod tests;
