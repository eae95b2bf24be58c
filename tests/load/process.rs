//! CPU time and memory of processes, and this one's limits, as Linux tells them.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};

/// Microseconds in a tick of /proc/PID/stat: 100 Hz on all that Linux runs on here.
const TICK: u64 = 10_000;

/// Descriptors for everything but the connections.
const OTHER_FILES: u64 = 64;

/// Processes that are watched together.
#[derive(Debug, Clone)]
pub(crate) struct Processes(Vec<u32>);

impl Processes {
    pub(crate) fn new(pids: &[u32]) -> Result<Self> {
        let processes = Self(pids.to_vec());
        processes.cpu()?;
        Ok(processes)
    }

    pub(crate) fn own() -> Self {
        Self(vec![getpid().as_raw_nonzero().get() as u32])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Microseconds of CPU that all their threads have used.
    pub(crate) fn cpu(&self) -> Result<u64> {
        self.0.iter().map(|pid| cpu(*pid)).sum()
    }

    /// Resident KiB.
    pub(crate) fn rss(&self) -> Result<u64> {
        self.0.iter().map(|pid| rss(*pid)).sum()
    }
}

fn cpu(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in brackets may hold spaces.
    let (_, fields) = stat.rsplit_once(')').with_context(|| path.clone())?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks(), ticks());
    Ok((user.with_context(|| path.clone())? + system.context(path)?) * TICK)
}

fn rss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let value = value.and_then(|value| value.split_ascii_whitespace().next());
    value.and_then(|v| v.parse().ok()).context(path)
}

/// Makes room for that many connections, or says why there is none.
pub(crate) fn reserve_files(connections: u32) -> Result<()> {
    let needed = u64::from(connections) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{connections} connections need {needed} file descriptors, but the hard limit of this \
         process is {} (ulimit -Hn)",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of file descriptors")
}

/// Says when the ports of the source addresses cannot be enough.
pub(crate) fn check_ports(connections: u32, sources: u8) -> Result<()> {
    let Ok(range) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        return Ok(());
    };
    let mut range = range.split_ascii_whitespace().map(str::parse::<u32>);
    if let (Some(Ok(first)), Some(Ok(last))) = (range.next(), range.next()) {
        let ports = (last - first + 1) * u32::from(sources);
        ensure!(
            connections <= ports,
            "{connections} connections, but {ports} local ports: raise --source-addresses"
        );
    }
    Ok(())
}
