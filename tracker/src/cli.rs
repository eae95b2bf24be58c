//! The command line: subcommands over one set of settings.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::cluster::ClusterUrl;
use crate::config::{ConfigError, Settings, apply_file};

#[derive(Debug, Parser)]
#[command(
    name = "tracker",
    version = crate::LONG_VERSION,
    about = "WebTorrent-compatible WebSocket tracker with demo page and Prometheus metrics",
    after_help = "Without arguments it serves on port 3000. Every option can also be set by its \
                  environment variable or in the config file, in this order: flag, environment, \
                  file, default.\nSignals: TERM and INT drain and stop, a second one stops at \
                  once; HUP reads lists and TLS files again."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,

    /// TOML file with settings
    #[arg(long, env = "EASYPEERS_CONFIG", value_name = "FILE", global = true)]
    config: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Subcommand)]
enum Subcommands {
    /// Serve (the default)
    Serve,
    /// Print the effective settings and where each comes from; check files and exit
    CheckConfig,
    /// Ask the running tracker on this machine whether it is healthy; exit 0 if so
    Healthcheck,
    /// Print a config file with every setting and its default
    ExampleConfig,
    /// Print a shell completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page
    Man,
}

/// What to do.
#[derive(Debug)]
pub enum Invocation {
    /// Serve.
    Serve(Settings),
    /// Print effective settings; each line is ready.
    CheckConfig(Settings, Vec<String>),
    /// Ask the running server.
    Healthcheck(Settings),
    /// Print a generated text and be done.
    Print(Vec<u8>),
}

/// Why the command line cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// clap's own message, `--help` and `--version` among them.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The config file, or settings that contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads command line, environment and config file.
///
/// # Errors
/// [`CliError`], with the text to show.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, CliError> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let command = Cli::command();
    // A first look only for the file; values that the file may correct do not matter yet.
    let first = command
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(&arguments);
    let file = first.ok().and_then(|matches| {
        let mut innermost = &matches;
        while let Some((_, inner)) = innermost.subcommand() {
            innermost = inner;
        }
        innermost
            .get_one::<String>("config")
            .or_else(|| matches.get_one("config"))
            .cloned()
    });
    let (command, from_file) = match &file {
        Some(path) => apply_file(command, path)?,
        None => (command, Vec::new()),
    };
    let matches = command.clone().try_get_matches_from(&arguments)?;
    let innermost = matches.subcommand().map_or(&matches, |(_, inner)| inner);
    let settings = Settings::from_arg_matches(innermost)?;
    let subcommand = match matches.subcommand() {
        Some(_) => Subcommands::from_arg_matches(&matches)?,
        None => Subcommands::Serve,
    };
    if let Subcommands::Serve | Subcommands::CheckConfig = subcommand {
        settings.check()?;
    }
    Ok(match subcommand {
        Subcommands::Serve => Invocation::Serve(settings),
        Subcommands::CheckConfig => {
            let lines = describe(&command, innermost, &from_file, file.as_deref());
            Invocation::CheckConfig(settings, lines)
        }
        Subcommands::Healthcheck => Invocation::Healthcheck(settings),
        Subcommands::ExampleConfig => Invocation::Print(example_config().into_bytes()),
        Subcommands::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tracker", &mut text);
            Invocation::Print(text)
        }
        Subcommands::Man => {
            let mut text = Vec::new();
            // Writing into memory cannot fail.
            let _ = clap_mangen::Man::new(Cli::command()).render(&mut text);
            Invocation::Print(text)
        }
    })
}

/// A config file that changes nothing: every setting with its help, its default or, commented out,
/// the form of its value.
fn example_config() -> String {
    let mut text = "\
# Settings of the tracker: `tracker --config FILE`. Keys are the flags of `tracker --help` without the
# dashes in front; flags and environment variables (EASYPEERS_...) go before this file. What is
# commented out has no default. `tracker check-config --config FILE` checks a file, and
# `tracker example-config` prints this one.
"
    .to_owned();
    for argument in Cli::command().get_arguments() {
        let Some(long) = argument.get_long().filter(|name| *name != "config") else {
            continue;
        };
        let help = argument.get_help().map(ToString::to_string);
        text += &format!("\n# {}.\n", help.unwrap_or_default().replace('\n', "\n# "));
        let takes_list = matches!(argument.get_action(), clap::ArgAction::Append);
        let value = |value: &str| match value.parse::<u64>() {
            _ if matches!(value, "true" | "false") => value.to_owned(),
            Ok(number) => number.to_string(),
            Err(_) => format!("\"{value}\""),
        };
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|default| value(&default.to_string_lossy()))
            .collect();
        let is_flag = matches!(argument.get_action(), clap::ArgAction::SetTrue);
        text += &match (&defaults[..], is_flag) {
            (_, true) => format!("{long} = false\n"),
            ([], _) => {
                let names = argument.get_value_names().unwrap_or_default();
                let form = value(names.first().map_or("", |name| name.as_str()));
                match takes_list {
                    true => format!("# {long} = [{form}]\n"),
                    false => format!("# {long} = {form}\n"),
                }
            }
            (defaults, _) if takes_list => format!("{long} = [{}]\n", defaults.join(", ")),
            (defaults, _) => format!("{long} = {}\n", defaults.concat()),
        };
    }
    text
}

/// One line per setting: name, value, source. Files are named, not shown; a URL that may have a
/// password is masked.
fn describe(
    command: &clap::Command,
    matches: &ArgMatches,
    from_file: &[String],
    file: Option<&str>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(long) = argument
            .get_long()
            .filter(|name| !matches!(*name, "help" | "version"))
        else {
            continue;
        };
        let values: Vec<_> = matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| match id {
                "cluster_url" => ClusterUrl::from(&*value.to_string_lossy()).to_string(),
                _ => value.to_string_lossy().into_owned(),
            })
            .collect();
        let environment = argument
            .get_env()
            .map(|name| name.to_string_lossy().into_owned());
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => format!("flag --{long}"),
            Some(ValueSource::EnvVariable) => {
                format!("environment {}", environment.unwrap_or_default())
            }
            Some(_) if from_file.iter().any(|key| key == id) => {
                format!("file {}", file.unwrap_or_default())
            }
            _ => "default".to_owned(),
        };
        let value = if values.is_empty() {
            "(none)".to_owned()
        } else {
            values.join(", ")
        };
        lines.push(format!("{long:<30} {value:<24} {source}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn parsed(arguments: &[&str]) -> Result<Invocation, CliError> {
        parse(std::iter::once(&"tracker").chain(arguments).map(Into::into))
    }

    #[test]
    fn flag_beats_file_beats_default_and_sources_are_told() {
        let path = std::env::temp_dir().join(format!("tracker-cli-{}.toml", std::process::id()));
        let text =
            "max-offers = 7\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\nping-interval = \"5s\"\n";
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let flags = ["check-config", "--config", file, "--max-offers", "9"];
        let Invocation::CheckConfig(settings, lines) = parsed(&flags).unwrap() else {
            panic!("not check-config");
        };
        assert_eq!(settings.max_offers, 9);
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.ping_interval.as_secs(), 5);
        let line = |name: &str| {
            lines
                .iter()
                .find(|line| line.starts_with(name))
                .unwrap()
                .clone()
        };
        assert!(
            line("max-offers").ends_with("flag --max-offers"),
            "{}",
            line("max-offers")
        );
        assert!(line("listen").ends_with(&format!("file {file}")));
        assert!(line("drain-timeout").ends_with("default"));

        std::fs::write(&path, "max-ofers = 7\n").unwrap();
        let error = parsed(&["--config", file]).unwrap_err().to_string();
        assert!(error.contains("unknown key \"max-ofers\""), "{error}");
        std::fs::write(&path, "max-offers = {}\n").unwrap();
        let error = parsed(&["--config", file]).unwrap_err().to_string();
        assert!(error.contains("max-offers must be"), "{error}");
        std::fs::write(&path, "max-offers = 1000\n").unwrap();
        assert!(parsed(&["--config", file]).is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn flags_stand_before_or_behind_the_subcommand() {
        for flags in [
            ["--max-offers", "3", "serve"],
            ["serve", "--max-offers", "3"],
        ] {
            let Invocation::Serve(settings) = parsed(&flags).unwrap() else {
                panic!("not serve");
            };
            assert_eq!(settings.max_offers, 3);
        }
    }

    #[test]
    fn half_a_tls_pair_is_an_error_that_names_both_flags() {
        let error = parsed(&["--tls-cert", "x.pem"]).unwrap_err().to_string();
        assert!(error.contains("--tls-cert") && error.contains("--tls-key"));
    }

    #[test]
    fn completions_and_man_page_are_generated() {
        for flags in [&["completions", "bash"][..], &["man"], &["example-config"]] {
            let Invocation::Print(text) = parsed(flags).unwrap() else {
                panic!("nothing to print");
            };
            let text = String::from_utf8(text).unwrap();
            // roff escapes hyphens.
            assert!(text.replace("\\", "").contains("max-offers"));
        }
    }

    #[test]
    fn the_example_file_is_generated_and_sets_defaults_only() {
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/tracker.example.toml"
        );
        let Invocation::CheckConfig(_, lines) =
            parsed(&["check-config", "--config", example]).unwrap()
        else {
            panic!("not check-config");
        };
        let text = std::fs::read_to_string(example).unwrap();
        // Regenerate it with: cargo run -p tracker example-config > deploy/tracker.example.toml
        assert_eq!(
            text,
            example_config(),
            "deploy/tracker.example.toml is stale"
        );
        let Invocation::CheckConfig(_, defaults) = parsed(&["check-config"]).unwrap() else {
            panic!("not check-config");
        };
        for (line, default) in lines.iter().zip(&defaults) {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next().unwrap(), words.next().unwrap());
            let unchanged = default.split_whitespace().nth(1) == Some(value);
            assert!(unchanged || name == "config", "{line}");
        }
    }
}
