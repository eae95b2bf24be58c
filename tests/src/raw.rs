//! A WebSocket client without manners: it reads nothing and answers no ping unless told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::within;

/// A socket on which a WebSocket was opened.
#[derive(Debug)]
pub struct RawClient {
    /// The bare socket.
    pub stream: TcpStream,
}

/// An upgrade request with its header lines, without the empty line behind it.
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

impl RawClient {
    /// Connects with a receive buffer of the kernel as small as it gets, and upgrades.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut stream = within("a connection", socket.connect(address))
            .await
            .expect("a connection");
        let head = format!("{UPGRADE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a request");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = within("an upgrade", stream.read_u8()).await;
            answer.push(byte.expect("an upgrade"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "no upgrade");
        Self { stream }
    }

    /// Writes one text frame, masked with zeros.
    ///
    /// # Errors
    /// When the server has closed.
    pub async fn send(&mut self, text: &str) -> std::io::Result<()> {
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        within("room to write", self.stream.write_all(&frame)).await
    }

    /// Reads until the server ends the connection; what came before.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = within("the end", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }
}
