//! Takes from this process what a reader of documents needs not: other files, the network, other programs, more
//! memory and time than is its due.
//!
//! What is set, and what holds where it cannot be:
//!
//! | bound | by | where the kernel has it not |
//! |---|---|---|
//! | memory, time of the processor, files written, files opened, core dumps | `setrlimit` | refused, always |
//! | system calls but those that compute, read and write what is open, and end | seccomp | refused, unless told otherwise |
//! | the file system and the network once more | landlock | seccomp has taken both already |
//!
//! Other systems than Linux have none of these in a form that programs can rely on: there it is refused, unless told
//! otherwise.

use super::Confinement;

/// What a process may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Seconds of the processor.
    pub seconds: u64,
}

/// Confines this process as the usual reader is, for good.
///
/// # Errors
/// What the system does not give.
pub fn confine_as_usual() -> Result<(), String> {
    let limits = super::Limits::default();
    let bounds = Bounds { memory_bytes: limits.memory_bytes, seconds: limits.time.as_secs() };
    confine(bounds, Confinement::Required)
}

/// Confines this process, for good.
///
/// # Errors
/// What the system does not give.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn confine(bounds: Bounds, confinement: Confinement) -> Result<(), String> {
    restrict_files_and_network();
    set_limits(bounds)?;
    match (filter_system_calls(), confinement) {
        (Err(reason), Confinement::Required) => {
            Err(format!("expected a kernel that filters system calls (seccomp), got none: {reason}"))
        }
        (Ok(()), _) | (Err(_), Confinement::Waived) => Ok(()),
    }
}

/// Refuses, unless told otherwise.
///
/// # Errors
/// That the system gives nothing.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn confine(_bounds: Bounds, confinement: Confinement) -> Result<(), String> {
    match confinement {
        Confinement::Required => {
            let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
            Err(format!(
                "expected a system that takes rights from a process (Linux on x86_64 or aarch64), got {system} on {processor}"
            ))
        }
        Confinement::Waived => Ok(()),
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_limits(bounds: Bounds) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    /// Standard input, output and error are open; a fourth file is not.
    const OPEN_FILES: u64 = 3;
    let limits = [
        (Resource::As, bounds.memory_bytes, "memory"),
        (Resource::Cpu, bounds.seconds, "time of the processor"),
        (Resource::Fsize, 0, "files written"),
        (Resource::Core, 0, "core dumps"),
        (Resource::Nofile, OPEN_FILES, "open files"),
        // Does not bind the superuser, whom the filter of system calls binds.
        (Resource::Nproc, 0, "processes"),
    ];
    for (resource, limit, name) in limits {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit)
            .map_err(|error| format!("expected a system that limits {name}, got an error: {error}"))?;
    }
    Ok(())
}

/// As far as the kernel can: what it cannot, the filter of system calls has taken already.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn restrict_files_and_network() {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self());
    drop(restricted);
}

/// Allows what computing, reading standard input, answering and dying take; all else fails with "operation not
/// permitted".
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn filter_system_calls() -> Result<(), String> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_sched_yield,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    /// Memory, but none that code may run from: the third argument says what it is for.
    const ALLOWED_FOR_DATA: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];
    let text = |error: seccompiler::BackendError| error.to_string();
    let executable = libc::PROT_EXEC.unsigned_abs().into();
    let for_data = || {
        let mask = SeccompCmpOp::MaskedEq(executable);
        let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, mask, 0)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    for &call in ALLOWED_FOR_DATA {
        rules.insert(call, vec![for_data().map_err(text)?]);
    }
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().map_err(text)?;
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, architecture).map_err(text)?;
    let program: BpfProgram = filter.try_into().map_err(text)?;
    seccompiler::apply_filter(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error.to_string(),
        other => other.to_string(),
    })
}
