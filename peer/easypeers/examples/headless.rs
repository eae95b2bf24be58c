//! A member that only keeps the mesh together: joins, prints events until Ctrl-C, then its counts.
//!
//! ```sh
//! cargo run -p easypeers --example headless -- garden ws://localhost:3000 10
//! ```
//!
//! Arguments: topic, tracker, and the number of links to keep.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use easypeers::{DEFAULT_TRACKER, Easypeers, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "demo".to_owned());
    let tracker = arguments
        .next()
        .unwrap_or_else(|| DEFAULT_TRACKER.to_owned());

    let mut options = Options::default();
    options.trackers = vec![tracker.parse()?];
    if let Some(links) = arguments.next() {
        options.max_peers = links.parse()?;
    }
    let peer = Easypeers::join(&topic, options).await?;
    println!("{} in swarm {}", peer.address(), peer.identifier());

    let mut events = peer.events();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => println!("{event:?}"),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    let stats = peer.stats();
    peer.close().await;
    println!("{stats:#?}");
    Ok(())
}
