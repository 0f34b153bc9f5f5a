//! Which images of an index a command considers: tags, times, and the surroundings of a position.

use crate::common::parse_radius;
use crate::exit::usage;
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::{LatLon, LocalPoint, Position, PositionKind, period};
use r2former_engine::Near;
use r2former_index::Filter;

/// Tags and times.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Consider only images that carry this tag; repeated, only those that carry all of them.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
    /// Consider only images taken at this time or later: a date of UTC (2024, 2024-05, 2024-05-31) from its start, or a time
    /// with its zone (2024-05-31T18:30:00Z).
    #[arg(long, value_name = "TIME", value_parser = |text: &str| period(text).map(|(first, _)| first))]
    since: Option<i64>,
    /// Consider only images taken at this time or before: a date to its end, so that --until 2024-05 includes May 31.
    #[arg(long, value_name = "TIME", value_parser = |text: &str| period(text).map(|(_, last)| last))]
    until: Option<i64>,
}

/// Surroundings of one position.
#[derive(Debug, Clone, Args)]
pub(crate) struct NearArgs {
    /// Consider only images around this position: LAT,LON in degrees, or X,Y[,Z] in metres in an index of local metres.
    #[arg(long, value_name = "POSITION", value_parser = parse_numbers, allow_hyphen_values = true, requires = "radius")]
    near: Option<Numbers>,
    /// Radius around --near, in metres.
    #[arg(long, value_name = "METRES", value_parser = parse_radius, allow_negative_numbers = true, requires = "near")]
    radius: Option<f64>,
}

impl NearArgs {
    pub(crate) fn near(&self, kind: PositionKind) -> Result<Option<Near>> {
        match (&self.near, self.radius) {
            (Some(numbers), Some(radius)) => Ok(Some(Near::new(numbers.position(kind)?, radius))),
            _ => Ok(None),
        }
    }
}

impl FilterArgs {
    /// The filter, without a position.
    pub(crate) fn filter(&self) -> Result<Filter> {
        let mut filter = Filter { since: self.since, until: self.until, ..Filter::default() };
        for (key, value) in &self.tags {
            if let Some(other) = filter.tags.insert(key.clone(), value.clone())
                && other != *value
            {
                usage!(
                    "--tag {key}={other} and --tag {key}={value}: no image carries both, as a key has one value"
                );
            }
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            usage!("--since is after --until: no image can pass");
        }
        Ok(filter)
    }
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err(format!("'{text}' is not KEY=VALUE, as in label=kitchen")),
    }
}

/// Two or three numbers, whose meaning the index's kind of positions decides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbers(pub(crate) Vec<f64>);

impl Numbers {
    pub(crate) fn position(&self, kind: PositionKind) -> Result<Position> {
        let text = || self.0.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        match (kind, self.0.as_slice()) {
            (PositionKind::Wgs84, &[lat, lon]) => match LatLon::new(lat, lon) {
                Ok(position) => Ok(position.into()),
                Err(e) => bail!("--near {}: {e}; this index has {}", text(), kind.words()),
            },
            (PositionKind::Local, &[x, y]) => Ok(LocalPoint::new(x, y, None)?.into()),
            (PositionKind::Local, &[x, y, z]) => Ok(LocalPoint::new(x, y, Some(z))?.into()),
            (PositionKind::None, _) => {
                bail!("--near {}: this index has no positions; use --tag instead", text())
            }
            (PositionKind::Wgs84, _) => bail!(
                "--near {}: LAT,LON has two parts; this index has {}, and X,Y,Z is for one in local metres",
                text(),
                kind.words()
            ),
            (PositionKind::Local, _) => {
                bail!("--near {}: X,Y or X,Y,Z is needed; this index has {}", text(), kind.words())
            }
        }
    }
}

/// `52.2,0.12` or `1.5,-2,0.8`.
pub(crate) fn parse_numbers(text: &str) -> Result<Numbers, String> {
    let numbers: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse::<f64>().ok().filter(|value| value.is_finite()))
        .collect();
    match numbers {
        Some(numbers) if matches!(numbers.len(), 2 | 3) => Ok(Numbers(numbers)),
        _ => Err(format!("'{text}' is not LAT,LON in degrees, as in 52.205,0.119, or X,Y[,Z] in metres")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_the_index_decides() {
        let of =
            |text: &str, kind| parse_numbers(text).expect(text).position(kind).map_err(|e| e.to_string());
        assert_eq!(of("52, -0.5", PositionKind::Wgs84), Ok(LatLon { lat: 52.0, lon: -0.5 }.into()));
        assert_eq!(of("120,-0.5", PositionKind::Local), Ok(LocalPoint { x: 120.0, y: -0.5, z: None }.into()));
        assert_eq!(of("1,2,3", PositionKind::Local), Ok(LocalPoint { x: 1.0, y: 2.0, z: Some(3.0) }.into()));
        for (text, kind, said) in [
            ("1,2,3", PositionKind::Wgs84, "LAT,LON has two parts; this index has WGS84"),
            ("120,0", PositionKind::Wgs84, "this index has WGS84"),
            ("1,2", PositionKind::None, "this index has no positions"),
        ] {
            let message = of(text, kind).expect_err(text);
            assert!(message.contains(said), "{message}");
        }
        for bad in ["", "1", "1,2,3,4", "nan,1", "a,b", "1;2"] {
            assert!(parse_numbers(bad).expect_err(bad).contains("LAT,LON"), "{bad}");
        }
        assert!(parse_tag("label").is_err() && parse_tag("=x").is_err());
        assert_eq!(parse_tag("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
