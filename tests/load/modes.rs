//! The modes: what happens when, and what is measured meanwhile.

use std::{cell::Cell, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_local},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    args::{Args, Mode},
    background,
    client::{Client, Shared},
    connect::Target,
    pace::Pace,
    process::Processes,
    state::Load,
    stats::Stats,
};

/// Handshakes under way at once.
const OPENING: usize = 128;

/// Open loop: how old an announce becomes before it counts as lost while the load goes on. Clients
/// give up their offers later than that; an overloaded tracker is seen in the latencies.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// How long memory must stay the same to count as settled.
const SETTLED: Duration = Duration::from_secs(3);
const SETTLING: Duration = Duration::from_secs(20);

/// What a measured window cost.
#[derive(Debug)]
pub(crate) struct Window {
    pub offers: u8,
    pub answers: bool,
    pub seconds: f64,
    /// Microseconds; nothing without a process to watch.
    pub server_cpu: Option<u64>,
    pub own_cpu: u64,
    /// KiB at the end.
    pub rss: Option<u64>,
    pub stats: Stats,
}

/// Memory of silent connections, in KiB.
#[derive(Debug)]
pub(crate) struct Idle {
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub window: Window,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Windows(Vec<Window>),
    Idle(Box<Idle>),
}

pub(crate) struct Run<'a> {
    pub args: &'a Args,
    pub seed: u64,
    pub shared: Rc<Shared>,
    pub server: Processes,
    pub own: Processes,
}

impl Run<'_> {
    pub(crate) async fn run(&self) -> Result<Outcome> {
        let args = self.args;
        let before = self.server_rss()?;
        self.open().await?;
        if args.mode == Mode::Idle {
            let idle = Box::pin(self.idle(before)).await?;
            return Ok(Outcome::Idle(Box::new(idle)));
        }
        if args.urls.len() > 1 {
            sleep(args.settle).await;
        }
        self.probe().await;
        let all = (args.offers, !args.no_answers);
        let steps = match args.mode {
            Mode::Cost => vec![
                (0, false),
                (args.offers / 2, false),
                (args.offers, false),
                (args.offers / 2, true),
                (args.offers, true),
            ],
            _ => vec![all],
        };
        let mut windows = Vec::new();
        for (offers, answers) in steps {
            windows.push(self.measure(offers, answers).await?);
        }
        Ok(Outcome::Windows(windows))
    }

    /// Opens and joins all connections.
    async fn open(&self) -> Result<()> {
        let args = self.args;
        let mut targets = Vec::new();
        for url in &args.urls {
            targets.push(Target::resolve(url, args.insecure, args.ca.as_deref()).await?);
        }
        background::join(&targets[0], args.background_swarms, self.seed).await?;
        let limit = Arc::new(Semaphore::new(OPENING));
        let failed = Rc::new(Cell::new(0_u32));
        let mut opening = JoinSet::new();
        let start = Instant::now();
        let deadline = |connection: u32| {
            start + Duration::from_secs_f64(f64::from(connection) / args.connect_rate)
        };
        for connection in 0..args.connections {
            sleep_until(deadline(connection)).await;
            let permit = Arc::clone(&limit).acquire_owned().await?;
            if failed.get() > 0 {
                break;
            }
            let target = targets[connection as usize % targets.len()].clone();
            let shared = Rc::clone(&self.shared);
            let failed = Rc::clone(&failed);
            let source = args.source(connection).map(IpAddr::V4);
            let announce = args.mode != Mode::Idle || !args.no_announce;
            opening.spawn_local(async move {
                let connected = target.connect(source).await;
                drop(permit);
                let (stream, rest) = connected
                    .inspect_err(|_| failed.set(failed.get() + 1))
                    .with_context(|| format!("connection {connection} to {}", target.address))?;
                shared.state.borrow_mut().peers[connection as usize].due = u32::from(announce);
                spawn_local(Client::new(shared, connection, stream, rest).run());
                anyhow::Ok(())
            });
        }
        while let Some(opened) = opening.join_next().await {
            opened??;
        }
        let state = &self.shared.state;
        let expected = if args.mode == Mode::Idle && args.no_announce {
            0
        } else {
            args.connections
        };
        let joined = || state.borrow().joined >= expected && state.borrow().outstanding == 0;
        if !self.wait_for(args.timeout.max(SETTLED), joined).await {
            let state = state.borrow();
            bail!(
                "{} of {expected} connections joined; failures: {:?}; faults: {:?}",
                state.joined,
                state.failures.0,
                state.faults.0
            );
        }
        eprintln!(
            "{} connections in {:.1} s",
            args.connections,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Finds out whether this tracker responds to answers, while nothing else is on its way.
    async fn probe(&self) {
        let state = &self.shared.state;
        self.set_load(1, true, false);
        state.borrow_mut().announce_soon(0);
        let timeout = self.args.timeout;
        sleep(Duration::from_millis(50)).await;
        self.wait_for(timeout, || state.borrow().outstanding == 0)
            .await;
        sleep(Duration::from_millis(200)).await;
        let mut state = state.borrow_mut();
        state.answers_get_responses = state.unsolicited > 0;
        state.unsolicited = 0;
    }

    async fn measure(&self, offers: u8, answers: bool) -> Result<Window> {
        let args = self.args;
        let closed_loop = args.mode == Mode::Max;
        self.shared.state.borrow_mut().stats = Stats::default();
        self.set_load(offers, answers, closed_loop);
        let mut pace = Pace::new(self);
        self.load(&mut pace, args.warmup).await;
        let (server, own) = (self.server_cpu()?, self.own.cpu()?);
        let start = Instant::now();
        self.shared.state.borrow_mut().load.measuring = true;
        self.load(&mut pace, args.duration).await;
        {
            let load = &mut self.shared.state.borrow_mut().load;
            load.measuring = false;
            load.closed_loop = false;
        }
        let seconds = start.elapsed().as_secs_f64();
        let server_cpu = match (server, self.server_cpu()?) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        let own_cpu = self.own.cpu()?.saturating_sub(own);
        let rss = self.server_rss()?;
        let state = &self.shared.state;
        // Announces that were asked for just now leave first.
        sleep(Duration::from_millis(50)).await;
        self.wait_for(args.timeout, || state.borrow().outstanding == 0)
            .await;
        let mut state = state.borrow_mut();
        state.give_up(u64::MAX);
        Ok(Window {
            offers,
            answers,
            seconds,
            server_cpu,
            own_cpu,
            rss,
            stats: std::mem::take(&mut state.stats),
        })
    }

    /// Keeps the load up for a time.
    async fn load(&self, pace: &mut Pace, time: Duration) {
        let end = Instant::now() + time;
        let timeout = match self.args.mode {
            Mode::Max => self.args.timeout,
            _ => self.args.timeout.max(FORGOTTEN),
        };
        let timeout = timeout.as_nanos() as u64;
        let mut sweep = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return;
            }
            if now >= sweep {
                let deadline = self.shared.now().saturating_sub(timeout);
                self.shared.state.borrow_mut().give_up(deadline);
                sweep = now + Duration::from_millis(250);
            }
            if self.args.mode == Mode::Max {
                if std::mem::take(&mut pace.first) {
                    let state = &mut *self.shared.state.borrow_mut();
                    state.ready = pace.order.iter().copied().collect();
                    (0..self.args.in_flight).for_each(|_| state.start_next());
                }
                sleep_until(end.min(sweep)).await;
            } else {
                pace.announce(self, now);
                sleep_until(end.min(sweep).min(pace.next)).await;
            }
        }
    }

    async fn idle(&self, before: Option<u64>) -> Result<Idle> {
        let start = Instant::now();
        let mut last = self.server_rss()?;
        let mut since = start;
        while since.elapsed() < SETTLED && start.elapsed() < SETTLING && last.is_some() {
            sleep(Duration::from_millis(500)).await;
            let rss = self.server_rss()?;
            let (now, then) = (rss.unwrap_or_default(), last.unwrap_or_default());
            if now.abs_diff(then) > then / 200 {
                (last, since) = (rss, Instant::now());
            }
        }
        let window = {
            let (server, own) = (self.server_cpu()?, self.own.cpu()?);
            let start = Instant::now();
            sleep(self.args.duration).await;
            Window {
                offers: 0,
                answers: false,
                seconds: start.elapsed().as_secs_f64(),
                server_cpu: server
                    .map(|before| self.server.cpu().map(|after| after.saturating_sub(before)))
                    .transpose()?,
                own_cpu: self.own.cpu()?.saturating_sub(own),
                rss: self.server_rss()?,
                stats: Stats::default(),
            }
        };
        Ok(Idle {
            before,
            after: window.rss,
            window,
        })
    }

    fn set_load(&self, offers: u8, answers: bool, closed_loop: bool) {
        self.shared.state.borrow_mut().load = Load {
            offers,
            answers,
            measuring: false,
            closed_loop,
        };
    }

    async fn wait_for(&self, limit: Duration, done: impl Fn() -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done() {
            if Instant::now() >= end {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    fn server_cpu(&self) -> Result<Option<u64>> {
        let watched = !self.server.is_empty();
        watched.then(|| self.server.cpu()).transpose()
    }

    fn server_rss(&self) -> Result<Option<u64>> {
        let watched = !self.server.is_empty();
        watched.then(|| self.server.rss()).transpose()
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) -> Result<()> {
        self.shared.state.borrow_mut().close();
        let state = &self.shared.state;
        let ended = || state.borrow().peers.iter().all(|peer| !peer.live);
        ensure!(
            self.wait_for(SETTLED, ended).await,
            "connections do not end"
        );
        Ok(())
    }
}
