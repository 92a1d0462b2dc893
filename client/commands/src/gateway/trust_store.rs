//! The authorities of a bundle as a trust store for Java, which reads no PEM and none of the variables for one.
//! Does not: keep a secret, so the store has neither password nor checksum; or choose the authorities (`bundle` does).
//! Used by: `gateway`.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use rally_cred_proto::{Fault, FaultKind};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::NamedTempFile;
use yasna::{DERWriter, Tag, construct_der, models::ObjectIdentifier};

use crate::terminal::Terminal;

/// The variable that every JVM reads.
const OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// The option that names a trust store.
const TRUST_STORE: &str = "-Djavax.net.ssl.trustStore=";

/// RFC 7292: data, a certificate in a safe, and one of X.509.
const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];

/// Java's mark for a certificate that is trusted, and for every use.
const TRUSTED_FOR: &[u64] = &[2, 16, 840, 1, 113_894, 746_875, 1, 1];
const ANY_USE: &[u64] = &[2, 5, 29, 37, 0];

/// Writes the store beside the bundle. It is removed when it is dropped.
pub(super) fn write(bundle: &Path) -> Result<NamedTempFile, Fault> {
    let cannot = |err: io::Error| {
        Fault::new(FaultKind::Failed, "the certificates for a program in Java cannot be written")
            .why(err.to_string())
    };
    let pem = fs::read(bundle).map_err(cannot)?;
    let folder = bundle.parent().unwrap_or(bundle);
    let mut file =
        tempfile::Builder::new().prefix("gateway-").suffix(".p12").tempfile_in(folder).map_err(cannot)?;
    file.write_all(&store(&pem)).and_then(|()| file.flush()).map_err(cannot)?;
    Ok(file)
}

/// The variable that leads every JVM to the store, beside the options that it has; `None` if one of these names another.
pub(super) fn variable(store: &Path, sys: &dyn Terminal) -> Option<(&'static str, String)> {
    let before =
        sys.variable(OPTIONS).map(|before| before.to_string_lossy().into_owned()).unwrap_or_default();
    // A path may have spaces.
    let own = format!("\"{TRUST_STORE}{}\" -Djavax.net.ssl.trustStoreType=PKCS12", store.display());
    (!before.contains(TRUST_STORE)).then(|| (OPTIONS, format!("{before} {own}").trim_start().to_owned()))
}

/// A file in PKCS #12 with the certificates of a file in PEM.
fn store(pem: &[u8]) -> Vec<u8> {
    // What is no certificate there is none for other programs either.
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    let bags = construct_der(|writer| {
        writer.write_sequence_of(|writer| {
            certificates.iter().for_each(|certificate| bag(writer.next(), certificate));
        });
    });
    let safes = construct_der(|writer| {
        writer.write_sequence_of(|writer| data(writer.next(), &bags));
    });
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(3);
            data(writer.next(), &safes);
        });
    })
}

fn data(writer: DERWriter<'_>, content: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), DATA);
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(content));
    });
}

fn bag(writer: DERWriter<'_>, certificate: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), CERTIFICATE_BAG);
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                oid(writer.next(), X509);
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(certificate));
            });
        });
        writer.next().write_set(|writer| {
            writer.next().write_sequence(|writer| {
                oid(writer.next(), TRUSTED_FOR);
                writer.next().write_set(|writer| oid(writer.next(), ANY_USE));
            });
        });
    });
}

fn oid(writer: DERWriter<'_>, parts: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(parts));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_jvm_keeps_the_options_that_it_has_and_a_trust_store_of_its_own() {
        let with = |before: Option<&str>| {
            let sys = match before {
                Some(before) => Fake::default().with(OPTIONS, before),
                None => Fake::default(),
            };
            variable(Path::new("/run/a b.p12"), &sys).map(|(_, options)| options)
        };
        let own = "\"-Djavax.net.ssl.trustStore=/run/a b.p12\" -Djavax.net.ssl.trustStoreType=PKCS12";
        assert_eq!(with(None).as_deref(), Some(own));
        assert_eq!(with(Some("-Xmx1g")), Some(format!("-Xmx1g {own}")));
        assert_eq!(with(Some("-Djavax.net.ssl.trustStore=/corp.jks")), None);
    }
}
