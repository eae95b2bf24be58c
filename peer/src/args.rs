//! The command line. Flags go in, the [`Options`] of the library come out. The docs of the fields
//! are the help texts.

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
use easypeers_cli::duration;

use super::ice;

const EXAMPLES: &str = "\
Examples:
  peer                                      chat in the topic \"demo\", tracker on this machine
  peer garden --public                      chat in \"garden\" over the public trackers
  echo 'backup done' | peer ops             send one line and leave
  peer ops --json </dev/null --stay         print events and messages, one JSON object per line

Every line you type goes to all peers of the topic. /help lists the commands. Received messages \
go to standard output, everything else to standard error. Ctrl-C, Ctrl-D and /quit leave.

Set SSL_CERT_FILE=FILE to trust the certificates in a PEM file for wss:// trackers, in addition \
to the public ones.

Exit status: 0 after leaving, 1 if the peer could not start or could not send a line from a pipe, \
2 for a bad command line, 130 after a second Ctrl-C.";

/// Peer-to-peer chat by topic, with no server in between.
///
/// Joins the mesh of TOPIC. Trackers introduce the peers to each other. Messages then travel from
/// peer to peer over WebRTC, encrypted.
#[derive(Debug, Parser)]
#[command(name = "peer", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Topic to join. Peers that join the same topic meet
    #[arg(default_value = "demo", value_parser = topic)]
    pub(crate) topic: String,

    /// Tracker that introduces peers. Repeat it to use several at once [default: ws://localhost:3000]
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker)]
    pub(crate) trackers: Vec<TrackerUrl>,

    /// Use the public trackers, in addition to those of --tracker
    #[arg(long)]
    pub(crate) public: bool,

    /// Links to keep to other peers
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PEERS, value_parser = max_peers)]
    pub(crate) max_peers: usize,

    /// Time between two announces, from 1s to 1h. A tracker may ask for another
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// Only peers that use the same password can connect. Other users of this machine can read a
    /// command line: the environment variable is safer
    #[arg(
        long,
        env = "EASYPEERS_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub(crate) password: Option<String>,

    /// Print events and messages as JSON, one object per line
    #[arg(long)]
    pub(crate) json: bool,

    /// File that keeps this peer's keys, and with them its address. Created if it does not exist.
    /// Default: new keys at every start
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// Join the swarm with this infohash (40 hex digits) instead of the topic's
    #[arg(long, value_name = "HEX40", value_parser = identifier)]
    pub(crate) identifier: Option<InfoHash>,

    /// How far back to replay messages from before joining, up to 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = history)]
    pub(crate) history: Duration,

    /// Connect to peers of Easypeers 1, too. Nothing proves who wrote their messages
    #[arg(long)]
    pub(crate) compat: bool,

    /// STUN or TURN server, for links through NATs: stun:HOST[:PORT] or
    /// turn:USER:PASSWORD@HOST[:PORT]. Repeatable. Write an @ in a user or password as %40.
    /// Default: the servers that the tracker names
    #[arg(long = "ice-server", env = "EASYPEERS_ICE_SERVER", value_name = "URL",
          hide_env_values = true, value_parser = ice::parse)]
    pub(crate) ice_servers: Vec<IceServer>,

    /// Use no STUN or TURN servers except those of --ice-server
    #[arg(long)]
    pub(crate) no_stun: bool,

    /// Connect only through TURN servers, which hides this machine's address from other peers
    #[arg(long)]
    pub(crate) relay_only: bool,

    /// UDP port for all links, or a range such as 40000-40100 with a port for each link and offer.
    /// With a single port, TURN servers cannot be used. Default: any
    #[arg(long, value_name = "N|N-M")]
    pub(crate) udp_port: Option<UdpPorts>,

    /// Address of this machine to use for links. Repeatable. Default: all
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<IpAddr>,

    /// Address at which others reach this machine, if a NAT maps its ports one to one. Repeatable
    #[arg(long = "public-address", value_name = "ADDRESS")]
    pub(crate) public_addresses: Vec<IpAddr>,

    /// Serve Prometheus metrics at http://ADDRESS:PORT/metrics
    #[arg(long, env = "EASYPEERS_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Ask the peer on this machine that serves metrics at --metrics-listen whether it is healthy,
    /// and exit with 0 if it is
    #[arg(long, requires = "metrics_listen")]
    pub(crate) healthcheck: bool,

    /// Print a shell completion script and exit
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<Shell>,

    /// Print the man page and exit
    #[arg(long)]
    pub(crate) man: bool,

    /// Stay in the mesh after standard input ends
    #[arg(long)]
    pub(crate) stay: bool,

    /// Log level on standard error: off, error, warn, info, debug or trace
    #[arg(long, env = "EASYPEERS_LOG_LEVEL", value_name = "LEVEL", default_value = "warn",
          value_parser = log_level)]
    pub(crate) log_level: String,
}

impl Arguments {
    /// All trackers to use, each once.
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
        "" => Err("a topic needs at least one character".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn tracker(text: &str) -> Result<TrackerUrl, String> {
    TrackerUrl::from_str(text).map_err(|error| error.to_string())
}

fn max_peers(text: &str) -> Result<usize, String> {
    let range = MIN_MAX_PEERS..=MAX_MAX_PEERS;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from {MIN_MAX_PEERS} to {MAX_MAX_PEERS}"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&timeout) {
        return Err("expected a duration from 1s to 1h".to_owned());
    }
    Ok(timeout)
}

fn history(text: &str) -> Result<Duration, String> {
    let history = duration(text)?;
    if history > Duration::from_secs(300) {
        return Err("peers keep messages for 5m at most".to_owned());
    }
    Ok(history)
}

fn identifier(text: &str) -> Result<InfoHash, String> {
    text.parse()
        .map_err(|_| "expected an infohash of 40 hex digits".to_owned())
}

fn log_level(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "expected off, error, warn, info, debug or trace".to_owned())
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
            panic!("the given server is not used");
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
