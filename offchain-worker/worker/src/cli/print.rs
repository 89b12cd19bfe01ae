//! Where output goes.

use super::error::CliError;
use serde_json::Value;
use std::io::Write;

/// Writes what a command has to say: text for people, or one JSON object.
pub struct Printer {
    json: bool,
    out: Box<dyn Write + Send>,
    aside: Box<dyn Write + Send>,
}

impl Printer {
    /// To standard output, with asides on standard error.
    pub fn standard(json: bool) -> Self {
        Self::new(
            json,
            Box::new(std::io::stdout()),
            Box::new(std::io::stderr()),
        )
    }

    /// To any writers.
    pub fn new(json: bool, out: Box<dyn Write + Send>, aside: Box<dyn Write + Send>) -> Self {
        Printer { json, out, aside }
    }

    /// Is JSON wanted?
    pub fn json(&self) -> bool {
        self.json
    }

    /// The command's result: `text` for people, `value` for machines.
    pub fn result(&mut self, value: Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let line = if self.json { value.to_string() } else { text() };
        self.write(&line)?;
        self.write("\n")
    }

    /// A part of the result as it comes; only people see it. Where JSON is wanted it goes aside.
    pub fn stream(&mut self, text: &str) -> Result<(), CliError> {
        match self.json {
            true => {
                self.aside(text);
                Ok(())
            }
            false => self.write(text),
        }
    }

    /// What is said on the way.
    pub fn aside(&mut self, text: &str) {
        // Nobody reads it: that is no reason to stop.
        let _ = self
            .aside
            .write_all(text.as_bytes())
            .and_then(|()| self.aside.flush());
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        written.map_err(|source| CliError::Io {
            what: "the output can't be written",
            source,
        })
    }
}
