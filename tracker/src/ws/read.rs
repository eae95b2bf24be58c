//! The reading half of a WebSocket connection, and the closing handshake.
//!
//! In: bytes of client frames, cut anywhere. Out: messages, frames to send, [`Status`].
//!
//! Invariants: a frame is acted on when its last byte is there, except that text is checked as it
//! comes; the heap is touched only for what a piece of input leaves incomplete, and grows with
//! the bytes that arrived, never with a length that was only announced.
//!
//! Source: RFC 6455, sections 5.4, 5.5, 6.2, 7.1 and 8.1.

use std::mem;
use std::ops::ControlFlow;

use super::assembly::Assembly;
use super::close::{self, Close, CloseReason, ProtocolError};
use super::frame::{self, Expect, Header, MAX_HEADER, unmask};
use super::{CloseCode, Control, Data, Message, OpCode, Received, Status};

/// One WebSocket connection, server role.
#[derive(Debug)]
pub struct WebSocket {
    /// What of a frame or message has arrived, while it is incomplete.
    partial: Option<Box<Partial>>,
    max_message: u32,
    status: Status,
}

#[derive(Debug, Default)]
struct Partial {
    stage: Stage,
    /// The message under way; between frames that means a fragmented one.
    message: Option<Assembly>,
}

/// What the next byte belongs to.
#[derive(Debug, Default)]
enum Stage {
    /// A new frame.
    #[default]
    Start,
    /// A header of which this many bytes are known.
    Header([u8; MAX_HEADER], usize),
    /// A payload; of a control frame what has arrived is kept here.
    Payload(Header, Vec<u8>),
}

/// Where the results of one piece of input go.
struct Sink<'a, F> {
    out: &'a mut Vec<u8>,
    pong: bool,
    on_message: F,
}

impl WebSocket {
    /// A connection just upgraded. `max_message` limits every frame and every message, in bytes
    /// of payload; anything above 4 GiB means 4 GiB.
    pub fn new(max_message: usize) -> Self {
        Self {
            partial: None,
            max_message: u32::try_from(max_message).unwrap_or(u32::MAX),
            status: Status::Open,
        }
    }

    /// Where the connection is on its way to the end.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How much heap memory the connection owns, in bytes.
    pub fn heap_size(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let control = match &partial.stage {
                Stage::Payload(_, control) => control.capacity(),
                Stage::Start | Stage::Header(..) => 0,
            };
            let message = partial.message.as_ref();
            size_of::<Partial>() + control + message.map_or(0, Assembly::capacity)
        })
    }

    /// Starts the closing handshake: appends a Close frame to `out`; from now on messages are
    /// dropped. Does nothing on a connection that is closing or closed.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        if self.status != Status::Open {
            return;
        }
        frame::write_close(out, code, reason);
        self.status = Status::Closing;
        if let Some(partial) = &mut self.partial {
            partial.message = None;
            self.settle();
        }
    }

    /// Takes bytes as they were read from the socket and unmasks them in place. Calls
    /// `on_message` for every message they complete, and starts the closing handshake if it
    /// breaks. Appends what the protocol has to answer to `out`, as whole frames.
    ///
    /// On a closed connection the input is ignored.
    pub fn receive<F>(&mut self, mut input: &mut [u8], out: &mut Vec<u8>, on_message: F) -> Received
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        let mut sink = Sink {
            out,
            pong: false,
            on_message,
        };
        while !input.is_empty() && !matches!(self.status, Status::Closed(_)) {
            match self.step(input, &mut sink) {
                Ok(used) => input = &mut input[used..],
                Err(error) => self.fail(error, sink.out),
            }
        }
        Received {
            status: self.status,
            pong: sink.pong,
        }
    }

    /// Takes one frame, or what there is of it, and says how much that was.
    fn step<F>(&mut self, input: &mut [u8], sink: &mut Sink<'_, F>) -> Result<usize, ProtocolError>
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        let stage = match &mut self.partial {
            Some(partial) => mem::take(&mut partial.stage),
            None => Stage::Start,
        };
        let (mut known, len) = match stage {
            Stage::Payload(header, control) => {
                return self.payload(header, control, input, sink);
            }
            Stage::Header(known, len) => (known, len),
            Stage::Start => ([0; MAX_HEADER], 0),
        };

        let expect = self.expect();
        let parsed = if len == 0 {
            Header::parse(input, expect)?
        } else {
            let end = MAX_HEADER.min(len + input.len());
            known[len..end].copy_from_slice(&input[..end - len]);
            Header::parse(&known[..end], expect)?
        };
        let Some((header, size)) = parsed else {
            let end = len + input.len();
            known[len..end].copy_from_slice(input);
            self.partial.get_or_insert_default().stage = Stage::Header(known, end);
            return Ok(input.len());
        };

        let start = size - len;
        let body = &mut input[start..];
        let used = match usize::try_from(header.left) {
            Ok(length) if length <= body.len() => {
                let body = &mut body[..length];
                unmask(body, header.mask);
                self.whole(header, body, sink)?;
                length
            }
            _ => self.payload(header, Vec::new(), body, sink)?,
        };
        Ok(start + used)
    }

    /// What may come next. While closing the limit does not matter: nothing is kept.
    fn expect(&self) -> Expect {
        if self.status != Status::Open {
            return Expect {
                fragmented: None,
                room: u64::MAX,
            };
        }
        let message = self.partial.as_ref().and_then(|p| p.message.as_ref());
        let max = u64::from(self.max_message);
        Expect {
            fragmented: Some(message.is_some()),
            room: max.saturating_sub(message.map_or(0, |m| m.len() as u64)),
        }
    }

    /// A frame whose payload, unmasked, lies in the input.
    fn whole<F>(
        &mut self,
        header: Header,
        body: &[u8],
        sink: &mut Sink<'_, F>,
    ) -> Result<(), ProtocolError>
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        match header.opcode {
            OpCode::Control(control) => self.control(control, body, sink)?,
            OpCode::Data(_) if self.status != Status::Open => {}
            OpCode::Data(Data::Text) if header.last => {
                let text = str::from_utf8(body).map_err(|_| ProtocolError::InvalidUtf8)?;
                self.deliver(Message::Text(text), sink);
            }
            OpCode::Data(Data::Binary) if header.last => {
                self.deliver(Message::Binary(body), sink);
            }
            OpCode::Data(data) => {
                self.append(data, header.last, header.left, body)?;
                if header.last {
                    self.complete(sink)?;
                }
            }
        };
        self.settle();
        Ok(())
    }

    /// A piece of the payload of a frame that was not there in one piece.
    fn payload<F>(
        &mut self,
        mut header: Header,
        mut control: Vec<u8>,
        input: &mut [u8],
        sink: &mut Sink<'_, F>,
    ) -> Result<usize, ProtocolError>
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        let used = usize::try_from(header.left).map_or(input.len(), |left| left.min(input.len()));
        let body = &mut input[..used];
        unmask(body, header.mask);
        header.mask.rotate_left(used % 4);
        let left = header.left;
        header.left -= used as u64;

        match header.opcode {
            OpCode::Control(_) => control.extend_from_slice(body),
            OpCode::Data(data) if self.status == Status::Open => {
                self.append(data, header.last, left, body)?;
            }
            OpCode::Data(_) => {}
        }
        if header.left > 0 {
            self.partial.get_or_insert_default().stage = Stage::Payload(header, control);
            return Ok(used);
        }
        match header.opcode {
            OpCode::Control(opcode) => self.control(opcode, &control, sink)?,
            OpCode::Data(_) if header.last && self.status == Status::Open => self.complete(sink)?,
            OpCode::Data(_) => {}
        }
        self.settle();
        Ok(used)
    }

    /// Adds to the message under way, or starts one. `left` is what the frame has yet to bring,
    /// these bytes included.
    fn append(
        &mut self,
        data: Data,
        last: bool,
        left: u64,
        body: &[u8],
    ) -> Result<(), ProtocolError> {
        let partial = self.partial.get_or_insert_default();
        let message = partial
            .message
            .get_or_insert_with(|| Assembly::new(data == Data::Text));
        let max = self.max_message as usize;
        let most = match usize::try_from(left) {
            Ok(left) if last => max.min(message.len().saturating_add(left)),
            _ => max,
        };
        message.push(body, most)
    }

    /// The message under way is all there.
    fn complete<F>(&mut self, sink: &mut Sink<'_, F>) -> Result<(), ProtocolError>
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        if let Some(message) = self.partial.as_mut().and_then(|p| p.message.take()) {
            self.deliver(message.message()?, sink);
        }
        Ok(())
    }

    fn deliver<F>(&mut self, message: Message<'_>, sink: &mut Sink<'_, F>)
    where
        F: FnMut(Message<'_>) -> ControlFlow<Close>,
    {
        if let ControlFlow::Break(close) = (sink.on_message)(message) {
            self.close(close.code, &close.reason, sink.out);
        }
    }

    fn control<F>(
        &mut self,
        opcode: Control,
        payload: &[u8],
        sink: &mut Sink<'_, F>,
    ) -> Result<(), ProtocolError> {
        let open = self.status == Status::Open;
        match opcode {
            Control::Ping if open => {
                frame::write(sink.out, OpCode::Control(Control::Pong), payload);
            }
            Control::Pong => sink.pong = true,
            Control::Close => {
                let code = close::parse(payload)?;
                let reason = if open {
                    frame::write_close(sink.out, code.unwrap_or(CloseCode::Status), "");
                    CloseReason::Peer(code)
                } else {
                    CloseReason::Answered
                };
                self.end(reason);
            }
            // The parser lets no reserved one pass.
            Control::Ping | Control::Reserved(_) => {}
        }
        Ok(())
    }

    /// The peer broke the protocol: says so unless our Close is out already.
    fn fail(&mut self, error: ProtocolError, out: &mut Vec<u8>) {
        if self.status == Status::Open {
            frame::write_close(out, error.code(), &error.to_string());
        }
        self.end(CloseReason::Protocol(error));
    }

    fn end(&mut self, reason: CloseReason) {
        self.status = Status::Closed(reason);
        self.partial = None;
    }

    /// Frees what is kept for something incomplete once nothing is.
    fn settle(&mut self) {
        if let Some(partial) = &self.partial
            && matches!(partial.stage, Stage::Start)
            && partial.message.is_none()
        {
            self.partial = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<WebSocket>() <= 16);
        assert!(size_of::<Partial>() <= 128);
        assert_eq!(WebSocket::new(1024).heap_size(), 0);
    }
}
