//! Integration tests: the public interface of the crates, one module per subject.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops with the reason"
)]

mod announce;
mod bad_input;
mod binary;
mod browser_package;
mod cluster;
mod deploy;
mod http;
mod ice;
mod limits;
mod liveness;
mod mesh;
mod operation;
mod ownership;
mod program;
mod proxy_protocol;
mod relay;
mod scrape;
mod self_signed;
mod sockets;
mod tls;
mod ws_conformance;
