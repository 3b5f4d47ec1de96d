//! What tests run programs with: it is the program that a test names, without rights.

fn main() -> std::process::ExitCode {
    sandbox::child_main()
}
