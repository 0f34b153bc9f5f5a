//! What came of queries, as JSON: the same document from the program and from the service.

use crate::{Answer, Match};
use serde::Serialize;
use serde_json::{Value, json};

/// What came of one query.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "most results are answers")]
pub enum QueryResult {
    /// It was asked; the answer may be that nothing matches.
    Answer(Answer),
    /// The query is no usable photograph.
    Unreadable {
        /// Its name.
        query: String,
        /// Why not.
        error: String,
    },
}

impl QueryResult {
    /// The query's name.
    pub fn query(&self) -> &str {
        match self {
            Self::Answer(answer) => &answer.query,
            Self::Unreadable { query, .. } => query,
        }
    }

    /// The answer, where the query was readable.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Unreadable { .. } => None,
        }
    }

    /// Matches, best first; none of an unreadable query.
    pub fn matches(&self) -> &[Match] {
        self.answer().map_or(&[], |answer| &answer.matches)
    }

    /// `answered`, `not_in_index`, `no_match` or `unreadable`.
    pub fn status(&self) -> Value {
        self.answer().map_or_else(|| "unreadable".into(), |answer| as_json(answer.status))
    }

    /// The result as JSON; an unreadable query has only `query`, `status` and `error`.
    pub fn json(&self) -> Value {
        match self {
            Self::Answer(answer) => as_json(answer),
            Self::Unreadable { query, error } => {
                json!({ "query": query, "status": self.status(), "error": error })
            }
        }
    }
}

/// The document of some queries, in their order: `{"answers": [...]}`.
///
/// ```
/// use r2former_engine::{QueryResult, answers_json};
///
/// let result = QueryResult::Unreadable { query: "a.jpg".into(), error: "is empty".into() };
/// let document = answers_json(&[result]).to_string();
/// assert_eq!(document, r#"{"answers":[{"query":"a.jpg","status":"unreadable","error":"is empty"}]}"#);
/// ```
pub fn answers_json(results: &[QueryResult]) -> Value {
    let answers: Vec<Value> = results.iter().map(QueryResult::json).collect();
    json!({ "answers": answers })
}

fn as_json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
