//! The gateway's own certificate authority, and the certificates by which it speaks TLS to tools.
//! Does not: write a file or trust anything; or certify a name that it does not serve, which its own certificate forbids
//! to whoever may come by its key.
//! Used by: `identity`, which keeps it; `server`, for TLS to the gateway's own port and in tunnels that end here.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::prelude::{BASE64_STANDARD, Engine};
use rally_cred_proto::{Secret, unpoisoned};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority that tools read once lives as long as they may run, and no longer than a year.
const LIFE: Duration = DAY.saturating_mul(365);

/// One that is nearer to its end is replaced before a tool is started with it.
const ENOUGH_LIFE: Duration = DAY.saturating_mul(30);

/// A leaf is replaced after half of its life, so none is near its end when it is shown.
const LEAF_LIFE: Duration = DAY;

/// How far a tool's clock may be behind, such as that of a virtual machine.
const SKEW: Duration = HOUR;

/// A certificate authority for the names of a profile's servers and this machine's own: made on the spot, known to nobody but the tools
/// that it is given to, and limited by name constraints, so that its key can do no harm elsewhere.
pub struct Authority {
    /// Sorted, each once.
    hosts: Vec<String>,
    pem: String,
    key: Zeroizing<Vec<u8>>,
    ends: SystemTime,
}

/// What is kept of an [`Authority`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    hosts: Vec<String>,
    /// In PEM.
    certificate: String,
    key: Secret,
    /// Seconds since 1970.
    ends: u64,
}

/// Whose certificate is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// The gateway's own: `localhost`, 127.0.0.1 and ::1.
    Own,
    /// One of the profile's servers, within a tunnel to it.
    Server(String),
}

impl Names {
    fn sans(&self) -> Result<Vec<SanType>, rcgen::Error> {
        match self {
            Self::Own => own_names(),
            Self::Server(host) => Ok(vec![san(host)?]),
        }
    }
}

impl Authority {
    /// A new authority for the servers at `hosts`, names, or addresses as [`rally_cred_proto::Origin::host`] has them.
    pub(crate) fn fresh(hosts: &[&str], now: SystemTime) -> Result<Self, rcgen::Error> {
        let key = Zeroizing::new(KeyPair::generate()?);
        let mut params = issuer_params(&key);
        let ends = now + LIFE;
        params.not_before = (now - DAY).into();
        params.not_after = ends.into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let hosts = sorted(hosts);
        let names: Result<Vec<_>, _> = hosts.iter().map(|host| san(host)).collect();
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: names?.into_iter().chain(own_names()?).filter_map(subtree).collect(),
            excluded_subtrees: Vec::new(),
        });
        let pem = params.self_signed(&*key)?.pem();
        Ok(Self { hosts, pem, key: Zeroizing::new(key.serialize_der()), ends })
    }

    /// The authority that was kept, if that can be read and has its right key.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(record.certificate.as_bytes()).ok()?;
        let key = BASE64_STANDARD.decode(record.key.expose()).map(Zeroizing::new).ok()?;
        let ends = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(record.ends))?;
        ends.checked_sub(LIFE)?;
        certified(&certificate, &key).ok()?;
        Some(Self { hosts: record.hosts.clone(), pem: record.certificate.clone(), key, ends })
    }

    /// What is to be kept of it.
    pub(crate) fn record(&self) -> Option<Record> {
        Some(Record {
            hosts: self.hosts.clone(),
            certificate: self.pem.clone(),
            key: Secret::parse(BASE64_STANDARD.encode(&*self.key)).ok()?,
            ends: self.ends.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs(),
        })
    }

    /// Whether a tool that is started now can use it for these servers, and for no others, for a good while.
    pub fn serves(&self, hosts: &[&str], now: SystemTime) -> bool {
        let begins = self.ends - LIFE;
        self.hosts == sorted(hosts) && now >= begins && now + ENOUGH_LIFE < self.ends
    }

    /// The authority's certificate in PEM, for a bundle that a tool trusts. It ends with a line break.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// TLS for these names, and HTTP/1.1 over it. Certificates are made when they are asked for.
    pub(crate) fn tls(self: &Arc<Self>, names: Names) -> Result<ServerConfig, rustls::Error> {
        let leaf = Leaf { authority: Arc::clone(self), names, held: Mutex::new(None) };
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(leaf));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn certify(&self, names: &[SanType], now: SystemTime) -> Result<CertifiedKey, rcgen::Error> {
        let key = Zeroizing::new(KeyPair::try_from(self.key.as_slice())?);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "rally-cred gateway");
        params.not_before = (now - SKEW).into();
        params.not_after = self.ends.min(now + LEAF_LIFE).into();
        params.subject_alt_names = names.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf_key = Zeroizing::new(KeyPair::generate()?);
        let leaf = params.signed_by(&*leaf_key, &Issuer::new(issuer_params(&key), &*key))?;
        certified(leaf.der(), &Zeroizing::new(leaf_key.serialize_der()))
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)
    }
}

/// A certificate, the one that is shown last, made anew before it ends.
struct Leaf {
    authority: Arc<Authority>,
    names: Names,
    held: Mutex<Option<(SystemTime, Arc<CertifiedKey>)>>,
}

impl Leaf {
    fn at(&self, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let mut held = unpoisoned(&self.held);
        if let Some((made, leaf)) = &*held {
            // Not in a time before it was made either: a clock that was set back makes it one that is not valid yet.
            if now.duration_since(*made).is_ok_and(|age| age < LEAF_LIFE / 2) {
                return Some(Arc::clone(leaf));
            }
        }
        let names = self.names.sans().ok()?;
        let leaf = Arc::new(self.authority.certify(&names, now).ok()?);
        *held = Some((now, Arc::clone(&leaf)));
        Some(leaf)
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.at(SystemTime::now())
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("names", &self.names).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("hosts", &self.hosts)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// What the authority's certificates call it. Its name has a part of its key's hash, so that two in one bundle are not
/// taken for each other.
fn issuer_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = params.key_identifier(key);
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("rally-cred gateway {id}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn sorted(hosts: &[&str]) -> Vec<String> {
    let hosts: BTreeSet<_> = hosts.iter().copied().map(str::to_owned).collect();
    hosts.into_iter().collect()
}

fn own_names() -> Result<Vec<SanType>, rcgen::Error> {
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let addresses = addresses.map(SanType::IpAddress);
    Ok([san("localhost")?].into_iter().chain(addresses).collect())
}

/// A host as a certificate names it.
fn san(host: &str) -> Result<SanType, rcgen::Error> {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.try_into()?)),
    }
}

/// A name as name constraints permit it: an address alone; a name with those below it, which cannot be left out.
fn subtree(name: SanType) -> Option<GeneralSubtree> {
    match name {
        SanType::DnsName(name) => Some(GeneralSubtree::DnsName(name.as_str().to_owned())),
        SanType::IpAddress(IpAddr::V4(address)) => {
            Some(GeneralSubtree::IpAddress(CidrSubnet::V4(address.octets(), [0xff; 4])))
        }
        SanType::IpAddress(IpAddr::V6(address)) => {
            Some(GeneralSubtree::IpAddress(CidrSubnet::V6(address.octets(), [0xff; 16])))
        }
        _ => None,
    }
}

/// A certificate and its key, if the one is the other's.
fn certified(certificate: &CertificateDer<'static>, key: &[u8]) -> Result<CertifiedKey, rustls::Error> {
    let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
    CertifiedKey::from_der(vec![certificate.clone()], key, &ring::default_provider())
}

#[cfg(test)]
mod verifiers;

#[cfg(test)]
mod tests {
    use rustls::{
        CertificateError, RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    const HOST: &str = "rally1.rallydev.com";

    /// Some day in 2026.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_700 * DAY
    }

    /// Whether one who trusts this authority takes a certificate for this name and time.
    fn verify(
        authority: &Authority,
        leaf: &CertifiedKey,
        name: &str,
        at: SystemTime,
    ) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(leaf.end_entity_cert().unwrap(), &[], &name, &[], at).map(drop)
    }

    fn server(host: &str) -> Names {
        Names::Server(host.to_owned())
    }

    fn leaf(authority: &Authority, names: Names) -> CertifiedKey {
        authority.certify(&names.sans().unwrap(), now()).unwrap()
    }

    #[test]
    fn a_tool_that_trusts_the_authority_trusts_the_names_that_the_gateway_serves() {
        let authority = Authority::fresh(&[HOST], now()).unwrap();
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(verify(&authority, &leaf(&authority, Names::Own), name, now()), Ok(()), "{name}");
        }
        assert_eq!(verify(&authority, &leaf(&authority, server(HOST)), HOST, now()), Ok(()));
        for host in ["127.0.0.1", "[::1]", "192.0.2.7"] {
            let authority = Authority::fresh(&[host], now()).unwrap();
            let name = host.trim_matches(['[', ']']);
            assert_eq!(verify(&authority, &leaf(&authority, server(host)), name, now()), Ok(()), "{host}");
        }
    }

    #[test]
    fn each_server_of_a_profile_has_its_own_certificate_and_a_change_of_them_needs_another_authority() {
        let both = ["mcp.example", HOST];
        let authority = Authority::fresh(&both, now()).unwrap();
        for host in both {
            assert_eq!(verify(&authority, &leaf(&authority, server(host)), host, now()), Ok(()), "{host}");
        }
        assert!(verify(&authority, &leaf(&authority, server(HOST)), "mcp.example", now()).is_err());
        assert!(authority.serves(&[HOST, "mcp.example", HOST], now()));
        for other in [&[HOST][..], &[HOST, "other.example"], &[HOST, "mcp.example", "other.example"]] {
            assert!(!authority.serves(other, now()), "{other:?}");
        }
    }

    #[test]
    fn a_certificate_for_another_name_is_refused_even_if_somebody_has_the_key() {
        let authority = Authority::fresh(&[HOST], now()).unwrap();
        for name in
            ["evil.example", "rallydev.com", "xrally1.rallydev.com", "127.0.0.2", "10.0.0.1", "fe80::1"]
        {
            let leaf = authority.certify(&[san(name).unwrap()], now()).unwrap();
            let refusal = verify(&authority, &leaf, name, now()).unwrap_err();
            assert!(format!("{refusal:?}").contains("NameConstraintViolation"), "{name}: {refusal:?}");
        }
    }

    #[test]
    fn a_certificate_is_made_anew_before_it_ends_and_when_the_clock_was_set_back() {
        let authority = Arc::new(Authority::fresh(&[HOST], now()).unwrap());
        let leaf = Leaf { authority: Arc::clone(&authority), names: server(HOST), held: Mutex::default() };
        let first = leaf.at(now()).unwrap();
        assert!(Arc::ptr_eq(&first, &leaf.at(now() + 11 * HOUR).unwrap()));
        let later = now() + 13 * HOUR;
        let second = leaf.at(later).unwrap();
        assert_ne!(first.cert, second.cert);
        assert_eq!(verify(&authority, &second, HOST, later + 12 * HOUR), Ok(()));
        let expired = verify(&authority, &first, HOST, now() + 25 * HOUR).unwrap_err();
        assert!(
            matches!(expired, rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })),
            "{expired:?}"
        );
        let third = leaf.at(now()).unwrap();
        assert_eq!(verify(&authority, &third, HOST, now() - HOUR), Ok(()));
    }

    #[test]
    fn an_authority_lives_a_year_and_is_replaced_a_month_before_its_end() {
        let authority = Authority::fresh(&[HOST], now()).unwrap();
        assert!(authority.serves(&[HOST], now()) && authority.serves(&[HOST], now() + 300 * DAY));
        assert!(!authority.serves(&[HOST], now() + 340 * DAY));
        assert!(!authority.serves(&[HOST], now() - 2 * DAY));
        assert!(!authority.serves(&["eu1.rallydev.com"], now()));
        let leaf = authority.certify(&Names::Own.sans().unwrap(), now() + 364 * DAY + 12 * HOUR);
        assert!(verify(&authority, &leaf.unwrap(), "localhost", now() + 365 * DAY + HOUR).is_err());
    }

    #[test]
    fn what_is_kept_of_an_authority_makes_the_same_one() {
        let one = Authority::fresh(&[HOST], now()).unwrap();
        let mut record = one.record().unwrap();
        let same = Authority::read(&record).unwrap();
        assert_eq!(same.certificate_pem(), one.certificate_pem());
        assert_eq!(verify(&one, &leaf(&same, server(HOST)), HOST, now()), Ok(()));
        assert!(same.serves(&[HOST], now()));
        // Another's key is not taken for its own.
        record.key = Authority::fresh(&[HOST], now()).unwrap().record().unwrap().key;
        assert!(Authority::read(&record).is_none());
        for ends in [0, u64::MAX / 2, u64::MAX] {
            let authority = Authority::read(&Record { ends, ..one.record().unwrap() });
            assert!(!authority.is_some_and(|authority| authority.serves(&[HOST], now())), "{ends}");
        }
    }

    #[test]
    fn two_authorities_have_two_names_and_the_key_is_not_shown() {
        let (one, other) =
            (Authority::fresh(&[HOST], now()).unwrap(), Authority::fresh(&[HOST], now()).unwrap());
        let name =
            |of: &Authority| issuer_params(&KeyPair::try_from(of.key.as_slice()).unwrap()).distinguished_name;
        assert_ne!(name(&one), name(&other));
        let text = format!("{one:?}");
        assert!(text.contains(HOST) && !text.contains("key"), "{text}");
        let pem = one.certificate_pem();
        assert!(
            pem.lines().all(|line| line.len() <= 64) && pem.ends_with("-----END CERTIFICATE-----\n"),
            "{pem}"
        );
    }
}
