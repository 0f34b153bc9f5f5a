//! Reads a safetensors file a tensor at a time: models can be as large as half the memory.

use crate::weights::{StoredTensor, StoredTensors, StoredValues};
use crate::{ModelError, Result};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Bytes of a tensor that are read at once, a multiple of every number's.
const PIECE: usize = 1 << 20;

/// A safetensors file whose header has been read; `name` stands for the file in error messages.
pub(crate) struct Stream<'a, R> {
    source: Hashing<BufReader<R>>,
    header: Metadata,
    name: &'a Path,
}

impl<'a, R: Read> Stream<'a, R> {
    /// Reads the header of a file of `length` bytes.
    ///
    /// # Errors
    /// [`ModelError::Io`] if it cannot be read, [`ModelError::Checkpoint`] for a file of another kind or length, or a
    /// damaged header.
    pub(crate) fn new(source: R, length: u64, name: &'a Path) -> Result<Self> {
        let mut source = Hashing { source: BufReader::new(source), digest: Sha256::new() };
        let header = header(&mut source, length, name)?;
        Ok(Self { source, header, name })
    }

    /// The header's free text by key.
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        self.header.metadata().clone().unwrap_or_default()
    }

    /// Every tensor, in f16 if it is stored so and else converted to f32, and the file's SHA-256 in lower-case hexadecimal.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the file cannot be read, [`ModelError::Checkpoint`] for a tensor of a type that is not
    /// supported.
    pub(crate) fn tensors(mut self) -> Result<(StoredTensors, String)> {
        let name = self.name;
        let places = self.header.tensors();
        let mut tensors = StoredTensors::new();
        let mut piece = Vec::new();
        for key in self.header.offset_keys() {
            let Some(info) = places.get(&key) else { continue };
            // The header was checked: offsets rise without gaps to the file's end, and fit the shape.
            let mut left = info.data_offsets.1 - info.data_offsets.0;
            let count = info.shape.iter().product();
            let mut data = match info.dtype {
                Dtype::F16 => StoredValues::F16(Vec::with_capacity(count)),
                _ => StoredValues::F32(Vec::with_capacity(count)),
            };
            while left > 0 {
                piece.resize(left.min(PIECE), 0);
                self.source.read_exact(&mut piece).map_err(|e| ModelError::io(name, e))?;
                decode(&piece, info.dtype, &mut data).ok_or_else(|| {
                    ModelError::checkpoint(
                        name,
                        format!("{key} has the type {:?}, which is not supported", info.dtype),
                    )
                })?;
                left -= piece.len();
            }
            tensors.insert(key, StoredTensor { shape: info.shape.clone(), data });
        }
        Ok((tensors, hexadecimal(self.source.digest)))
    }
}

/// Opens a checkpoint file for reading, and its length.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read, [`ModelError::Checkpoint`] for a folder or an empty file.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    if path.is_dir() {
        return Err(ModelError::checkpoint(path, "is a folder; name the checkpoint file in it"));
    }
    let fail = |e| ModelError::io(path, e);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    if length == 0 {
        return Err(ModelError::checkpoint(path, "is empty (0 bytes)"));
    }
    Ok((file, length))
}

/// The bytes that [`is_safetensors`] looks at.
pub(crate) const START: usize = 9;

/// Whether a file's first bytes are those of a safetensors file: a 64-bit length, then a JSON object.
pub(crate) fn is_safetensors(start: &[u8]) -> bool {
    start.len() >= START && start[8] == b'{'
}

fn header(source: &mut impl Read, length: u64, name: &Path) -> Result<Metadata> {
    let damaged = |why: std::fmt::Arguments<'_>| {
        ModelError::checkpoint(
            name,
            format!(
                "is damaged: {why}. The file has {length} bytes; was its download or copy interrupted? Fetch it again"
            ),
        )
    };
    let mut start = Vec::with_capacity(START);
    source.take(START as u64).read_to_end(&mut start).map_err(|e| ModelError::io(name, e))?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80\x02") {
        return Err(ModelError::checkpoint(
            name,
            "is a PyTorch checkpoint; convert it first: r2former model import IN OUT",
        ));
    }
    let (Some(size), true) = (start.first_chunk::<8>(), is_safetensors(&start)) else {
        return Err(ModelError::checkpoint(name, "is not a checkpoint (neither safetensors nor PyTorch)"));
    };
    let size = u64::from_le_bytes(*size);
    if size == 0 || size > length - 8 {
        return Err(damaged(format_args!("its header would have {size} bytes")));
    }
    let mut json = vec![b'{'];
    source.take(size - 1).read_to_end(&mut json).map_err(|e| ModelError::io(name, e))?;
    let header: Metadata =
        serde_json::from_slice(&json).map_err(|e| damaged(format_args!("its header cannot be read: {e}")))?;
    let expected = (8 + size).saturating_add(header.data_len() as u64);
    if expected != length {
        return Err(damaged(format_args!("its header describes {expected} bytes")));
    }
    Ok(header)
}

/// Appends the values of whole numbers of bytes; `None` for a type that is not supported.
fn decode(bytes: &[u8], dtype: Dtype, into: &mut StoredValues) -> Option<()> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    let into = match into {
        StoredValues::F16(into) => {
            into.extend(pairs.map(|b| f16::from_le_bytes(*b)));
            return Some(());
        }
        StoredValues::F32(into) => into,
    };
    match dtype {
        Dtype::F32 => into.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F64 => into.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
        Dtype::BF16 => into.extend(pairs.map(|b| bf16::from_le_bytes(*b).to_f32())),
        // Counters (`num_batches_tracked`) are read too; leftovers are set aside later.
        Dtype::I64 => into.extend(bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32)),
        _ => return None,
    }
    Some(())
}

/// A source whose bytes are hashed as they are read.
struct Hashing<R> {
    source: R,
    digest: Sha256,
}

fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// SHA-256 of everything that `source` holds, in lower-case hexadecimal.
pub(crate) fn fingerprint(source: impl Read) -> std::io::Result<String> {
    let mut source = Hashing { source, digest: Sha256::new() };
    std::io::copy(&mut source, &mut std::io::sink())?;
    Ok(hexadecimal(source.digest))
}

/// A file as it was when its fingerprint was taken: reading fails at the end of one that has changed since.
pub(crate) struct Unchanged {
    source: Hashing<File>,
    fingerprint: String,
}

impl Unchanged {
    pub(crate) fn open(path: &Path, fingerprint: &str) -> Result<Self> {
        let source = Hashing { source: open(path)?.0, digest: Sha256::new() };
        Ok(Self { source, fingerprint: fingerprint.to_string() })
    }
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        let is_end = count == 0 && !buffer.is_empty();
        if is_end && hexadecimal(self.source.digest.clone()) != self.fingerprint {
            return Err(std::io::Error::other("the model's file has changed since it was loaded"));
        }
        Ok(count)
    }
}
