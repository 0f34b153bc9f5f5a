//! A part of a listing, for one of several machines: the same on each, photograph by photograph.

use super::names::relative_name;
use super::{Listing, Skipped};
use crate::{DataError, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// One of the parts that several machines share: `INDEX/COUNT`, the index from 0 as Slurm's arrays and Kubernetes' indexed
/// jobs count.
///
/// Which part a photograph is in depends on its name in the index alone (XXH3, 64 bits, of the UTF-8 text, modulo the
/// count): a file that is added or removed moves no other, and a panorama's views stay together.
///
/// ```
/// use r2former_data::dataset::Shard;
///
/// let shards: Vec<Shard> = ["0/3", "1/3", "2/3"].iter().map(|text| text.parse().expect("a shard")).collect();
/// assert_eq!(shards.iter().filter(|shard| shard.holds("camera/IMG_0001.jpg")).count(), 1);
/// assert!("3/3".parse::<Shard>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Number `index`, from 0, of `count`.
    ///
    /// # Errors
    /// [`DataError::Request`] for an index that is not below the count, and for a count of 0.
    pub fn new(index: u32, count: u32) -> Result<Self> {
        if index < count {
            return Ok(Self { index, count });
        }
        let problem = match count.checked_sub(1) {
            None => "there is at least one shard".to_owned(),
            Some(0) => format!("shards count from 0: the only one is 0/1, not {index}/1"),
            Some(last) => format!("shards count from 0: those of {count} are 0/{count} to {last}/{count}"),
        };
        Err(DataError::Request(format!("{index}/{count} is no shard: {problem}")))
    }

    /// Its number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether it has the photograph of this name in the index; views of a panorama have the panorama's.
    pub fn holds(self, name: &str) -> bool {
        xxh3_64(name.as_bytes()) % u64::from(self.count) == u64::from(self.index)
    }

    /// Whether it reports what is said of a listing as a whole.
    pub fn is_first(self) -> bool {
        self.index == 0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let parsed =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let Some((index, count)) = parsed else {
            return Err(DataError::Request(format!(
                "\"{text}\" is no shard: INDEX/COUNT is expected, as 0/4 to 3/4 for four of them"
            )));
        };
        Self::new(index, count)
    }
}

/// A shard of a source: its photographs' names begin with the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub shard: Shard,
    /// What names in the index begin with.
    pub label: String,
}

impl Part {
    /// Whether it has the photograph of this name within the source.
    pub fn holds(&self, name: &str) -> bool {
        self.shard.holds(&format!("{}/{name}", self.label))
    }

    /// Whether it is the one that reports what was left out of `source`, where all shards read all of it.
    pub fn reports(&self, source: &Path, skipped: &Skipped) -> bool {
        let folder = if source.is_dir() { source } else { source.parent().unwrap_or(Path::new("")) };
        // Rows without a readable path all have the table's: their reasons differ by the line.
        self.holds(&format!("{}: {}", relative_name(folder, &skipped.path), skipped.reason))
    }

    /// Leaves what belongs to other shards out of the listing of `source`; notes are of the whole, and the first has them.
    pub fn keep(&self, source: &Path, listing: &mut Listing) {
        listing.photos.retain(|photo| self.holds(&photo.name));
        listing.skipped.retain(|skipped| self.reports(source, skipped));
        if !self.shard.is_first() {
            listing.notes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::SkipKind;

    #[test]
    fn every_name_is_in_one_shard_and_stays() {
        for count in [1, 2, 3, 7, 64] {
            let shards: Vec<_> = (0..count).map(|index| Shard::new(index, count).unwrap()).collect();
            let mut sizes = vec![0_usize; count as usize];
            for i in 0..6400 {
                let name = format!("camera/IMG_{i:05}.jpg");
                let holders: Vec<_> = shards.iter().filter(|shard| shard.holds(&name)).collect();
                assert_eq!(holders.len(), 1, "{name}");
                sizes[holders[0].index() as usize] += 1;
            }
            let fair = 6400 / count as usize;
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 2 + 1), "{sizes:?}");
        }
        // Machines of another version have to agree: these are fixed for good.
        let at = |name: &str| (0..8).find(|index| Shard::new(*index, 8).unwrap().holds(name));
        assert_eq!(["a/b.jpg", "camera/ä.jpg", ""].map(at), FIXED);
    }

    const FIXED: [Option<u32>; 3] = [Some(5), Some(0), Some(2)];

    #[test]
    fn only_shards_are_shards() {
        for text in ["0/1", "3/4", "4294967294/4294967295"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for (text, wanted) in [
            ("4/4", "those of 4 are 0/4 to 3/4"),
            ("1/1", "the only one is 0/1"),
            ("0/0", "at least one"),
            ("1", "INDEX/COUNT"),
            ("-1/4", "INDEX/COUNT"),
            ("a/b", "INDEX/COUNT"),
        ] {
            let message = text.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn what_is_left_out_is_reported_once() {
        let skipped = |path: &str, reason: &str| Skipped {
            path: path.into(),
            reason: reason.into(),
            kind: SkipKind::Unreadable,
        };
        let all = [
            skipped("x/t.csv", "t.csv:2: no path"),
            skipped("x/t.csv", "t.csv:3: no path"),
            skipped("x/a.jpg", "does not exist"),
        ];
        for one in &all {
            let parts = (0..5).map(|i| Part { shard: Shard::new(i, 5).unwrap(), label: "t".into() });
            assert_eq!(parts.filter(|part| part.reports(Path::new("x/t.csv"), one)).count(), 1);
        }
    }
}
