//! Indexes into another one, wherever each is kept: folder to collection and back, the parts of an extraction into one.

mod check;
mod portion;
mod report;

pub use report::{CopyOptions, CopyReport, Difference, Verified, VerifySamples};

use self::check::Checks;
use self::portion::{Portion, Portions};
use crate::{EngineError, IndexReader, IndexWriter, PlaceIndex, Progress, Result};
use r2former_index::{Batch, Filter, ReadPlaces, Source, WritePlaces};
use std::sync::mpsc::sync_channel;
use uuid::Uuid;

/// Images that differ, after which a copy ends: what differs so often are not the parts of one index.
const MOST_DIFFERENCES: usize = 10_000;

/// Copies the images of some indexes into another one of the same model, with the folders and tables that they are from,
/// and compares some of them at the end. Images that are there already are skipped, so that an interrupted copy resumes
/// where it stopped; several indexes become one.
///
/// The name is the identity of an image, and nothing is replaced silently: where the target has the name with other
/// metadata or vectors, the report says what differs, and the target changes only with [`CopyOptions::update`].
///
/// A few megabytes of vectors are in memory at a time: the next ones are read while some are written.
///
/// ```
/// use r2former_engine::{CopyOptions, LoadedModel, NoProgress, PlaceIndex, Settings, copy_index};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let (first, second) = (home.path().join("first"), home.path().join("second"));
/// let model = LoadedModel::built_in()?;
/// let from = PlaceIndex::create(&first, &model, Settings::of(&model.config))?;
/// let to = PlaceIndex::create(&second, &model, from.settings)?;
/// let report = copy_index(&[from], &to, &CopyOptions::default(), &NoProgress)?;
/// assert_eq!((report.images, report.verified.problems.len()), (0, 0));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EngineError::Request`] before any work for an index of other settings or positions, for one that is also the target,
/// and for a label that stands for two folders; [`EngineError::Index`] for one of another model, or a failing index. What
/// was written before stays.
pub fn copy_index(
    from: &[PlaceIndex],
    to: &PlaceIndex,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    for index in from {
        if index.address().is_same(to.address()) {
            return Err(EngineError::Request(format!(
                "{}: an index is not copied into itself",
                to.address()
            )));
        }
        to.check_alike(index)?;
    }
    let mut writer = to.writer()?;
    let readers = from.iter().map(PlaceIndex::reader).collect::<Result<Vec<_>>>()?;
    let sources = sources(from, &readers, &writer, to, options)?;
    let everything = Filter::default();
    let before = writer.count(&everything)?;
    let counts = readers.iter().map(|reader| reader.count(&everything)).collect::<Result<Vec<_>, _>>()?;
    writer.write(&Batch { sources: &sources, ..Batch::default() })?;

    let mut report = CopyReport { sources: sources.len(), ..CopyReport::default() };
    let total = counts.iter().sum::<usize>();
    let mut checks = Checks::new(options.verify, total);
    let reader = to.reader()?;
    progress.start("images", total as u64);
    for (number, index) in from.iter().enumerate() {
        let one = One { index, number, reader: &readers[number], to: &reader, options };
        one.copy(&mut writer, &mut checks, &mut report, progress)?;
    }
    progress.finish();

    let exact = to.address().folder().is_some();
    checks.count(before + report.copied, writer.count(&everything)?, exact);
    // Whoever writes to one of them meanwhile makes it more, and hardly fewer.
    for (number, (index, reader)) in from.iter().zip(&readers).enumerate() {
        checks.listed(index.address(), number, reader.count(&everything)?.min(counts[number]));
    }
    checks.samples(from, &readers, &reader, options, progress)?;
    report.verified = checks.finish();
    writer.close()?;
    Ok(report)
}

/// The sources that the target does not know as they are, the last one of each label.
///
/// # Errors
/// [`EngineError::Request`] for a label that stands for two folders, unless they [were moved](CopyOptions::moved).
fn sources(
    from: &[PlaceIndex],
    readers: &[IndexReader],
    writer: &IndexWriter,
    to: &PlaceIndex,
    options: &CopyOptions,
) -> Result<Vec<Source>> {
    let known = writer.sources()?;
    // With the index that says so.
    let mut all: Vec<(Source, &PlaceIndex)> = known.iter().map(|source| (source.clone(), to)).collect();
    for (index, reader) in from.iter().zip(readers) {
        for source in reader.sources()? {
            match all.iter_mut().find(|(other, _)| other.label == source.label) {
                None => all.push((source, index)),
                Some((other, _)) if other.root == source.root => {}
                Some((other, _)) if options.moved && (other.is_uploads() || source.is_uploads()) => {
                    return Err(EngineError::Request(format!(
                        "the label {:?} stands for photographs that were sent to `r2former serve` in one index, and for a folder \
                         or table in another, which cannot be the same source; nothing was copied. Add the folder again under \
                         another label, with --label NAME",
                        source.label
                    )));
                }
                Some(other) if options.moved => *other = (source, index),
                Some((other, before)) => {
                    return Err(EngineError::Request(format!(
                        "the label {:?} stands for {} in {} and for {} in {}: names that begin with it may be of different \
                         photographs; nothing was copied. If both are the same source in two places, say so with --moved",
                        source.label,
                        other.root,
                        before.address(),
                        source.root,
                        index.address()
                    )));
                }
            }
        }
    }
    Ok(all.into_iter().map(|(source, _)| source).filter(|source| !known.contains(source)).collect())
}

/// One of the indexes that are copied.
#[derive(Clone, Copy)]
struct One<'a> {
    index: &'a PlaceIndex,
    /// Its place among the others.
    number: usize,
    reader: &'a IndexReader,
    to: &'a IndexReader,
    options: &'a CopyOptions,
}

impl One<'_> {
    /// Reads on another thread, a portion ahead of what is written.
    fn copy(
        self,
        writer: &mut IndexWriter,
        checks: &mut Checks,
        report: &mut CopyReport,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (sender, receiver) = sync_channel::<Result<Portion>>(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for portion in Portions::new(self.reader, self.to, self.options.update) {
                    let failed = portion.is_err();
                    // Nobody listens any more after an error of the writer.
                    if sender.send(portion).is_err() || failed {
                        return;
                    }
                }
            });
            for portion in receiver {
                self.write(portion?, writer, checks, report, progress)?;
            }
            Ok(())
        })
    }

    fn write(
        self,
        portion: Portion,
        writer: &mut IndexWriter,
        checks: &mut Checks,
        report: &mut CopyReport,
        progress: &dyn Progress,
    ) -> Result<()> {
        writer.write(&Batch { add: &portion.new, ..Batch::default() })?;
        report.images += portion.ids.len();
        report.already_there += portion.same;
        report.bytes += portion.bytes();
        let differing = portion.differing.len();
        if self.options.update {
            report.copied += portion.new.len().saturating_sub(differing);
            report.updated += differing;
        } else {
            report.copied += portion.new.len();
            report.differing += differing;
        }
        for (id, name, changes) in portion.differing {
            if !self.options.update {
                checks.leave_out(id);
            }
            if report.differences.len() < CopyReport::NAMED {
                let from = self.index.address().to_string();
                report.differences.push(Difference { name, from, changes });
            }
        }
        progress.advance(portion.ids.len() as u64);
        checks.seen(self.number, &portion.ids);
        if report.differing > MOST_DIFFERENCES {
            let first = report.differences.first();
            return Err(EngineError::Request(format!(
                "more than {MOST_DIFFERENCES} images of {} are in the target with another content, as {:?}: these are no \
                 parts of one index; what was copied before stays. --update takes the last of each",
                self.index.address(),
                first.map(|difference| difference.name.as_str()).unwrap_or_default()
            )));
        }
        Ok(())
    }
}

/// Images that are read, written and compared at a time: as many as fit.
fn together(vector_bytes: u64) -> usize {
    /// Bytes of their vectors.
    const BYTES: u64 = 16 << 20;
    const MOST: u64 = 1024;
    (BYTES / vector_bytes.max(1)).clamp(1, MOST) as usize
}

/// Whether two descriptors are the same but for the rounding of a store that scales them again.
fn is_same_descriptor(one: &[f32], other: &[f32]) -> bool {
    const ROUNDING: f32 = 1e-6;
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() <= ROUNDING)
}

/// Identifiers, in the order of a listing.
type Ids = Vec<Uuid>;
