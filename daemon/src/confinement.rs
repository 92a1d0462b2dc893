//! What the daemon gives up once it serves, also where no service manager has taken it away: writing elsewhere than in its
//! own folders, system calls that it never needs (among them that which starts a program), and new privileges.
//! Does not: confine the thread of `outside`, or reading, or the network. A kernel that lacks a part goes without it.
//! Used by: `start`.

use std::path::Path;

use rally_cred_proto::message::Confinement;

/// Confines this thread and all that it starts from now on, and says how far that went; `None` on systems that have
/// nothing of the kind. Files may still be made beside the socket and in the state folder.
pub fn begin(socket: &Path) -> Option<Confinement> {
    #[cfg(target_os = "linux")]
    return Some(linux::begin(socket));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
        RulesetStatus, path_beneath_rules,
    };
    use rally_cred_proto::{message::Confinement, own_file, socket};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use crate::outside;

    pub(super) fn begin(socket: &Path) -> Confinement {
        if let Err(err) = outside::open() {
            // What is configured could not be started any more.
            tracing::warn!(why = %err, "the daemon is not confined, as the system starts no more threads for this user");
            return Confinement { files: false, system_calls: false, privileges: false };
        }
        let privileges = rustix::thread::set_no_new_privs(true).is_ok();
        let files = confine_files(&own_folders(socket));
        let system_calls = confine_system_calls();
        for (what, why) in [("files", files.as_ref().err()), ("system calls", system_calls.as_ref().err())] {
            if let Some(why) = why {
                tracing::info!(why, "{what} are not confined");
            }
        }
        Confinement { files: files.is_ok(), system_calls: system_calls.is_ok(), privileges }
    }

    /// Where the socket and its lock, the log, and a store of secrets in a file lie.
    fn own_folders(socket: &Path) -> Vec<PathBuf> {
        let state = socket::state_folder().ok();
        if let Some(state) = &state {
            // What is not there now could not be made later. Where it cannot be, nothing will be kept there.
            own_file::make_folder(state).ok();
        }
        socket.parent().map(Path::to_owned).into_iter().chain(state).collect()
    }

    fn confine_files(folders: &[PathBuf]) -> Result<(), String> {
        // Newer kernels know more; an older one is asked for what it knows.
        let writing = AccessFs::from_write(ABI::V5);
        let confine = || {
            let ruleset = Ruleset::default()
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(writing | AccessFs::Execute)?
                .create()?
                .add_rules(path_beneath_rules(folders, writing))?
                // A daemon that leaves its client's session puts this in the place of its output.
                .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?;
            ruleset.restrict_self()
        };
        let outcome: Result<_, RulesetError> = confine();
        match outcome.map_err(|err| err.to_string())?.ruleset {
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
            RulesetStatus::NotEnforced => Err("this kernel has no Landlock".to_owned()),
        }
    }

    fn confine_system_calls() -> Result<(), String> {
        let architecture = std::env::consts::ARCH.try_into().map_err(|err| format!("{err:?}"))?;
        // What is denied looks as if the user may not do it. A library that asks goes on without.
        let denied = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
        let rules = needless_calls().map(|call| (call, Vec::new())).collect();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture);
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|err| err.to_string())?;
        seccompiler::apply_filter(&program).map_err(|err| err.to_string())
    }

    /// The numbers of the calls that the daemon never makes and that serve attacks: on other processes, on the kernel by
    /// its less trodden paths, and on the machine, if the daemon is root's. The keyring of the kernel stays open.
    fn needless_calls() -> impl Iterator<Item = i64> {
        let numbers = NEEDLESS.iter().copied();
        // The same by the numbers of the kernel's third kind of program, x32, which has some of its own from 512 on.
        #[cfg(target_arch = "x86_64")]
        let numbers = numbers.clone().chain(numbers.chain(512..=547).map(|number| number | 0x4000_0000));
        numbers
    }

    const NEEDLESS: &[i64] = &[
        // Programs, and other processes.
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        // Other users, and what only root may.
        libc::SYS_capset,
        libc::SYS_setfsgid,
        libc::SYS_setfsuid,
        libc::SYS_setgid,
        libc::SYS_setgroups,
        libc::SYS_setregid,
        libc::SYS_setresgid,
        libc::SYS_setresuid,
        libc::SYS_setreuid,
        libc::SYS_setuid,
        libc::SYS_acct,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_clock_settime,
        libc::SYS_delete_module,
        libc::SYS_finit_module,
        libc::SYS_init_module,
        libc::SYS_kexec_load,
        libc::SYS_open_by_handle_at,
        libc::SYS_quotactl,
        libc::SYS_reboot,
        libc::SYS_setdomainname,
        libc::SYS_sethostname,
        libc::SYS_settimeofday,
        libc::SYS_swapoff,
        libc::SYS_swapon,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        // Mounts and namespaces.
        libc::SYS_chroot,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_mount,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_pivot_root,
        libc::SYS_setns,
        libc::SYS_umount2,
        libc::SYS_unshare,
        // Where kernels were broken by way of.
        libc::SYS_bpf,
        libc::SYS_fanotify_init,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
        libc::SYS_perf_event_open,
        libc::SYS_personality,
        libc::SYS_userfaultfd,
    ];
}
