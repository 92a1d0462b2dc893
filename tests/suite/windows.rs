//! The programs for Windows, run under Wine: sign-in, every format, autostart, Credential Manager, whose pipe it is.
//! Does not: prove what Wine does not show, which rests on Microsoft's documentation: what a second user may do to a pipe,
//! since Wine runs everything as one; that a pipe of a taken name is not made once more; that Ctrl-C reaches each process of
//! a console; that the tick counts sleep; and that standard error is as free of the daemon as standard output, since Wine
//! leaves the real one to each process.
//! Used by: `main`; without Wine, each says so and passes.

use std::{fs, process::Command, thread};

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::wine::{INSTALLED, Machine};
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
    let got = machine.client(&["get", "--format", "token", "--interactive", "never"], "");
    assert_eq!(got.code, Some(3), "{got:?}");
    let start = machine.client(&["daemon", "start"], "").succeeded();
    assert!(start.stdout.contains("runs already"), "{start:?}");
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
    let refused = machine.client(&login, sandbox.options().client_secret);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("belongs to S-1-5-21-7-7-7-7777"), "{refused:?}");
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
    let got = machine.client(&["get", "--format", "token", "--interactive", "never"], "");
    assert_eq!((got.code, got.stdout.as_str()), (Some(3), ""), "{got:?}");
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
    let absent = machine.client(&["exec", "--", "no-such-program"], "");
    assert!(absent.code == Some(127) && absent.stderr.contains("no-such-program"), "{absent:?}");
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
    let status = machine.client(&["status"], "").succeeded();
    assert!(status.stdout.contains("dana@example.com"), "{status:?}");
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
    let made = allow(&machine, &sandbox, &[flags.as_slice(), more.as_slice()].concat()).succeeded();
    assert!(made.stdout.contains("signed in as dana@example.com"), "{made:?}");
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
}
