//! A filter as Qdrant's conditions. They let pass every place that the filter holds, and some that it does not where
//! Qdrant measures otherwise: on a sphere, or with rounded numbers. The filter itself has the last word.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter as Conditions, GeoPoint, GeoRadius, HasIdCondition, Match, Range,
    RepeatedStrings,
};
use r2former_geo::{EARTH_M, LatLon, LocalPoint, Position};
use r2former_index::{Filter, Near};

use crate::payload::{GEO, LAT, TAGS, TIME, X, Y, point_id, tag};

/// How much longer or shorter than a line on Qdrant's sphere one on the ellipsoid can be, and more: 0.57 % at most.
const SPHERE: f64 = 0.007;

/// Metres besides that, for numbers that are rounded on the way.
const ROUNDING_M: f64 = 1.0;

/// Latitude beyond which, and radius in metres above which, Qdrant's discs are not used: around the poles its cells
/// are not reliable.
const POLAR: f64 = 85.0;
const LARGEST_M: f64 = 2_000_000.0;

/// Integers up to here are floats.
const EXACT: i64 = 1 << 53;

/// What Qdrant is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question {
    /// What every place that the filter holds satisfies.
    pub(crate) conditions: Option<Conditions>,
    /// Whether every place that satisfies them is held by the filter.
    pub(crate) exact: bool,
    /// A disc that is within the filter's: what lies in it need not be measured.
    pub(crate) inner: Option<Condition>,
}

impl Question {
    pub(crate) fn new(filter: &Filter) -> Self {
        let mut question = Self { exact: true, ..Self::default() };
        let mut must: Vec<_> =
            filter.tags.iter().map(|(key, value)| keywords(TAGS, vec![tag(key, value)])).collect();
        if filter.since.is_some() || filter.until.is_some() {
            let ends = [filter.since, filter.until].into_iter().flatten();
            question.exact &= ends.into_iter().all(|end| (-EXACT..=EXACT).contains(&end));
            must.push(range(TIME, filter.since.map(below), filter.until.map(above)));
        }
        if let Some(near) = filter.near {
            question.exact = false;
            match near.center {
                Position::Wgs84(center) => question.globe(center, near, &mut must),
                Position::Local(center) => local(center, near, &mut must),
            }
        }
        let mut must_not = Vec::new();
        if !filter.exclude.is_empty() {
            let has_id = filter.exclude.iter().map(|&id| point_id(id)).collect();
            must_not.push(condition(ConditionOneOf::HasId(HasIdCondition { has_id })));
        }
        if !must.is_empty() || !must_not.is_empty() {
            question.conditions = Some(Conditions { must, must_not, ..Conditions::default() });
        }
        question
    }

    fn globe(&mut self, center: LatLon, near: Near, must: &mut Vec<Condition>) {
        let outer = near.radius_m * (1.0 + SPHERE) + ROUNDING_M;
        let degrees = (outer / EARTH_M).to_degrees();
        if center.lat.abs() + degrees < POLAR && outer < LARGEST_M {
            must.push(disc(center, outer));
            let inner = near.radius_m * (1.0 - SPHERE) - ROUNDING_M;
            self.inner = (inner > 0.0).then(|| disc(center, inner));
        } else {
            // No line is shorter than the difference of latitude; but it is of a position, and not of a column.
            must.push(range(LAT, Some(center.lat - degrees - 1e-6), Some(center.lat + degrees + 1e-6)));
        }
    }

    /// The conditions with another one that must be satisfied.
    pub(crate) fn and(&self, condition: Condition) -> Conditions {
        let mut conditions = self.conditions.clone().unwrap_or_default();
        conditions.must.push(condition);
        conditions
    }

    /// The conditions with one that must not be satisfied.
    pub(crate) fn and_not(&self, condition: Condition) -> Conditions {
        let mut conditions = self.conditions.clone().unwrap_or_default();
        conditions.must_not.push(condition);
        conditions
    }
}

/// The square around a circle.
fn local(center: LocalPoint, near: Near, must: &mut Vec<Condition>) {
    let reach = near.radius_m * (1.0 + 1e-9) + 1e-3;
    must.push(range(X, Some(center.x - reach), Some(center.x + reach)));
    must.push(range(Y, Some(center.y - reach), Some(center.y + reach)));
}

/// A float that is not above an integer.
fn below(number: i64) -> f64 {
    let float = number as f64;
    if i128::from(number) < float as i128 { float.next_down() } else { float }
}

/// A float that is not below an integer.
fn above(number: i64) -> f64 {
    let float = number as f64;
    if i128::from(number) > float as i128 { float.next_up() } else { float }
}

fn disc(center: LatLon, radius_m: f64) -> Condition {
    let center = Some(GeoPoint { lon: center.lon, lat: center.lat });
    let geo_radius = Some(GeoRadius { center, radius: radius_m as f32 });
    field(FieldCondition { key: GEO.into(), geo_radius, ..FieldCondition::default() })
}

fn range(key: &str, gte: Option<f64>, lte: Option<f64>) -> Condition {
    let range = Some(Range { gte, lte, ..Range::default() });
    field(FieldCondition { key: key.into(), range, ..FieldCondition::default() })
}

/// A field is one of some words.
pub(crate) fn keywords(key: &str, words: Vec<String>) -> Condition {
    let value = MatchValue::Keywords(RepeatedStrings { strings: words });
    let r#match = Some(Match { match_value: Some(value) });
    field(FieldCondition { key: key.into(), r#match, ..FieldCondition::default() })
}

fn field(field: FieldCondition) -> Condition {
    condition(ConditionOneOf::Field(field))
}

fn condition(condition: ConditionOneOf) -> Condition {
    Condition { condition_one_of: Some(condition) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_enclosed_by_floats() {
        for number in [
            0,
            1,
            -1,
            1_700_000_000,
            EXACT,
            EXACT + 1,
            -EXACT - 1,
            i64::MAX,
            i64::MIN,
            i64::MAX - 511,
            i64::MIN + 513,
        ] {
            assert!(below(number) as i128 <= i128::from(number), "{number}");
            assert!(above(number) as i128 >= i128::from(number), "{number}");
        }
        assert_eq!((below(1_700_000_000), above(1_700_000_000)), (1_700_000_000.0, 1_700_000_000.0));
    }

    #[test]
    fn what_is_exact_and_what_is_not() {
        assert!(Question::new(&Filter::default()).exact);
        assert!(Question::new(&Filter::default()).conditions.is_none());
        let timed = Filter { since: Some(5), ..Filter::default() };
        assert!(Question::new(&timed).exact);
        let long_ago = Filter { since: Some(i64::MIN + 1), ..Filter::default() };
        assert!(!Question::new(&long_ago).exact);
        let near = |lat, radius_m| Filter {
            near: Some(Near::new(LatLon { lat, lon: 7.0 }, radius_m)),
            ..Filter::default()
        };
        let disc = Question::new(&near(48.0, 100.0));
        assert!(!disc.exact && disc.inner.is_some());
        for (lat, radius_m) in [(84.9999, 100.0), (-90.0, 1.0), (10.0, 1.9e7), (48.0, 0.5)] {
            assert!(Question::new(&near(lat, radius_m)).inner.is_none(), "{lat} {radius_m}");
        }
    }
}
