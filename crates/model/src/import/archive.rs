//! Archives of `torch.save` that the reader does not take: those whose directory it takes for damaged, and a tensor alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Lengths of the records at the end: zip64's end of the directory and its locator, then the plain end.
const END64: usize = 56;
const LOCATOR: usize = 20;
const END: usize = 22;

/// A temporary copy without the zip64 records; `None` if the archive has none or needs them.
///
/// The reader looks for the directory where it would be if it ended at the plain record. `torch.save` writes zip64 records of
/// 76 bytes in between, whatever the size. Where the first entry of the directory is just as long (a file saved under a
/// name of 21 characters), the reader takes the second entry for the first and misses one at the end.
pub(super) fn without_zip64(path: &Path) -> Option<NamedTempFile> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let start = length.checked_sub((END64 + LOCATOR + END) as u64)?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut tail = [0; END64 + LOCATOR + END];
    file.read_exact(&mut tail).ok()?;
    let (end64, rest) = tail.split_at(END64);
    let (locator, end) = rest.split_at(LOCATOR);
    if !(end64.starts_with(b"PK\x06\x06")
        && locator.starts_with(b"PK\x06\x07")
        && end.starts_with(b"PK\x05\x06"))
    {
        return None;
    }
    let value =
        |at: usize| end.get(at..at + 4)?.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
    // A directory that the plain record describes completely.
    let (size, offset) = (value(12)?, value(16)?);
    if end[10..12] == [0xff, 0xff] || offset + size != start {
        return None;
    }
    let mut copy = NamedTempFile::new().ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    std::io::copy(&mut file.take(start), &mut copy).ok()?;
    copy.write_all(end).ok()?;
    copy.flush().ok()?;
    Some(copy)
}

/// Name of the only tensor of a file.
pub(super) const ALONE: &str = "tensor";

/// Bytes of a file with a tensor alone, at most.
const LARGEST: u64 = 256 << 20;

/// A temporary copy of an archive that holds a tensor and no dictionary of them, with that tensor under the name [`ALONE`];
/// `None` if it is no such archive.
pub(super) fn as_dictionary(path: &Path) -> Option<NamedTempFile> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() > LARGEST {
        return None;
    }
    let mut archive = zip::ZipArchive::new(file).ok()?;
    let mut copy = zip::ZipWriter::new(NamedTempFile::new().ok()?);
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for i in 0..archive.len() {
        let entry = archive.by_index(i).ok()?;
        let name = entry.name().ok()?.into_owned();
        let mut bytes = Vec::new();
        entry.take(LARGEST).read_to_end(&mut bytes).ok()?;
        if name.ends_with("/data.pkl") {
            bytes = in_dictionary(&bytes)?;
        }
        copy.start_file(name, stored).ok()?;
        copy.write_all(&bytes).ok()?;
    }
    copy.finish().ok()
}

/// A pickle of protocol 2 whose object is the value of a dictionary's only key.
fn in_dictionary(pickle: &[u8]) -> Option<Vec<u8>> {
    let object = pickle.strip_prefix(b"\x80\x02c")?.strip_suffix(b".")?;
    let length = u32::try_from(ALONE.len()).ok()?.to_le_bytes();
    // EMPTY_DICT and BINUNICODE before it (whose first operation is GLOBAL), SETITEM and STOP after it.
    Some([b"\x80\x02}X", &length[..], ALONE.as_bytes(), b"c", object, b"s."].concat())
}
