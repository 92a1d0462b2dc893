//! Opens an address by the program that this user has chosen for it, as a double click would.
//! Does not: run a shell, or check what it is given; whoever calls has seen that it is a web address.
//! Used by: the client, to open the browser.
#![expect(unsafe_code, reason = "foreign functions")]

use std::{ffi::OsStr, io, mem::size_of, ptr};

use windows_sys::Win32::System::Com::{COINIT_APARTMENTTHREADED, COINIT_DISABLE_OLE1DDE, CoInitializeEx};
use windows_sys::Win32::UI::Shell::{
    SEE_MASK_FLAG_NO_UI, SEE_MASK_NOASYNC, SHELLEXECUTEINFOW, ShellExecuteExW,
};
use windows_sys::Win32::UI::WindowsAndMessaging::SW_SHOWNORMAL;

use crate::{checked, start::wide};

/// Opens it, and returns once the program has been started or told. Shows nothing if there is none.
pub fn open_address(address: &str) -> io::Result<()> {
    let address = wide(OsStr::new(address))?;
    let how = COINIT_APARTMENTTHREADED | COINIT_DISABLE_OLE1DDE;
    // Some programs are started by COM. It fails where this thread has it another way, which will do too.
    // SAFETY: the first parameter has to be null.
    unsafe { CoInitializeEx(ptr::null(), how.cast_unsigned()) };
    let mut info = SHELLEXECUTEINFOW {
        cbSize: u32::try_from(size_of::<SHELLEXECUTEINFOW>()).unwrap_or(0),
        // This program may end at once.
        fMask: SEE_MASK_NOASYNC | SEE_MASK_FLAG_NO_UI,
        lpFile: address.as_ptr(),
        nShow: SW_SHOWNORMAL,
        ..Default::default()
    };
    // SAFETY: its size is right, and the address ends with a zero and lives until it returns.
    checked(unsafe { ShellExecuteExW(&raw mut info) })
}
