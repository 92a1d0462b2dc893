//! The programs for Windows, run under Wine: sign-in, every format, autostart, Credential Manager, whose pipe it is.
//! Does not: prove what Wine does not show, which rests on Microsoft's documentation: what a second user may do to a pipe,
//! since Wine runs everything as one; that a pipe of a taken name is not made once more; that the tick counts sleep; and that
//! standard error is as free of the daemon as standard output, since Wine leaves the real one to each process.
//! Used by: `main`; without Wine, each says so and passes.

use std::{fs, process::Command, thread};

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::wine::{self, INSTALLED, Machine};
use rally_cred_tests::world::{self, Ended, profile_for};

use crate::sign_in::{question, value};
use crate::tidy::root;

/// A machine with a profile for a sandbox.
fn configured() -> Option<(Sandbox, Machine)> {
    let machine = Machine::new()?;
    let sandbox = world::sandbox();
    machine.configure(&profile_for(&sandbox));
    Some((sandbox, machine))
}

/// Signs in as a person does whose browser is on another machine, but whose callback comes back to this one.
fn sign_in(machine: &Machine, sandbox: &Sandbox) {
    allow(machine, sandbox, &["login", "--client-secret-stdin", "--no-browser"]).succeeded();
}

/// Runs a command that signs in, and presses "Allow Access" at the address that it shows.
fn allow(machine: &Machine, sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    machine.client(&["daemon", "start"], "").succeeded();
    let mut client = machine.start("rally-cred", arguments);
    client.write(&format!("{}\n", sandbox.options().client_secret));
    drop(client.0.stdin.take());
    let line = client.wait_for_line("http");
    let address = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    sandbox.browser().allow(address).unwrap();
    client.end()
}

/// A signed-in machine.
fn signed_in() -> Option<(Sandbox, Machine)> {
    let (sandbox, machine) = configured()?;
    sign_in(&machine, &sandbox);
    Some((sandbox, machine))
}

#[test]
fn whoever_reads_a_client_to_its_end_does_not_wait_for_the_daemon_that_it_started() {
    let Some((_sandbox, machine)) = configured() else { return };
    machine.client(&["get", "--format", "token", "--interactive", "never"], "").ended_with(3);
    machine.client(&["daemon", "start"], "").succeeded().showed("runs already");
}

/// Makes a pipe with an owner and rights, and says how many bytes the first who connects has sent.
const PIPE: &str = r#"
#include <windows.h>
#include <sddl.h>
#include <stdio.h>
int main(int count, char **words) {
    SECURITY_ATTRIBUTES rights = { sizeof rights, NULL, FALSE };
    char bytes[4096];
    DWORD got = 0;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorA(words[2], 1, &rights.lpSecurityDescriptor, NULL)) return 1;
    HANDLE pipe = CreateNamedPipeA(words[1], PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE, PIPE_TYPE_BYTE, 8,
                                   sizeof bytes, sizeof bytes, 0, &rights);
    if (pipe == INVALID_HANDLE_VALUE) return 2;
    puts("open");
    fflush(stdout);
    ConnectNamedPipe(pipe, NULL);
    ReadFile(pipe, bytes, sizeof bytes, &got, NULL);
    printf("%lu bytes\n", got);
    return 0;
}
"#;

#[test]
fn a_pipe_of_another_user_is_sent_nothing() {
    let Some((sandbox, mut machine)) = configured() else { return };
    let pipe = r"\\.\pipe\somebody-elses";
    machine.set("RALLY_CRED_SOCKET", pipe);
    machine.compile("pipe", PIPE);
    let mut intruder = machine.start("pipe", &[pipe, "O:S-1-5-21-7-7-7-7777D:(A;;GA;;;WD)"]);
    assert_eq!(intruder.next_line_of_stdout().as_deref(), Some("open"));
    let login = ["login", "--client-secret-stdin", "--no-browser"];
    machine
        .client(&login, sandbox.options().client_secret)
        .ended_with(1)
        .told("belongs to S-1-5-21-7-7-7-7777");
    assert_eq!(intruder.next_line_of_stdout().as_deref(), Some("0 bytes"));
}

#[test]
fn a_sign_in_is_served_in_every_format_and_outlives_the_daemon_until_logout() {
    let Some((sandbox, machine)) = signed_in() else { return };
    let get = |format: &str| machine.client(&["get", "--format", format], "").succeeded().stdout;
    let token = get("token").trim_end().to_owned();
    for (format, wanted) in [
        ("header", format!("ZSESSIONID: {token}\n")),
        ("headers", format!(r#"{{"ZSESSIONID":"{token}"}}"#)),
        ("json", format!(r#""token":"{token}""#)),
        ("env-powershell", "$env:RALLY_ZSESSIONID".to_owned()),
        ("env", format!("RALLY_ZSESSIONID='{token}'")),
        ("curl", format!(r#"header = "ZSESSIONID: {token}""#)),
    ] {
        let got = get(format);
        assert!(got.contains(&wanted), "{format}: {got:?}");
    }
    // git for Windows takes a carriage return for a part of the password.
    let answer = machine.run("git-credential-rally", &["get"], question(&sandbox)).succeeded().stdout;
    assert_eq!((value(&answer, "password"), answer.contains('\r')), (Some(token.as_str()), false));
    let asked = question(&sandbox).replace('\n', "\r\n");
    let asked = machine.run("git-credential-rally", &["get"], asked);
    assert!(!asked.stdout.contains('\r'), "{asked:?}");

    machine.client(&["daemon", "restart"], "").succeeded();
    assert_eq!(get("token").trim_end(), token, "from the Credential Manager");
    assert!(sandbox.admits(&token, std::time::Instant::now()));
    machine.client(&["logout"], "").succeeded();
    machine.client(&["get", "--format", "token", "--interactive", "never"], "").refused(3);
    assert!(!machine.log().contains(&token) && machine.log().contains("profile"), "{}", machine.log());
}

#[test]
fn a_hundred_gets_at_once_start_one_daemon_and_each_has_the_token() {
    let Some((sandbox, machine)) = signed_in() else { return };
    machine.client(&["daemon", "stop"], "").succeeded();
    let get = || machine.client(&["get", "--format", "token"], "").succeeded().stdout;
    let at_once = |count| {
        thread::scope(|scope| {
            let all: Vec<_> = (0..count).map(|_| scope.spawn(get)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    };
    // They start one daemon between them. A hundred programs begin too slowly under Wine to do that in time.
    let tokens = [at_once(4), at_once(96)].concat();
    assert!(tokens.iter().all(|token| *token == tokens[0] && !token.is_empty()));
    assert_eq!(sandbox.counters().code_exchanges(), 1);
    assert_eq!(machine.log().matches(" ready ").count(), 2, "{}", machine.log());
}

#[test]
fn a_program_gets_the_token_and_its_exit_code_comes_back_whole() {
    let Some((_sandbox, mut machine)) = signed_in() else { return };
    let token = machine.client(&["get", "--format", "token"], "").stdout;
    let shown = machine.client(&["exec", "--", "cmd", "/c", "echo %RALLY_ZSESSIONID%"], "").succeeded();
    assert_eq!(shown.stdout.trim_end(), token.trim_end());
    // Wine hands eight bits on to this side, so cmd shows what it saw.
    fs::write(
        machine.path(r"C:\code.cmd"),
        "@\"%CLIENT%\" exec -- cmd /c exit 1234\r\n@echo %ERRORLEVEL%\r\n",
    )
    .unwrap();
    machine.set("CLIENT", &format!(r"{INSTALLED}\rally-cred.exe"));
    assert_eq!(machine.run("cmd", &["/c", r"C:\code.cmd"], "").stdout.trim_end(), "1234");
    machine.client(&["exec", "--", "no-such-program"], "").ended_with(127).told("no-such-program");
}

/// Leaves a mark, by which it is seen to have run.
const TRAP: &str = r#"
#include <stdio.h>
int main(int count, char **words) {
    FILE *marks = fopen("C:\\marks", "a");
    fprintf(marks, "%s\n", words[0]);
    return fclose(marks);
}
"#;

#[test]
fn a_program_in_the_working_folder_runs_in_place_of_no_other() {
    let Some((_sandbox, mut machine)) = signed_in() else { return };
    let (folder, marks) = (machine.path(r"C:\repository"), machine.path(r"C:\marks"));
    fs::create_dir(&folder).unwrap();
    machine.compile("trap", TRAP);
    let trap = machine.path(&format!(r"{INSTALLED}\trap.exe"));
    for name in ["git", "reg", "cmd", "powershell", "explorer", "tool", "rally-cred-commands", "rally-credd"]
    {
        fs::copy(&trap, folder.join(name).with_extension("exe")).unwrap();
    }
    machine.set("CLIENT", &format!(r"{INSTALLED}\rally-cred.exe"));
    let in_folder = |line: &str| {
        fs::write(machine.path(r"C:\line.cmd"), format!("@cd /d C:\\repository\r\n@{line}\r\n")).unwrap();
        machine.run("cmd", &["/c", r"C:\line.cmd"], "")
    };
    in_folder("git config").succeeded();
    assert!(marks.exists(), "who asks a shell for it gets it");
    fs::remove_file(&marks).unwrap();
    for words in [
        "get --format token",
        "doctor",
        "setup --dry-run --git yes --units yes",
        "exec -- tool",
        "daemon stop",
    ] {
        let ended = in_folder(&format!("\"%CLIENT%\" {words}"));
        assert!(!marks.exists(), "{words}: {ended:?} {:?}", fs::read_to_string(&marks));
    }
    fs::remove_file(machine.path(&format!(r"{INSTALLED}\rally-credd.exe"))).unwrap();
    let alone = in_folder("\"%CLIENT%\" daemon start").told("the program rally-credd is not found");
    assert!(!marks.exists(), "{alone:?} {:?}", fs::read_to_string(&marks));
}

/// Gives a program a console of its own, and says how it ended.
const CONSOLE: &str = r#"
#include <windows.h>
#include <stdio.h>
static BOOL WINAPI live_on(DWORD event) { return TRUE; }
int main(void) {
    STARTUPINFOW how = { sizeof how };
    PROCESS_INFORMATION made;
    DWORD code = 0;
    how.dwFlags = STARTF_USESTDHANDLES;
    how.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    how.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    how.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    FreeConsole();
    AllocConsole();
    SetConsoleCtrlHandler(live_on, TRUE);
    if (!CreateProcessW(NULL, wcsstr(GetCommandLineW(), L" -- ") + 4, NULL, NULL, TRUE, 0, NULL, NULL, &how, &made)) return 1;
    WaitForSingleObject(made.hProcess, INFINITE);
    GetExitCodeProcess(made.hProcess, &code);
    printf("ended with %lu\n", code);
    return 0;
}
"#;

/// Presses Ctrl-C in its console, and ends in order once it has heard of it.
const PRESS: &str = r#"
#include <windows.h>
#include <stdio.h>
static HANDLE heard;
static BOOL WINAPI hear(DWORD event) { printf("heard %lu\n", event); fflush(stdout); SetEvent(heard); return TRUE; }
int main(void) {
    heard = CreateEventA(NULL, TRUE, FALSE, NULL);
    SetConsoleCtrlHandler(hear, TRUE);
    if (!GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) return 1;
    WaitForSingleObject(heard, 10000);
    return 70000;
}
"#;

#[test]
fn ctrl_c_is_the_programs_to_obey_and_whoever_started_it_has_all_of_its_exit_code() {
    let Some((_sandbox, machine)) = signed_in() else { return };
    machine.compile("console", CONSOLE);
    machine.compile("press", PRESS);
    let [client, press] = ["rally-cred", "press"].map(|name| format!(r"{INSTALLED}\{name}.exe"));
    for way in [&["exec"][..], &["gateway", "--via", "http"]] {
        let command = [&["--", &client], way, &["--", &press]].concat();
        let ended = machine.run("console", &command, "");
        assert_eq!(ended.stdout.replace('\r', ""), "heard 0\nended with 70000\n", "{way:?}: {ended:?}");
    }
}

#[test]
fn a_program_behind_a_gateway_trusts_it_and_whom_windows_trusts() {
    let Some((_sandbox, machine)) = signed_in() else { return };
    let command = ["gateway", "--tool", "pyral", "--", "cmd", "/c", "type %SSL_CERT_FILE% & echo %APIKEY%"];
    let shown = machine.client(&command, "").succeeded().stdout;
    assert!(shown.matches("-----BEGIN CERTIFICATE-----").count() > 1, "{shown}");
    let key = shown.trim_end().lines().last().unwrap();
    assert!(!key.is_empty() && !key.contains('%'), "{shown}");
    let folder = machine.path(&format!(r"{}\AppData\Local\rally-cred\data", machine.profile()));
    let left = fs::read_dir(folder).unwrap().flatten().map(|file| file.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".pem")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Tells a port of loopback, which its first argument names, what its second is.
const BROWSER: &str = r#"
#include <winsock2.h>
#include <stdlib.h>
int main(int count, char **words) {
    WSADATA data;
    struct sockaddr_in to = { AF_INET };
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET out = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons(atoi(words[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(out, (struct sockaddr *)&to, sizeof to)) return 1;
    send(out, words[2], strlen(words[2]), 0);
    closesocket(out);
    return 0;
}
"#;

#[test]
fn the_browser_that_the_user_has_chosen_is_opened_by_windows_and_no_shell_sees_the_address() {
    let Some((sandbox, machine)) = configured() else { return };
    machine.compile("browser", BROWSER);
    // These come first for whoever asks for them by name.
    for shell in ["cmd", "powershell", "explorer", "winebrowser"] {
        machine.compile(shell, "int main(void) { return 7; }");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!(r#""{INSTALLED}\browser.exe" {} "%1""#, port.local_addr().unwrap().port());
    machine.import(r"HKEY_LOCAL_MACHINE\Software\Classes\http\shell\open\command", &line);
    let (told, opened) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let text = port.accept().and_then(|(stream, _)| std::io::read_to_string(stream));
        told.send(text.unwrap()).ok();
    });
    machine.client(&["daemon", "start"], "").succeeded();
    let login = ["login", "--client-secret-stdin"];
    let address = thread::scope(|scope| {
        let login = scope.spawn(|| machine.client(&login, sandbox.options().client_secret));
        let address = opened.recv_timeout(wine::PATIENCE).expect("no browser was opened");
        sandbox.browser().allow(&address).unwrap();
        login.join().unwrap().succeeded();
        address
    });
    assert!(
        address.starts_with("http://localhost:") || address.starts_with("http://127.0.0.1:"),
        "{address}"
    );
}

/// What no text of a program for Windows may name: commands, files and services that are elsewhere.
const FOREIGN: [&str; 24] = [
    "chmod",
    "chown",
    "ulimit",
    "sudo",
    "systemctl",
    "systemd",
    "journalctl",
    "launchctl",
    "launchd",
    "lsof",
    "ss -ltnp",
    "pkill",
    "kill -",
    "ls -l",
    "sh -c",
    "id -u",
    "</dev/null",
    "/etc/",
    "SIGTERM",
    "SIGHUP",
    "gnome-keyring",
    "KWallet",
    "Keychain",
    "XDG_STATE_HOME to",
];

#[test]
fn no_program_for_windows_names_a_command_a_file_or_a_service_that_only_other_systems_have() {
    let Some(machine) = Machine::new() else { return };
    let scripts = fs::read_dir(root().join("client/completions")).unwrap().flatten();
    // Git brings these shells to Windows too.
    let scripts: Vec<_> = scripts.map(|script| fs::read(script.path()).unwrap()).collect();
    for program in ["rally-cred", "git-credential-rally", "rally-cred-commands", "rally-credd"] {
        let mut texts = machine.texts(program);
        let finder = |text: &[u8]| memchr::memmem::Finder::new(text).into_owned();
        for script in &scripts {
            if let Some(at) = finder(script).find(&texts) {
                texts.drain(at..at + script.len());
            }
        }
        assert!(finder(b"rally-cred daemon start").find(&texts).is_some(), "{program} has no texts");
        for word in FOREIGN {
            let at: Vec<_> = finder(word.as_bytes()).find_iter(&texts).collect();
            let around = |at: usize| {
                let end = texts.len().min(at + 60);
                String::from_utf8_lossy(&texts[at.saturating_sub(60)..end]).into_owned()
            };
            // The library for time zones names the file of other systems in an error of its own.
            let found: Vec<_> =
                at.into_iter().map(around).filter(|text| !text.contains("/etc/localtime")).collect();
            assert!(found.is_empty(), "{program} says {word}: {found:#?}");
        }
    }
}

#[test]
fn a_config_file_of_notepad_is_read_wherever_it_lies() {
    let Some(mut machine) = Machine::new() else { return };
    let sandbox = world::sandbox();
    let path = r"C:\Übung mit Leerzeichen\config.toml";
    fs::create_dir(machine.path(r"C:\Übung mit Leerzeichen")).unwrap();
    let text = format!("\u{feff}{}", profile_for(&sandbox).replace('\n', "\r\n"));
    fs::write(machine.path(path), text).unwrap();
    machine.set("RALLY_CRED_CONFIG", path);
    sign_in(&machine, &sandbox);
    machine.client(&["status"], "").succeeded().showed("dana@example.com");
}

/// The entry by which Windows starts the daemon.
fn run_entry(machine: &Machine) -> Ended {
    let key = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run";
    machine.run("reg", &["query", key, "/v", "rally-cred"], "")
}

#[test]
fn a_set_up_starts_with_windows_and_remove_leads_back() {
    let Some(machine) = Machine::new() else { return };
    let sandbox = world::sandbox();
    let options = sandbox.options();
    let flags = ["setup", "--base-url", sandbox.base_url(), "--client-id", &options.client_id, "--callback"];
    let more = [&options.redirect_uri, "--units", "yes", "--client-secret-stdin", "--no-browser"];
    allow(&machine, &sandbox, &[flags.as_slice(), more.as_slice()].concat())
        .succeeded()
        .showed("signed in as dana@example.com");
    let entry = run_entry(&machine).succeeded().stdout;
    // reg.exe has no letter for what is not ASCII.
    assert!(
        entry.contains(r#""C:\Program Files\Rally Cr"#)
            && entry.contains(r#"d\rally-cred.exe" daemon start"#),
        "{entry}"
    );

    let doctor = machine.client(&["doctor"], "").succeeded().stdout;
    assert!(doctor.contains("starts the daemon when you sign in to Windows"), "{doctor}");
    for absent in ["systemd", "chmod", "ss -"] {
        assert!(!doctor.contains(absent), "{absent} in {doctor}");
    }
    machine.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(run_entry(&machine).code, Some(1));
    assert!(
        !machine
            .path(&format!(r"{}\AppData\Roaming\rally-cred\config\config.toml", machine.profile()))
            .exists()
    );
}

#[test]
fn a_taken_redirect_port_is_told_with_a_command_that_windows_has() {
    let Some((sandbox, machine)) = configured() else { return };
    let port =
        sandbox.options().redirect_uri.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let _taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let login =
        machine.client(&["login", "--client-secret-stdin", "--no-browser"], sandbox.options().client_secret);
    assert!(login.stderr.contains(&format!("netstat -ano | findstr :{port}")), "{login:?}");
}

#[test]
fn the_zip_has_what_a_machine_needs_and_each_manifest_is_of_this_version_and_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let programs =
        ["git-credential-rally.exe", "rally-cred-commands.exe", "rally-cred.exe", "rally-credd.exe"];
    for program in programs {
        fs::write(folder.path().join(program), program).unwrap();
    }
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let done = Command::new(program).args(arguments).current_dir(root()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let made = folder.path().join("made");
    let address = "https://example.org/files";
    let zip = run("packaging/windows", &[address.as_ref(), folder.path().as_os_str(), made.as_os_str()]);
    let zip = std::path::Path::new(zip.trim_end());
    let list = run("python3", &["-m".as_ref(), "zipfile".as_ref(), "-l".as_ref(), zip.as_os_str()]);
    let mut names: Vec<_> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    let further = ["LICENSE-APACHE", "LICENSE-MIT", "README.txt"];
    assert_eq!(names, [&further, programs.as_slice(), &["sbom.cdx.json"]].concat());
    let bill: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(made.join("sbom.cdx.json")).unwrap()).unwrap();
    let listed = |name| bill["components"].as_array().unwrap().iter().any(|listed| listed["name"] == name);
    assert!(listed("rally-credd") && listed("windows-native-keyring-store") && !listed("landlock"));

    let version = env!("CARGO_PKG_VERSION");
    let source = made.join(format!("rally-cred-{version}.tar.gz"));
    for (manifest, file) in [
        ("scoop/rally-cred.json", Some(zip)),
        ("winget/RallyCred.yaml", None),
        ("winget/RallyCred.installer.yaml", Some(zip)),
        ("winget/RallyCred.locale.en-US.yaml", None),
        ("homebrew/rally-cred.rb", Some(source.as_path())),
    ] {
        let text = fs::read_to_string(made.join(manifest)).unwrap();
        assert!(text.contains(version) && !text.contains('@'), "{manifest}: {text}");
        let Some(file) = file else { continue };
        let sum = run("sha256sum", &[file.as_os_str()]);
        assert!(text.contains(sum.split_whitespace().next().unwrap()), "{manifest}: {text}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            text.contains(&format!("\"{address}/{name}\"")) || text.contains(&format!(" {address}/{name}\n")),
            "{text}"
        );
    }
    let scoop = fs::read_to_string(made.join("scoop/rally-cred.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&scoop).unwrap()["version"], version);

    let msi = made.join(format!("rally-cred-{version}-x86_64.msi"));
    let table = |name: &str| run("msiinfo", &["export".as_ref(), msi.as_os_str(), name.as_ref()]);
    assert!(table("Property").contains(&format!("ProductVersion\t{version}\r\n")), "{}", table("Property"));
    for program in programs {
        assert!(table("File").contains(program), "{}", table("File"));
    }
}

/// Keeps what it was told in a file.
const TOLD: &str = r#"
#include <windows.h>
#include <stdio.h>
int main(void) {
    FILE *told = fopen("C:\\told.txt", "a");
    fputs(GetCommandLineA(), told);
    fclose(told);
    return 0;
}
"#;

#[test]
fn the_installer_puts_the_programs_into_path_and_takes_them_away_after_the_daemon() {
    let Some(machine) = Machine::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    machine.compile("told", TOLD);
    for program in
        ["git-credential-rally.exe", "rally-cred-commands.exe", "rally-cred.exe", "rally-credd.exe"]
    {
        fs::copy(machine.path(&format!(r"{INSTALLED}\told.exe")), folder.path().join(program)).unwrap();
    }
    let mut packaging = Command::new("packaging/windows");
    packaging
        .current_dir(root())
        .arg("https://example.org")
        .arg(folder.path())
        .arg(folder.path().join("made"));
    assert!(packaging.output().unwrap().status.success());
    let msi = format!("made/rally-cred-{}-x86_64.msi", env!("CARGO_PKG_VERSION"));
    let msi = format!("Z:{}", folder.path().join(msi).display()).replace('/', r"\");
    let path = || machine.run("reg", &["query", r"HKCU\Environment", "/v", "PATH"], "").stdout;
    let client =
        machine.path(&format!(r"{}\AppData\Local\Programs\rally-cred\rally-cred.exe", machine.profile()));
    let installer = |what: &str| machine.run("msiexec", &[what, &msi, "/qn"], "").succeeded();
    installer("/i");
    assert!(client.exists() && path().contains(r"\Programs\rally-cred\"), "{}", path());
    installer("/x");
    assert!(!client.exists() && !path().contains("rally-cred"), "{}", path());
    let told = fs::read_to_string(machine.path(r"C:\told.txt")).unwrap();
    assert!(told.contains("daemon stop"), "{told}");
}
