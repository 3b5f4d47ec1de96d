//! The parent: makes a folder for a program, sees it to its end, and tells how it ended.

use crate::order::{Order, RUN_PROGRAM_ARG, UNCONFINED};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Where programs are where nobody says.
const PATH: &str = "/usr/bin:/bin";

/// What a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// Of address space.
    pub memory_bytes: u64,
    /// Of each of its outputs so many bytes are kept, the last ones; it may write more.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time: Duration::from_secs(10), memory_bytes: 1 << 30, output_bytes: 16 << 10 }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code; 0 says that all is well.
    Code(i32),
    /// By a signal: it crashed, or took too much.
    Signal(i32),
    /// Its time was over.
    TimedOut,
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The ending of its standard output.
    pub output: String,
    /// The ending of its standard error.
    pub errors: String,
}

/// Why no program was run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no such interpreter.
    #[error("there is no program {0:?} to run code with\nhint: install it, or name another")]
    NoProgram(String),
    /// There is one, which starts another.
    #[error("{} is a script that starts another program, and code of others may start none\nhint: name the program that it starts", .0.display())]
    Script(PathBuf),
    /// The system does not take rights from processes.
    #[error("code of others is not run here: {0}\nhint: run it on Linux 5.13 or later with landlock and seccomp")]
    Unconfined(String),
    /// A folder or a process could not be made.
    #[error("code cannot be run: {0}")]
    Io(#[from] std::io::Error),
}

/// An interpreter that runs programs without rights.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The program that calls [`crate::child_main`] where its first argument says so: this program.
    child: PathBuf,
    interpreter: PathBuf,
    arguments: Vec<String>,
    limits: Limits,
}

impl Sandbox {
    /// Looks whether there is such an interpreter, and whether this system can take rights from a process. `run` is the
    /// interpreter with its arguments, to which the name of a program's file will be added; `child` is the program that
    /// calls [`crate::child_main`].
    ///
    /// # Errors
    /// There is none, or it can not.
    pub fn open(child: impl Into<PathBuf>, run: &[String], limits: Limits) -> Result<Sandbox, SandboxError> {
        let (name, arguments) = run.split_first().ok_or_else(|| SandboxError::NoProgram(String::new()))?;
        let interpreter = found(name)?;
        let sandbox = Sandbox { child: child.into(), interpreter, arguments: arguments.to_vec(), limits };
        let folder = tempfile::tempdir()?;
        let (ended, code) = sandbox.spawn(folder.path(), None)?;
        match code {
            Some(0) => Ok(sandbox),
            _ => Err(SandboxError::Unconfined(if ended.errors.is_empty() {
                format!("expected a process that gives up its rights, got one that ended with {:?}", ended.end)
            } else {
                ended.errors
            })),
        }
    }

    /// The program that runs programs.
    pub fn interpreter(&self) -> &Path {
        &self.interpreter
    }

    /// Runs a program to its end, or to the end of its time.
    ///
    /// # Errors
    /// A folder or a process could not be made. However badly the program itself ends is no error.
    pub fn run(&self, text: &str) -> Result<Ended, SandboxError> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("program");
        std::fs::write(&file, text)?;
        let (ended, _) = self.spawn(folder.path(), Some(&file))?;
        Ok(ended)
    }

    fn spawn(&self, folder: &Path, file: Option<&Path>) -> Result<(Ended, Option<i32>), SandboxError> {
        let arguments = file.map(|file| {
            self.arguments.iter().cloned().chain([file.to_string_lossy().into_owned()]).collect::<Vec<_>>()
        });
        let order = Order {
            program: self.interpreter.clone(),
            arguments,
            readable: prefixes(&self.interpreter).into_iter().chain([folder.to_owned()]).collect(),
            // The clock of the processor stops what the clock on the wall does not see.
            seconds: self.limits.time.as_secs().saturating_add(1),
            memory_bytes: self.limits.memory_bytes,
        };
        let order = serde_json::to_string(&order).map_err(std::io::Error::other)?;
        let mut command = Command::new(&self.child);
        command.args([RUN_PROGRAM_ARG, &order]).current_dir(folder);
        // Ctrl-C at a terminal is told to whoever started it, and is no end of a program's own.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // What is in the environment is nothing that a stranger's program should have.
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", folder).env("TMPDIR", folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.attend(command.spawn()?).map_err(SandboxError::Io)
    }

    /// Sees a child to its end, which comes in time or is brought about.
    fn attend(&self, mut child: Child) -> std::io::Result<(Ended, Option<i32>)> {
        let most = self.limits.output_bytes;
        let output = child.stdout.take().map(|pipe| std::thread::spawn(move || ending(pipe, most)));
        let errors = child.stderr.take().map(|pipe| std::thread::spawn(move || ending(pipe, most)));
        let deadline = Instant::now() + self.limits.time;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            std::thread::sleep(LOOK);
        };
        if status.is_none() {
            // It may have ended just now; then there is nothing to kill.
            let _ = child.kill();
            child.wait()?;
        }
        // No other process has its pipes, so they end with it.
        let text = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
            let bytes = thread.and_then(|thread| thread.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let code = status.and_then(|status| status.code());
        Ok((Ended { end: status.map_or(End::TimedOut, end_of), output: text(output), errors: text(errors) }, code))
    }
}

fn end_of(status: ExitStatus) -> End {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return End::Signal(signal);
    }
    End::Code(status.code().unwrap_or_else(|| i32::from(UNCONFINED)))
}

/// The ending of what a pipe says; the rest is read and let go, so that its writer is not kept waiting.
fn ending(mut pipe: impl Read, most: usize) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), vec![0; 8192]);
    // A pipe that breaks has said what it had to say.
    while let Ok(count @ 1..) = pipe.read(&mut part) {
        kept.extend_from_slice(&part[..count]);
        if kept.len() > 2 * most.max(part.len()) {
            kept.drain(..kept.len() - most);
        }
    }
    kept.drain(..kept.len().saturating_sub(most));
    kept
}

/// A program by its path, or by its name in the folders of PATH. Scripts are passed over: they start other programs, as those
/// do that choose between several versions of an interpreter, and that is not allowed.
fn found(name: &str) -> Result<PathBuf, SandboxError> {
    let named = Path::new(name);
    let mut places: Vec<PathBuf> = if named.components().count() > 1 {
        std::path::absolute(named).into_iter().collect()
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
        std::env::split_paths(&folders).map(|folder| folder.join(name)).filter(|path| path.is_absolute()).collect()
    };
    places.retain(|path| path.is_file());
    match places.iter().find(|path| !is_script(path)) {
        Some(path) => Ok(path.clone()),
        None if places.is_empty() => Err(SandboxError::NoProgram(name.to_owned())),
        None => Err(SandboxError::Script(places.swap_remove(0))),
    }
}

fn is_script(path: &Path) -> bool {
    let mut head = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && &head == b"#!"
}

/// What an interpreter may read of its own: the folder above the `bin` of the file that its name leads to, or that file
/// alone; and a virtual environment that its name is of. A home folder is nobody's own, nor is what all programs of a user
/// keep their data in.
fn prefixes(interpreter: &Path) -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let is_open =
        |folder: &Path| home.as_ref().is_some_and(|home| home.starts_with(folder) || folder == home.join(".local"));
    let prefix = |path: &Path| {
        let bin = path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "bin"));
        let above = bin.and_then(Path::parent).filter(|folder| !is_open(folder));
        above.map_or_else(|| path.to_owned(), Path::to_owned)
    };
    let real = interpreter.canonicalize().unwrap_or_else(|_| interpreter.to_owned());
    let named = prefix(interpreter);
    let environment = named.join("pyvenv.cfg").is_file().then_some(named);
    environment.into_iter().chain([prefix(&real)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_reads_its_own_and_no_home() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(prefixes(Path::new("/opt/snake/bin/snake")), [PathBuf::from("/opt/snake")]);
        assert_eq!(prefixes(Path::new("/opt/snake/run")), [PathBuf::from("/opt/snake/run")]);
        assert_eq!(prefixes(&home.join("bin/snake")), [home.join("bin/snake")]);
        assert_eq!(prefixes(&home.join("snake/bin/snake")), [home.join("snake")]);
        assert_eq!(prefixes(&home.join(".local/bin/snake")), [home.join(".local/bin/snake")]);
        let folder = tempfile::tempdir().unwrap();
        let (environment, snake) = (folder.path().join("env"), folder.path().join("snake/bin/snake"));
        std::fs::create_dir_all(environment.join("bin")).unwrap();
        std::fs::create_dir_all(snake.parent().unwrap()).unwrap();
        std::fs::write(&snake, "").unwrap();
        let named = environment.join("bin/snake");
        std::os::unix::fs::symlink(&snake, &named).unwrap();
        let own = snake.canonicalize().unwrap().parent().unwrap().parent().unwrap().to_owned();
        assert_eq!(prefixes(&named), std::slice::from_ref(&own));
        std::fs::write(environment.join("pyvenv.cfg"), "").unwrap();
        assert_eq!(prefixes(&named), [environment, own]);
        assert_eq!(prefixes(Path::new("/bin/no-such-program")), [PathBuf::from("/bin/no-such-program")]);
    }

    #[test]
    fn scripts_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("snake");
        std::fs::write(&script, "#!/bin/sh\nexec python3\n").unwrap();
        let error = found(script.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("snake is a script that starts another program, and code of"), "{error}");
        std::fs::write(&script, [0x7f, b'E', b'L', b'F']).unwrap();
        assert_eq!(found(script.to_str().unwrap()).unwrap(), script);
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_its_ending_kept() {
        assert_eq!(ending(&b"abcdef"[..], 3), b"def");
        assert_eq!(ending(&b"ab"[..], 3), b"ab");
        let long: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        for most in [1, 5, 8192, 50_000] {
            assert_eq!(ending(&long[..], most), long[long.len() - most..]);
        }
    }
}
