//! docs/operations.md has every option of both programs, as they print them; man pages and
//! completions are made from the same definition. `UPDATE_DOCS=1` writes the options anew.

use std::fs;
use std::path::Path;

use super::process::run;
use crate::program::command;

/// The block behind `<!-- NAME -->`: where it begins and ends.
fn block(text: &str, name: &str) -> (usize, usize) {
    let marker = format!("<!-- {name} -->\n```\n");
    let start = text.find(&marker).unwrap() + marker.len();
    let length = text[start..].find("```\n").unwrap();
    (start, start + length)
}

fn help(program: &'static str) -> String {
    let (status, stdout, stderr) = run(command(program, &["--help"]));
    assert_eq!(status.code(), Some(0), "{stderr}");
    stdout
}

#[test]
fn the_manual_has_the_options_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let mut text = fs::read_to_string(&path).unwrap();
    for program in ["tracker", "peer"] {
        let (start, end) = block(&text, &format!("{program} --help"));
        let help = help(program);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text.replace_range(start..end, &help);
            fs::write(&path, &text).unwrap();
            continue;
        }
        let same = text[start..end] == help;
        assert!(
            same,
            "docs/operations.md is stale: run this test with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn man_pages_and_completions_know_every_option() {
    for (program, man, completions) in [
        ("tracker", &["man"][..], &["completions", "bash"][..]),
        ("peer", &["--man"], &["--completions", "bash"]),
    ] {
        let options: Vec<String> = help(program)
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"))
            .map(|word| {
                word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
                    .to_owned()
            })
            .filter(|option| !option.is_empty())
            .collect();
        assert!(options.len() > 15, "{options:?}");
        for arguments in [man, completions] {
            let (status, stdout, stderr) = run(command(program, arguments));
            assert_eq!(status.code(), Some(0), "{stderr}");
            // roff writes a hyphen as \-.
            let text = stdout.replace('\\', "");
            for option in &options {
                assert!(
                    text.contains(&format!("--{option}")),
                    "{program} {arguments:?}: {option}"
                );
            }
        }
    }
}
