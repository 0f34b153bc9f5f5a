//! Progress bars: on a terminal, for anything that lasts; silent otherwise.

use crate::output::escaped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use r2former_engine::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;

/// A bar with rate and time left on a terminal; notes always, on standard error.
#[derive(Default)]
pub(crate) struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A bar is only drawn on; a panic elsewhere leaves nothing to protect.
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let template = format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, steps: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(steps);
            }
        });
    }

    fn finish(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn note(&self, line: &str) {
        let line = escaped(line);
        self.with(|slot| match slot {
            Some(bar) if !bar.is_hidden() => bar.println(&line),
            _ => eprintln!("{line}"),
        });
    }
}

/// The same bar without the notes, where a summary follows that says as much.
pub(crate) struct WithoutNotes<'a>(pub(crate) &'a Bar);

impl Progress for WithoutNotes<'_> {
    fn start(&self, what: &str, total: u64) {
        self.0.start(what, total);
    }

    fn advance(&self, steps: u64) {
        self.0.advance(steps);
    }

    fn finish(&self) {
        self.0.finish();
    }

    fn note(&self, _: &str) {}
}
