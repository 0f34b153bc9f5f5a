//! Objects that are fetched before they are asked for.

use crate::client::Fetched;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

/// What arrives for an object.
pub(crate) type Arrival = Receiver<Result<Fetched, String>>;

/// The window of objects that are on their way or wait to be read, and those that come after them.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    queue: VecDeque<(PathBuf, u64)>,
    waiting: HashMap<PathBuf, (Arrival, u64)>,
    bytes: u64,
}

impl Ahead {
    /// These, of so many bytes each, are read next; what was announced before and not read is forgotten.
    pub(crate) fn announce(&mut self, objects: impl Iterator<Item = (PathBuf, u64)>) {
        *self = Self { queue: objects.collect(), ..Self::default() };
    }

    /// The next object to fetch while the window is not full: `most` objects, or `bytes` of them.
    pub(crate) fn next(&mut self, most: usize, bytes: u64) -> Option<(PathBuf, u64)> {
        while self.waiting.len() < most && (self.bytes < bytes || self.waiting.is_empty()) {
            let (path, size) = self.queue.pop_front()?;
            if !self.waiting.contains_key(&path) {
                return Some((path, size));
            }
        }
        None
    }

    /// One that is on its way from now on.
    pub(crate) fn fetching(&mut self, path: PathBuf, size: u64, arrival: Arrival) {
        self.bytes += size;
        self.waiting.insert(path, (arrival, size));
    }

    /// What arrives for an object; `None` for one that was not announced, or is not its turn: it will not be fetched ahead
    /// any more.
    pub(crate) fn take(&mut self, path: &Path) -> Option<Arrival> {
        if let Some((arrival, size)) = self.waiting.remove(path) {
            self.bytes -= size;
            return Some(arrival);
        }
        if let Some(at) = self.queue.iter().position(|(queued, _)| queued == path) {
            self.queue.remove(at);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn the_window_is_bounded() {
        let mut ahead = Ahead::default();
        ahead.announce((0..10).map(|i| (PathBuf::from(i.to_string()), 10)));
        let start = |ahead: &mut Ahead| {
            let mut started = Vec::new();
            while let Some((path, size)) = ahead.next(4, 30) {
                started.push(path.display().to_string());
                ahead.fetching(path, size, sync_channel(1).1);
            }
            started
        };
        assert_eq!(start(&mut ahead), ["0", "1", "2"]);
        assert!(ahead.take(Path::new("1")).is_some());
        assert_eq!(start(&mut ahead), ["3"]);
        // One that is read before its turn is not fetched twice.
        assert!(ahead.take(Path::new("4")).is_none());
        assert!(ahead.take(Path::new("0")).is_some());
        assert_eq!(start(&mut ahead), ["5"]);
        // An object that is larger than the window goes alone.
        ahead.announce([(PathBuf::from("large"), 1000), (PathBuf::from("next"), 1)].into_iter());
        assert_eq!(start(&mut ahead), ["large"]);
    }
}
