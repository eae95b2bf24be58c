//! The command line.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

/// What the generator does once its connections are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Open loop: announces leave on a fixed schedule, whatever comes back.
    Rate,
    /// Closed loop: a connection announces again once its last announce is done.
    Max,
    /// Connections that join and then stay silent: memory per connection.
    Idle,
    /// Several open-loop runs whose differences price an announce, an offer and an answer.
    Cost,
}

/// Load generator for WebTorrent trackers: announces offers over WebSockets, answers what is
/// relayed, and checks that every offer and answer arrives once, intact, where it belongs.
///
/// Exit status 1 when something was lost or wrong, 2 when it could not run.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
pub(crate) struct Args {
    /// What to do.
    #[arg(value_enum, default_value_t = Mode::Rate)]
    pub mode: Mode,

    /// Tracker address, ws:// or wss://; repeat it to spread the connections over a cluster.
    #[arg(long = "url", default_value = "ws://127.0.0.1:8000/")]
    pub urls: Vec<String>,

    /// Connections, each one peer.
    #[arg(long, short = 'n', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=crate::ids::MAX_OWNER as i64))]
    pub connections: u32,

    /// Swarms; the peers are spread over them evenly.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=crate::ids::MAX_OWNER as i64))]
    pub swarms: u32,

    /// Further swarms with one silent peer each, joined before the load.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub background_swarms: u32,

    /// Announces a second, over all connections (rate, cost).
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,

    /// Offers in each announce.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub offers: u8,

    /// Mean length of a session description; the lengths vary by 22 % around it.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(600..=60_000))]
    pub sdp_bytes: u32,

    /// Seconds measured (rate, max, each run of cost); seconds held (idle).
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub duration: Duration,

    /// Seconds of the same load before the measured ones.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub warmup: Duration,

    /// With several addresses: seconds after all have joined before the load begins, so that every
    /// node knows of every peer.
    #[arg(long, default_value = "12", value_parser = seconds)]
    pub settle: Duration,

    /// Seconds to wait at the end for what is still on its way: what is missing then is lost
    /// (max: also the time after which a connection gives up an announce).
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub timeout: Duration,

    /// Announces under way at once (max).
    #[arg(long, default_value_t = 64)]
    pub in_flight: usize,

    /// Process of the tracker: reads its CPU time and memory; repeat it for a cluster.
    #[arg(long = "pid")]
    pub pids: Vec<u32>,

    /// Makes ids, lengths and order repeatable; random when absent.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Writes the results as JSON to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,

    /// Connections opened a second.
    #[arg(long, default_value_t = 2000.0)]
    pub connect_rate: f64,

    /// wss: accept any certificate (loopback tests).
    #[arg(long)]
    pub insecure: bool,

    /// wss: trust the certificates in this PEM file.
    #[arg(long)]
    pub ca: Option<PathBuf>,

    /// Offers stay unanswered.
    #[arg(long)]
    pub no_answers: bool,

    /// Idle connections do not even join (idle).
    #[arg(long)]
    pub no_announce: bool,

    /// Share of peers and swarms whose ids use all byte values instead of letters and digits.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, num_args = 0..=1, default_missing_value = "0.25")]
    pub binary_ids: f64,

    /// `left` in announces: a number or null.
    #[arg(long, default_value = "1000000", value_parser = left)]
    pub left: String,

    /// Client sockets are bound to this many addresses from 127.0.0.1 on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub source_addresses: u8,

    /// Losses do not make the exit status 1; wrong deliveries still do.
    #[arg(long)]
    pub allow_loss: bool,
}

impl Args {
    /// The checks that clap cannot make.
    pub(crate) fn validate(&self) -> Result<()> {
        ensure!(
            self.rate.is_finite() && self.rate > 0.0,
            "--rate must be above 0"
        );
        ensure!(
            self.connect_rate.is_finite() && self.connect_rate > 0.0,
            "--connect-rate must be above 0"
        );
        ensure!(self.in_flight > 0, "--in-flight must be above 0");
        ensure!(
            (0.0..=1.0).contains(&self.binary_ids),
            "--binary-ids must be between 0 and 1"
        );
        ensure!(
            self.swarms <= self.connections,
            "more swarms than connections: some would be empty"
        );
        Ok(())
    }

    /// The address a connection's socket is bound to, when there is more than one.
    pub(crate) fn source(&self, connection: u32) -> Option<Ipv4Addr> {
        (self.source_addresses > 1).then(|| {
            let last = connection % u32::from(self.source_addresses) + 1;
            Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + last)
        })
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().context("not a number")?;
    Duration::try_from_secs_f64(seconds).context("not a number of seconds")
}

fn left(text: &str) -> Result<String> {
    if text != "null" {
        text.parse::<f64>().context("a number or null")?;
    }
    Ok(text.to_owned())
}
