//! What can be wrong with a file of predictions.

use std::path::PathBuf;

/// A file of predictions that cannot be scored or written; each message says where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A name that does not tell the format.
    #[error("{path}: its ending does not tell its format: name it .txt (MSLS) or .csv", path = path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// Nothing but blanks and comments.
    #[error("{path}: holds no predictions: needed is a line for each query", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that does not say what its format promises.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A query that the dataset does not have.
    #[error(
        "{path}:{line}: query {name} is none of the dataset's {count}: were the predictions made for another part, \
         task or sequence length? Score them on that, or take the line out", path = path.display()
    )]
    UnknownQuery {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What the line calls it.
        name: String,
        /// Queries of the dataset.
        count: usize,
    },
    /// A predicted reference that the dataset does not have.
    #[error(
        "{path}:{line}: reference {name}, predicted for query {query}, is none of the database's {count}: were the \
         predictions made for another part, task or sequence length? Score them on that", path = path.display()
    )]
    UnknownReference {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        query: String,
        /// What the line calls the reference.
        name: String,
        /// References of the dataset.
        count: usize,
    },
    /// A query with two lines.
    #[error("{path}:{line}: query {name} has its predictions on line {first} already: keep one of the two", path = path.display())]
    RepeatedQuery {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        name: String,
        /// The line that it had first.
        first: u64,
    },
    /// A reference that is predicted twice for one query.
    #[error(
        "{path}:{line}: reference {name} is predicted twice for query {query}: predictions must be unique, keep the \
         better rank", path = path.display()
    )]
    RepeatedReference {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        query: String,
        /// The reference.
        name: String,
    },
    /// A query without predictions.
    #[error(
        "{path}: query {name} has no predictions ({missing} of {count} queries have none): every query must be \
         present", path = path.display()
    )]
    MissingQuery {
        /// The file.
        path: PathBuf,
        /// The first such query.
        name: String,
        /// How many there are.
        missing: usize,
        /// Queries that count.
        count: usize,
    },
    /// A query with fewer predictions than are looked at.
    #[error(
        "{path}:{line}: query {name} has {has} predictions, {needed} are needed: predict more, or ask for smaller N \
         with --at", path = path.display()
    )]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        name: String,
        /// Its predictions.
        has: usize,
        /// The largest N that is asked for, or the whole database.
        needed: usize,
    },
    /// Two images of one name, which predictions cannot tell apart.
    #[error("two images of the {side} are called {name}: predictions need names that differ")]
    SameName {
        /// `queries` or `database`.
        side: &'static str,
        /// The name.
        name: String,
    },
    /// A name that the MSLS format cannot hold.
    #[error(
        "{path}: '{name}' cannot stand in this format, where blanks separate and # begins a comment: write a .csv \
         file", path = path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}
