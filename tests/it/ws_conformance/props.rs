//! Properties: any bytes, any fragmentation, any cut; and what another implementation reads and
//! writes.

use std::io::{self, Cursor, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite;
use tracker::ws::frame::{self as server, HEADER_ROOM};
use tracker::ws::{Control, Data, OpCode, Status};

use super::support::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Feeds the input cut into pieces of these sizes, over and over.
fn feed(limit: usize, input: &[u8], sizes: &[usize]) -> Outcome {
    let mut run = Run::new(limit);
    let mut rest = input;
    for size in sizes.iter().cycle() {
        let (piece, next) = rest.split_at(rest.len().min(*size));
        run.feed(piece);
        rest = next;
        if rest.is_empty() {
            break;
        }
    }
    run.outcome
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..4_usize, 1..20_usize, 1..400_usize], 1..8)
}

/// A frame that may be wrong in any way, most often not.
fn any_frame() -> impl Strategy<Value = Frame> {
    let first = prop_oneof![
        4 => Just(FIN | TEXT),
        2 => Just(FIN | BINARY),
        3 => Just(TEXT),
        3 => Just(CONTINUE),
        3 => Just(FIN | CONTINUE),
        2 => Just(PING),
        1 => Just(PONG),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => any::<String>().prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..200),
        1 => (900..1100_u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    prop_oneof![
        20 => (first.clone(), payload.clone()).prop_map(|(first, payload)| frame(first, payload)),
        1 => (first, payload, any::<u64>()).prop_map(|(first, payload, n)| short(first, payload, n)),
        1 => vec(any::<u8>(), 0..20).prop_map(raw),
    ]
}

#[derive(Debug, Clone)]
struct Sent {
    message: Owned,
    /// Where to cut it into fragments, as parts of 256, and which ping to send before each.
    cuts: Vec<(u8, Option<Vec<u8>>)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = prop_oneof![
        any::<String>().prop_map(Owned::Text),
        "[a-zé€🦀]{0,300}".prop_map(Owned::Text),
        vec(any::<u8>(), 0..400).prop_map(Owned::Binary),
    ];
    let ping = proptest::option::of(vec(any::<u8>(), 0..=125));
    let cuts = prop_oneof![Just(Vec::new()), vec((any::<u8>(), ping), 0..6)];
    (message, cuts).prop_map(|(message, mut cuts)| {
        cuts.sort();
        Sent { message, cuts }
    })
}

/// The frames of a message, and the pongs they ask for.
fn fragments(sent: &Sent, frames: &mut Vec<Frame>, pongs: &mut Vec<u8>) {
    let (mut opcode, bytes) = match &sent.message {
        Owned::Text(text) => (TEXT, text.as_bytes()),
        Owned::Binary(bytes) => (BINARY, &bytes[..]),
    };
    let mut from = 0;
    for (part, ping) in &sent.cuts {
        let to = bytes.len() * usize::from(*part) / 256;
        frames.push(frame(opcode, &bytes[from..to]));
        (opcode, from) = (CONTINUE, to);
        if let Some(ping) = ping {
            frames.push(frame(PING, ping));
            pongs.extend([0x8a, ping.len() as u8]);
            pongs.extend(ping);
        }
    }
    frames.push(frame(FIN | opcode, &bytes[from..]));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes(input in vec(any::<u8>(), 0..300), sizes in sizes()) {
        prop_assert_eq!(feed(100, &input, &sizes), feed(100, &input, &[usize::MAX]));
    }

    /// `Run` asserts how much memory is kept.
    #[test]
    fn any_frames(
        frames in vec(any_frame(), 0..12),
        seed: u32,
        sizes in sizes(),
        limit in 0..600_usize,
    ) {
        let input = encode(&frames, &mut Keys::new(seed));
        prop_assert_eq!(feed(limit, &input, &sizes), feed(limit, &input, &[usize::MAX]));
    }

    #[test]
    fn messages_come_out_as_they_went_in(
        sent in vec(sent(), 0..8),
        seed: u32,
        sizes in sizes(),
    ) {
        let (mut frames, mut expected) = (Vec::new(), open());
        for sent in sent {
            fragments(&sent, &mut frames, &mut expected.out);
            expected.messages.push(sent.message);
        }
        let input = encode(&frames, &mut Keys::new(seed));
        prop_assert_eq!(feed(1 << 16, &input, &sizes), expected);
    }

    #[test]
    fn another_client_is_understood(texts in vec(any::<String>(), 0..8), sizes in sizes()) {
        let mut client = client(Vec::new());
        let mut expected = open();
        for text in texts {
            client.send(text.as_str().into()).unwrap();
            client.send(tungstenite::Message::Ping("p".into())).unwrap();
            expected = expected.text(&text).out(b"\x8a\x01p");
        }
        prop_assert_eq!(feed(1 << 16, &client.get_ref().written, &sizes), expected);
    }

    #[test]
    fn another_client_understands(texts in vec(any::<String>(), 1..8), pad in 0..70_000_usize) {
        let opcode = OpCode::Data(Data::Text);
        let mut out = Vec::new();
        for text in &texts {
            server::write(&mut out, OpCode::Control(Control::Ping), &[]);
            server::write(&mut out, opcode, text.as_bytes());
        }
        let mut long = vec![0; HEADER_ROOM];
        long.resize(HEADER_ROOM + pad, b'x');
        out.extend(server::finish(&mut long, opcode));
        server::write_close(&mut out, tracker::ws::CloseCode::Away, "bye");

        let mut client = client(out);
        let mut read = || client.read().unwrap();
        for text in texts {
            prop_assert!(read().is_ping());
            prop_assert_eq!(read(), text.into());
        }
        prop_assert_eq!(read().len(), pad);
        let tungstenite::Message::Close(Some(close)) = read() else {
            return Err(TestCaseError::fail("no close"));
        };
        prop_assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "bye"));
        // Its answer ends the handshake.
        let mut run = Run::new(100);
        run.close(tracker::ws::CloseCode::Away, "bye");
        client.flush().ok();
        run.feed(&client.get_ref().written);
        prop_assert!(matches!(run.outcome.status, Status::Closed(tracker::ws::CloseReason::Answered)));
    }
}

/// A stream with everything to read already there.
struct Pipe {
    read: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read.read(buf)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(read: Vec<u8>) -> tungstenite::WebSocket<Pipe> {
    let pipe = Pipe {
        read: Cursor::new(read),
        written: Vec::new(),
    };
    tungstenite::WebSocket::from_raw_socket(pipe, tungstenite::protocol::Role::Client, None)
}
