//! The MSLS tasks: which side is made of sequences, and how sequences are cut.

use super::SequenceSide;
use super::keyed_table::KeyedTable;
use crate::{DataError, Photo, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// A task of the dataset: images or sequences as queries, images or sequences as references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MslsTask {
    /// An image's place among images.
    #[default]
    Im2Im,
    /// An image's place among sequences.
    Im2Seq,
    /// A sequence's place among images.
    Seq2Im,
    /// A sequence's place among sequences.
    Seq2Seq,
}

const NAMES: [(MslsTask, &str); 4] = [
    (MslsTask::Im2Im, "im2im"),
    (MslsTask::Im2Seq, "im2seq"),
    (MslsTask::Seq2Im, "seq2im"),
    (MslsTask::Seq2Seq, "seq2seq"),
];

impl std::str::FromStr for MslsTask {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(task, _)| *task);
        found.ok_or_else(|| format!("'{text}' is no MSLS task: im2im, im2seq, seq2im or seq2seq"))
    }
}

impl std::fmt::Display for MslsTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|(task, _)| task == self).map_or("", |(_, name)| name))
    }
}

impl MslsTask {
    /// Frames of a query and of a reference.
    pub(super) fn lengths(self, sequence: usize) -> Result<[usize; 2]> {
        if self != Self::Im2Im && (sequence < 3 || sequence.is_multiple_of(2)) {
            return Err(DataError::Request(format!(
                "sequences of {sequence} frames: {self} needs an odd number of 3 or more, so that there is a \
                 middle frame"
            )));
        }
        Ok(match self {
            Self::Im2Im => [1, 1],
            Self::Im2Seq => [1, sequence],
            Self::Seq2Im => [sequence, 1],
            Self::Seq2Seq => [sequence, sequence],
        })
    }

    /// The task in words; `alone` counts the chosen images of queries and database that are in the middle of no
    /// sequence.
    pub(super) fn describe(self, sequence: usize, alone: [usize; 2]) -> String {
        match self {
            Self::Im2Im => "task im2im".into(),
            _ => format!(
                "task {self}, sequences of {sequence} consecutive frames whose middle one these rules choose; a \
                 positive has a frame within the radius of one of the query's; {} queries and {} references are \
                 in the middle of no sequence",
                alone[0], alone[1]
            ),
        }
    }
}

/// One side while its cities are read: single images, or sequences of some length.
pub(super) struct Frames {
    length: usize,
    entries: Vec<Photo>,
    side: SequenceSide,
    /// Chosen images that are in the middle of no sequence.
    pub(super) alone: usize,
}

impl Frames {
    pub(super) fn new(length: usize) -> Self {
        Self { length, entries: Vec::new(), side: SequenceSide::default(), alone: 0 }
    }

    /// Adds a city's images, or the sequences around those that are chosen. As in the official loader, a sequence is a
    /// run of rows of `seq_info.csv` with one `sequence_key` and a `frame_number` that grows by one.
    pub(super) fn add(
        &mut self,
        photos: Vec<Photo>,
        chosen: &[bool],
        sequence: Option<&KeyedTable>,
        path: &Path,
    ) -> Result<()> {
        if self.length == 1 {
            self.entries.extend(photos.into_iter().zip(chosen).filter(|(_, c)| **c).map(|(photo, _)| photo));
            return Ok(());
        }
        let Some(KeyedTable { table, .. }) = sequence else {
            return Err(DataError::format(path, None, "is missing: it lists the sequences"));
        };
        let columns = (table.require("key")?, table.require("sequence_key")?, table.require("frame_number")?);
        let number_of: HashMap<&str, usize> =
            photos.iter().enumerate().map(|(i, photo)| (photo.tags["key"].as_str(), i)).collect();
        let mut rows = Vec::with_capacity(table.rows.len());
        for (line, cells) in &table.rows {
            let frame: i64 = cells[columns.2].parse().map_err(|e| {
                table.complain(
                    *line,
                    format!("frame_number '{}' is not a whole number: {e}", cells[columns.2]),
                )
            })?;
            rows.push((number_of.get(cells[columns.0].as_str()).copied(), cells[columns.1].as_str(), frame));
        }
        let whole = |window: &[(Option<usize>, &str, i64)]| {
            window.windows(2).all(|pair| pair[0].1 == pair[1].1 && pair[0].2 + 1 == pair[1].2)
        };
        let mut frame_of: HashMap<usize, u32> = HashMap::new();
        let before = self.entries.len();
        for window in rows.windows(self.length).filter(|window| whole(window)) {
            let Some(members) = window.iter().map(|(photo, ..)| *photo).collect::<Option<Vec<usize>>>()
            else {
                continue;
            };
            let middle = members[self.length / 2];
            if !chosen[middle] {
                continue;
            }
            let mut frame = |photo: usize| {
                *frame_of.entry(photo).or_insert_with(|| {
                    self.side.frames.push(photos[photo].clone());
                    self.side.frames.len() as u32 - 1
                })
            };
            let members = members.into_iter().map(&mut frame).collect();
            self.side.members.push(members);
            self.entries.push(photos[middle].clone());
        }
        let middles = self.entries.len() - before;
        self.alone += chosen.iter().filter(|c| **c).count().saturating_sub(middles);
        Ok(())
    }

    /// The side's entries, and their frames where they are sequences.
    pub(super) fn finish(self) -> (Vec<Photo>, Option<SequenceSide>) {
        (self.entries, (self.length > 1).then_some(self.side))
    }
}
