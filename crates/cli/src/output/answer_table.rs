//! Answers as CSV: a row for each match, and for each query without one.

use super::answers::word;
use super::{Out, escaped, quoted, quoted_path};
use anyhow::Result;
use r2former_engine::{LatLon, LocalPoint, Match, Position, PositionKind, QueryResult};
use serde::Serialize;
use serde_json::Value;

/// The names of a position's coordinates.
fn coordinates(kind: PositionKind) -> &'static [&'static str] {
    match kind {
        PositionKind::Wgs84 => &["lat", "lon"],
        PositionKind::Local => &["x", "y", "z"],
        PositionKind::None => &[],
    }
}

/// The columns: what is known of a match, then of its query.
fn columns(kind: PositionKind) -> Vec<String> {
    let of = |prefix: &'static str| coordinates(kind).iter().map(move |name| format!("{prefix}{name}"));
    let mut columns: Vec<String> = ["query", "status", "rank", "path"].map(String::from).to_vec();
    columns.extend(of(""));
    columns.extend(["heading", "distance_m", "similarity", "score", "score_kind"].map(String::from));
    columns.extend(of("best_").chain(of("weighted_")));
    columns.extend(
        [
            "agreeing",
            "considered",
            "spread_m",
            "confidence",
            "looking",
            "major_m",
            "minor_m",
            "angle_deg",
            "reranking_skipped",
            "notes",
            "error",
            "tags",
        ]
        .map(String::from),
    );
    columns
}

pub(super) fn table(out: &mut Out, results: &[QueryResult], kind: PositionKind) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns(kind))?;
    for result in results {
        let about = |m: Option<&Match>| {
            let query = vec![quoted_path(result.query()).into_owned(), plain(result.status())];
            [query, of_match(m, kind), of_query(result, kind), vec![m.map_or(String::new(), tags)]].concat()
        };
        if result.matches().is_empty() {
            writer.write_record(about(None))?;
        }
        for m in result.matches() {
            writer.write_record(about(Some(m)))?;
        }
    }
    let bytes = writer.into_inner().map_err(|e| e.into_error())?;
    out.line(format_args!("{}", String::from_utf8_lossy(&bytes).trim_end()))
}

/// A name in a table: CSV has no escapes of its own.
fn name(name: &str) -> String {
    quoted(name).into_owned()
}

/// A value as it stands in a table; nothing for null.
fn plain(value: impl Serialize) -> String {
    match word(value) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Tags as a JSON object, which can hold any of them; nothing for none.
fn tags(m: &Match) -> String {
    if m.tags.is_empty() { String::new() } else { escaped(&plain(&m.tags)).into_owned() }
}

/// A cell for each coordinate of an index's kind of positions.
fn cells(position: Option<Position>, kind: PositionKind) -> Vec<String> {
    let numbers = match position {
        Some(Position::Wgs84(LatLon { lat, lon })) => vec![Some(lat), Some(lon)],
        Some(Position::Local(LocalPoint { x, y, z })) => vec![Some(x), Some(y), z],
        None => Vec::new(),
    };
    (0..coordinates(kind).len()).map(|i| plain(numbers.get(i).copied().flatten())).collect()
}

fn of_match(m: Option<&Match>, kind: PositionKind) -> Vec<String> {
    let mut row = vec![plain(m.map(|m| m.rank)), m.map_or(String::new(), |m| name(&m.path))];
    row.extend(cells(m.and_then(|m| m.position), kind));
    row.extend([
        plain(m.and_then(|m| m.heading)),
        plain(m.and_then(|m| m.distance_m)),
        // Not by JSON, which would write them with the digits of 64 bits.
        m.map_or(String::new(), |m| m.similarity.to_string()),
        m.and_then(|m| m.score).map_or(String::new(), |score| score.to_string()),
        plain(m.and_then(|m| m.score_kind)),
    ]);
    row
}

fn of_query(result: &QueryResult, kind: PositionKind) -> Vec<String> {
    let answer = result.answer();
    let estimate = answer.and_then(|answer| answer.estimate.as_ref());
    let ellipse = estimate.and_then(|e| e.ellipse);
    let error = match result {
        QueryResult::Unreadable { error, .. } => quoted_path(error).into_owned(),
        QueryResult::Answer(_) => String::new(),
    };
    let mut row = cells(estimate.map(|e| e.best), kind);
    row.extend(cells(estimate.map(|e| e.weighted), kind));
    row.extend([
        plain(estimate.map(|e| e.agreeing)),
        plain(estimate.map(|e| e.considered)),
        plain(estimate.map(|e| e.spread_m)),
        plain(answer.and_then(|answer| answer.confidence)),
        plain(estimate.and_then(|e| e.heading)),
        plain(ellipse.map(|own| own.major_m)),
        plain(ellipse.map(|own| own.minor_m)),
        plain(ellipse.map(|own| own.angle_deg)),
        plain(answer.map(|answer| answer.reranking_skipped)),
        answer.map_or(String::new(), |answer| answer.notes.join("; ")),
        error,
    ]);
    row
}
