//! The tracker's WebSocket layer and connections as an echo server, so that any conformance suite
//! can be pointed at them. It sends every message back as it came, text as text, binary as binary.

#![expect(clippy::print_stdout, reason = "tells where it listens")]

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Context;

use clap::Parser;
use tracker::ws::{Close, Data, Message, OpCode, frame};
use tracker::{Connection, Handler, Server, Settings};

/// Echoes WebSocket messages.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,

    /// Largest message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    max_message_size: usize,
}

#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn on_message(
        &mut self,
        connection: &Arc<Connection>,
        message: Message<'_>,
    ) -> ControlFlow<Close> {
        let (kind, payload) = match message {
            Message::Text(text) => (Data::Text, text.as_bytes()),
            Message::Binary(bytes) => (Data::Binary, bytes),
        };
        let mut bytes = Vec::new();
        frame::write(&mut bytes, OpCode::Data(kind), payload);
        connection.send(&bytes);
        ControlFlow::Continue(())
    }

    fn poll(&mut self, _: &Arc<Connection>, _: &mut Context<'_>) {}

    fn on_end(&mut self, _: &Arc<Connection>) {}
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings {
        listen: vec![arguments.listen.into()],
        max_message_size: arguments.max_message_size,
        // A suite may send a few large messages before it reads the first echo.
        max_outbox: arguments.max_message_size.saturating_mul(4),
        ..Settings::default()
    };
    let server = Server::bind(settings)?;
    for address in server.addresses() {
        println!("echo on ws://{address}");
    }
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    server.run_with(|| Echo, interrupted).await;
    Ok(())
}
