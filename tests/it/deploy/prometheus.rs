//! A real Prometheus with the shipped rules scrapes trackers under load and peers: every query of
//! dashboard, rules and alerts finds series, and alerts fire when they should. Needs Debian's
//! `prometheus`, and `curl`.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::process::Command;

use e2e::{Announce, Client, TempDir, answer, hash, offer_id, peer, sdp, until};
use rustix::process::Signal;
use serde_json::Value;

use super::{Program, changed, free_port, shipped};
use crate::binary::process::{Tracker, command};

struct Prometheus {
    _program: Program,
    port: u16,
}

impl Prometheus {
    /// With the shipped files, but often: every second, and alerts fire at once.
    fn start(files: &TempDir, trackers: &[&Tracker], peers: &[u16]) -> Self {
        let port = free_port();
        let trackers: Vec<_> = trackers
            .iter()
            .map(|tracker| format!("\"{}\"", tracker.address()))
            .collect();
        let peers: Vec<_> = peers
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let rules = files.write("rules.yml", shipped("prometheus/rules.yml"));
        let alerts: String = shipped("prometheus/alerts.yml")
            .lines()
            .filter(|line| !line.trim_start().starts_with("for: "))
            .map(|line| format!("{line}\n"))
            .collect();
        let alerts = files.write("alerts.yml", alerts);
        let config = changed(
            &shipped("prometheus/prometheus.yml"),
            &[
                ("_interval: 15s", "_interval: 1s"),
                ("/etc/prometheus/rules.yml", rules.to_str().unwrap()),
                ("/etc/prometheus/alerts.yml", alerts.to_str().unwrap()),
                ("\"tracker:3000\"", &trackers.join(",")),
                (
                    "dns_sd_configs: [{ names: [peer], type: A, port: 9100 }]",
                    &format!("static_configs: [{{ targets: [{}] }}]", peers.join(",")),
                ),
                (
                    "dns_sd_configs: [{ names: [tracker-1, tracker-2], type: A, port: 3000 }]",
                    "static_configs: []",
                ),
            ],
        );
        let config = files.write("prometheus.yml", config);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                files.path("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self {
            _program: Program::start(files, command),
            port,
        }
    }

    /// An answer of the API, or why there is none.
    fn ask(&self, path: &str, query: Option<&str>) -> Result<Value, String> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--get", "--max-time", "20"]);
        if let Some(query) = query {
            curl.arg("--data-urlencode").arg(format!("query={query}"));
        }
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let output = curl.arg(url).output().unwrap();
        let answer: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    fn finds(&self, selector: &str) -> bool {
        let found = self.ask("query", Some(&format!("count({selector})")));
        found.is_ok_and(|data| {
            data["result"]
                .as_array()
                .is_some_and(|found| !found.is_empty())
        })
    }

    fn firing(&self) -> BTreeSet<String> {
        let alerts = self.ask("alerts", None).unwrap_or_default();
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Every expression of the dashboard, with all instances chosen.
fn dashboard_queries() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(query)) = fields.get("expr") {
                    into.push(query.replace("$instance", ".*"));
                }
                fields.values().for_each(|value| collect(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let dashboard = shipped("grafana/dashboards/easypeers.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    queries
}

/// Every expression of rules and alerts, as Prometheus read them.
fn rule_queries(prometheus: &Prometheus) -> Vec<String> {
    let rules = prometheus.ask("rules", None).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| rule["query"].as_str().unwrap().to_owned())
        .collect()
}

/// The selectors in an expression: names of series with their labels.
fn selectors(query: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut found = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        let labels = match rest[end..].starts_with('{') {
            true => rest[end..].find('}').map_or(0, |at| at + 1),
            false => 0,
        };
        let ours = ["easypeers_", "easypeers:", "process_"];
        if ours.iter().any(|start| name.starts_with(start)) || name == "up" {
            found.insert(rest[..end + labels].to_owned());
        }
        rest = &rest[end + labels..];
    }
    found
}

/// Goes on until the connections end: announces, offers, answers.
async fn load(mut offerer: Client, mut answerer: Client) {
    for number in 0.. {
        answerer.announce(&Announce::new(hash(1), peer(2))).await;
        let offer = sdp("offer", number);
        let announce = Announce::new(hash(1), peer(1)).offer(offer_id(number), &offer);
        offerer.announce(&announce).await;
        answerer.next().await;
        let description = sdp("answer", number);
        answerer
            .send(answer(
                hash(1),
                peer(2),
                peer(1),
                offer_id(number),
                &description,
            ))
            .await;
        offerer.next().await;
        // The pace of the load, not a wait.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn peer_program(tracker: &Tracker, port: u16) -> Tracker {
    let url = format!("ws://{}", tracker.address());
    let metrics = format!("127.0.0.1:{port}");
    let arguments = [
        "watched",
        "--tracker",
        &url,
        "--bind",
        "127.0.0.1",
        "--stay",
        "--json",
        "--metrics-listen",
        &metrics,
    ];
    Tracker::spawn(crate::program::command("peer", &arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's prometheus"]
async fn queries_find_series_and_alerts_fire() {
    let files = TempDir::new();
    let deny = files.write("deny", "");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let arguments = [
        "--listen=127.0.0.1:0",
        "--max-connections=10",
        "--log-level=debug",
        "--deny-file",
        deny.to_str().unwrap(),
    ];
    let tracker = Tracker::spawn_with_log(command(&arguments), full.into());
    let doomed = Tracker::start(&[]);
    let ports = [free_port(), free_port()];
    let _peers = ports.map(|port| peer_program(&tracker, port));
    let prometheus = Prometheus::start(&files, &[&tracker, &doomed], &ports);
    let load = tokio::spawn(load(tracker.client().await, tracker.client().await));

    until("Prometheus has scraped twice", || async {
        prometheus.finds("rate(easypeers_tracker_announces_total[5m])")
            && prometheus.finds("easypeers:announces:rate5m")
            && prometheus.finds("easypeers_peer_links > 0")
    })
    .await;
    let mut queries = dashboard_queries();
    let rules = rule_queries(&prometheus);
    assert!(
        queries.len() > 40 && rules.len() > 20,
        "{queries:?} {rules:?}"
    );
    queries.extend(rules);
    for query in &queries {
        let answer = prometheus.ask("query", Some(query));
        assert!(answer.is_ok(), "{query}: {answer:?}");
        let selectors = selectors(query);
        assert!(!selectors.is_empty(), "{query}");
        for selector in selectors {
            // Jobs of a cluster are not there; the series must be.
            assert!(prometheus.finds(&selector), "{selector} of {query}");
        }
    }

    let expected = [
        "EasypeersConnectionsNearLimit",
        "EasypeersLogLinesLost",
        "EasypeersReloadFailed",
        "EasypeersTrackerDown",
    ];
    let firing = prometheus.firing();
    for alert in [
        "EasypeersReloadFailed",
        "EasypeersTrackerDown",
        "EasypeersConnectionsNearLimit",
    ] {
        assert!(!firing.contains(alert), "{alert} fires too early");
    }
    // Ten of ten: two of the load, two peers, and these; each costs lines that are lost.
    let mut crowd = Vec::new();
    for _ in 0..6 {
        crowd.push(tracker.client().await);
    }
    files.write("deny", "no infohash\n");
    tracker.signal(Signal::HUP);
    doomed.kill();
    until("the alerts fire", || async {
        let firing = prometheus.firing();
        expected.iter().all(|alert| firing.contains(*alert))
    })
    .await;
    load.abort();
}
