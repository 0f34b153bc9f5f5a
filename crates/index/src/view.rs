//! A reader's own directory: hard links to a generation, removed when the reader ends.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{At, IndexError, Result};
use crate::files::remove_dir;
use crate::generation::{self, Share, State};

const VIEWS: &str = "readers";

/// How often a reader starts over when commits overtake it.
const ATTEMPTS: usize = 50;

/// A directory that only this reader opens. A lock on a file beside it says that the reader lives.
#[derive(Debug)]
pub(crate) struct View {
    dir: PathBuf,
    lock: PathBuf,
    generation: u64,
    state: State,
    _alive: File,
}

impl View {
    /// A view of the generation that counts, below `scratch` (by default the index itself).
    pub(crate) fn open(index: &Path, scratch: Option<&Path>) -> Result<Self> {
        let root = scratch.unwrap_or(index).join(VIEWS);
        fs::create_dir_all(&root).at(&root)?;
        remove_abandoned(&root)?;
        let (dir, lock, alive) = reserve(&root)?;
        let mut view = Self { dir, lock, generation: 0, state: State { next_operation: 0 }, _alive: alive };
        for _ in 0..ATTEMPTS {
            view.generation = generation::current(index)?;
            remove_dir(&view.dir)?;
            fs::create_dir(&view.dir).at(&view.dir)?;
            let shared =
                generation::share(&generation::dir_of(index, view.generation), &view.dir, Share::All);
            match shared.and_then(|()| generation::state(&view.dir)) {
                // A generation is removed only once another counts: as long as it does not, nothing was missed.
                Ok(state) if generation::current(index)? == view.generation => {
                    view.state = state;
                    return Ok(view);
                }
                Ok(_) => {}
                // A newer commit removed this one meanwhile.
                Err(IndexError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && generation::current(index)? != view.generation => {}
                Err(error) => return Err(error),
            }
        }
        Err(IndexError::Busy { dir: index.into(), holder: "it commits faster than a reader can open".into() })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next reader or writer.
        let _ = remove_dir(&self.dir);
        let _ = fs::remove_file(&self.lock);
    }
}

/// A name of its own and the lock on it.
fn reserve(root: &Path) -> Result<(PathBuf, PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (dir, lock) = (root.join(&name), root.join(format!("{name}.lock")));
        let file = match File::create_new(&lock) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file.at(&lock)?,
        };
        // A cleaner may have come between: then the name is gone, or the lock is taken.
        if file.try_lock().is_ok() && lock.exists() {
            return Ok((dir, lock, file));
        }
    }
}

/// Removes the views of readers that ended without cleaning up.
pub(crate) fn remove_abandoned(root: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(root) else { return Ok(()) };
    for entry in entries {
        let lock = entry.at(root)?.path();
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(file) = File::open(&lock) else { continue };
        if file.try_lock().is_ok() {
            remove_dir(&lock.with_extension(""))?;
            let _ = fs::remove_file(&lock);
        }
    }
    Ok(())
}

/// Where an index keeps the views of its readers.
pub(crate) fn root_of(index: &Path) -> PathBuf {
    index.join(VIEWS)
}
