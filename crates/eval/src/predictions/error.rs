//! Errors of predictions files.

use std::path::PathBuf;

/// Why a predictions file cannot be scored or written; each message says where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// An extension that stands for no format.
    #[error("{path}: its extension stands for no format: name it .txt (MSLS) or .csv", path = path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// Nothing but blank lines and comments.
    #[error("{path}: holds no predictions: it needs one line per query", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that breaks the format.
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
        "{path}:{line}: query {name} is not among the dataset's {count}: if the predictions are for another split, task \
         or sequence length, score them on that; else delete the line", path = path.display()
    )]
    UnknownQuery {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The name on that line.
        name: String,
        /// Queries of the dataset.
        count: usize,
    },
    /// A predicted reference that the dataset does not have.
    #[error(
        "{path}:{line}: reference {name}, predicted for query {query}, is not among the database's {count}: if the \
         predictions are for another split, task or sequence length, score them on that", path = path.display()
    )]
    UnknownReference {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        query: String,
        /// The reference's name on that line.
        name: String,
        /// References of the dataset.
        count: usize,
    },
    /// A query on two lines.
    #[error("{path}:{line}: query {name} has predictions on line {first} already: keep one of the two", path = path.display())]
    RepeatedQuery {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The query.
        name: String,
        /// Its first line.
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
    /// A query with fewer predictions than N.
    #[error(
        "{path}:{line}: query {name} has {has} predictions, {needed} are needed: predict more, or score at smaller N with \
         --at", path = path.display()
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
        /// The largest N, or the size of the database if that is smaller.
        needed: usize,
    },
    /// Two images of the same name.
    #[error("two images of the {side} are named {name}: predictions need unique names")]
    SameName {
        /// `queries` or `database`.
        side: &'static str,
        /// The name.
        name: String,
    },
    /// A name that the MSLS format cannot represent.
    #[error(
        "{path}: this format cannot represent the name '{name}', because spaces separate names and # starts a comment: \
         write a .csv file", path = path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}
