//! A compacted copy of a picture in a new file: every value is checked on its way, and free pages stay behind.

use std::fs::File;
use std::path::Path;

use heed::types::Bytes;
use heed::{PutFlags, RwTxn};

use crate::error::{At, Result};
use crate::lmdb::env::{self, SharedEnv};
use crate::picture::Picture;
use crate::schema::{COUNTERS, Db, SUM, Shape, number_key, sum};
use crate::store::{heed_error, remove_data};

/// A tree as LMDB opens it.
pub(crate) type Database = heed::Database<Bytes, Bytes>;

/// The trees of an environment.
pub(crate) type Databases = [Database; Db::ALL.len()];

/// Bytes that one transaction copies.
const TRANSACTION: usize = 64 << 20;

/// Makes an empty data file at `path` with its trees, and opens it.
pub(crate) fn create(dir: &Path, path: &Path, map: usize) -> Result<(std::sync::Arc<SharedEnv>, Databases)> {
    // With the rights of a usual file: LMDB would make it for this user alone.
    File::create_new(path).at(path)?;
    let error = |error| heed_error(dir, "creating a data file", error);
    let env = env::open(path, map).map_err(error)?;
    let mut txn = env.env().write_txn().map_err(error)?;
    let databases = databases(|db| env.env().create_database(&mut txn, Some(db.name()))).map_err(error)?;
    put_counters(&mut txn, &databases, Default::default()).map_err(error)?;
    txn.commit().map_err(error)?;
    Ok((env, databases))
}

/// Opens or creates each tree.
pub(crate) fn databases(mut open: impl FnMut(Db) -> heed::Result<Database>) -> heed::Result<Databases> {
    let [a, b, c, d, e, f, g, h, i, j] = Db::ALL;
    Ok([open(a)?, open(b)?, open(c)?, open(d)?, open(e)?, open(f)?, open(g)?, open(h)?, open(i)?, open(j)?])
}

/// Writes the counters as the transaction's.
pub(crate) fn put_counters(
    txn: &mut RwTxn<'_>,
    databases: &Databases,
    counters: crate::schema::Counters,
) -> heed::Result<()> {
    let value = crate::schema::Counters { transaction: txn.id() as u64, ..counters }.encode();
    let stored = [&sum(Db::About, COUNTERS, &value)[..], &value].concat();
    databases[Db::About as usize].put(txn, COUNTERS, &stored)
}

/// Copies a picture to the new file `path`, durably. On an error nothing is left.
pub(crate) fn copy(picture: &Picture, shape: Shape, path: &Path) -> Result<()> {
    remove_data(path);
    let done = copy_trees(picture, shape, path);
    let lock = env::lock_path(path);
    if done.is_err() {
        remove_data(path);
    }
    let _ = std::fs::remove_file(lock);
    done
}

fn copy_trees(picture: &Picture, shape: Shape, path: &Path) -> Result<()> {
    let error = |error| heed_error(path, "copying", error);
    // What is in the way is where the copy goes, not in the index.
    let (env, databases) = create(path, path, 0)?;
    for (db, database) in Db::ALL.into_iter().zip(&databases).filter(|(db, _)| *db != Db::About) {
        let mut cursor = picture.tree(db).from(&[]).map_err(|corrupt| picture.corrupt(corrupt))?;
        let mut more = true;
        while more {
            let mut txn = env.env().write_txn().map_err(error)?;
            let mut bytes = 0;
            while bytes < TRANSACTION {
                let Some((key, stored)) = cursor.next().map_err(|corrupt| picture.corrupt(corrupt))? else {
                    more = false;
                    break;
                };
                check(picture, shape, db, key, stored)?;
                database.put_with_flags(&mut txn, PutFlags::APPEND, key, stored).map_err(error)?;
                bytes += key.len() + stored.len();
            }
            put_counters(&mut txn, &databases, Default::default()).map_err(error)?;
            txn.commit().map_err(error)?;
        }
    }
    let mut txn = env.env().write_txn().map_err(error)?;
    put_counters(&mut txn, &databases, picture.counters()).map_err(error)?;
    txn.commit().map_err(error)?;
    env.env().force_sync().map_err(error)
}

/// Checks an entry: its checksum, or those of its rows.
pub(crate) fn check(picture: &Picture, shape: Shape, db: Db, key: &[u8], stored: &[u8]) -> Result<()> {
    if db != Db::Descriptors {
        return picture.unseal(db, key, stored).map(drop);
    }
    let block = key.try_into().map(u32::from_be_bytes).unwrap_or_default();
    for (row, stored) in stored.chunks(shape.descriptor_bytes()).enumerate() {
        // Rows of removed images have checksums too.
        let slot = (u64::from(block) * u64::from(shape.descriptor_rows) + row as u64) as u32;
        let sound = stored
            .split_first_chunk::<SUM>()
            .is_some_and(|(found, value)| sum(db, &number_key(slot), value) == *found);
        if !sound {
            return Err(picture.bad_descriptor(slot));
        }
    }
    Ok(())
}
