//! Programs that do their worst, each in a process of its own. They are Python, which must be there.

use sandbox::{End, Ended, Limits, Sandbox, SandboxError};
use std::time::{Duration, Instant};

const CHILD: &str = env!("CARGO_BIN_EXE_run-program");

fn run_with(limits: Limits, text: &str) -> Ended {
    let sandbox = Sandbox::open(CHILD, &["python3".to_owned()], limits).expect("a system that confines");
    sandbox.run(text).expect("a folder and a process for a program")
}

fn run(text: &str) -> Ended {
    run_with(Limits::default(), text)
}

/// That a program ends with an error that says so.
fn check_refused(text: &str, expected: &str) {
    let ended = run(text);
    assert!(ended.end != End::Code(0) && ended.errors.contains(expected), "{text}\n{ended:?}");
}

#[test]
fn a_program_that_computes_is_run_to_its_end() {
    let text = "import math, threading, json, re, collections, random, tempfile\n\
                thread = threading.Thread(target=lambda: print('beside'))\nthread.start()\nthread.join()\nprint(math.pi)";
    let ended = run(text);
    assert_eq!(ended, Ended { end: End::Code(0), output: "beside\n3.141592653589793\n".into(), errors: String::new() });
    let failed = run("assert 1 == 2, 'no'");
    assert_eq!(failed.end, End::Code(1));
    assert!(failed.errors.ends_with("AssertionError: no\n"), "{failed:?}");
    assert_eq!(run("import sys; sys.exit(7)").end, End::Code(7));
    assert_eq!(run("import os; os.abort()").end, End::Signal(6));
}

#[test]
fn no_file_is_written_made_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("there");
    std::fs::write(&file, "before").unwrap();
    let (there, new) = (file.display(), folder.path().join("new"));
    for text in [
        format!("open('{there}', 'w')"),
        format!("open('{}', 'w')", new.display()),
        "open('mine', 'w')".to_owned(),
        format!("import os; os.chmod('{there}', 0)"),
        format!(
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\nassert libc.syscall(452, -100, b'{there}', 0o777, 0) == 0, 'Permission or ENOSYS'"
        ),
        format!("import os; os.open('{there}', os.O_RDONLY | os.O_TRUNC)"),
        format!("import os; os.remove('{there}')"),
        format!("import os; os.utime('{there}', (1, 1))"),
        format!("import os; os.truncate('{there}', 0)"),
        format!("import os; os.rename('{there}', '{}')", new.display()),
        "import os; os.mkdir('mine')".to_owned(),
    ] {
        let ended = run(&text);
        let is_told = ["Permission", "not implemented"].iter().any(|word| ended.errors.contains(word));
        assert!(ended.end != End::Code(0) && is_told, "{text}\n{ended:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    assert!(!new.exists());
}

#[test]
fn nothing_is_read_but_the_system_and_the_program_itself() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "key").unwrap();
    check_refused(&format!("print(open('{}').read())", secret.display()), "Permission denied");
    check_refused("print(open('/etc/passwd').read())", "Permission denied");
    check_refused("import os; print(os.listdir('/'))", "Permission denied");
    check_refused("import os; print(os.listdir('/proc'))", "Permission denied");
    let inherited = "import os\nfor number in range(3, 64):\n    try: os.fstat(number)\n    except OSError: continue\n    \
                     assert number < 5, f'{number} is open'";
    assert_eq!(run(inherited).end, End::Code(0));
    let own = run("import os; print(open(__file__).read().count('own'), sorted(os.environ))");
    assert_eq!(own.end, End::Code(0), "{own:?}");
    assert!(
        own.output.starts_with("1 ['HOME', 'LANG', 'PATH', 'TMPDIR'")
            || own.output.starts_with("1 ['HOME', 'LANG', 'LC_CTYPE'"),
        "{own:?}"
    );
}

#[test]
fn there_is_no_network_and_no_other_process() {
    check_refused("import socket; socket.create_connection(('127.0.0.1', 1))", "Function not implemented");
    check_refused("import socket; socket.socket(socket.AF_UNIX)", "Function not implemented");
    check_refused("import os; os.fork()", "Function not implemented");
    check_refused("import subprocess; subprocess.run(['true'])", "Function not implemented");
    check_refused("import os; os.kill(os.getppid(), 9)", "Function not implemented");
    check_refused("import os; os.kill(-1, 9)", "Function not implemented");
    check_refused(
        "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
        "not implemented",
    );
    check_refused("import os; os.sched_setaffinity(os.getppid(), {0})", "not implemented");
    let to_others = "import socket; one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\none.send(b'own')\n\
                     assert other.recv(9) == b'own'\none.sendto(b'out', 'nobody')";
    check_refused(to_others, "Function not implemented");
    check_refused("import socket; socket.socketpair()[0].sendmsg([b'out'])", "Function not implemented");
}

#[test]
fn time_and_memory_and_output_are_bounded() {
    let limits = Limits { time: Duration::from_secs(1), ..Limits::default() };
    let began = Instant::now();
    assert_eq!(run_with(limits, "while True: pass").end, End::TimedOut);
    assert_eq!(run_with(limits, "import time; time.sleep(60)").end, End::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    check_refused("x = bytearray(2 << 30)", "MemoryError");
    let limits = Limits { output_bytes: 10, ..Limits::default() };
    let flood = run_with(limits, "import sys\nfor _ in range(100000): print('x' * 99)\nsys.exit(3)");
    assert_eq!((flood.end, flood.output.as_str()), (End::Code(3), "xxxxxxxxx\n"));
}

#[test]
fn what_cannot_be_run_is_told_before_anything_is() {
    let open = |run: &[&str]| {
        let run: Vec<String> = run.iter().map(|word| (*word).to_owned()).collect();
        Sandbox::open(CHILD, &run, Limits::default()).unwrap_err()
    };
    assert_eq!(
        open(&["no-such-interpreter"]).to_string(),
        "there is no program \"no-such-interpreter\" to run code with\nhint: install it, or name another"
    );
    assert!(matches!(open(&[]), SandboxError::NoProgram(_)));
    // A child that gives up nothing is taken for a system that cannot.
    let error = Sandbox::open("/bin/false", &["python3".to_owned()], Limits::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("code of others is not run here: expected a process that gives up its rights, got"),
        "{error}"
    );
}
