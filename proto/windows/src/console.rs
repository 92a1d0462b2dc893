//! The console's signals, and the standard output as a handle.
//! Does not: read or write.
//! Used by: `exec`, which waits for a program; the daemon, once a client knows that it is ready.
#![expect(unsafe_code, reason = "foreign functions")]

use windows_sys::Win32::Foundation::{
    CloseHandle, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, SetHandleInformation,
};
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    SetConsoleCtrlHandler, SetStdHandle,
};

/// Has this process live on when Ctrl-C or Ctrl-Break is pressed. Its children get them all the same and decide for
/// themselves, as they do not inherit a handler.
pub fn leave_interrupts_to_children() {
    // SAFETY: the handler is a function for all of the program's life and touches no memory.
    unsafe { SetConsoleCtrlHandler(Some(live_on), 1) };
}

/// Says of Ctrl-C and Ctrl-Break that they are dealt with. The end of the session is not.
unsafe extern "system" fn live_on(event: u32) -> i32 {
    i32::from(matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT))
}

/// Has started programs not inherit the handles of the three standard streams beside those that they are given.
pub fn hold_back_standard_handles() {
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: it takes a number.
        let handle = unsafe { GetStdHandle(stream) };
        // SAFETY: what is no handle is refused.
        unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    }
}

/// Closes standard output, so that whoever reads it to its end can go on. Nothing may be writing to it at the time; what is
/// written later goes nowhere.
pub fn close_standard_output() {
    // SAFETY: it takes a number.
    let output = unsafe { GetStdHandle(STD_OUTPUT_HANDLE) };
    if output.is_null() || output == INVALID_HANDLE_VALUE {
        return;
    }
    // SAFETY: the library asks for the handle at each write, and writes nothing where there is none.
    unsafe { SetStdHandle(STD_OUTPUT_HANDLE, std::ptr::null_mut()) };
    // SAFETY: the handle is this process's own, and nobody else finds it any more.
    unsafe { CloseHandle(output) };
}
