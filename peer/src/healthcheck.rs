//! `--healthcheck`: asks the peer that runs on this machine, for container images without a shell.

use std::net::SocketAddr;

use anyhow::Context;
use easypeers_cli::health;

/// Asks `/healthz` at the address of `--metrics-listen`.
pub(crate) fn ask(metrics: Option<SocketAddr>) -> anyhow::Result<()> {
    let address = metrics.context("--healthcheck needs --metrics-listen ADDRESS:PORT")?;
    let connected = health::connect(address, false);
    let answer = connected.and_then(|mut stream| health::status_line(&mut stream));
    health::judge(address, answer).map_err(anyhow::Error::msg)
}
