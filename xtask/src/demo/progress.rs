//! One line that shows the demo is alive while nothing happens: rewritten in place on a terminal,
//! repeated every few seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    next: Duration,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), next: EVERY, is_shown: false }
    }

    pub(super) fn show(&mut self, elapsed: Duration, what: &str) {
        let line = format!("{:6.1} s  … {what}", elapsed.as_secs_f64());
        if self.is_terminal {
            print!("\r\x1b[2K\x1b[2m{line}\x1b[0m");
            let _ = std::io::stdout().flush();
            self.is_shown = true;
        } else if elapsed >= self.next {
            println!("{line}");
            self.next = elapsed + EVERY;
        }
    }

    /// Takes the line away, so that something else can be printed.
    pub(super) fn clear(&mut self) {
        if self.is_shown {
            print!("\r\x1b[2K");
            self.is_shown = false;
        }
    }
}
