//! Times as a person gives them for a filter: a moment, a day, a month or a year.

use crate::dataset::moment;
use crate::image::time::seconds;

/// The first and the last second, since 1970-01-01 UTC, of what a text means: `2024`, `2024-05` and `2024-05-31` are a
/// whole year, month or day of UTC; a time with a zone (`2024-05-31T18:30:00+02:00`, RFC 3339) is one second.
///
/// ```
/// use r2former_data::period;
///
/// assert_eq!(period("1970-01")?, (0, 31 * 86_400 - 1));
/// assert_eq!(period("1970-01-01T01:00:05+01:00")?, (5, 5));
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// Says what is wrong with the text, also with a time of day without a zone.
pub fn period(text: &str) -> Result<(i64, i64), String> {
    let text = text.trim();
    let bad = || {
        format!(
            "'{text}' is not a date (2024, 2024-05 or 2024-05-31) or a time with its zone (2024-05-31T18:30:00Z)"
        )
    };
    if !text.contains(['T', 't', ' ', ':']) {
        let parts: Option<Vec<i64>> = text
            .split('-')
            .map(|part| Some(part).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse().ok())
            .collect();
        let start = |date: [i64; 3]| seconds(date, [0; 3]).ok_or_else(bad);
        // The first second of what follows ends it.
        return match parts.as_deref() {
            Some(&[year]) if text.len() == 4 => Ok((start([year, 1, 1])?, start([year, 12, 31])? + 86_399)),
            Some(&[year, month]) => {
                let next =
                    if month == 12 { start([year, 12, 31])? + 86_400 } else { start([year, month + 1, 1])? };
                Ok((start([year, month, 1])?, next - 1))
            }
            Some(&[year, month, day]) => start([year, month, day]).map(|first| (first, first + 86_399)),
            _ => Err(bad()),
        };
    }
    moment(text).map(|time| (time, time)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_months_and_years() {
        const DAY: i64 = 86_400;
        for (text, first, length) in [
            ("1970", 0, 365 * DAY),
            ("1972-02", 760 * DAY + DAY, 29 * DAY),
            ("1970-12", 334 * DAY, 31 * DAY),
            ("1970-01-02", DAY, DAY),
            ("1970-01-02T00:00:00Z", DAY, 1),
            ("1970-01-02 02:00+02:00", DAY, 1),
        ] {
            assert_eq!(period(text), Ok((first, first + length - 1)), "{text}");
        }
        for bad in [
            "",
            "24",
            "2024-13",
            "2024-02-30",
            "2024-05-31T18:30:00",
            "yesterday",
            "1e9",
            "2024--5",
            "1-2-3-4",
        ] {
            assert!(period(bad).expect_err(bad).contains("is not a date"), "{bad}");
        }
    }
}
