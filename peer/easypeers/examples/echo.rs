//! A bot that sends every direct message back to its author, and never broadcasts.
//!
//! ```sh
//! cargo run -p tracker                # in one terminal
//! cargo run -p easypeers --example echo    # in another: prints its address
//! cargo run -p peer                   # in a third: /msg ADDRESS hello
//! ```

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use easypeers::{Easypeers, Event, Message, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topic = std::env::args().nth(1).unwrap_or_else(|| "demo".to_owned());
    let peer = Easypeers::join(&topic, Options::default()).await?;
    println!("/msg {} hello", peer.address());

    let mut events = peer.events();
    loop {
        tokio::select! {
            event = events.next() => match event {
                // Unverified messages get no answer: their author may be forged.
                Some(Event::Message(message)) if message.direct && message.verified => {
                    tokio::spawn(answer(peer.clone(), message));
                }
                Some(_) => {}
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    peer.close().await;
    Ok(())
}

/// Runs in a task of its own, because a receipt may take a while and other peers wait for answers.
async fn answer(peer: Easypeers, message: Message) {
    match peer.send_to(message.from, message.data).await {
        Ok(receipt) => println!("{}: {}", message.from, receipt.as_str()),
        Err(error) => println!("{}: {error}", message.from),
    }
}
