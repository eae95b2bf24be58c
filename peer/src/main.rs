//! The native peer's binary. It says that it is not built yet, rather than pretend.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use easypeers::InfoHash;

/// Joins the mesh of a topic. Not built yet.
#[derive(Debug, Parser)]
#[command(name = "peer", version)]
struct Arguments {
    /// The topic to join
    #[arg(default_value = "demo")]
    topic: String,
}

fn main() -> ExitCode {
    let topic = Arguments::parse().topic;
    let identifier = InfoHash::of_topic(&topic);
    let _ = writeln!(
        std::io::stderr(),
        "peer: not built yet. It will join the topic {topic:?}, swarm {identifier}.\n\
         What runs today is the tracker: cargo run --release -p tracker"
    );
    ExitCode::FAILURE
}
