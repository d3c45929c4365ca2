//! A bar that says how far a long command is, where a person looks at a terminal; nothing elsewhere. It goes away when it is dropped.

use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// See the module head.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar for this many bytes.
    pub fn new(total: u64) -> Self {
        Self((std::io::stderr().is_terminal() && output::for_people()).then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:40} {bytes}/{total_bytes}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    /// What is being done, and how much of it is done.
    pub fn show(&self, what: &str, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.to_owned());
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
