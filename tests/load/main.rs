//! Load generator for WebTorrent trackers: checks every delivery and measures what it costs.
//!
//! One thread and one process, so that on a small machine the tracker keeps the other cores:
//! messages are assembled from templates and read without a JSON tree, and all that a receiver
//! must know to check an offer is in the offer's id.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool prints its results"
)]

mod args;
mod background;
mod client;
mod connect;
mod frame;
mod ids;
mod message;
mod modes;
mod pace;
mod process;
mod report;
mod scan;
mod sdp;
mod state;
mod stats;
#[cfg(test)]
mod tests;

use std::{fs, process::ExitCode, rc::Rc};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::{runtime, task::LocalSet};

use crate::{args::Args, client::Shared, modes::Run, process::Processes, state::State};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was lost or wrong.
fn run(args: &Args) -> Result<bool> {
    args.validate()?;
    process::reserve_files(args.connections + background::connections(args.background_swarms))?;
    process::check_ports(args.connections, args.source_addresses)?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let run = Run {
            args,
            seed,
            shared: Rc::new(Shared::new(State::new(args, seed))),
            server: Processes::new(&args.pids)?,
            own: Processes::own(),
        };
        let outcome = run.run().await?;
        run.close().await?;
        let state = run.shared.state.borrow();
        print!("{}", report::text(args, &outcome, &state)?);
        if let Some(path) = &args.json {
            let json = report::json(args, seed, &outcome, &state);
            fs::write(path, format!("{json:#}\n")).with_context(|| path.display().to_string())?;
        }
        let clean = report::is_clean(&outcome, &state, args.allow_loss);
        if !clean {
            println!("seed {seed}: something was lost or wrong");
        }
        Ok(clean)
    })
}
