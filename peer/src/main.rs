//! The terminal program `peer`: a chat for people and a tool for scripts. Flags and typed lines go
//! in, messages and events come out.
//!
//! - `args`, `ice`, `identity_file`: the command line and the files it names.
//! - `input`, `line`: typed lines. `console`: the terminal or the pipes.
//! - `output`, `text`, `json`: printed lines, for people or scripts.
//! - `chat`: the loop between them and the library.
//! - `metrics`, `healthcheck`, `supervisor`: for Prometheus, containers and systemd.

mod args;
mod chat;
mod console;
mod healthcheck;
mod ice;
mod identity_file;
mod input;
mod json;
mod line;
mod metrics;
mod output;
mod supervisor;
mod text;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use args::Arguments;
use console::Console;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(text) = generated(arguments) {
        std::io::stdout().write_all(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.healthcheck {
        healthcheck::ask(arguments.metrics_listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let identity = arguments.identity.as_deref().map(identity_file::load);
    let identity = identity.transpose()?;
    let (console, typed) = input::open(arguments.json)?;
    start_log(&arguments.log_level, &console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let code = runtime.block_on(chat::run(arguments, identity, &console, typed));
    console.restore();
    // Does not wait for the thread that reads standard input, which may block for ever.
    runtime.shutdown_background();
    code
}

/// The completion script or the man page, if the command line asks for one.
fn generated(arguments: &Arguments) -> Option<Vec<u8>> {
    let (mut command, mut text) = (Arguments::command(), Vec::new());
    if let Some(shell) = arguments.completions {
        clap_complete::generate(shell, &mut command, "peer", &mut text);
    } else if arguments.man {
        // Writing into memory cannot fail.
        let _ = clap_mangen::Man::new(command).render(&mut text);
    } else {
        return None;
    }
    Some(text)
}

fn start_log(filter: &str, console: &Arc<Console>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("--log-level")?;
    let console = Arc::clone(console);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || console::LogWriter(Arc::clone(&console)))
        .init();
    Ok(())
}
