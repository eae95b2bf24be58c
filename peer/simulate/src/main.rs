//! The simulator's program: runs the scenarios of `peer/simulate/scenarios` and prints their measures
//! next to the bars. It exits with 1 if a bar is missed. With a baseline it exits with 1 if a figure is
//! worse than in the baseline, or misses a bar that was kept there.
//!
//! ```sh
//! cargo run --release -p simulate -- --peers 10000 --seed 1 --scenario all
//! ```

#![expect(clippy::print_stdout, reason = "a program prints its results")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use cap::Cap;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;
use simulate::{Baseline, Progress, Report, Scenario, run};

/// Counts the allocated bytes.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Simulate meshes of thousands of peers in virtual time
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of peers
    #[arg(long, default_value_t = 1000)]
    peers: usize,
    /// Seed of all random choices: the same seed gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Scenario to run, or "all" (see --list)
    #[arg(long, default_value = "all")]
    scenario: String,
    /// Write all measures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the figures in this file: a figure that got worse fails, a bar that was missed
    /// before does not
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the figures to this file, for a later --baseline
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// Print all measures, not only those that have a bar
    #[arg(long)]
    verbose: bool,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut scenarios = read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))?;
    if arguments.list {
        for scenario in scenarios {
            println!("{:<20} {}", scenario.name, scenario.title);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.scenario != "all" {
        scenarios.retain(|scenario| scenario.name == arguments.scenario);
    }
    if scenarios.is_empty() {
        bail!(
            "--scenario: there is no scenario {:?}; --list shows all",
            arguments.scenario
        );
    }
    let baseline = arguments
        .baseline
        .as_deref()
        .map(read_baseline)
        .transpose()?;
    let mut reports = Vec::new();
    for scenario in &scenarios {
        let report = simulate(scenario, &arguments);
        print!("{report}");
        if arguments.verbose {
            for (measure, value) in &report.measures {
                println!("    {measure:<40} {value:.3}");
            }
        }
        reports.push(report);
    }
    if let Some(path) = &arguments.json {
        write(path, &reports)?;
    }
    if let Some(path) = &arguments.write_baseline {
        write(
            path,
            &Baseline::new(arguments.peers, arguments.seed, &reports),
        )?;
    }
    let missed = reports.iter().filter(|report| !report.kept()).count();
    if missed > 0 {
        println!("{missed} of {} scenarios miss a bar", reports.len());
    } else {
        println!("all bars kept");
    }
    let failed = match &baseline {
        Some(baseline) => {
            let worse = reports
                .iter()
                .flat_map(|report| baseline.regressions(report));
            worse.inspect(|worse| println!("worse: {worse}")).count() > 0
        }
        None => missed > 0,
    };
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read_baseline(path: &Path) -> anyhow::Result<Baseline> {
    let read = || anyhow::Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?);
    read().with_context(|| path.display().to_string())
}

fn write(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    std::fs::write(path, json + "\n").with_context(|| path.display().to_string())
}

fn simulate(scenario: &Scenario, arguments: &Arguments) -> Report {
    // The bar is drawn on standard error, and only on a terminal.
    let bar = ProgressBar::new(0)
        .with_prefix(scenario.name.clone())
        .with_style(progress_style());
    let mut progress = |progress: Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.passed as u64);
        bar.set_message(progress.peers.to_string());
    };
    let (peers, seed) = (arguments.peers, arguments.seed);
    let report = run(
        scenario,
        peers,
        seed,
        &mut progress,
        Some(|| ALLOCATOR.allocated()),
    );
    bar.finish_and_clear();
    report
}

fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {bar:30} {pos} of {len} s, {msg} peers")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn read_all(directory: &Path) -> anyhow::Result<Vec<Scenario>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)?;
        let mut scenario: Scenario = toml::from_str(&text)?;
        if let Some(name) = path.file_stem() {
            scenario.name = name.to_string_lossy().into_owned();
        }
        anyhow::Ok(scenario)
    };
    let read = |path: &PathBuf| read(path).with_context(|| path.display().to_string());
    paths.iter().map(read).collect()
}
