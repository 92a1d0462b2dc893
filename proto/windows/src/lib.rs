//! What Windows offers only as functions in C, as safe functions: whose a pipe and a process are, a start without inherited
//! handles, the clock that counts sleep, the console's Ctrl-C, the browser, and the trusted authorities.
//! Does not: decide anything, or hold a secret. It is empty on other systems.
//! Used by: proto, client and daemon. It is the one place with `unsafe`; docs/decisions/0038 says why there is one.
#![cfg(windows)]

mod console;
mod owner;
mod roots;
mod shell;
mod start;

pub use console::{close_standard_output, hold_back_standard_handles, leave_interrupts_to_children};
pub use owner::{own_user, owner_of, user_of_process};
pub use roots::trusted_authorities;
pub use shell::open_address;
pub use start::{Started, start_detached};

/// Milliseconds since the system started, with those that it slept. It moves in steps of about sixteen.
#[must_use]
pub fn milliseconds_since_boot() -> u64 {
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: it takes nothing and cannot fail.
    unsafe {
        windows_sys::Win32::System::SystemInformation::GetTickCount64()
    }
}

/// The error of the last call where it returned zero.
fn checked(outcome: i32) -> std::io::Result<()> {
    if outcome == 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
