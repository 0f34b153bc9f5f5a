//! Recall of groups of queries, by their tags.

use crate::{EvalError, Result};
use r2former_data::Photo;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The tag that recall is reported by if none is asked for.
const DEFAULT: &str = "city";
/// Group of the queries without a tag.
const WITHOUT: &str = "(none)";
/// Day is from the first hour to before the second.
const DAY: [i64; 2] = [6, 18];

/// Recall for each value of one tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakdown<T> {
    /// The tag.
    pub tag: String,
    /// Its values, sorted; `(none)` for queries without it.
    pub groups: BTreeMap<String, Group<T>>,
}

/// The queries with one value of a tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group<T> {
    /// Number of queries.
    pub queries: usize,
    /// Their recall.
    #[serde(flatten)]
    pub recall: T,
}

/// Refuses tags that no query has, such as misspelt ones.
///
/// # Errors
/// [`EvalError::Request`], which lists the tags that queries have.
pub(crate) fn check(tags: &[String], queries: &[&Photo]) -> Result<()> {
    for tag in tags {
        if queries.iter().all(|photo| value(photo, tag).is_none()) {
            let named = queries.iter().flat_map(|photo| photo.tags.keys().map(String::as_str));
            let derived = ["hour", "daytime"].into_iter();
            let derived = derived.filter(|tag| queries.iter().any(|photo| value(photo, tag).is_some()));
            let all: BTreeSet<&str> = named.chain(derived).collect();
            let all = if all.is_empty() { "none".into() } else { Vec::from_iter(all).join(", ") };
            return Err(EvalError::Request(format!(
                "no query has the tag {tag} to report recall by; tags of the queries: {all}"
            )));
        }
    }
    Ok(())
}

/// One table per tag; by city if no tag is named and there are several cities. `recall` computes the recall of the
/// queries with the given indices.
pub(crate) fn breakdowns<T>(
    tags: &[String],
    queries: &[&Photo],
    recall: impl Fn(&[usize]) -> T,
) -> Vec<Breakdown<T>> {
    let of = |tag: &str| {
        let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (q, photo) in queries.iter().enumerate() {
            members.entry(value(photo, tag).map_or(WITHOUT.into(), Cow::into_owned)).or_default().push(q);
        }
        let group = |members: Vec<usize>| Group { queries: members.len(), recall: recall(&members) };
        let groups = members.into_iter().map(|(value, members)| (value, group(members))).collect();
        Breakdown { tag: tag.to_owned(), groups }
    };
    if tags.is_empty() {
        return Some(of(DEFAULT)).filter(|cities| cities.groups.len() > 1).into_iter().collect();
    }
    tags.iter().map(|tag| of(tag)).collect()
}

/// Value of a photograph's tag: its dataset's, else derived from its time: `hour` (00 to 23) and `daytime` (`day` from
/// 6 to 18 o'clock, else `night`). Hours are those of mean solar time at its longitude, within an hour or two of the
/// local clock; without a position, UTC.
fn value<'a>(photo: &'a Photo, tag: &str) -> Option<Cow<'a, str>> {
    if let Some(value) = photo.tags.get(tag).filter(|value| !value.is_empty()) {
        return Some(Cow::Borrowed(value));
    }
    let hour = || {
        let east = photo.lat_lon().map_or(0.0, |position| position.lon);
        let local = photo.time? + (east * 240.0).round() as i64;
        Some(local.rem_euclid(86_400) / 3600)
    };
    match tag {
        "hour" => Some(Cow::Owned(format!("{:02}", hour()?))),
        "daytime" => Some(Cow::Borrowed(if (DAY[0]..DAY[1]).contains(&hour()?) { "day" } else { "night" })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall;
    use r2former_data::LatLon;

    fn photo(time: Option<i64>, lon: Option<f64>, tags: &[(&str, &str)]) -> Photo {
        let mut photo = Photo::new("a.jpg", "a.jpg");
        photo.time = time;
        photo.position = lon.map(|lon| LatLon { lat: 35.0, lon }.into());
        photo.tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        photo
    }

    #[test]
    fn hours_are_of_mean_solar_time() {
        let at = |time, lon, tag| value(&photo(time, lon, &[]), tag).map(Cow::into_owned);
        // 03:30 UTC: before noon in Tokyo, late evening of the day before in New York.
        assert_eq!(at(Some(12_600), None, "hour").as_deref(), Some("03"));
        assert_eq!(at(Some(12_600), Some(139.7), "hour").as_deref(), Some("12"));
        assert_eq!(at(Some(12_600), Some(-74.0), "hour").as_deref(), Some("22"));
        assert_eq!(at(Some(12_600), Some(139.7), "daytime").as_deref(), Some("day"));
        assert_eq!(at(Some(12_600), Some(-74.0), "daytime").as_deref(), Some("night"));
        assert_eq!(at(Some(-1), None, "hour").as_deref(), Some("23"));
        assert_eq!(at(None, Some(0.0), "hour"), None);
        let stated = photo(Some(0), None, &[("daytime", "dusk")]);
        assert_eq!(value(&stated, "daytime").as_deref(), Some("dusk"));
    }

    #[test]
    fn several_tables_and_unknown_tags() {
        let photos = [
            photo(Some(0), None, &[("condition", "rain")]),
            photo(Some(43_200), None, &[("condition", "sun")]),
            photo(None, None, &[]),
        ];
        let queries: Vec<&Photo> = photos.iter().collect();
        let pairs: [(&[u32], &[u32]); 3] = [(&[0], &[0]), (&[0], &[1]), (&[1], &[1])];
        let recall = |members: &[usize]| recall(members.iter().map(|q| pairs[*q]));
        let tags = ["condition".to_owned(), "daytime".to_owned()];
        let tables = breakdowns(&tags, &queries, recall);
        let names: Vec<&str> = tables[0].groups.keys().map(String::as_str).collect();
        assert_eq!(names, ["(none)", "rain", "sun"]);
        assert_eq!(tables[0].groups["rain"].recall.at(1), 1.0);
        assert_eq!(tables[0].groups["sun"].recall.at(1), 0.0);
        assert_eq!((tables[1].tag.as_str(), tables[1].groups["night"].queries), ("daytime", 1));
        assert!(breakdowns(&[], &queries, recall).is_empty());
        assert!(check(&tags, &queries).is_ok());
        let said = check(&["weather".to_owned()], &queries).unwrap_err().to_string();
        assert!(said.contains("weather") && said.contains("condition, daytime, hour"), "{said}");
    }
}
