//! The process that becomes the program: it gives up its rights, and then is the interpreter.
//!
//! | bound | by |
//! |---|---|
//! | memory, time of the processor, files written, core dumps, files opened | `setrlimit` |
//! | files: the system's own and the interpreter's may be read, none may be written or made | landlock |
//! | all else, by a list of what is allowed: no sockets to others, no processes, no signals to them, no rights of files | seccomp |
//! | what whoever started it has open | closed |
//! | the end of whoever started it | it dies with its parent, and cannot tell the system otherwise |
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
        close_what_is_open()
            .map_err(|error| format!("expected a list of open files (/proc), got an error: {error}"))?;
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| format!("expected a system that ends a process with its parent, got an error: {error}"))?;
        set_limits(order)?;
        restrict_files(order)?;
        filter_system_calls().map_err(|error| format!("expected a kernel that filters system calls (seccomp): {error}"))
    }

    /// Closes all that this process was given beside its input and its outputs: a landlock bounds what is opened, not what is
    /// open.
    fn close_what_is_open() -> std::io::Result<()> {
        let mut open = Vec::new();
        for entry in std::fs::read_dir("/proc/self/fd")? {
            open.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
            // The one that the list was read by is closed by now.
            let _ = nix::unistd::close(descriptor);
        }
        Ok(())
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
            // What newer kernels know too; seccomp takes these everywhere.
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::from_read(ABI::V1)))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?;
        Ok(ruleset.restrict_self()?.ruleset)
    }

    /// Calls that computing, reading files, threads, clocks and waiting take. All others are unknown to a program, as to one on
    /// an older kernel, and libraries go on without them.
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_fstatfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_getcwd,
        libc::SYS_chdir,
        libc::SYS_fchdir,
        libc::SYS_lseek,
        libc::SYS_flock,
        libc::SYS_fadvise64,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_pipe2,
        libc::SYS_eventfd2,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
        libc::SYS_timerfd_gettime,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_mincore,
        libc::SYS_brk,
        libc::SYS_membarrier,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_get_robust_list,
        libc::SYS_rseq,
        libc::SYS_set_tid_address,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_rt_sigpending,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getcpu,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getppid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getgroups,
        libc::SYS_getpgid,
        libc::SYS_getsid,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_umask,
        libc::SYS_uname,
        libc::SYS_sysinfo,
        libc::SYS_getrusage,
        libc::SYS_times,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getitimer,
        libc::SYS_setitimer,
        libc::SYS_getrandom,
        libc::SYS_execve,
        libc::SYS_wait4,
        libc::SYS_waitid,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // A pair of sockets has nobody at its other end but the program itself, see `sendto` below.
        libc::SYS_socketpair,
        libc::SYS_recvfrom,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
    ];
    /// Older forms of the same, which this processor has too.
    #[cfg(target_arch = "x86_64")]
    const ALLOWED_HERE: &[libc::c_long] = &[
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_getdents,
        libc::SYS_dup2,
        libc::SYS_pipe,
        libc::SYS_eventfd,
        libc::SYS_epoll_create,
        libc::SYS_epoll_wait,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_alarm,
        libc::SYS_pause,
        libc::SYS_time,
        libc::SYS_getpgrp,
        libc::SYS_getrlimit,
        libc::SYS_arch_prctl,
    ];
    #[cfg(target_arch = "aarch64")]
    const ALLOWED_HERE: &[libc::c_long] = &[];
    /// What a file may be asked beside reading: whether it is a terminal, whether it blocks, how much there is to read.
    const FILE_REQUESTS: [u64; 6] =
        [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];
    /// What a descriptor may be asked and told: nothing that sends signals.
    const DESCRIPTOR_REQUESTS: [i32; 7] = [
        libc::F_DUPFD,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETPIPE_SZ,
    ];
    /// What a process may tell of itself: the names of its threads and of its memory.
    const PROCESS_REQUESTS: [i32; 3] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];

    type Rules = Vec<SeccompRule>;

    /// A rule that holds where an argument is so.
    fn only_if(argument: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)?])
    }

    /// One rule for each value that an argument may have.
    fn one_of(argument: u8, values: impl IntoIterator<Item = u64>) -> Result<Rules, BackendError> {
        values.into_iter().map(|value| only_if(argument, SeccompCmpOp::Eq, value)).collect()
    }

    /// Calls that are allowed with some arguments alone.
    fn conditional() -> Result<Vec<(libc::c_long, Rules)>, BackendError> {
        let number = |value: i32| u64::from(value.unsigned_abs());
        let me = number(getpid().as_raw_nonzero().get());
        let (thread, empties) = (number(libc::CLONE_THREAD), number(libc::O_TRUNC));
        let to_nobody = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
        let mut calls = vec![
            // Threads, no processes. (The flags of `clone3` lie in memory, where no filter sees them.)
            (libc::SYS_clone, vec![only_if(0, SeccompCmpOp::MaskedEq(thread), thread)?]),
            (libc::SYS_kill, one_of(0, [me])?),
            (libc::SYS_tgkill, one_of(0, [me])?),
            (libc::SYS_prlimit64, one_of(0, [0, me])?),
            // Opening may empty a file that is only to be read.
            (libc::SYS_openat, vec![only_if(2, SeccompCmpOp::MaskedEq(empties), 0)?]),
            // Into a pair of sockets, and to no address.
            (libc::SYS_sendto, vec![SeccompRule::new(vec![to_nobody])?]),
            (libc::SYS_ioctl, one_of(1, FILE_REQUESTS)?),
            (libc::SYS_fcntl, one_of(1, DESCRIPTOR_REQUESTS.map(number))?),
            (libc::SYS_prctl, one_of(0, PROCESS_REQUESTS.map(number))?),
        ];
        #[cfg(target_arch = "x86_64")]
        calls.push((libc::SYS_open, vec![only_if(1, SeccompCmpOp::MaskedEq(empties), 0)?]));
        Ok(calls)
    }

    fn filter_system_calls() -> Result<(), String> {
        let text = |error: BackendError| error.to_string();
        let always = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Rules::new()));
        let rules: BTreeMap<i64, Rules> = always.chain(conditional().map_err(text)?).collect();
        let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into().map_err(text)?;
        let filter = SeccompFilter::new(rules, unknown, SeccompAction::Allow, architecture).map_err(text)?;
        let program: BpfProgram = filter.try_into().map_err(text)?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }
}
