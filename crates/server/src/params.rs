//! Parameters of requests, from the query of the address and from the fields of a form alike.

use crate::problem::{Problem, Result};
use r2former_data::geo::FARTHEST_M;
use r2former_data::{LatLon, LocalPoint, Position, PositionKind, period};
use r2former_engine::{Filter, LocateOptions, Near, RerankMethod};
use r2former_model::Calibration;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most matches in an answer, and most candidates that are reranked.
pub(crate) const MOST: u32 = 1000;

/// Longest name of a query in bytes.
pub(crate) const LONGEST_NAME: usize = 255;

/// Most parameters of a request.
const MOST_PARAMETERS: usize = 200;

/// Parameters as they came: a name may be repeated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Params(Vec<(String, String)>);

/// Around where a query is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Prior {
    Everywhere,
    Near(Near),
    /// The photograph's own position, and this radius.
    Exif(f64),
}

impl Params {
    /// Those of an address.
    ///
    /// # Errors
    /// Too many of them.
    pub(crate) fn of_query(query: Option<&str>) -> Result<Self> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut params = Self::default();
        for (name, value) in pairs {
            params.push(name.into_owned(), value.into_owned())?;
        }
        Ok(params)
    }

    /// Adds one.
    ///
    /// # Errors
    /// Too many of them.
    pub(crate) fn push(&mut self, name: String, value: String) -> Result<()> {
        if self.0.len() == MOST_PARAMETERS {
            return Err(Problem::bad_request(format!("there are more than {MOST_PARAMETERS} parameters")));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Refuses names that mean nothing here: a misspelt parameter is no silent default.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => Err(Problem::bad_request(format!(
                "there is no parameter {}: this address takes none",
                shown(name)
            ))),
            Some((name, _)) => Err(Problem::bad_request(format!(
                "there is no parameter {}; there are {}",
                shown(name),
                known.join(", ")
            ))),
        }
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::bad_request(format!("{name} is given twice"))),
            (value, None) => Ok(value),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parsed<T: FromStr>(&self, name: &str, what: &str, fits: impl Fn(&T) -> bool) -> Result<Option<T>> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let value = text.trim().parse().ok().filter(fits);
        let bad = || Problem::bad_request(format!("{name}={} is not {what}", shown(text)));
        value.map(Some).ok_or_else(bad)
    }

    /// A whole number within a range.
    pub(crate) fn count(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<usize>> {
        let what = format!("a whole number, {} to {}", range.start(), range.end());
        let count = self.parsed(name, &what, |count: &u32| range.contains(count))?;
        Ok(count.map(|count| count as usize))
    }

    /// A finite number within a range.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let what = format!("a number, {} to {}", range.start(), range.end());
        self.parsed(name, &what, |number: &f64| range.contains(number))
    }

    /// A radius in metres.
    fn radius(&self) -> Result<Option<f64>> {
        let what = format!("a radius in metres, more than 0 and at most {FARTHEST_M}");
        self.parsed("radius", &what, |radius: &f64| *radius > 0.0 && *radius <= FARTHEST_M)
    }

    /// When a photograph was taken: seconds since 1970 UTC, a moment with its zone, or a day, which is its start.
    pub(crate) fn time(&self) -> Result<Option<i64>> {
        let Some(text) = self.one("time")? else { return Ok(None) };
        let number = text.trim().parse().ok().filter(|time: &f64| time.abs() <= 1e11).map(|time| time as i64);
        // A month or a year says too little to be the time of a photograph.
        let day = || period(text).ok().filter(|(first, last)| last - first < 86_400).map(|(first, _)| first);
        number.or_else(day).map(Some).ok_or_else(|| {
            Problem::bad_request(format!(
                "time={} is not seconds since 1970 UTC, a time with its zone (2024-05-31T18:30:00Z) or a day (2024-05-31)",
                shown(text)
            ))
        })
    }

    /// What a query is called.
    pub(crate) fn query_name(&self) -> Result<Option<&str>> {
        match self.one("name")? {
            Some(name) if name.len() > LONGEST_NAME || name.contains(char::is_control) => {
                Err(Problem::bad_request(format!(
                    "name={}: a name has at most {LONGEST_NAME} bytes, and no control characters",
                    shown(name)
                )))
            }
            name => Ok(name),
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.parsed(name, "true or false", |_| true)?.unwrap_or(false))
    }

    /// One of some words; the first where it is not given.
    pub(crate) fn word<'w>(&self, name: &str, words: &[&'w str]) -> Result<&'w str> {
        let first = words.first().copied().unwrap_or_default();
        let Some(text) = self.one(name)? else { return Ok(first) };
        words.iter().copied().find(|word| *word == text).ok_or_else(|| {
            Problem::bad_request(format!("{name}={} is not one of {}", shown(text), words.join(", ")))
        })
    }

    /// How to search, but for the prior.
    pub(crate) fn locate_options(&self) -> Result<LocateOptions> {
        let mut options = LocateOptions::default().filter(self.filter()?);
        options.top = self.count("top", 1..=MOST)?.unwrap_or(options.top);
        options.candidates = self.count("candidates", 1..=MOST)?.unwrap_or(options.candidates);
        options.rerank = self.parsed("rerank", "model, ransac, mutual or none", |_: &RerankMethod| true)?;
        options.cascade = self.count("cascade", 1..=MOST)?;
        options.adaptive = self.number("adaptive", 0.0..=2.0)?.map(|margin| margin as f32);
        options.approximate = self.flag("approximate")?;
        Ok(options)
    }

    /// `min_confidence`: a probability, or `auto` for the threshold of the index's own model.
    pub(crate) fn min_confidence(&self, calibration: Option<&Calibration>) -> Result<Option<f64>> {
        let Some(text) = self.one("min_confidence")? else { return Ok(None) };
        let stated = match text {
            "auto" => None,
            _ => {
                let value = text.trim().parse().ok().filter(|value: &f64| (0.0..=1.0).contains(value));
                Some(value.ok_or_else(|| {
                    Problem::bad_request(format!(
                        "min_confidence={} is neither a probability, 0 to 1, nor auto",
                        shown(text)
                    ))
                })?)
            }
        };
        match calibration {
            Some(own) => Ok(Some(stated.unwrap_or(own.threshold))),
            None => Err(Problem::unprocessable(
                "min_confidence: the model of this index is not calibrated, so its answers have no confidence",
            )),
        }
    }

    /// Tags and times.
    pub(crate) fn filter(&self) -> Result<Filter> {
        let bad = |problem: String| Problem::bad_request(problem);
        let moment = |name| self.one(name)?.map(period).transpose().map_err(bad);
        let since = moment("since")?.map(|(first, _)| first);
        let until = moment("until")?.map(|(_, last)| last);
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(bad("since is after until: no image can pass".into()));
        }
        Ok(Filter { since, until, tags: self.tags()?.into_iter().collect(), ..Filter::default() })
    }

    /// `tag=KEY=VALUE`, any number of them.
    pub(crate) fn tags(&self) -> Result<Vec<(String, String)>> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for text in self.all("tag") {
            let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(Problem::bad_request(format!(
                    "tag={} is not KEY=VALUE, as in tag=label=kitchen",
                    shown(text)
                )));
            };
            if tags.iter().any(|(known, other)| known == key && other != value) {
                return Err(Problem::bad_request(format!("the tag {} is given two values", shown(key))));
            }
            tags.push((key.into(), value.into()));
        }
        Ok(tags)
    }

    /// `near=lat,lon` (or `x,y[,z]`, or `exif`) and `radius`.
    pub(crate) fn prior(&self, kind: PositionKind) -> Result<Prior> {
        let radius = self.radius()?;
        match (self.one("near")?, radius) {
            (None, None) => Ok(Prior::Everywhere),
            (Some("exif"), Some(radius)) if kind == PositionKind::Wgs84 => Ok(Prior::Exif(radius)),
            (Some("exif"), Some(_)) => Err(Problem::unprocessable(format!(
                "near=exif: positions in EXIF are WGS84; this index has {}",
                kind.words()
            ))),
            (Some(text), Some(radius)) => Ok(Prior::Near(Near::new(position("near", text, kind)?, radius))),
            (Some(_), None) => Err(Problem::bad_request("near needs a radius in metres")),
            (None, Some(_)) => Err(Problem::bad_request("radius is that of near=lat,lon")),
        }
    }

    /// `position=lat,lon`, or `x,y[,z]` in local metres: where a photograph was taken.
    pub(crate) fn position(&self, kind: PositionKind) -> Result<Option<Position>> {
        let Some(text) = self.one("position")? else { return Ok(None) };
        let position = position("position", text, kind)?;
        if position.wgs84() == Some(LatLon { lat: 0.0, lon: 0.0 }) {
            return Err(Problem::unprocessable(
                "position=0,0 stands for none, as cameras and tables write it: give the photograph's own position",
            ));
        }
        Ok(Some(position))
    }

    /// `bbox=west,south,east,north` in degrees, or `min x,min y,max x,max y`; west may be east of east, across the date line.
    pub(crate) fn bbox(&self, kind: PositionKind) -> Result<Option<[f64; 4]>> {
        let Some(text) = self.one("bbox")? else { return Ok(None) };
        let bad = || {
            Problem::bad_request(format!(
                "bbox={} is not four numbers: west,south,east,north, or minimum x,y and maximum x,y",
                shown(text)
            ))
        };
        let numbers = numbers(text).and_then(|numbers| <[f64; 4]>::try_from(numbers).ok()).ok_or_else(bad)?;
        let [west, south, east, north] = numbers;
        if south > north || (kind == PositionKind::Local && west > east) {
            return Err(bad());
        }
        let unusable =
            |why: &dyn Display| Err(Problem::unprocessable(format!("bbox={}: {why}", shown(text))));
        match kind {
            PositionKind::None => unusable(&format!("this index has {}", kind.words())),
            PositionKind::Wgs84 => match LatLon::new(south, west).and(LatLon::new(north, east)) {
                Ok(_) => Ok(Some(numbers)),
                Err(error) => unusable(&error),
            },
            PositionKind::Local => Ok(Some(numbers)),
        }
    }
}

/// A position of the index's kind.
fn position(name: &str, text: &str, kind: PositionKind) -> Result<Position> {
    let unusable =
        |problem: &dyn Display| Problem::unprocessable(format!("{name}={}: {problem}", shown(text)));
    let form = match kind {
        PositionKind::Wgs84 => "LAT,LON in degrees, as in 52.205,0.119",
        PositionKind::Local => "X,Y or X,Y,Z in metres, as in 12.5,-3",
        PositionKind::None => "LAT,LON in degrees, or X,Y[,Z] in metres",
    };
    let Some(parts) = numbers(text).filter(|parts| matches!(parts.len(), 2 | 3)) else {
        return Err(Problem::bad_request(format!("{name}={} is not {form}", shown(text))));
    };
    match (kind, parts.as_slice()) {
        (PositionKind::Wgs84, &[lat, lon]) => {
            LatLon::new(lat, lon).map(Into::into).map_err(|error| unusable(&error))
        }
        (PositionKind::Local, &[x, y]) => {
            LocalPoint::new(x, y, None).map(Into::into).map_err(|error| unusable(&error))
        }
        (PositionKind::Local, &[x, y, z]) => {
            LocalPoint::new(x, y, Some(z)).map(Into::into).map_err(|error| unusable(&error))
        }
        (PositionKind::None, _) => Err(unusable(&format!("this index has {}", kind.words()))),
        (kind, _) => Err(unusable(&format!("this index has {}: {form} is needed", kind.words()))),
    }
}

/// Finite numbers with commas between.
fn numbers(text: &str) -> Option<Vec<f64>> {
    text.split(',').map(|part| part.trim().parse().ok().filter(|v: &f64| v.is_finite())).collect()
}

/// A text of the client within a message: short, and on one line.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("'{}{more}'", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of_query(Some(query)).expect("few parameters")
    }

    #[test]
    fn options_are_those_of_the_program() {
        let params =
            params("top=3&candidates=50&rerank=ransac&tag=camera%3Dfront&tag=a=b=c&since=1970&until=1970-01");
        let options = params.locate_options().expect("sound");
        assert_eq!((options.top, options.candidates, options.rerank), (3, 50, Some(RerankMethod::Ransac)));
        assert_eq!((options.filter.since, options.filter.until), (Some(0), Some(31 * 86_400 - 1)));
        assert_eq!(
            (options.filter.tags["camera"].as_str(), options.filter.tags["a"].as_str()),
            ("front", "b=c")
        );
        assert_eq!(super::Params::default().locate_options().expect("none"), LocateOptions::default());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "top=0",
            "top=1001",
            "top=x",
            "top=1&top=2",
            "candidates=-1",
            "rerank=best",
            "cascade=0",
            "adaptive=nan",
            "tag=x",
            "tag==x",
            "tag=a=1&tag=a=2",
            "since=soon",
            "since=2025&until=2024",
        ] {
            let problem = params(bad).locate_options().expect_err(bad);
            assert_eq!(problem.status.as_u16(), 400, "{bad}");
        }
        assert!(params("tpo=3").only(&["top"]).expect_err("misspelt").detail().contains("there are top"));
        let many = "a=1&".repeat(MOST_PARAMETERS + 1);
        assert!(Params::of_query(Some(&many)).is_err());
    }

    #[test]
    fn confidence_is_asked_of_a_calibrated_model() {
        let own = Calibration {
            radius_m: 25.0,
            threshold: 0.7,
            fits: Vec::new(),
            position_scale: None,
            fitted_on: Vec::new(),
        };
        let least = |query: &str, own: Option<&Calibration>| {
            params(query).min_confidence(own).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(least("", None), Ok(None));
        assert_eq!(least("min_confidence=auto", Some(&own)), Ok(Some(0.7)));
        assert_eq!(least("min_confidence=0.25", Some(&own)), Ok(Some(0.25)));
        assert_eq!(least("min_confidence=0.25", None), Err(422));
        for bad in ["2", "-0.1", "nan", "", "high"] {
            assert_eq!(least(&format!("min_confidence={bad}"), Some(&own)), Err(400), "{bad}");
        }
    }

    #[test]
    fn the_kind_of_the_index_decides() {
        let prior = |query: &str, kind| params(query).prior(kind).map_err(|problem| problem.status.as_u16());
        let here = LatLon { lat: 52.0, lon: -0.5 };
        let near = Prior::Near(Near::new(here, 25.0));
        assert_eq!(prior("near=52,-0.5&radius=25", PositionKind::Wgs84), Ok(near));
        assert_eq!(prior("near=exif&radius=25", PositionKind::Wgs84), Ok(Prior::Exif(25.0)));
        assert_eq!(prior("", PositionKind::None), Ok(Prior::Everywhere));
        for (bad, kind, status) in [
            ("near=52,0.1", PositionKind::Wgs84, 400),
            ("radius=5", PositionKind::Wgs84, 400),
            ("near=91,0&radius=5", PositionKind::Wgs84, 422),
            ("near=1,2,3&radius=5", PositionKind::Wgs84, 422),
            ("near=exif&radius=5", PositionKind::Local, 422),
            ("near=1,2&radius=5", PositionKind::None, 422),
            ("near=here&radius=5", PositionKind::Wgs84, 400),
            ("near=52&radius=5", PositionKind::Wgs84, 400),
            ("near=1,2,3,4&radius=5", PositionKind::Local, 400),
            ("near=1,2&radius=0", PositionKind::Wgs84, 400),
            ("near=1,2&radius=inf", PositionKind::Wgs84, 400),
        ] {
            assert_eq!(prior(bad, kind), Err(status), "{bad}");
        }
        let bbox = |text: &str, kind| {
            params(&format!("bbox={text}")).bbox(kind).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(bbox("-1,2,3,4", PositionKind::Wgs84), Ok(Some([-1.0, 2.0, 3.0, 4.0])));
        assert_eq!(bbox("170,2,-170,4", PositionKind::Wgs84), Ok(Some([170.0, 2.0, -170.0, 4.0])));
        assert_eq!(bbox("-1,2,300,400", PositionKind::Local), Ok(Some([-1.0, 2.0, 300.0, 400.0])));
        for (bad, kind, status) in [
            ("1,2,3", PositionKind::Wgs84, 400),
            ("0,2,0,1", PositionKind::Wgs84, 400),
            ("0,2,0,91", PositionKind::Wgs84, 422),
            ("170,2,190,4", PositionKind::Wgs84, 422),
            ("3,2,-1,4", PositionKind::Local, 400),
            ("-1,2,3,4", PositionKind::None, 422),
        ] {
            assert_eq!(bbox(bad, kind), Err(status), "{bad}");
        }
    }

    #[test]
    fn messages_say_what_is_needed() {
        let said =
            |query: &str| params(query).prior(PositionKind::Wgs84).expect_err(query).detail().to_owned();
        for bad in ["0", "-1", "nan", "x", "1e300"] {
            let detail = said(&format!("near=1,2&radius={bad}"));
            assert!(detail.contains("more than 0 and at most") && detail.len() < 120, "{detail}");
        }
        assert_eq!(said("near=52&radius=5"), "near='52' is not LAT,LON in degrees, as in 52.205,0.119");
        let none = params("index=x").only(&[]).expect_err("none");
        assert_eq!(none.detail(), "there is no parameter 'index': this address takes none");
    }

    #[test]
    fn a_photograph_has_a_place_a_time_and_a_name() {
        let position = |text: &str, kind| params(&format!("position={text}")).position(kind);
        assert!(position("0,0", PositionKind::Wgs84).expect_err("none").detail().contains("stands for none"));
        assert!(
            position("-0,0.0", PositionKind::Wgs84).is_err() && position("0,1", PositionKind::Wgs84).is_ok()
        );
        assert!(position("0,0", PositionKind::Local).is_ok());
        let time =
            |text: &str| params(&format!("time={text}")).time().map_err(|problem| problem.status.as_u16());
        for (text, seconds) in [
            ("1700000000", 1_700_000_000),
            ("5.9", 5),
            ("-1", -1),
            ("2024", 2024),
            ("1970-01-02", 86_400),
            ("1970-01-01T01:00:05%2B01:00", 5),
        ] {
            assert_eq!(time(text), Ok(Some(seconds)), "{text}");
        }
        for bad in ["", "soon", "1e12", "nan", "1970-01", "1970-01-01T00:00:00"] {
            assert_eq!(time(bad), Err(400), "{bad}");
        }
        assert_eq!(params("").time(), Ok(None));
        assert_eq!(params("name=a%20b").query_name(), Ok(Some("a b")));
        assert!(params("name=foo%0Abar").query_name().is_err() && params("name=%1b").query_name().is_err());
        assert!(params(&format!("name={}", "x".repeat(LONGEST_NAME + 1))).query_name().is_err());
    }

    #[test]
    fn texts_of_the_client_stay_short_and_on_their_line() {
        assert_eq!(shown("a\nb"), "'a\\nb'");
        assert!(shown(&"x".repeat(5000)).len() < 100);
    }
}
