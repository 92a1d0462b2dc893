//! A file with every certificate authority that a program behind a gateway is to trust: the system's, those that it would
//! have trusted anyway, and the gateway's own.
//! Does not: read a certificate.
//! Used by: `gateway`.

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
};

use rally_cred_proto::{Fault, FaultKind, own_file, socket};
use tempfile::TempPath;

use crate::terminal::Terminal;

/// The variables by which OpenSSL, Python's requests, Node and curl find such a file.
pub(super) const NAMED_BY: [&str; 4] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"];

/// Where systems keep theirs, each once: Debian and Arch, Fedora, openSUSE, Alpine, macOS and the BSDs. On Windows anybody
/// may make a folder of such a name.
#[cfg(not(windows))]
const SYSTEMS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// More than all authorities of the world need.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Writes the file for this user only, beside the daemon's socket. It is removed when it is dropped.
pub(super) fn write(own: &str, sys: &dyn Terminal) -> Result<TempPath, Fault> {
    let cannot = |err: io::Error| {
        Fault::new(FaultKind::Failed, "the certificates for the program cannot be written")
            .why(err.to_string())
    };
    let folder = socket::lock_folder(&sys.socket()?)?;
    let mut file =
        tempfile::Builder::new().prefix("gateway-").suffix(".pem").tempfile_in(folder).map_err(cannot)?;
    let mut sources: Vec<PathBuf> =
        NAMED_BY.iter().filter_map(|name| sys.variable(name)).map(PathBuf::from).collect();
    #[cfg(not(windows))]
    sources.extend(SYSTEMS.iter().map(PathBuf::from).find(|path| path.is_file()));
    sources.sort();
    sources.dedup_by_key(|path| fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
    for source in sources {
        // A variable that leads nowhere leads the program nowhere either.
        let Ok(source) = own_file::open_to_read(&source) else { continue };
        io::copy(&mut source.take(LARGEST), &mut file).map_err(cannot)?;
        file.write_all(b"\n").map_err(cannot)?;
    }
    #[cfg(windows)]
    for authority in rally_cred_windows::trusted_authorities().map_err(cannot)? {
        file.write_all(authority.as_bytes()).map_err(cannot)?;
    }
    file.write_all(own.as_bytes()).and_then(|()| file.flush()).map_err(cannot)?;
    // On Windows, many programs cannot read what another has open to write.
    Ok(file.into_temp_path())
}
