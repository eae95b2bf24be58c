//! Prints lines: messages to standard output, everything else to standard error. While a line is
//! being edited, both are printed above the prompt.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Prints above the prompt.
pub(crate) type Printer = Box<dyn FnMut(String) + Send>;

pub(crate) struct Console {
    printer: Option<Mutex<Printer>>,
    /// Whether standard output is a terminal. If not, a program reads it.
    pub(crate) is_terminal: bool,
    /// The modes of the terminal before the editor changed them.
    modes: Option<Termios>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("is_terminal", &self.is_terminal)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// Remembers the terminal's modes, then calls `editor`, which may change them and returns the
    /// editor's printer.
    pub(crate) fn new<E>(editor: impl FnOnce() -> Result<Option<Printer>, E>) -> Result<Self, E> {
        let modes = tcgetattr(io::stdin()).ok();
        Ok(Self {
            printer: editor()?.map(Mutex::new),
            is_terminal: io::stdout().is_terminal(),
            modes,
        })
    }

    /// Whether a line is being edited.
    pub(crate) const fn has_prompt(&self) -> bool {
        self.printer.is_some()
    }

    /// Prints a line on standard output.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        if self.is_terminal && self.print(text) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Prints a line on standard error. Errors are ignored: a peer goes on when nothing reads it.
    pub(crate) fn note(&self, text: &str) {
        if !(io::stderr().is_terminal() && self.print(text)) {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    fn print(&self, text: &str) -> bool {
        let Some(printer) = &self.printer else {
            return false;
        };
        let mut print = printer.lock().unwrap_or_else(PoisonError::into_inner);
        print(format!("{text}\n"));
        true
    }

    /// Restores the terminal's modes, because the editor is left in the middle of a line.
    pub(crate) fn restore(&self) {
        if let (Some(_), Some(modes)) = (&self.printer, &self.modes) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
            // The shell's next prompt should start on a new line.
            let _ = writeln!(io::stderr().lock());
        }
    }
}

/// Writes log lines. Each call of `write` gets a whole line.
#[derive(Debug)]
pub(crate) struct LogWriter(pub(crate) Arc<Console>);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.note(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
