//! Features on disk: a header line, then one record per image, in the sequence of extraction.
//!
//! A record is the image's index, the lengths of both parts, the global descriptor, the local features and a checksum.
//! A killed run leaves at most one incomplete record at the end, which the next run truncates. The file's name derives
//! from the header (model, settings, list of files with size and time), so that features of another model or of other
//! images are never used.

use crate::layout::Layout;
use crate::{EvalError, Result};
use r2former_data::Photo;
use r2former_engine::Extractor;
use r2former_model::Bits;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Start of a file, with the version of its format.
const MAGIC: &str = "r2former features 1";
/// Bytes of a record's header: image index, values of the global descriptor, bytes of the local features.
const HEAD: usize = 12;
const CHECK: usize = 4;

/// What the features of a file belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header(String);

impl Header {
    /// Of photographs, an extractor and a layout.
    pub(crate) fn of(extractor: &Extractor, photos: &[&Photo], layout: &Layout) -> Self {
        let mut files = Sha256::new();
        for photo in photos {
            files.update(photo.path.as_os_str().as_encoded_bytes());
            if let Ok(meta) = photo.path.metadata() {
                files.update(meta.len().to_le_bytes());
                let time = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
                files.update(time.unwrap_or_default().as_nanos().to_le_bytes());
            }
            files.update([0]);
        }
        let s = extractor.settings();
        let local = match layout.bits {
            _ if layout.count == 0 => "false".to_string(),
            Bits::Eight => "true".to_string(),
            bits => format!("in {} bits", u8::from(bits)),
        };
        Self(format!(
            "{MAGIC}; model {}; {} {}, {}; local {local}; {} files {}\n",
            extractor.fingerprint(),
            s.image_size(),
            layout.preprocessing,
            s.precision,
            photos.len(),
            hex(&files.finalize())
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Position of a record.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    /// First byte of the record; 0 if there is none (the header is there).
    at: u64,
    local: u32,
}

/// An open file of features.
pub(crate) struct FeatureFile {
    path: PathBuf,
    reader: File,
    writer: BufWriter<File>,
    end: u64,
    /// Bytes from here on are not on disk yet.
    written: u64,
    dim: usize,
    spots: Vec<Spot>,
    /// Removes a temporary file when dropped.
    _temporary: Option<tempfile::TempPath>,
}

impl FeatureFile {
    /// Opens the file of a header with the records in it, or creates it.
    pub(crate) fn open(dir: &Path, header: &Header, images: usize, dim: usize) -> Result<Self> {
        let digest = hex(&Sha256::digest(header.0.as_bytes()));
        std::fs::create_dir_all(dir).map_err(|e| EvalError::file(dir, format!("cannot be created: {e}")))?;
        let path = dir.join(format!("features-{}.bin", &digest[..16]));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| EvalError::file(&path, format!("cannot be opened: {e}")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(EvalError::file(
                    &path,
                    "is in use by another run: wait for it, or name another folder",
                ));
            }
            Err(std::fs::TryLockError::Error(e)) => {
                return Err(EvalError::file(&path, format!("cannot be locked: {e}")));
            }
        }
        let mut this = Self::new(path, file, images, dim, None)?;
        this.recover(header)?;
        Ok(this)
    }

    /// A temporary file, removed when dropped.
    pub(crate) fn temporary(dir: &Path, images: usize, dim: usize) -> Result<Self> {
        let named = tempfile::NamedTempFile::new_in(dir).map_err(|e| {
            EvalError::file(
                dir,
                format!("no temporary file can be created: {}", std::io::Error::from(e.kind())),
            )
        })?;
        let (file, path) = named.into_parts();
        let mut this = Self::new(path.to_path_buf(), file, images, dim, Some(path))?;
        this.recover(&Header(format!("{MAGIC}; temporary\n")))?;
        Ok(this)
    }

    fn new(
        path: PathBuf,
        file: File,
        images: usize,
        dim: usize,
        temporary: Option<tempfile::TempPath>,
    ) -> Result<Self> {
        let reader = file.try_clone().map_err(|e| EvalError::file(&path, e))?;
        let writer = BufWriter::with_capacity(1 << 20, file);
        let spots = vec![Spot::default(); images];
        Ok(Self { path, reader, writer, end: 0, written: 0, dim, spots, _temporary: temporary })
    }

    fn failed(&self, error: &std::io::Error) -> EvalError {
        EvalError::file(&self.path, format!("{error}: free some space, or name another folder"))
    }

    /// Finds the complete records and truncates the file after them.
    fn recover(&mut self, header: &Header) -> Result<()> {
        let length = self.reader.metadata().map_err(|e| self.failed(&e))?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &self.reader);
        reader.seek(SeekFrom::Start(0)).map_err(|e| EvalError::file(&self.path, e))?;
        let mut start = vec![0; header.0.len()];
        let mut spots = std::mem::take(&mut self.spots);
        let mut end = 0;
        if reader.read_exact(&mut start).is_ok() {
            if start != header.0.as_bytes() {
                return Err(EvalError::file(&self.path, "is not a feature file: remove it"));
            }
            end = start.len() as u64;
            while let Some((image, record, local)) = next_record(&mut reader, length - end) {
                let Some(spot) = spots.get_mut(image) else { break };
                *spot = Spot { at: end, local };
                end += record;
            }
        }
        drop(reader);
        self.spots = spots;
        self.writer.get_ref().set_len(end).map_err(|e| self.failed(&e))?;
        self.writer.seek(SeekFrom::Start(end)).map_err(|e| self.failed(&e))?;
        (self.end, self.written) = (end, end);
        if end == 0 {
            self.writer.write_all(header.0.as_bytes()).map_err(|e| self.failed(&e))?;
            self.end = header.0.len() as u64;
        }
        self.flush()
    }

    /// Whether the file has the features of an image.
    pub(crate) fn has(&self, image: usize) -> bool {
        self.spots[image].at > 0
    }

    pub(crate) fn append(&mut self, image: usize, global: &[f32], local: &[u8]) -> Result<()> {
        let mut record = Vec::with_capacity(HEAD + 4 * global.len() + local.len() + CHECK);
        for number in [image, global.len(), local.len()] {
            record.extend((number as u32).to_le_bytes());
        }
        record.extend(global.iter().flat_map(|v| v.to_le_bytes()));
        record.extend(local);
        let check = checksum(&[&record]);
        record.extend(check);
        self.writer.write_all(&record).map_err(|e| self.failed(&e))?;
        self.spots[image] = Spot { at: self.end, local: local.len() as u32 };
        self.end += record.len() as u64;
        Ok(())
    }

    /// Hands everything to the system, so that the next run finds it if this one is killed.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|e| self.failed(&e))?;
        self.written = self.end;
        Ok(())
    }

    /// Reads the global descriptors of all stored images.
    pub(crate) fn read_globals(&self, global: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0; 4 * self.dim];
        for (spot, row) in self.spots.iter().zip(global.chunks_exact_mut(self.dim.max(1))) {
            if spot.at > 0 {
                self.read_at(&mut bytes, spot.at + HEAD as u64)?;
                for (value, four) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*four);
                }
            }
        }
        Ok(())
    }

    /// Local features of an image; empty if there are none.
    pub(crate) fn local(&self, image: usize) -> Result<Vec<u8>> {
        let spot = self.spots[image];
        let mut bytes = vec![0; spot.local as usize];
        if spot.at > 0 {
            self.read_at(&mut bytes, spot.at + (HEAD + 4 * self.dim) as u64)?;
        }
        Ok(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        debug_assert!(at + bytes.len() as u64 <= self.written, "a record is read before it is flushed");
        read_exact_at(&self.reader, bytes, at).map_err(|e| EvalError::file(&self.path, e))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_read(&mut bytes[done..], at + done as u64)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(())
}

/// Image index, length of the record and of its local features; `None` at the end or if the record is damaged.
fn next_record(reader: &mut impl Read, left: u64) -> Option<(usize, u64, u32)> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).ok()?;
    let number = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let body = 4 * u64::from(number(4)) + u64::from(number(8));
    let record = HEAD as u64 + body + CHECK as u64;
    if record > left {
        return None;
    }
    let mut rest = vec![0; usize::try_from(body).ok()? + CHECK];
    reader.read_exact(&mut rest).ok()?;
    let (body, check) = rest.split_at(rest.len() - CHECK);
    (checksum(&[&head, body]) == check).then_some((number(0) as usize, record, number(8)))
}

/// The first bytes of the SHA-256 of all parts.
fn checksum(parts: &[&[u8]]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let digest = hash.finalize();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
#[path = "feature_file_tests.rs"]
mod tests;
