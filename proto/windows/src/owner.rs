//! Whose an open pipe is, and whose a process, as the text of a security identifier (SID) such as `S-1-5-21-…-1001`.
//! Does not: compare them.
//! Used by: proto, before a byte goes to a daemon; the daemon, for the rights of its pipe.
#![expect(unsafe_code, reason = "foreign functions")]

use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::{io, mem::size_of, ptr};

use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, GetSecurityInfo, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

use crate::checked;

/// The user of this process.
pub fn own_user() -> io::Result<String> {
    // SAFETY: it takes nothing; what it returns needs no closing.
    user_of(unsafe { GetCurrentProcess() })
}

/// The user of a process. Fails where that process is closed to this one, as another user's is, or one with raised rights.
pub fn user_of_process(pid: u32) -> io::Result<String> {
    // SAFETY: it takes numbers.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nobody else's.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    user_of(process.as_raw_handle())
}

/// The owner of an open object, such as a pipe: who made it, for only an administrator can make one that is another's. The
/// handle must have been opened for reading.
pub fn owner_of(object: BorrowedHandle<'_>) -> io::Result<String> {
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the handle is open, and the two that are written to are variables of this function.
    let error = unsafe {
        GetSecurityInfo(
            object.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    let text = if owner.is_null() { Err(io::ErrorKind::Unsupported.into()) } else { text_of(owner) };
    // SAFETY: it was allocated for this call, and `owner`, which points into it, is not used any more.
    unsafe { LocalFree(descriptor) };
    text
}

fn user_of(process: HANDLE) -> io::Result<String> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the caller has the process open; the token is a variable of this function.
    checked(unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: it was opened just now.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // A user's SID has at most 68 bytes. Words, as a buffer of bytes would not be aligned.
    let mut room = [0_u64; 16];
    let mut length = 0;
    let size = u32::try_from(size_of_val(&room)).unwrap_or(0);
    // SAFETY: the buffer is as long as is said, and aligned for a `TOKEN_USER`.
    checked(unsafe {
        GetTokenInformation(token.as_raw_handle(), TokenUser, room.as_mut_ptr().cast(), size, &raw mut length)
    })?;
    const { assert!(size_of::<TOKEN_USER>() <= 16 * size_of::<u64>()) };
    // SAFETY: the call has written a `TOKEN_USER` there.
    let user = unsafe { &*room.as_ptr().cast::<TOKEN_USER>() };
    text_of(user.User.Sid)
}

fn text_of(sid: PSID) -> io::Result<String> {
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: both callers have the SID from the system.
    checked(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let letter = |at| {
        // SAFETY: nothing is read behind the zero that ends the text.
        let place = unsafe { text.add(at) };
        // SAFETY: as above.
        unsafe { place.read() }
    };
    let letters = (0..).map(letter).take_while(|letter| *letter != 0);
    let found = char::decode_utf16(letters).map(|letter| letter.unwrap_or('?')).collect();
    // SAFETY: it was allocated for this call, and has been copied.
    unsafe { LocalFree(text.cast()) };
    Ok(found)
}
