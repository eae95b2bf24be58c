//! The loop between what is typed, what the mesh brings and what is printed.

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

/// Messages of ours that wait for a link or a receipt; nothing is read from a pipe beyond that.
const WAITING: usize = 32;

/// Addresses remembered for `/msg`.
const SEEN: usize = 1024;

/// How a message of ours ended.
enum Done {
    Broadcast(Result<MessageId, SendError>),
    Direct(PeerId, Result<Receipt, SendError>),
}

struct Chat {
    peer: Easypeers,
    topic: String,
    output: Output,
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Members that were heard of, the latest last.
    seen: VecDeque<PeerId>,
    shown: Option<Status>,
    /// Something could not be sent.
    failed: bool,
}

/// What to do after a line.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

/// Ctrl-C and what service managers send.
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

/// Joins, talks and leaves.
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
        waiting: FuturesUnordered::new(),
        seen: VecDeque::new(),
        shown: None,
        failed: false,
        peer,
    };
    supervisor::ready();
    let watchdog = tokio::spawn(supervisor::watchdog(chat.peer.clone()));
    let ended = chat.talk(typed, &mut signals, arguments.stay).await;
    watchdog.abort();
    supervisor::stopping();
    tokio::select! {
        () = chat.peer.close() => {}
        () = signals.next() => return Ok(ExitCode::from(130)),
    }
    match ended {
        Ok(()) if chat.failed => Ok(ExitCode::FAILURE),
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever read the messages wants no more of them.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

impl Chat {
    async fn talk(
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
                Some(done) = self.waiting.next() => self.on_done(done)?,
                line = typed.recv(), if reading && self.waiting.len() < WAITING => match line {
                    Some(Typed::Line(line)) => {
                        if self.on_line(&line).await? == Next::Leave {
                            return Ok(());
                        }
                    }
                    Some(Typed::Bad(why)) => {
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
            if !reading && !stay && self.waiting.is_empty() {
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

    /// Shows a state, unless it is the one that was shown last: that of the start may come as an event
    /// too.
    fn on_state(&mut self, status: &Status) -> io::Result<()> {
        if self.shown.as_ref() == Some(status) {
            return Ok(());
        }
        self.shown = Some(status.clone());
        self.output.state(status)
    }

    fn note_seen(&mut self, peer: PeerId) {
        self.seen.retain(|seen| *seen != peer);
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(peer);
    }

    fn on_done(&mut self, done: Done) -> io::Result<()> {
        match done {
            Done::Broadcast(Ok(id)) => self.output.sent(id),
            Done::Direct(to, Ok(receipt)) => {
                self.failed |= matches!(receipt, Receipt::Unreachable | Receipt::Timeout);
                self.output.receipt(to, receipt)
            }
            Done::Broadcast(Err(error)) | Done::Direct(_, Err(error)) => {
                self.failed = true;
                self.output.error(&format!("not sent: {error}"))
            }
        }
    }

    async fn on_line(&mut self, line: &str) -> io::Result<Next> {
        match line::parse(line) {
            Ok(Line::Empty) => {}
            Ok(Line::Say(text)) => {
                let peer = self.peer.clone();
                self.start(async move { Done::Broadcast(peer.send(text).await) })
                    .await?;
            }
            Ok(Line::Direct { to, text }) => match self.resolve(&to) {
                Ok(to) => {
                    let peer = self.peer.clone();
                    let sent = async move { Done::Direct(to, peer.send_to(to, text).await) };
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
        Ok(Next::Go)
    }

    /// Starts sending before the next line is read, so that lines arrive in the order they were
    /// typed in; whether and how it ends is awaited beside everything else.
    async fn start(
        &mut self,
        sending: impl Future<Output = Done> + Send + 'static,
    ) -> io::Result<()> {
        let mut sending: Pin<Box<dyn Future<Output = Done> + Send>> = Box::pin(sending);
        match futures_util::poll!(sending.as_mut()) {
            std::task::Poll::Ready(done) => self.on_done(done),
            std::task::Poll::Pending => {
                self.waiting.push(sending);
                Ok(())
            }
        }
    }

    fn resolve(&self, address: &Address) -> Result<PeerId, String> {
        let prefix = match address {
            Address::Full(peer) => return Ok(*peer),
            Address::Prefix(prefix) => prefix,
        };
        let mut fitting = self
            .seen
            .iter()
            .filter(|peer| peer.to_string().starts_with(prefix));
        match (fitting.next(), fitting.next()) {
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
