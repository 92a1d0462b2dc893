//! The certificate authorities that Windows trusts, as text, for programs that read them from a file.
//! Does not: judge one, or fetch those that Windows would fetch when it first meets them.
//! Used by: the client, for a program behind a gateway.
#![expect(unsafe_code, reason = "foreign functions")]

use std::{io, ptr};

use windows_sys::Win32::Security::Cryptography::{
    CERT_CONTEXT, CRYPT_STRING_BASE64HEADER, CertCloseStore, CertEnumCertificatesInStore,
    CertOpenSystemStoreW, CryptBinaryToStringA,
};

use crate::{checked, start::wide};

/// The authorities of this user and of the machine, each in PEM.
pub fn trusted_authorities() -> io::Result<Vec<String>> {
    let name = wide("ROOT".as_ref())?;
    // SAFETY: the name ends with a zero.
    let store = unsafe { CertOpenSystemStoreW(0, name.as_ptr()) };
    if store.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut all = Vec::new();
    let mut certificate: *mut CERT_CONTEXT = ptr::null_mut();
    loop {
        // SAFETY: the store is open; each certificate is given back by asking for the next.
        certificate = unsafe { CertEnumCertificatesInStore(store, certificate) };
        // SAFETY: it is null, or valid until the next is asked for.
        let Some(found) = (unsafe { certificate.as_ref() }) else { break };
        all.extend(pem(found));
    }
    // SAFETY: it is open, and nothing of it is in use.
    unsafe { CertCloseStore(store, 0) };
    Ok(all)
}

fn pem(certificate: &CERT_CONTEXT) -> io::Result<String> {
    let write = |room: *mut u8, length: &mut u32| {
        // SAFETY: the certificate is valid, and the room is as long as is said, or null to ask for the length.
        checked(unsafe {
            CryptBinaryToStringA(
                certificate.pbCertEncoded,
                certificate.cbCertEncoded,
                CRYPT_STRING_BASE64HEADER,
                room,
                length,
            )
        })
    };
    let mut length = 0;
    write(ptr::null_mut(), &mut length)?;
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    write(text.as_mut_ptr(), &mut length)?;
    // The second length is without the zero at the end.
    text.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8(text).map_err(io::Error::other)
}
