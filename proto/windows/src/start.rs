//! Starts a program that inherits three handles and no other: the standard library's `Command` lets it inherit every handle
//! that this process was given, so that a pipe of a shell would stay open for as long as a daemon lives.
//! Does not: search the program, or wait until it is ready.
//! Used by: the client, for the daemon.
#![expect(unsafe_code, reason = "foreign functions")]

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::{collections::BTreeMap, env, fs::File, io, mem::size_of, path::Path, process::ExitStatus, ptr};

use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DETACHED_PROCESS, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE, InitializeProcThreadAttributeList,
    LPPROC_THREAD_ATTRIBUTE_LIST, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROCESS_INFORMATION,
    STARTF_USESTDHANDLES, STARTUPINFOEXW, UpdateProcThreadAttribute, WaitForSingleObject,
};

use crate::checked;

/// A program that was started.
#[derive(Debug)]
pub struct Started(OwnedHandle);

impl Started {
    /// Waits until it has ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        // SAFETY: the handle is open.
        if unsafe { WaitForSingleObject(self.0.as_raw_handle(), INFINITE) } != WAIT_OBJECT_0 {
            return Err(io::Error::last_os_error());
        }
        let mut code = 0;
        // SAFETY: the handle is open, and the code is a variable of this function.
        checked(unsafe { GetExitCodeProcess(self.0.as_raw_handle(), &raw mut code) })?;
        Ok(ExitStatus::from_raw(code))
    }
}

/// Starts a program without a console, with one argument, this process's variables and one more. It writes to `output`, and
/// inherits nothing else. No other thread may start a program at the same time: that one could inherit `output` too.
pub fn start_detached(
    program: &Path,
    argument: &str,
    variable: (&str, &OsStr),
    output: impl Into<OwnedHandle>,
) -> io::Result<Started> {
    let output = output.into();
    let nothing = File::options().read(true).write(true).open("NUL")?;
    let handles = [inheritable(output.as_handle())?, inheritable(nothing.as_handle())?];
    let attributes = Attributes::with(&handles)?;

    let application = wide(program.as_os_str())?;
    // A name of a file has no quote in it.
    let mut line = wide(&OsString::from_iter([
        OsStr::new("\""),
        program.as_os_str(),
        OsStr::new("\" "),
        argument.as_ref(),
    ]))?;
    let variables = environment(variable)?;
    // Where it works cannot be removed, and that folder cannot be removed anyway.
    let folder = wide(program.parent().unwrap_or(Path::new(r"C:\")).as_os_str())?;
    let mut info = STARTUPINFOEXW { lpAttributeList: attributes.list, ..Default::default() };
    info.StartupInfo.cb = u32::try_from(size_of::<STARTUPINFOEXW>()).unwrap_or(0);
    info.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    let [output, nothing] = handles;
    (info.StartupInfo.hStdInput, info.StartupInfo.hStdOutput, info.StartupInfo.hStdError) =
        (nothing, output, nothing);
    let mut process = PROCESS_INFORMATION::default();
    // SAFETY: each text ends with a zero, the variables with two; the line may be written to; the attributes and the
    // handles in them live until the end of this function.
    checked(unsafe {
        CreateProcessW(
            application.as_ptr(),
            line.as_mut_ptr(),
            ptr::null(),
            ptr::null(),
            1,
            DETACHED_PROCESS | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT,
            variables.as_ptr().cast(),
            folder.as_ptr(),
            (&raw const info).cast(),
            &raw mut process,
        )
    })?;
    // SAFETY: it is open, and closed by being dropped here.
    drop(unsafe { OwnedHandle::from_raw_handle(process.hThread) });
    // SAFETY: it is open, and nobody else's.
    Ok(Started(unsafe { OwnedHandle::from_raw_handle(process.hProcess) }))
}

/// Lets programs inherit a handle.
fn inheritable(handle: BorrowedHandle<'_>) -> io::Result<HANDLE> {
    let handle = handle.as_raw_handle();
    // SAFETY: the handle is open.
    checked(unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) })?;
    Ok(handle)
}

/// The list of what a program inherits, with the memory that holds it.
struct Attributes {
    list: LPPROC_THREAD_ATTRIBUTE_LIST,
    _room: Vec<usize>,
}

impl Attributes {
    /// The handles must live where they are until the program has been started.
    fn with(handles: &[HANDLE]) -> io::Result<Self> {
        let mut size = 0;
        // SAFETY: without a list it only says how much room one takes, by a call that fails.
        unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), 1, 0, &raw mut size) };
        let mut room = vec![0_usize; size.div_ceil(size_of::<usize>())];
        let list = room.as_mut_ptr().cast();
        // SAFETY: there is as much room as it said.
        checked(unsafe { InitializeProcThreadAttributeList(list, 1, 0, &raw mut size) })?;
        let all = Self { list, _room: room };
        let kind = usize::try_from(PROC_THREAD_ATTRIBUTE_HANDLE_LIST).unwrap_or(0);
        // SAFETY: the list is made, and the handles are as many bytes as is said.
        checked(unsafe {
            let (first, length) = (handles.as_ptr().cast(), size_of_val(handles));
            UpdateProcThreadAttribute(list, 0, kind, first, length, ptr::null_mut(), ptr::null())
        })?;
        Ok(all)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the list was made, and its memory goes only after this.
        unsafe { DeleteProcThreadAttributeList(self.list) };
    }
}

/// This process's variables and one more, each ended by a zero and all by one more, in the order that Windows wants.
fn environment((name, value): (&str, &OsStr)) -> io::Result<Vec<u16>> {
    let key = |name: &OsStr| name.to_ascii_uppercase();
    let mut all: BTreeMap<_, _> = env::vars_os().map(|(name, value)| (key(&name), (name, value))).collect();
    all.insert(key(name.as_ref()), (name.into(), value.into()));
    let mut block = Vec::new();
    for (name, value) in all.into_values() {
        block.extend(wide(&OsString::from_iter([name.as_os_str(), OsStr::new("="), &value]))?);
    }
    block.push(0);
    Ok(block)
}

/// A text in UTF-16 with a zero at its end, and none before.
pub(crate) fn wide(text: &OsStr) -> io::Result<Vec<u16>> {
    let mut letters: Vec<u16> = text.encode_wide().collect();
    if letters.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    letters.push(0);
    Ok(letters)
}
