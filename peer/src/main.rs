//! The native peer's binary: a terminal chat and a tool for scripts.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
