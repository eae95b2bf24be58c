//! The results as a table and as JSON.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::{
    args::{Args, Mode},
    modes::{Idle, Outcome, Window},
    state::State,
    stats::{Latency, Stats},
};

impl Window {
    fn announce_cost(&self) -> Option<f64> {
        per(self.server_cpu?, self.stats.announces)
    }

    fn message_cost(&self) -> Option<f64> {
        let messages = self.stats.messages_in + self.stats.messages_out;
        per(self.server_cpu?, messages)
    }

    fn json(&self) -> Value {
        let s = &self.stats;
        let rate = |n: u64| n as f64 / self.seconds;
        json!({
            "offers_per_announce": self.offers,
            "answered": self.answers,
            "seconds": self.seconds,
            "announces": s.announces,
            "responses": s.responses,
            "offers_expected": s.offers_expected,
            "offers": s.offers,
            "answers_sent": s.answers_sent,
            "answers": s.answers,
            "announces_per_second": rate(s.announces),
            "offers_per_second": rate(s.offers),
            "answers_per_second": rate(s.answers),
            "messages_in": s.messages_in,
            "messages_out": s.messages_out,
            "bytes_in": s.bytes_in,
            "bytes_out": s.bytes_out,
            "lost": {
                "responses": s.lost_responses,
                "offers": s.lost_offers,
                "answers": s.lost_answers,
                "outside_window": s.lost_outside,
            },
            "crossed": {
                "offers": s.crossed_offer_latency.count(),
                "answers": s.crossed_answer_latency.count(),
            },
            "same_receiver": s.same_receiver,
            "latency_ms": {
                "response": latency_json(&s.response_latency),
                "offer": latency_json(&s.offer_latency),
                "answer": latency_json(&s.answer_latency),
                "here_offer": latency_json(&s.here_offer_latency),
                "crossed_offer": latency_json(&s.crossed_offer_latency),
                "crossed_answer": latency_json(&s.crossed_answer_latency),
                "schedule_lag": latency_json(&s.schedule_lag),
            },
            "server_cpu_us": self.server_cpu,
            "server_cpu_us_per_announce": self.announce_cost(),
            "server_cpu_us_per_message": self.message_cost(),
            "server_cores": self.server_cpu.map(|cpu| cpu as f64 / self.seconds / 1e6),
            "server_rss_kib": self.rss,
            "load_cores": self.own_cpu as f64 / self.seconds / 1e6,
        })
    }
}

impl Idle {
    /// KiB for each connection.
    fn each(&self, connections: u32) -> Option<f64> {
        let grown = self.after? as f64 - self.before? as f64;
        Some(grown / f64::from(connections))
    }
}

/// Microseconds for an announce without offers, a relayed offer and a relayed answer, from the
/// runs of the mode `cost`: whole ones and those with half the offers.
fn prices(windows: &[Window]) -> Option<[[f64; 2]; 3]> {
    let [bare, half, offers, half_answered, answered] = windows else {
        return None;
    };
    let between = |more: &Window, less: &Window, count: fn(&Stats) -> u64| {
        let difference = more.announce_cost()? - less.announce_cost()?;
        let each = count(&more.stats) as f64 / more.stats.announces as f64;
        Some(difference / each)
    };
    let announce = bare.announce_cost()?;
    Some([
        [announce, announce],
        [
            between(offers, bare, |s| s.offers)?,
            between(half, bare, |s| s.offers)?,
        ],
        [
            between(answered, offers, |s| s.answers)?,
            between(half_answered, half, |s| s.answers)?,
        ],
    ])
}

pub(crate) fn json(args: &Args, seed: u64, outcome: &Outcome, state: &State) -> Value {
    let faults = state.faults.0.iter();
    let failures = state.failures.0.iter();
    let mut report = json!({
        "mode": format!("{:?}", args.mode).to_lowercase(),
        "urls": args.urls,
        "seed": seed,
        "connections": args.connections,
        "swarms": args.swarms,
        "sdp_bytes": args.sdp_bytes,
        "answers_get_responses": state.answers_get_responses,
        "unsolicited_responses": state.unsolicited,
        "faults": faults.map(|(f, (n, example))| json!({"fault": f.name(), "count": n, "example": example})).collect::<Vec<_>>(),
        "failures": failures.map(|(f, (n, example))| json!({"reason": f, "count": n, "example": example})).collect::<Vec<_>>(),
        "clean": is_clean(outcome, state, args.allow_loss),
    });
    match outcome {
        Outcome::Windows(windows) => {
            report["windows"] = windows.iter().map(Window::json).collect();
            if args.mode == Mode::Cost
                && let Some([announce, offer, answer]) = prices(windows)
            {
                report["cost_us"] = json!({"announce": announce[0], "offer": offer[0], "answer": answer[0],
                    "offer_from_half": offer[1], "answer_from_half": answer[1]});
            }
        }
        Outcome::Idle(idle) => {
            report["idle"] = json!({
                "rss_before_kib": idle.before,
                "rss_after_kib": idle.after,
                "kib_per_connection": idle.each(args.connections),
                "server_cores": idle.window.server_cpu.map(|cpu| cpu as f64 / idle.window.seconds / 1e6),
            });
        }
    }
    report
}

/// Nothing wrong, and nothing lost unless that is allowed.
pub(crate) fn is_clean(outcome: &Outcome, state: &State, allow_loss: bool) -> bool {
    // Of several addresses, each must reach the others.
    let crossed = match outcome {
        Outcome::Windows(windows) => windows.iter().all(|window| {
            let stats = &window.stats;
            let offers = stats.crossed_offer_latency.count();
            let answers = stats.crossed_answer_latency.count();
            state.urls == 1 || stats.offers == 0 || (offers > 0 && (answers > 0 || !window.answers))
        }),
        Outcome::Idle(_) => true,
    };
    let faultless = state.faults.0.keys().all(|f| allow_loss && f.is_loss());
    let lossless = match outcome {
        Outcome::Windows(windows) => windows.iter().all(|window| window.stats.lost() == 0),
        Outcome::Idle(_) => true,
    };
    faultless && crossed && state.failures.0.is_empty() && (lossless || allow_loss)
}

pub(crate) fn text(args: &Args, outcome: &Outcome, state: &State) -> Result<String, fmt::Error> {
    let mut out = String::new();
    match outcome {
        Outcome::Idle(idle) => idle_text(&mut out, args, idle)?,
        Outcome::Windows(windows) => {
            for window in windows {
                window_text(&mut out, window)?;
            }
            if args.mode == Mode::Cost
                && let Some([announce, offer, answer]) = prices(windows)
            {
                writeln!(
                    out,
                    "server CPU, from the differences (in brackets: from half the offers)"
                )?;
                writeln!(out, "  announce without offers {:8.1} µs", announce[0])?;
                writeln!(
                    out,
                    "  relayed offer           {:8.1} µs ({:.1})",
                    offer[0], offer[1]
                )?;
                writeln!(
                    out,
                    "  relayed answer          {:8.1} µs ({:.1})",
                    answer[0], answer[1]
                )?;
            }
        }
    }
    if state.answers_get_responses {
        writeln!(out, "this tracker responds to answers too")?;
    }
    if state.unsolicited > 0 {
        writeln!(
            out,
            "responses that nothing asked for: {}",
            state.unsolicited
        )?;
    }
    for (fault, (count, example)) in &state.faults.0 {
        writeln!(
            out,
            "WRONG: {} x {}, such as: {example}",
            count,
            fault.name()
        )?;
    }
    for (reason, (count, example)) in &state.failures.0 {
        writeln!(out, "FAILURE: {count} x {reason:?}, such as: {example}")?;
    }
    Ok(out)
}

fn window_text(out: &mut String, window: &Window) -> fmt::Result {
    let s = &window.stats;
    writeln!(
        out,
        "{} announces of {} offers, {}answered, in {:.1} s: {:.0} announces/s, {:.0} offers/s, {:.0} answers/s",
        s.announces,
        window.offers,
        if window.answers { "" } else { "not " },
        window.seconds,
        s.announces as f64 / window.seconds,
        s.offers as f64 / window.seconds,
        s.answers as f64 / window.seconds,
    )?;
    writeln!(
        out,
        "              expected    arrived       lost   p50 ms   p99 ms   max ms"
    )?;
    let rows = [
        (
            "responses",
            s.announces,
            s.responses,
            s.lost_responses,
            &s.response_latency,
        ),
        (
            "offers",
            s.offers_expected,
            s.offers,
            s.lost_offers,
            &s.offer_latency,
        ),
        (
            "answers",
            s.answers_sent,
            s.answers,
            s.lost_answers,
            &s.answer_latency,
        ),
    ];
    for (name, expected, arrived, lost, latency) in rows {
        write!(out, "  {name:<10} {expected:>10} {arrived:>10} {lost:>10}")?;
        latency_text(out, latency)?;
    }
    for (name, latency) in [
        ("offers", &s.crossed_offer_latency),
        ("answers", &s.crossed_answer_latency),
    ] {
        if latency.count() > 0 {
            write!(
                out,
                "  {name:<7} between nodes {:>8}           ",
                latency.count()
            )?;
            latency_text(out, latency)?;
        }
    }
    if s.schedule_lag.count() > 0 {
        write!(out, "  left late by                             ")?;
        latency_text(out, &s.schedule_lag)?;
    }
    if s.lost_outside > 0 {
        writeln!(out, "  lost outside the window: {}", s.lost_outside)?;
    }
    if s.same_receiver > 0 {
        writeln!(
            out,
            "  offers at a peer that had one of the same announce: {}",
            s.same_receiver
        )?;
    }
    if let (Some(cpu), Some(announce), Some(message), Some(rss)) = (
        window.server_cpu,
        window.announce_cost(),
        window.message_cost(),
        window.rss,
    ) {
        writeln!(
            out,
            "  server: {:.1} % of a core, {announce:.1} µs per announce, {message:.2} µs per message, {:.1} MiB resident",
            share(cpu, window),
            rss as f64 / 1024.0,
        )?;
    }
    writeln!(
        out,
        "  load generator: {:.1} % of a core{}",
        share(window.own_cpu, window),
        if share(window.own_cpu, window) > 85.0 {
            " - IT IS THE BOTTLENECK"
        } else {
            ""
        }
    )
}

fn idle_text(out: &mut String, args: &Args, idle: &Idle) -> fmt::Result {
    write!(out, "{} idle connections", args.connections)?;
    match (idle.before, idle.after, idle.each(args.connections)) {
        (Some(before), Some(after), Some(each)) => writeln!(
            out,
            ": {before} KiB before, {after} KiB after, {each:.2} KiB per connection, {:.2} % of a core",
            idle.window
                .server_cpu
                .map_or(0.0, |cpu| share(cpu, &idle.window)),
        ),
        _ => writeln!(out, " (no --pid: nothing to measure)"),
    }
}

fn latency_text(out: &mut String, latency: &Latency) -> fmt::Result {
    if latency.count() == 0 {
        return writeln!(out, "        -        -        -");
    }
    let (p50, p99, max) = (latency.at(0.5), latency.at(0.99), latency.max());
    writeln!(out, " {p50:8.2} {p99:8.2} {max:8.2}")
}

fn latency_json(latency: &Latency) -> Value {
    if latency.count() == 0 {
        return Value::Null;
    }
    json!({"p50": latency.at(0.5), "p90": latency.at(0.9), "p99": latency.at(0.99), "max": latency.max()})
}

fn per(total: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| total as f64 / count as f64)
}

/// Percent of one core.
fn share(cpu: u64, window: &Window) -> f64 {
    cpu as f64 / window.seconds / 1e4
}
