//! The fingerprint of a file: its length and a hash of its bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

/// Length and XXH3 (64 bits) of a file. Two files that differ by accident share it once in 2^64; it does not protect
/// against someone who makes two files alike on purpose.
///
/// As text, and in JSON, `LENGTH-HASH`: `48213-9c6f2d01aa37e5b0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileFingerprint {
    /// Bytes in the file.
    pub bytes: u64,
    /// XXH3 of all of them, seed 0.
    pub xxh3: u64,
}

impl FileFingerprint {
    /// That of a file's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, xxh3: xxh3_64(bytes) }
    }

    /// That of a file, read to its end.
    ///
    /// # Errors
    /// The system's; something that is no regular file is not opened.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        // Opening a pipe that nobody writes to would wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let mut file = File::open(path)?;
        let (mut hash, mut bytes) = (Xxh3Default::new(), 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(Self { bytes, xxh3: hash.digest() }),
                Ok(count) => {
                    hash.update(&chunk[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The key of its images but for their slots.
    pub(crate) fn key(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.xxh3.to_be_bytes());
        key[8..].copy_from_slice(&self.bytes.to_be_bytes());
        key
    }
}

impl fmt::Display for FileFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.bytes, self.xxh3)
    }
}

impl FromStr for FileFingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(bytes, hash): (&str, &str)| {
            let hash = (hash.len() == 16).then(|| u64::from_str_radix(hash, 16).ok())?;
            Some(Self { bytes: bytes.parse().ok()?, xxh3: hash? })
        };
        let parsed = text.split_once('-').and_then(parse);
        parsed.ok_or_else(|| format!("{text:?} is no fingerprint of a file: LENGTH-HASH is expected"))
    }
}

impl Serialize for FileFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_fingerprint_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for length in [0, 1, 300, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let fingerprint = FileFingerprint::of_file(&path).unwrap();
            assert_eq!(fingerprint, FileFingerprint::of(&bytes));
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            let json = serde_json::to_string(&fingerprint).unwrap();
            assert_eq!(serde_json::from_str::<FileFingerprint>(&json).unwrap(), fingerprint);
        }
        // The published test vector of XXH3 for no bytes.
        assert_eq!(FileFingerprint::of(b"").to_string(), "0-2d06800538d394c2");
        assert!(FileFingerprint::of_file(dir.path()).is_err());
        for text in ["", "12", "12-", "12-ab", "x-2d06800538d394c2", "12-2d06800538d394cg"] {
            assert!(text.parse::<FileFingerprint>().is_err(), "{text}");
        }
    }
}
