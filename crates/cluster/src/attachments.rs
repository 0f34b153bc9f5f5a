//! Files that belong to an index: points without vectors in a collection of their own, a file in chunks.
//!
//! A file is a head (its length and SHA-256) and chunks of a megabyte, as base64: a payload has no bytes. What is read is
//! checked against the head.

use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qdrant_client::qdrant::{NamedVectors, PointStruct, RetrievedPoint, UpsertPoints, Vectors, vectors};
use r2former_index::{Attachment, IndexError, Result};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::address::Address;
use crate::collection::{Calls, DEADLINE};
use crate::payload::{Payload, integer, point_id, string, text, uuid};

/// What a point of this collection is.
pub(crate) const KIND: &str = "kind";

/// Kinds of points.
const HEAD: &str = "file";
const CHUNK: &str = "chunk";

/// Namespace of the identifiers of this collection's points.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d9c_3b1e_8a52_4f0b_9c63_2f6e_71d4_a0b7);

/// Bytes of a chunk, and chunks in a message.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: usize = 8;

/// The identifier of a point of this collection.
pub(crate) fn file_point_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

fn head_id(name: &str) -> Uuid {
    file_point_id(&format!("file/{name}"))
}

fn chunk_id(name: &str, number: u64) -> Uuid {
    file_point_id(&format!("chunk/{name}/{number}"))
}

/// Refuses a name with folders in it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if Path::new(name).file_name().is_none_or(|plain| plain != name) {
        return Err(format!("{name:?} is no plain file name"));
    }
    Ok(())
}

/// Writes attachments into the collection of files, which is there.
pub(crate) fn write(calls: &Calls, attachments: &mut [Attachment<'_>]) -> Result<()> {
    for (name, content) in attachments {
        let failed = |source| IndexError::Io { path: (*name).into(), source };
        let (mut hash, mut bytes, mut number) = (Sha256::new(), 0_u64, 0_u64);
        let mut points = Vec::new();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            (&mut **content).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(failed)?;
            if !chunk.is_empty() {
                hash.update(&chunk);
                bytes += chunk.len() as u64;
                let payload = Payload::from([
                    (KIND.into(), text(CHUNK)),
                    ("name".into(), text(*name)),
                    ("number".into(), (number as i64).into()),
                    ("data".into(), text(STANDARD.encode(&chunk))),
                ]);
                points.push(point(chunk_id(name, number), payload));
                number += 1;
            }
            let last = chunk.is_empty();
            if last {
                let payload = Payload::from([
                    (KIND.into(), text(HEAD)),
                    ("name".into(), text(*name)),
                    ("bytes".into(), (bytes as i64).into()),
                    ("chunks".into(), (number as i64).into()),
                    ("sha256".into(), text(hex(&hash.finalize_reset()))),
                ]);
                points.push(point(head_id(name), payload));
            }
            if last || points.len() == CHUNKS {
                put(calls, std::mem::take(&mut points))?;
            }
            if last {
                break;
            }
        }
    }
    Ok(())
}

/// Writes points of this collection.
pub(crate) fn put(calls: &Calls, points: Vec<PointStruct>) -> Result<()> {
    let collection_name = calls.address().files();
    calls.block(|calls| async move {
        calls.upsert(UpsertPoints { collection_name, points, ..UpsertPoints::default() }).await
    })
}

/// A point without vectors.
pub(crate) fn point(id: Uuid, payload: Payload) -> PointStruct {
    // Qdrant refuses a point that does not say that it has none.
    let none = vectors::VectorsOptions::Vectors(NamedVectors::default());
    PointStruct { id: Some(point_id(id)), payload, vectors: Some(Vectors { vectors_options: Some(none) }) }
}

/// The content of the attachment called `name`.
///
/// # Errors
/// [`Request`](IndexError::Request) if there is none of that name, [`Damaged`](IndexError::Damaged) if it is not what was
/// written, or the cluster's.
pub fn attachment(address: &Address, name: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    read(&Calls::new(address, DEADLINE)?, name, &mut content)?;
    Ok(content)
}

/// Writes the attachment called `name` to the file `path`, which appears whole or not at all.
///
/// # Errors
/// As for [`attachment`], and the system's.
pub fn attachment_to(address: &Address, name: &str, path: &Path) -> Result<()> {
    let failed = |source| IndexError::Io { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    read(&Calls::new(address, DEADLINE)?, name, file.as_file_mut())?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

fn read(calls: &Calls, name: &str, into: &mut dyn Write) -> Result<()> {
    let dir = || calls.address().path();
    let damaged =
        |problem: &str| IndexError::Damaged { dir: dir(), problem: format!("its file {name:?}: {problem}") };
    // Says what else the collection is, if it is no index.
    calls.block(|calls| async move { calls.manifest().await })?;
    let head = get(calls, vec![head_id(name)])?
        .pop()
        .ok_or_else(|| IndexError::Request { dir: dir(), problem: format!("it has no file {name:?}") })?;
    let number = |key| integer(&head.payload, key).and_then(|number| u64::try_from(number).ok());
    let sha256 = string(&head.payload, "sha256");
    let (Some(bytes), Some(chunks), Some(sha256)) = (number("bytes"), number("chunks"), sha256) else {
        return Err(damaged("its head is unreadable"));
    };
    let (mut hash, mut found) = (Sha256::new(), 0);
    for first in (0..chunks).step_by(CHUNKS) {
        let ids: Vec<_> =
            (first..chunks.min(first + CHUNKS as u64)).map(|number| chunk_id(name, number)).collect();
        let points = get(calls, ids.clone())?;
        for id in ids {
            let chunk = points.iter().find(|point| uuid(point.id.as_ref()) == Some(id));
            let data = chunk.and_then(|chunk| string(&chunk.payload, "data"));
            let data = data.and_then(|data| STANDARD.decode(data).ok());
            let data = data.ok_or_else(|| damaged("a part of it is missing"))?;
            hash.update(&data);
            found += data.len() as u64;
            into.write_all(&data).map_err(|source| IndexError::Io { path: name.into(), source })?;
        }
    }
    if found != bytes || hex(&hash.finalize()) != sha256 {
        return Err(damaged("its SHA-256 is another"));
    }
    Ok(())
}

fn get(calls: &Calls, ids: Vec<Uuid>) -> Result<Vec<RetrievedPoint>> {
    let files = calls.address().files();
    let ids = ids.into_iter().map(point_id).collect();
    calls.block(|calls| async move { calls.get(&files, ids, Some(true.into()), None).await })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
