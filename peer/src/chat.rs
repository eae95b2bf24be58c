//! The chat loop: typed lines go to the mesh, events of the mesh go to the output.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use easypeers::{Easypeers, Event, Identity, MessageId, PeerId, Receipt, SendError, Status};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::args::Arguments;
use super::console::Console;
use super::input::Typed;
use super::line::{self, Address, Line};
use super::metrics;
use super::output::Output;
use super::supervisor;

/// The most messages that may wait for a link or a receipt. With more, no line is read from a pipe.
const MAX_PENDING: usize = 32;

/// The most addresses that are remembered for `/msg`.
const MAX_SEEN: usize = 1024;

/// What became of a message that this peer sent.
enum Outcome {
    Broadcast(Result<MessageId, SendError>),
    Direct(PeerId, Result<Receipt, SendError>),
}

struct Chat {
    peer: Easypeers,
    topic: String,
    output: Output,
    pending: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    /// Members that connected or sent a message, the latest last.
    seen: VecDeque<PeerId>,
    /// The status that was printed last.
    printed: Option<Status>,
    /// Whether something could not be sent. Then the exit status is 1.
    failed: bool,
}

/// What to do after a line.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Leave,
}

/// The signals that end the chat: Ctrl-C, and those of service managers and closed terminals.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Joins the mesh, chats, and leaves it.
pub(crate) async fn run(
    arguments: &Arguments,
    identity: Option<Arc<Identity>>,
    console: &Arc<Console>,
    typed: mpsc::Receiver<Typed>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let metrics = match arguments.metrics_listen {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let mut options = arguments.options();
    options.identity = identity;
    let peer = Easypeers::join(&arguments.topic, options).await?;
    if let Some(listener) = metrics {
        let address = listener.local_addr()?;
        console.note(&format!("metrics at http://{address}/metrics"));
        tokio::spawn(metrics::serve(listener, peer.clone())?);
    }
    let mut chat = Chat {
        topic: arguments.topic.clone(),
        output: Output::new(Arc::clone(console), arguments.json),
        pending: FuturesUnordered::new(),
        seen: VecDeque::new(),
        printed: None,
        failed: false,
        peer,
    };
    supervisor::ready();
    let watchdog = tokio::spawn(supervisor::watchdog(chat.peer.clone()));
    let result = chat.run_loop(typed, &mut signals, arguments.stay).await;
    watchdog.abort();
    supervisor::stopping();
    tokio::select! {
        () = chat.peer.close() => {}
        () = signals.next() => return Ok(ExitCode::from(130)),
    }
    match result {
        Ok(()) if chat.failed => Ok(ExitCode::FAILURE),
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The program that read the messages wants no more of them.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

impl Chat {
    async fn run_loop(
        &mut self,
        mut typed: mpsc::Receiver<Typed>,
        signals: &mut Signals,
        stay: bool,
    ) -> io::Result<()> {
        let mut events = self.peer.events();
        self.output.ready(&self.topic, &self.peer)?;
        self.on_state(&self.peer.status())?;
        let mut reading = true;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(&event)?,
                    None => return Ok(()),
                },
                Some(outcome) = self.pending.next() => self.on_outcome(outcome)?,
                line = typed.recv(), if reading && self.pending.len() < MAX_PENDING => match line {
                    Some(Typed::Line(line)) => {
                        if self.on_line(&line).await? == Next::Leave {
                            return Ok(());
                        }
                    }
                    Some(Typed::Unsendable(why)) => {
                        self.failed = true;
                        self.output.error(why)?;
                    }
                    Some(Typed::Interrupt) => return Ok(()),
                    Some(Typed::Failed(why)) => {
                        self.output.error(&format!("cannot read standard input: {why}"))?;
                        return Ok(());
                    }
                    Some(Typed::End) | None => reading = false,
                },
                () = signals.next() => return Ok(()),
            }
            if !reading && !stay && self.pending.is_empty() {
                return Ok(());
            }
        }
    }

    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Connect(peer) => self.note_seen(*peer),
            Event::Message(message) => self.note_seen(message.from),
            Event::State(status) => return self.on_state(status),
            _ => {}
        }
        self.output.event(event)
    }

    /// Prints a status, unless it was the last one printed: the first status may arrive again as an
    /// event.
    fn on_state(&mut self, status: &Status) -> io::Result<()> {
        if self.printed.as_ref() == Some(status) {
            return Ok(());
        }
        self.printed = Some(status.clone());
        self.output.state(status)
    }

    fn note_seen(&mut self, peer: PeerId) {
        self.seen.retain(|seen| *seen != peer);
        if self.seen.len() == MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(peer);
    }

    fn on_outcome(&mut self, outcome: Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Broadcast(Ok(id)) => self.output.sent(id),
            Outcome::Direct(to, Ok(receipt)) => {
                self.failed |= matches!(receipt, Receipt::Unreachable | Receipt::Timeout);
                self.output.receipt(to, receipt)
            }
            Outcome::Broadcast(Err(error)) | Outcome::Direct(_, Err(error)) => {
                self.failed = true;
                self.output.error(&format!("not sent: {error}"))
            }
        }
    }

    async fn on_line(&mut self, line: &str) -> io::Result<Next> {
        match line::parse(line) {
            Ok(Line::Empty) => {}
            Ok(Line::Broadcast(text)) => {
                let peer = self.peer.clone();
                self.start(async move { Outcome::Broadcast(peer.send(text).await) })
                    .await?;
            }
            Ok(Line::Direct { to, text }) => match self.resolve(&to) {
                Ok(to) => {
                    let peer = self.peer.clone();
                    let sent = async move { Outcome::Direct(to, peer.send_to(to, text).await) };
                    self.start(sent).await?;
                }
                Err(why) => {
                    self.failed = true;
                    self.output.error(&why)?;
                }
            },
            Ok(Line::Peers) => self.output.peers(&self.peer.peers())?,
            Ok(Line::Info) => self.output.info(&self.topic, &self.peer)?,
            Ok(Line::Help) => self.output.note(line::HELP),
            Ok(Line::Quit) => return Ok(Next::Leave),
            Err(error) => {
                self.failed = true;
                self.output.error(&error.to_string())?;
            }
        }
        Ok(Next::Continue)
    }

    /// Starts sending before the next line is read, because lines have to arrive in the order in
    /// which they were typed. The outcome is awaited in the loop.
    async fn start(
        &mut self,
        sending: impl Future<Output = Outcome> + Send + 'static,
    ) -> io::Result<()> {
        let mut sending: Pin<Box<dyn Future<Output = Outcome> + Send>> = Box::pin(sending);
        match futures_util::poll!(sending.as_mut()) {
            std::task::Poll::Ready(outcome) => self.on_outcome(outcome),
            std::task::Poll::Pending => {
                self.pending.push(sending);
                Ok(())
            }
        }
    }

    fn resolve(&self, address: &Address) -> Result<PeerId, String> {
        let prefix = match address {
            Address::Full(peer) => return Ok(*peer),
            Address::Prefix(prefix) => prefix,
        };
        let mut matching = self
            .seen
            .iter()
            .filter(|peer| peer.to_string().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (Some(peer), None) => Ok(*peer),
            (None, _) => Err(format!(
                "no peer seen here has an address that starts with {prefix}"
            )),
            (Some(_), Some(_)) => Err(format!(
                "several addresses start with {prefix}: use more digits"
            )),
        }
    }
}
