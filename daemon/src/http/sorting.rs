//! Sorts what goes wrong on the way to a server, since the remedy depends on the exact cause.
//! Does not: word it for people (`core::answer` does).
//! Used by: `http`.

use rally_cred_proto::{causes, plain::plain};
use rustls::{CertificateError, pki_types::UnixTime};

use crate::worker::Undone;
use rally_cred_core::answer::{Distrust, Proxy, ProxyTrouble, SendTrouble};

/// How many of a certificate's hosts are named.
const NAMED_HOSTS: usize = 3;

/// What an error of reqwest means, on a way that may lead through a proxy. Its URL is dropped, so that no text shows
/// one.
pub(crate) fn sort(error: reqwest::Error, proxy: Option<&Proxy>) -> SendTrouble {
    let error = error.without_url();
    if let Some(tls) = causes(&error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return SendTrouble::Tls(distrust(tls));
    }
    // This machine's fault, on any way.
    if let Some(undone) = causes(&error).find_map(|cause| cause.downcast_ref::<Undone>()) {
        return exhausted(undone);
    }
    let last = causes(&error).last().map(|cause| lowered(&cause.to_string())).unwrap_or_default();
    if let Some(proxy) = proxy
        && let Some(trouble) = proxy_trouble(&error, &last)
    {
        return SendTrouble::Proxy(proxy.clone(), trouble);
    }
    if error.is_timeout() {
        return SendTrouble::TimedOut;
    }
    if error.is_dns() {
        return SendTrouble::Unreachable(NO_SUCH_HOST.to_owned());
    }
    SendTrouble::Unreachable(plain(&last))
}

pub(super) fn exhausted(undone: &Undone) -> SendTrouble {
    SendTrouble::Exhausted(plain(&undone.to_string()))
}

const NO_SUCH_HOST: &str = "the name of its host was not found";

/// What is wrong with the proxy, if it is to blame. The library's type for this is private, but its words are few, and
/// tests hold them.
fn proxy_trouble(error: &reqwest::Error, last: &str) -> Option<ProxyTrouble> {
    let tunnel = causes(error).map(ToString::to_string);
    let tunnel = tunnel.filter_map(|cause| cause.strip_prefix("tunnel error: ").map(str::to_owned)).next();
    match tunnel.as_deref() {
        Some("proxy authorization required") => Some(ProxyTrouble::WantsPassword),
        Some("unsuccessful") => Some(ProxyTrouble::Refuses),
        Some("failed to create underlying connection") if error.is_dns() => {
            Some(ProxyTrouble::Unreachable(NO_SUCH_HOST.to_owned()))
        }
        Some("failed to create underlying connection") => Some(ProxyTrouble::Unreachable(plain(last))),
        Some(_) => Some(ProxyTrouble::NotAProxy(plain(last.trim_start_matches("tunnel error: ")))),
        // A proxy of another kind, or a silent one.
        None if error.is_connect() && error.is_timeout() => {
            Some(ProxyTrouble::Unreachable("no answer came in time".to_owned()))
        }
        None if error.is_connect() => Some(ProxyTrouble::NotAProxy(plain(last))),
        None => None,
    }
}

fn distrust(error: &rustls::Error) -> Distrust {
    use CertificateError as C;
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(C::UnknownIssuer) => Distrust::UnknownAuthority,
        E::InvalidCertificate(C::ExpiredContext { time, not_after }) => Distrust::Expired(format!(
            "its certificate ended at {}, and this machine's clock says {}",
            moment(*not_after),
            moment(*time)
        )),
        E::InvalidCertificate(C::Expired) => {
            Distrust::Expired("its certificate has ended, or this machine's clock is wrong".to_owned())
        }
        E::InvalidCertificate(C::NotValidYetContext { time, not_before }) => Distrust::NotYetValid(format!(
            "its certificate begins at {}, and this machine's clock says {}",
            moment(*not_before),
            moment(*time)
        )),
        E::InvalidCertificate(C::NotValidYet) => Distrust::NotYetValid(
            "its certificate has not begun, or this machine's clock is wrong".to_owned(),
        ),
        E::InvalidCertificate(C::NotValidForNameContext { expected, presented }) => Distrust::OtherHost(
            plain(&format!("its certificate is for {}, and not for {}", hosts(presented), expected.to_str())),
        ),
        E::InvalidCertificate(C::NotValidForName) => {
            Distrust::OtherHost("its certificate is for another host".to_owned())
        }
        E::InvalidMessage(_) => Distrust::NotTls,
        E::General(why) if why.contains("CA certificates") => Distrust::NoAuthorities(plain(&lowered(why))),
        E::General(why) => Distrust::Other(plain(&lowered(why))),
        other => Distrust::Other(plain(&lowered(&other.to_string()))),
    }
}

/// The first hosts of a certificate. The library writes each as `DnsName("a.example.com")`.
fn hosts(presented: &[String]) -> String {
    let name = |host: &String| {
        let inner = host.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(host).trim_matches('"').to_owned()
    };
    let mut names: Vec<_> = presented.iter().take(NAMED_HOSTS).map(name).collect();
    match presented.len() {
        0 => return "no host".to_owned(),
        more if more > NAMED_HOSTS => names.push("others".to_owned()),
        _ => {}
    }
    names.join(", ")
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "another age".to_owned(), |at| at.to_string())
}

/// The text with a lower-case first letter, unless it begins with an abbreviation.
pub(super) fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
