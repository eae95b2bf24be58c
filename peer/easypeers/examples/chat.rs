//! The smallest chat: sends each typed line to every member of the topic, and prints what arrives.
//!
//! ```sh
//! cargo run -p tracker                      # in one terminal
//! cargo run -p easypeers --example chat          # in two others
//! cargo run -p easypeers --example chat garden   # another topic
//! ```
//!
//! Ctrl-D leaves. The program `peer` is a complete chat.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::io::BufRead;

use easypeers::{Easypeers, Event, Options};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topic = std::env::args().nth(1).unwrap_or_else(|| "demo".to_owned());
    let peer = Easypeers::join(&topic, Options::default()).await?;
    println!("I am {}", peer.address());

    let mut events = peer.events();
    let mut typed = lines();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Message(message)) => {
                    // {:?} shows control characters instead of obeying them.
                    println!("{}: {:?}", message.from, message.data.as_text().unwrap_or("bytes"));
                }
                Some(Event::State(status)) => println!("{}: {}", status.state, status.reason),
                Some(_) => {}
                None => break,
            },
            line = typed.recv() => match line {
                Some(line) => {
                    if let Err(error) = peer.send(line).await {
                        println!("not sent: {error}");
                    }
                }
                None => break,
            },
        }
    }
    peer.close().await;
    Ok(())
}

/// Lines of standard input, read on a thread since reading blocks.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
