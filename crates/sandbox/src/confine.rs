//! The process that becomes the program: it gives up its rights, and then is the interpreter.
//!
//! | bound | by |
//! |---|---|
//! | memory, time of the processor, files written, core dumps, files opened | `setrlimit` |
//! | files: the system's own and the interpreter's may be read, none may be written or made | landlock |
//! | sockets, other processes, signals to them, the rights of files, the kernel's rarer doors | seccomp |
//! | the end of whoever started it | it dies with its parent |
//!
//! All of these must hold, or nothing is run. Other systems than Linux have none of them in a form that programs can rely
//! on.

use crate::order::{Order, RUN_PROGRAM_ARG, UNCONFINED};
use std::process::ExitCode;

/// What a program does first where its first argument is [`RUN_PROGRAM_ARG`], before it has threads or open files. It comes
/// back only where no program was run.
pub fn child_main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (word, order) = (arguments.next(), arguments.next());
    let order = order.and_then(|order| serde_json::from_str::<Order>(order.to_str()?).ok());
    let (true, Some(order)) = (word.is_some_and(|word| word == RUN_PROGRAM_ARG), order) else {
        return ExitCode::from(2);
    };
    let reason = match confine(&order) {
        Ok(()) if order.arguments.is_none() => return ExitCode::SUCCESS,
        Ok(()) => become_program(&order),
        Err(reason) => reason,
    };
    // The parent reads it; where nobody does, nobody can be told.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), reason.as_bytes());
    ExitCode::from(UNCONFINED)
}

/// Comes back with a reason where there is no such program.
#[cfg(unix)]
fn become_program(order: &Order) -> String {
    use std::os::unix::process::CommandExt;
    let arguments = order.arguments.iter().flatten();
    let error = std::process::Command::new(&order.program).args(arguments).exec();
    format!("{} does not start: {error}", order.program.display())
}

#[cfg(not(unix))]
fn become_program(_: &Order) -> String {
    "expected a system where a process becomes a program, got another".to_owned()
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn confine(_: &Order) -> Result<(), String> {
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    Err(format!(
        "expected a system that takes rights from a process (Linux on x86_64 or aarch64), got {system} on {processor}"
    ))
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use linux::confine;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux {
    use super::Order;
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };
    use rustix::process::{Resource, Rlimit, Signal, getpid, set_parent_process_death_signal, setrlimit};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    use std::collections::BTreeMap;

    /// What an interpreter needs of the system. What is not there is passed over.
    const SYSTEM: &[&str] = &[
        "/usr",
        "/lib",
        "/lib32",
        "/lib64",
        "/bin",
        "/etc/alternatives",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/null",
        "/dev/zero",
        "/dev/random",
        "/dev/urandom",
    ];
    /// More than any interpreter opens to begin.
    const OPEN_FILES: u64 = 256;

    pub fn confine(order: &Order) -> Result<(), String> {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| format!("expected a system that ends a process with its parent, got an error: {error}"))?;
        set_limits(order)?;
        restrict_files(order)?;
        filter_system_calls().map_err(|error| format!("expected a kernel that filters system calls (seccomp): {error}"))
    }

    fn set_limits(order: &Order) -> Result<(), String> {
        let limits = [
            (Resource::As, order.memory_bytes, "memory"),
            (Resource::Cpu, order.seconds, "time of the processor"),
            (Resource::Fsize, 0, "files written"),
            (Resource::Core, 0, "core dumps"),
            (Resource::Nofile, OPEN_FILES, "open files"),
        ];
        for (resource, limit, name) in limits {
            let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, limit)
                .map_err(|error| format!("expected a system that limits {name}, got an error: {error}"))?;
        }
        Ok(())
    }

    fn restrict_files(order: &Order) -> Result<(), String> {
        let expected = "expected a kernel that bounds which files a process reaches (landlock)";
        let enforced = landlock(order).map_err(|error| format!("{expected}, got an error: {error}"))?;
        if enforced == RulesetStatus::NotEnforced { Err(format!("{expected}, got one that does not")) } else { Ok(()) }
    }

    fn landlock(order: &Order) -> Result<RulesetStatus, RulesetError> {
        let readable = SYSTEM.iter().map(std::path::PathBuf::from).chain(order.readable.iter().cloned());
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))?
            // What newer kernels know too; seccomp takes the network and signals everywhere.
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::from_read(ABI::V1)))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?;
        Ok(ruleset.restrict_self()?.ruleset)
    }

    /// Calls that no program of one process needs: they reach other processes, the network, the rights of files, or
    /// parts of the kernel that were often its weak ones.
    const DENIED: &[libc::c_long] = &[
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_kcmp,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_setpriority,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_msgget,
        libc::SYS_semget,
        libc::SYS_mq_open,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_utimensat,
        libc::SYS_truncate,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_reboot,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_fanotify_init,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
    ];
    #[cfg(target_arch = "x86_64")]
    const DENIED_HERE: &[libc::c_long] = &[
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_utime,
        libc::SYS_utimes,
        libc::SYS_futimesat,
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_modify_ldt,
    ];
    #[cfg(target_arch = "aarch64")]
    const DENIED_HERE: &[libc::c_long] = &[];
    /// Numbers of a second set of calls (x32) that kernels of this processor may know begin here, and end well before so
    /// many more.
    #[cfg(target_arch = "x86_64")]
    const SECOND_SET: std::ops::Range<libc::c_long> = 0x4000_0000..0x4000_0000 + 600;
    #[cfg(target_arch = "aarch64")]
    const SECOND_SET: std::ops::Range<libc::c_long> = 0..0;

    fn filter_system_calls() -> Result<(), String> {
        let text = |error: BackendError| error.to_string();
        let condition = |argument, operation, value| {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)?;
            Ok::<_, BackendError>(vec![SeccompRule::new(vec![condition])?])
        };
        let me = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        let always = DENIED.iter().chain(DENIED_HERE).copied().chain(SECOND_SET);
        let mut denied: BTreeMap<i64, Vec<SeccompRule>> = always.map(|call| (call, Vec::new())).collect();
        // Threads may be made, processes not; signals may be sent to itself, limits be read of itself.
        denied.insert(libc::SYS_clone, condition(0, SeccompCmpOp::MaskedEq(thread), 0).map_err(text)?);
        denied.insert(libc::SYS_kill, condition(0, SeccompCmpOp::Ne, me).map_err(text)?);
        denied.insert(libc::SYS_tgkill, condition(0, SeccompCmpOp::Ne, me).map_err(text)?);
        denied.insert(libc::SYS_prlimit64, condition(0, SeccompCmpOp::Ne, 0).map_err(text)?);
        deny(denied, libc::EPERM)?;
        // Its flags lie in memory, where no filter sees them; told that it is unknown, libraries take `clone`.
        deny(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
    }

    fn deny(calls: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<(), String> {
        let text = |error: BackendError| error.to_string();
        let denied = SeccompAction::Errno(error.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into().map_err(text)?;
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, denied, architecture).map_err(text)?;
        let program: BpfProgram = filter.try_into().map_err(text)?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }
}
