//! Reads what is typed: with a line editor on a terminal, as plain lines from a pipe. A thread of
//! its own reads, because a blocking read cannot be cancelled.

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::Arc;

use anyhow::Context;
use easypeers::MAX_MESSAGE;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter as _};
use tokio::sync::mpsc;

use super::console::{Console, Printer};

/// The most lines that are read ahead.
const READ_AHEAD: usize = 16;

/// The most lines that the arrow keys bring back.
const HISTORY: usize = 1000;

const PROMPT: &str = "> ";

/// What was read from standard input. Nothing follows `End`, `Interrupt` and `Failed`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(String),
    /// A line that cannot be sent, and the reason.
    Unsendable(&'static str),
    /// Ctrl-D, or the end of a pipe.
    End,
    /// Ctrl-C in the editor.
    Interrupt,
    /// Standard input cannot be read, and the reason.
    Failed(String),
}

/// Starts reading. With `json` there is no prompt, because a script reads the output.
pub(crate) fn open(json: bool) -> anyhow::Result<(Arc<Console>, mpsc::Receiver<Typed>)> {
    let (sender, typed) = mpsc::channel(READ_AHEAD);
    let edits = !json && io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut editor = None;
    let console = Console::new(|| {
        if !edits {
            return Ok(None);
        }
        let mut new = new_editor()?;
        let mut printer = new.create_external_printer()?;
        editor = Some(new);
        // When the terminal is closed, its signal ends the peer. The error does not matter.
        let print: Printer = Box::new(move |text| drop(printer.print(text)));
        Ok::<_, ReadlineError>(Some(print))
    })
    .context("cannot edit lines on this terminal")?;
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || match editor {
            Some(editor) => edit_lines(editor, &sender),
            None => read_lines(io::stdin().lock(), &sender),
        })
        .context("cannot start the thread that reads standard input")?;
    Ok((Arc::new(console), typed))
}

type LineEditor = Editor<(), MemHistory>;

fn new_editor() -> Result<LineEditor, ReadlineError> {
    let config = Config::builder().max_history_size(HISTORY)?.build();
    let history = MemHistory::with_config(&config);
    Editor::with_history(config, history)
}

fn edit_lines(mut editor: LineEditor, sender: &mpsc::Sender<Typed>) {
    loop {
        let typed = match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                Typed::Line(line)
            }
            Err(ReadlineError::Eof) => Typed::End,
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            // The window changed its size.
            Err(ReadlineError::Signal(_)) => continue,
            Err(error) => Typed::Failed(error.to_string()),
        };
        let last = !matches!(typed, Typed::Line(_));
        if sender.blocking_send(typed).is_err() || last {
            return;
        }
    }
}

fn read_lines(mut from: impl BufRead, sender: &mpsc::Sender<Typed>) {
    loop {
        let typed = read_line(&mut from);
        let last = !matches!(typed, Typed::Line(_) | Typed::Unsendable(_));
        if sender.blocking_send(typed).is_err() || last {
            return;
        }
    }
}

fn read_line(from: &mut impl BufRead) -> Typed {
    let mut line = Vec::new();
    // A command may stand in front of the largest message.
    let most = MAX_MESSAGE as u64 + 1024;
    match from.by_ref().take(most).read_until(b'\n', &mut line) {
        Ok(0) => return Typed::End,
        Ok(read) if read as u64 == most && line.last() != Some(&b'\n') => {
            return match skip_line(from) {
                Ok(()) => Typed::Unsendable("the line is longer than 16 MiB; not sent"),
                Err(error) => Typed::Failed(error.to_string()),
            };
        }
        Ok(_) => {}
        Err(error) => return Typed::Failed(error.to_string()),
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(line) => Typed::Line(line),
        Err(_) => Typed::Unsendable("the line is not UTF-8; not sent"),
    }
}

/// Skips the rest of a line.
fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = from.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        from.consume(used);
        if end.is_some() || used == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Typed> {
        let mut from = bytes;
        let mut typed = Vec::new();
        loop {
            match read_line(&mut from) {
                Typed::End => return typed,
                line => typed.push(line),
            }
        }
    }

    #[test]
    fn lines_are_taken_as_they_are() {
        let line = |text: &str| Typed::Line(text.to_owned());
        assert_eq!(
            all(b"one\n two \n\nlast"),
            [line("one"), line(" two "), line(""), line("last")]
        );
        assert_eq!(all(b""), []);
        let typed = all(b"\xff\nafter\n");
        assert!(matches!(typed[0], Typed::Unsendable(_)));
        assert_eq!(typed[1], line("after"));
    }

    #[test]
    fn a_line_too_long_is_skipped_whole() {
        let mut bytes = vec![b'a'; MAX_MESSAGE + 5000];
        bytes.extend_from_slice(b"\nafter\n");
        let typed = all(&bytes);
        assert!(matches!(typed[..], [Typed::Unsendable(_), Typed::Line(_)]));
    }
}
