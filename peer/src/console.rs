//! Where lines go: messages to standard output, everything else to standard error, and both above
//! the prompt while a line is being edited.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Prints above the prompt.
pub(crate) type Printer = Box<dyn FnMut(String) + Send>;

pub(crate) struct Console {
    printer: Option<Mutex<Printer>>,
    /// Whether people read standard output, not a program.
    pub(crate) for_people: bool,
    /// Of the terminal that lines are typed on, before the editor changed them.
    modes: Option<Termios>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("for_people", &self.for_people)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// To be made before an editor changes the terminal's modes; `editor` makes its printer.
    pub(crate) fn new<E>(editor: impl FnOnce() -> Result<Option<Printer>, E>) -> Result<Self, E> {
        let modes = tcgetattr(io::stdin()).ok();
        Ok(Self {
            printer: editor()?.map(Mutex::new),
            for_people: io::stdout().is_terminal(),
            modes,
        })
    }

    /// Whether a line is being edited.
    pub(crate) const fn has_prompt(&self) -> bool {
        self.printer.is_some()
    }

    /// A line on standard output.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        if self.for_people && self.print(text) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// A line on standard error. That nobody reads it must not stop a peer.
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

    /// Gives the terminal its modes back: the editor is left in the middle of a line.
    pub(crate) fn restore(&self) {
        if let (Some(_), Some(modes)) = (&self.printer, &self.modes) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
            // The next prompt of the shell starts on a line of its own.
            let _ = writeln!(io::stderr().lock());
        }
    }
}

/// Writes log lines, each handed over whole.
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
