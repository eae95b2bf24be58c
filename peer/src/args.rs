//! The command line: flags in, [`Options`] of the library out. Field docs are the help texts.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use clap_complete::Shell;
use easypeers::link::{IceServer, UdpPorts};
use easypeers::tracker::{PUBLIC_TRACKERS, TrackerUrl};
use easypeers::{
    DEFAULT_MAX_PEERS, DEFAULT_TRACKER, IceServers, InfoHash, MAX_MAX_PEERS, MIN_MAX_PEERS, Options,
};

use super::ice;

const EXAMPLES: &str = "\
Examples:
  peer                                      chat in the topic \"demo\", tracker on this machine
  peer garden --public                      chat in \"garden\" over the public trackers
  echo 'backup done' | peer ops             send one line and leave
  peer ops --json </dev/null --stay         print what happens, one JSON object a line

What is typed is sent to everybody; /help lists the commands. Received messages go to standard \
output, everything else to standard error. Ctrl-C, Ctrl-D or /quit leave.

SSL_CERT_FILE=FILE trusts the certificates of a PEM file for wss:// trackers, beside the public ones.

Exit status: 0 after leaving; 1 if the peer could not start, or lines from a pipe could not be \
sent; 2 for a bad command line; 130 after a second Ctrl-C.";

/// Chat with the peers of a topic, directly: no server stands between.
///
/// Joins the mesh of TOPIC. Trackers introduce the peers to each other; messages then travel over
/// WebRTC from peer to peer, encrypted.
#[derive(Debug, Parser)]
#[command(name = "peer", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What the mesh is about: peers with the same topic meet
    #[arg(default_value = "demo", value_parser = topic)]
    pub(crate) topic: String,

    /// Tracker that introduces peers; repeatable, all are used at once [default: ws://localhost:3000]
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker)]
    pub(crate) trackers: Vec<TrackerUrl>,

    /// Use the public trackers, beside those of --tracker
    #[arg(long)]
    pub(crate) public: bool,

    /// Links to keep
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PEERS, value_parser = max_peers)]
    pub(crate) max_peers: usize,

    /// Time between two announces, 1s to 1h, unless the tracker asks for another
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// Meet only peers that know this password, too. Others on this machine can read a command
    /// line: the environment variable is safer
    #[arg(
        long,
        env = "EASYPEERS_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub(crate) password: Option<String>,

    /// Events and messages as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Keep this peer's keys, and so its address, in a file; made if missing. Default: new keys
    /// at every start
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// Join this swarm instead of the topic's: its infohash in 40 hex digits
    #[arg(long, value_name = "HEX40", value_parser = identifier)]
    pub(crate) identifier: Option<InfoHash>,

    /// Hear what was said before: up to 5 minutes, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = history)]
    pub(crate) history: Duration,

    /// Speak to peers of Easypeers 1 as well. Nothing proves who wrote their messages
    #[arg(long)]
    pub(crate) compat: bool,

    /// Server that helps through NATs: stun:HOST[:PORT] or turn:USER:PASSWORD@HOST[:PORT];
    /// repeatable. `%40` in a user or password is an @. Default: what the tracker names
    #[arg(long = "ice-server", env = "EASYPEERS_ICE_SERVER", value_name = "URL",
          hide_env_values = true, value_parser = ice::parse)]
    pub(crate) ice_servers: Vec<IceServer>,

    /// Use no STUN or TURN server but those of --ice-server
    #[arg(long)]
    pub(crate) no_stun: bool,

    /// Connect through TURN servers only: hides this host's address from other peers
    #[arg(long)]
    pub(crate) relay_only: bool,

    /// UDP port for all links, which rules TURN servers out, or a range such as 40000-40100 with a
    /// port for each link and offer. Default: any
    #[arg(long, value_name = "N|N-M")]
    pub(crate) udp_port: Option<UdpPorts>,

    /// Address of this host to use; repeatable. Default: all
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<IpAddr>,

    /// Address that others reach this host by, when a NAT maps its ports one to one; repeatable
    #[arg(long = "public-address", value_name = "ADDRESS")]
    pub(crate) public_addresses: Vec<IpAddr>,

    /// Serve Prometheus metrics at http://ADDRESS:PORT/metrics
    #[arg(long, env = "EASYPEERS_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Ask the peer that serves metrics at --metrics-listen on this machine whether it is healthy;
    /// exit 0 if so
    #[arg(long, requires = "metrics_listen")]
    pub(crate) healthcheck: bool,

    /// Print a shell completion script and exit
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<Shell>,

    /// Print the man page and exit
    #[arg(long)]
    pub(crate) man: bool,

    /// Stay in the mesh when standard input ends
    #[arg(long)]
    pub(crate) stay: bool,

    /// What is logged to standard error: off, error, warn, info, debug or trace
    #[arg(long, env = "EASYPEERS_LOG_LEVEL", value_name = "LEVEL", default_value = "warn",
          value_parser = log)]
    pub(crate) log_level: String,
}

impl Arguments {
    /// Every tracker to use, once.
    pub(crate) fn all_trackers(&self) -> Vec<TrackerUrl> {
        let public = PUBLIC_TRACKERS.iter().filter(|_| self.public);
        let public = public.filter_map(|url| tracker(url).ok());
        let mut all: Vec<TrackerUrl> = Vec::new();
        for url in self.trackers.iter().cloned().chain(public) {
            if !all.contains(&url) {
                all.push(url);
            }
        }
        if all.is_empty() {
            all.extend(tracker(DEFAULT_TRACKER));
        }
        all
    }

    /// The library's options, without the identity.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        options.max_peers = self.max_peers;
        options.timeout = self.timeout;
        options.trackers = self.all_trackers();
        options.identifier = self.identifier;
        options.password = self.password.clone();
        options.ice_servers = if self.no_stun || !self.ice_servers.is_empty() {
            IceServers::Only(self.ice_servers.clone())
        } else {
            IceServers::Auto
        };
        options.relay_only = self.relay_only;
        options.bind = self.bind.clone();
        options.udp_ports = self.udp_port.clone().unwrap_or(UdpPorts::Any);
        options.public_addresses = self.public_addresses.clone();
        options.history = self.history;
        options.compat = self.compat;
        options
    }
}

fn topic(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a topic has at least one character".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn tracker(text: &str) -> Result<TrackerUrl, String> {
    TrackerUrl::from_str(text).map_err(|error| error.to_string())
}

fn max_peers(text: &str) -> Result<usize, String> {
    let range = MIN_MAX_PEERS..=MAX_MAX_PEERS;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("from {MIN_MAX_PEERS} to {MAX_MAX_PEERS}"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&timeout) {
        return Err("from 1s to 1h".to_owned());
    }
    Ok(timeout)
}

fn history(text: &str) -> Result<Duration, String> {
    let history = duration(text)?;
    if history > Duration::from_secs(300) {
        return Err("at most 5m: members keep no more".to_owned());
    }
    Ok(history)
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("use a number with ms, s, m or h, such as 90s".to_owned()),
    };
    let number = f64::from_str(digits).map_err(|_| "use a number with ms, s, m or h".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

fn identifier(text: &str) -> Result<InfoHash, String> {
    text.parse()
        .map_err(|_| "an infohash has 40 hex digits".to_owned())
}

fn log(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "use off, error, warn, info, debug or trace".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(flags: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once(&"peer").chain(flags))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_flags_it_is_demo_on_the_local_tracker() {
        let arguments = parsed(&[]).unwrap();
        assert_eq!(arguments.topic, "demo");
        let options = arguments.options();
        assert_eq!(options.trackers, Options::default().trackers);
        assert_eq!(options.max_peers, 6);
        assert_eq!(options.timeout, Duration::from_secs(30));
        assert_eq!(options.ice_servers, IceServers::Auto);
        assert_eq!(options.udp_ports, UdpPorts::Any);
        assert!(!options.compat && !options.relay_only && options.identity.is_none());
        assert!(!arguments.json && !arguments.stay);
    }

    #[test]
    fn every_flag_reaches_the_options() {
        let arguments = parsed(&[
            "garden",
            "--tracker",
            "ws://127.0.0.1:1",
            "--tracker",
            "ws://127.0.0.1:2",
            "--max-peers",
            "9",
            "--timeout",
            "1.5m",
            "--password",
            "secret",
            "--json",
            "--identity",
            "me",
            "--identifier",
            &"0A".repeat(20),
            "--compat",
            "--ice-server",
            "stun:192.0.2.1",
            "--relay-only",
            "--udp-port",
            "5-7",
            "--bind",
            "127.0.0.1",
            "--bind",
            "::1",
            "--public-address",
            "192.0.2.9",
            "--metrics-listen",
            "127.0.0.1:0",
            "--stay",
            "--log-level",
            "debug",
        ])
        .unwrap();
        let options = arguments.options();
        assert_eq!(options.trackers.len(), 2);
        assert_eq!(options.max_peers, 9);
        assert_eq!(options.timeout, Duration::from_secs(90));
        assert_eq!(options.password.as_deref(), Some("secret"));
        assert_eq!(options.identifier.unwrap().as_bytes(), &[10; 20]);
        assert!(options.compat && options.relay_only && arguments.json && arguments.stay);
        assert_eq!(options.udp_ports, UdpPorts::Range(5..=7));
        assert_eq!(options.bind.len(), 2);
        assert_eq!(options.public_addresses.len(), 1);
        assert_eq!(arguments.identity.unwrap().to_str(), Some("me"));
        assert_eq!(arguments.metrics_listen.unwrap().port(), 0);
        let IceServers::Only(servers) = options.ice_servers else {
            panic!("not the given server");
        };
        assert_eq!(servers[0].urls, ["stun:192.0.2.1:3478"]);
    }

    #[test]
    fn trackers_are_the_given_and_the_public_ones_once_each() {
        let texts = |flags: &[&str]| -> Vec<String> {
            let trackers = parsed(flags).unwrap().all_trackers();
            trackers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&[]), [DEFAULT_TRACKER]);
        assert_eq!(texts(&["--public"]), PUBLIC_TRACKERS);
        let mine = ["--tracker", "ws://a", "--tracker", "ws://a"];
        assert_eq!(texts(&mine), ["ws://a"]);
        assert_eq!(
            texts(&[&mine[..], &["--public"]].concat()).len(),
            1 + PUBLIC_TRACKERS.len()
        );
    }

    #[test]
    fn without_stun_there_is_no_server_at_all() {
        let options = parsed(&["--no-stun"]).unwrap().options();
        assert_eq!(options.ice_servers, IceServers::Only(Vec::new()));
    }

    #[test]
    fn bad_values_are_refused_with_status_2_and_a_reason() {
        for (flags, reason) in [
            (&["--max-peers", "1"][..], "from 2 to 64"),
            (&["--max-peers", "65"], "from 2 to 64"),
            (&["--max-peers", "six"], "from 2 to 64"),
            (&["--timeout", "0s"], "from 1s to 1h"),
            (&["--timeout", "5 d"], "such as 90s"),
            (
                &["--tracker", "http://localhost"],
                "expected ws://HOST:PORT",
            ),
            (&["--identifier", "abc"], "40 hex digits"),
            (&["--udp-port", "0"], "1 to 65535"),
            (&["--udp-port", "9-7"], "expected a UDP port"),
            (&["--udp-port", "65536"], "1 to 65535"),
            (&["--bind", "localhost"], "invalid IP address"),
            (&["--metrics-listen", "9000"], "invalid socket address"),
            (&["--ice-server", "http://x"], "stun:HOST"),
            (&["--log-level", "loud=very"], "off, error"),
            (&[""], "at least one character"),
            (&["a", "b"], "unexpected argument"),
            (&["--jsom"], "--json"),
        ] {
            let error = parsed(flags).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flags:?}");
            assert!(error.to_string().contains(reason), "{flags:?}: {error}");
        }
    }

    #[test]
    fn secrets_of_the_environment_are_not_in_the_help() {
        for name in ["password", "ice_servers"] {
            let command = Arguments::command();
            let argument = command
                .get_arguments()
                .find(|a| a.get_id() == name)
                .unwrap();
            assert!(argument.is_hide_env_values_set(), "{name}");
        }
    }
}
