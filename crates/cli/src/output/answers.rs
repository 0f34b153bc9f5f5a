//! Answers to queries: for people, as JSON, GeoJSON, CSV, or as pairs for other tools.

use super::{Out, print_json};
use anyhow::Result;
use geojson::{Feature, FeatureCollection, Geometry, GeometryValue};
use r2former_data::LatLon;
use r2former_engine::{Answer, Match, RerankMethod};
use serde_json::{Map, Value, json};

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
    /// hloc: `query reference`, one pair a line.
    Hloc,
    /// kapture: `query, reference, score`, one pair a line.
    Kapture,
}

pub(crate) fn print_answers(
    out: &mut Out,
    answers: &[Answer],
    failed: &[(String, String)],
    format: AnswerFormat,
) -> Result<()> {
    match format {
        AnswerFormat::Text { timing } => answers.iter().try_for_each(|answer| text(out, answer, timing)),
        AnswerFormat::Json => {
            let failed: Vec<Value> = failed.iter().map(|(q, e)| json!({ "query": q, "error": e })).collect();
            print_json(&json!({ "answers": answers, "failed": failed })).map(drop)
        }
        AnswerFormat::GeoJson => out.line(format_args!("{}", serde_json::to_string(&features(answers))?)),
        AnswerFormat::Csv => table(out, answers),
        AnswerFormat::Pairs(pairs) => print_pairs(out, answers, pairs),
    }
}

fn each_match(answers: &[Answer]) -> impl Iterator<Item = (&Answer, usize, &Match)> {
    answers.iter().flat_map(|a| a.matches.iter().enumerate().map(move |(i, m)| (a, i + 1, m)))
}

fn text(out: &mut Out, answer: &Answer, timing: bool) -> Result<()> {
    out.line(format_args!("{}", answer.query))?;
    match &answer.estimate {
        Some(e) => out.line(format_args!(
            "  at {}   weighted {}   ({} of {} matches agree within {:.0} m)",
            degrees(e.best),
            degrees(e.weighted),
            e.agreeing,
            answer.matches.len(),
            e.spread_m
        ))?,
        None if answer.matches.is_empty() => out.line(format_args!("  no place in the index fits"))?,
        None => {}
    }
    if answer.reranking_skipped {
        out.line(format_args!("  not reranked: the global order is clear"))?;
    }
    let score = match answer.rerank {
        RerankMethod::Model => "   score",
        RerankMethod::Ransac => " inliers",
        RerankMethod::None => "",
    };
    if !answer.matches.is_empty() {
        out.line(format_args!("  {:>4}  {:>10}{score}  {:<23}  path", "rank", "similarity", "position"))?;
    }
    for (i, m) in answer.matches.iter().enumerate() {
        let score = match (answer.rerank, m.score) {
            (RerankMethod::Ransac, Some(inliers)) => format!("  {inliers:>6.0}"),
            (_, score) => score.map_or(String::new(), |s| format!("  {s:.4}")),
        };
        let position = m.position.map_or("unknown".into(), degrees);
        let heading = m.heading.map_or(String::new(), |h| format!("  heading {h:.0}"));
        let distance = m.distance_m.map_or(String::new(), |d| format!("  {d:.0} m from the prior"));
        let row = format!(
            "  {:>4}  {:>10.4}{score}  {position:<23}  {}{heading}{distance}",
            i + 1,
            m.similarity,
            m.path
        );
        out.line(format_args!("{row}"))?;
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

fn degrees(position: LatLon) -> String {
    format!("{:.6}, {:.6}", position.lat, position.lon)
}

/// One point a match; RFC 7946 puts longitude first.
fn features(answers: &[Answer]) -> FeatureCollection {
    let feature = |position: LatLon, properties: Value| Feature {
        bbox: None,
        geometry: Some(Geometry::new(GeometryValue::new_point([position.lon, position.lat]))),
        id: None,
        properties: match properties {
            Value::Object(map) => Some(map),
            _ => Some(Map::new()),
        },
        foreign_members: None,
    };
    let mut features = Vec::new();
    for answer in answers {
        if let Some(e) = &answer.estimate {
            let properties = json!({
                "kind": "estimate", "query": answer.query, "agreeing": e.agreeing, "spread_m": e.spread_m,
            });
            features.push(feature(e.weighted, properties));
        }
    }
    for (answer, rank, m) in each_match(answers) {
        if let Some(position) = m.position {
            let properties = json!({
                "kind": "match", "query": answer.query, "rank": rank, "path": m.path, "heading": m.heading,
                "similarity": m.similarity, "score": m.score, "distance_m": m.distance_m,
            });
            features.push(feature(position, properties));
        }
    }
    FeatureCollection { bbox: None, features, foreign_members: None }
}

fn table(out: &mut Out, answers: &[Answer]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "query",
        "rank",
        "path",
        "lat",
        "lon",
        "heading",
        "distance_m",
        "similarity",
        "score",
    ])?;
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    for (answer, rank, m) in each_match(answers) {
        writer.write_record([
            answer.query.clone(),
            rank.to_string(),
            m.path.clone(),
            number(m.position.map(|p| p.lat)),
            number(m.position.map(|p| p.lon)),
            number(m.heading),
            number(m.distance_m),
            m.similarity.to_string(),
            m.score.map_or(String::new(), |s| s.to_string()),
        ])?;
    }
    let bytes = writer.into_inner().map_err(|e| e.into_error())?;
    out.line(format_args!("{}", String::from_utf8_lossy(&bytes).trim_end()))
}

fn print_pairs(out: &mut Out, answers: &[Answer], format: PairsFormat) -> Result<()> {
    if format == PairsFormat::Kapture {
        out.line(format_args!("# kapture format: 1.1"))?;
        out.line(format_args!("# query_image, map_image, score"))?;
    }
    for (answer, _, m) in each_match(answers) {
        match format {
            PairsFormat::Hloc => out.line(format_args!("{} {}", answer.query, m.path))?,
            PairsFormat::Kapture => {
                out.line(format_args!("{}, {}, {}", answer.query, m.path, m.score.unwrap_or(m.similarity)))?;
            }
        }
    }
    Ok(())
}
