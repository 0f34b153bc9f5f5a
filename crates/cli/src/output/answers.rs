//! Answers to queries: for people, as JSON, GeoJSON, CSV, or as pairs for other tools.

use super::{Out, escaped, escaped_json, print_json, quoted, quoted_path};
use anyhow::{Result, bail};
use r2former_engine::{
    Answer, Match, PositionKind, Positions, QueryResult, RerankMethod, ScoreKind, Status, answers_geojson,
    answers_json,
};
use serde::Serialize;
use serde_json::Value;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFormat {
    Text { timing: bool },
    Json,
    GeoJson,
    Csv,
    Pairs(PairsFormat),
}

/// Pair lists that other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PairsFormat {
    /// hloc: `query reference`, a line for each pair; names without white space.
    Hloc,
    /// kapture: `query, reference, score`, a line for each pair; names without commas.
    Kapture,
}

/// A value as it is serialised.
pub(super) fn word(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Prints answers of an index with these positions.
pub(crate) fn print_answers(
    out: &mut Out,
    results: &[QueryResult],
    format: AnswerFormat,
    positions: Positions,
) -> Result<()> {
    match format {
        AnswerFormat::Text { timing } => {
            let mut answers = results.iter().filter_map(QueryResult::answer);
            answers.try_for_each(|answer| text(out, answer, timing, positions.kind()))
        }
        AnswerFormat::Json => print_json(&answers_json(results)).map(drop),
        AnswerFormat::GeoJson => out.line(format_args!(
            "{}",
            escaped_json(&answers_geojson(results, positions.origin()).to_string())
        )),
        AnswerFormat::Csv => super::answer_table::table(out, results, positions.kind()),
        AnswerFormat::Pairs(pairs) => print_pairs(out, results, pairs),
    }
}

fn text(out: &mut Out, answer: &Answer, timing: bool, kind: PositionKind) -> Result<()> {
    out.line(format_args!("{}", quoted_path(&answer.query)))?;
    if answer.matches.is_empty() {
        out.line(format_args!("  no match: no photo of the index passes the search radius, tags and times"))?;
    }
    if let Some(confidence) = answer.confidence {
        let words = if answer.status == Status::NotInIndex { "not in this index: " } else { "" };
        // Nothing is certain.
        out.line(format_args!("  {words}confidence {:.0} %", (100.0 * confidence).min(99.0)))?;
    }
    if let Some(e) = &answer.estimate {
        let spread = if e.agreeing > 1 { format!(", spread {:.0} m", e.spread_m) } else { String::new() };
        out.line(format_args!(
            "  at {}   weighted {}   ({} of {} matches agree{spread})",
            e.best, e.weighted, e.agreeing, e.considered
        ))?;
        if let Some(ellipse) = &e.ellipse {
            let heading =
                e.heading.map_or(String::new(), |degrees| format!(", looking {}", whole(degrees, 360.0)));
            out.line(format_args!(
                "  within {:.0} m x {:.0} m at {} degrees, 90 % sure{heading}",
                ellipse.major_m,
                ellipse.minor_m,
                whole(ellipse.angle_deg, 180.0)
            ))?;
        }
    }
    if let (PositionKind::None, Some(best)) = (kind, answer.matches.first()) {
        out.line(format_args!("  best match {}{}", quoted(&best.path), tags(best)))?;
    }
    if answer.reranking_skipped {
        out.line(format_args!("  reranking skipped: the top-1 margin is large enough"))?;
    }
    let score = match answer.rerank {
        RerankMethod::Model => "   score",
        RerankMethod::Ransac => "  ransac",
        RerankMethod::Mutual => " matches",
        RerankMethod::None => "",
    };
    if !answer.matches.is_empty() {
        let position =
            if kind == PositionKind::None { String::new() } else { format!("  {:<23}", "position") };
        out.line(format_args!("  {:>4}  {:>10}{score}{position}  path", "rank", "similarity"))?;
    }
    for m in &answer.matches {
        let score = match (m.score, m.score_kind) {
            (Some(agreement), Some(ScoreKind::RansacInliers)) => format!("  {agreement:>6.1}"),
            (Some(count), Some(ScoreKind::MutualMatches)) => format!("  {count:>6.0}"),
            (Some(score), _) => format!("  {score:.4}"),
            (None, _) => " ".repeat(score.len()),
        };
        let position = m.position.map_or("unknown".into(), |position| position.to_string());
        let position = if kind == PositionKind::None { String::new() } else { format!("  {position:<23}") };
        let tags = if kind == PositionKind::None { tags(m) } else { String::new() };
        let heading = m.heading.map_or(String::new(), |h| format!("  heading {}", whole(h, 360.0)));
        let distance = m.distance_m.map_or(String::new(), |d| format!("  {d:.0} m from the prior"));
        out.line(format_args!(
            "  {:>4}  {:>10.4}{score}{position}  {}{heading}{distance}{tags}",
            m.rank,
            m.similarity,
            quoted(&m.path)
        ))?;
    }
    if timing {
        let t = &answer.timing;
        out.line(format_args!(
            "  ms: decode {:.1}, extract {:.1}, search {:.1}, fetch {:.1}, rerank {:.1}",
            t.decode_ms, t.extract_ms, t.search_ms, t.fetch_ms, t.rerank_ms
        ))?;
    }
    Ok(())
}

/// A match's tags on a line.
fn tags(m: &Match) -> String {
    m.tags.iter().map(|(key, value)| format!("  {}={}", escaped(key), escaped(value))).collect()
}

fn print_pairs(out: &mut Out, results: &[QueryResult], format: PairsFormat) -> Result<()> {
    check_pair_names(format, results.iter().flat_map(QueryResult::matches).map(|m| m.path.as_str()))?;
    if format == PairsFormat::Kapture {
        out.line(format_args!("# kapture format: 1.1"))?;
        out.line(format_args!("# query_image, map_image, score"))?;
    }
    for result in results {
        for m in result.matches() {
            let query = result.query();
            match format {
                PairsFormat::Hloc => out.line(format_args!("{query} {}", m.path))?,
                PairsFormat::Kapture => {
                    out.line(format_args!("{query}, {}, {}", m.path, m.score.unwrap_or(m.similarity)))?;
                }
            }
        }
    }
    Ok(())
}

/// Most names in one message.
const NAMED: usize = 5;

/// Refuses names that a list of pairs cannot carry: its reader would split them.
pub(crate) fn check_pair_names<'a>(format: PairsFormat, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let (tool, what) = match format {
        PairsFormat::Hloc => ("hloc", "white space"),
        PairsFormat::Kapture => ("kapture", "commas, line breaks or surrounding white space"),
    };
    let splits = |name: &str| match format {
        PairsFormat::Hloc => name.contains(char::is_whitespace),
        PairsFormat::Kapture => name.contains(',') || name.trim() != name,
    };
    // A line that begins with # is a comment to both.
    let mut refused: Vec<&str> = names
        .filter(|name| splits(name) || name.contains(char::is_control) || name.starts_with('#'))
        .collect();
    refused.sort_unstable();
    refused.dedup();
    if refused.is_empty() {
        return Ok(());
    }
    let more = match refused.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named: Vec<String> = refused.iter().take(NAMED).map(|name| format!("'{}'", quoted(name))).collect();
    bail!(
        "--pairs {tool} cannot write names with {what}: {}{more}; rename the photos, or use --json or --csv",
        named.join(", ")
    )
}

/// Whole degrees from 0 to under `turn`: 359.7 is 0.
fn whole(degrees: f64, turn: f64) -> f64 {
    degrees.round().rem_euclid(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_refuse_names_that_their_readers_would_split() {
        let check = |format, names: &[&str]| check_pair_names(format, names.iter().copied());
        assert!(check(PairsFormat::Hloc, &["a.jpg", "day/né,1.jpg"]).is_ok());
        assert!(check(PairsFormat::Kapture, &["a b.jpg", "day/né.jpg"]).is_ok());
        for (format, bad) in [
            (PairsFormat::Hloc, "a b.jpg"),
            (PairsFormat::Hloc, "a\u{a0}b.jpg"),
            (PairsFormat::Hloc, "a\nb.jpg"),
            (PairsFormat::Hloc, "#a.jpg"),
            (PairsFormat::Kapture, "a,b.jpg"),
            (PairsFormat::Kapture, "a\nb.jpg"),
            (PairsFormat::Kapture, " a.jpg"),
        ] {
            let message = check(format, &["fine.jpg", bad, bad]).expect_err(bad).to_string();
            assert!(message.contains(&format!("'{}'", escaped(bad))), "{message}");
            assert!(!message.contains("fine.jpg") && !message.contains('\n'), "{message}");
        }
        let many: Vec<String> = (0..9).map(|i| format!("{i} .jpg")).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let message = check(PairsFormat::Hloc, &names).expect_err("nine").to_string();
        assert!(message.contains("'4 .jpg' and 4 more"), "{message}");
    }
}
