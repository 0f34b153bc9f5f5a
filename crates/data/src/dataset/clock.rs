//! Times of day, and offsets from UTC, as tables write them.

use super::number::ascii_minus;

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clock {
    /// Hour, minute, second.
    pub(super) parts: [i64; 3],
    /// The part of a second that follows.
    pub(super) fraction: f64,
    /// Seconds east of UTC, where an offset is stated.
    pub(super) east: Option<i64>,
}

/// Dates that spreadsheets and pandas put before a time of day that has none.
const NO_DATES: [&str; 4] = ["1899-12-30", "1899-12-31", "1900-01-00", "1900-01-01"];

/// Reads `10:11`, `9:05:07.25`, `10:11 PM`, `10 a.m.`, each with an offset or without: `10:11:12+02:00`, `10:11 UTC`.
/// None for anything else, such as 13:00 PM.
pub(super) fn parse(text: &str) -> Option<Clock> {
    let text =
        NO_DATES.iter().find_map(|date| text.strip_prefix(date)?.strip_prefix(['T', ' '])).unwrap_or(text);
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(text.len());
    let (digits, rest) = (&text[..end], text[end..].trim_start());
    let lower = rest.to_lowercase();
    let half = [("a.m.", 0), ("p.m.", 12), ("am", 0), ("pm", 12)]
        .into_iter()
        .find_map(|(word, from)| Some((from, lower.strip_prefix(word)?.trim_start())));
    let (clock, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("0.{fraction}").parse().ok()?;
    let mut parts = match (parts::<3>(clock), parts::<2>(clock), parts::<1>(clock)) {
        (Some(parts), ..) => parts,
        (None, Some([hour, minute]), _) => [hour, minute, 0],
        (None, None, Some([hour])) if half.is_some() => [hour, 0, 0],
        _ => return None,
    };
    let stated = match half {
        Some((from, rest)) if (1..=12).contains(&parts[0]) => {
            parts[0] = parts[0] % 12 + from;
            rest
        }
        Some(_) => return None,
        None => lower.as_str(),
    };
    let east = if stated.is_empty() { None } else { Some(offset(stated)?) };
    (parts[0] < 24 && parts[1] < 60 && parts[2] <= 60).then_some(Clock { parts, fraction, east })
}

/// `Z`, `UTC`, `+2`, `+02`, `+0200`, `+02:00` or `UTC+2`, as seconds east of UTC.
pub(super) fn offset(text: &str) -> Option<i64> {
    let upper = ascii_minus(text.trim()).to_uppercase();
    let named = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT"));
    let rest = named.unwrap_or(&upper).trim();
    if rest == "Z" && named.is_none() || rest.is_empty() && named.is_some() {
        return Some(0);
    }
    let (sign, size) = match rest.split_at_checked(1)? {
        ("+", size) => (1, size),
        ("-", size) => (-1, size),
        _ => return None,
    };
    let [hours, minutes] = match size.len() {
        4 if !size.contains(':') => {
            let (hours, minutes) = size.split_at_checked(2)?;
            [parts::<1>(hours)?[0], parts::<1>(minutes)?[0]]
        }
        1 | 2 => [parts::<1>(size)?[0], 0],
        _ => parts::<2>(size)?,
    };
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// As [`offset`], of a column of zones, where hours may do without a sign: `2`, `-3.5`. None for the name of a place or of a
/// time, whose offset depends on the date.
pub(super) fn zone(text: &str) -> Option<i64> {
    let upper = ascii_minus(text.trim()).to_uppercase();
    if matches!(upper.as_str(), "ETC/UTC" | "ETC/GMT" | "ZULU") {
        return Some(0);
    }
    offset(&upper).or_else(|| {
        let quarters = 4.0 * upper.parse::<f64>().ok()?;
        (quarters.abs() <= 56.0 && quarters.fract() == 0.0).then_some(quarters as i64 * 900)
    })
}

/// `N` whole numbers of one or two digits between colons.
fn parts<const N: usize>(text: &str) -> Option<[i64; N]> {
    let mut out = [0; N];
    let mut found = text.split(':');
    for slot in &mut out {
        let part = found.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *slot = part.bytes().all(|c| c.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    found.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_in_every_spelling() {
        for (text, parts, east) in [
            ("10:11:12", [10, 11, 12], None),
            ("9:05", [9, 5, 0], None),
            ("22:11:12.75", [22, 11, 12], None),
            ("22:11:12,75", [22, 11, 12], None),
            ("10:11 PM", [22, 11, 0], None),
            ("10:11:12pm", [22, 11, 12], None),
            ("10:11 a.m.", [10, 11, 0], None),
            ("12:30 AM", [0, 30, 0], None),
            ("12:30 PM", [12, 30, 0], None),
            ("3 p.m.", [15, 0, 0], None),
            ("10:11:12+02:00", [10, 11, 12], Some(7200)),
            ("10:11:12 -0330", [10, 11, 12], Some(-12_600)),
            ("10:11Z", [10, 11, 0], Some(0)),
            ("10:11 PM UTC+2", [22, 11, 0], Some(7200)),
            ("10:11 GMT", [10, 11, 0], Some(0)),
            ("23:59:60", [23, 59, 60], None),
            ("1899-12-30 10:11:12", [10, 11, 12], None),
            ("1900-01-01T10:11:12Z", [10, 11, 12], Some(0)),
        ] {
            let clock = parse(text).expect(text);
            assert_eq!((clock.parts, clock.east), (parts, east), "{text}");
        }
        assert_eq!(parse("1:02:03.25").map(|clock| clock.fraction), Some(0.25));
        for bad in [
            "",
            "10",
            "1011",
            "24:00",
            "10:60",
            "10:11:61",
            "13:00 PM",
            "0:30 PM",
            "10:11 XM",
            "10:11 CET",
            "10.11",
            "10:11:12.",
            "10:11:12:13",
            "10:011",
            "noon",
            "1899-12-30",
            "2024-05-04 10:11",
            "PM",
            "10:11+99",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn zones_are_offsets_or_none() {
        for (text, east) in [
            ("Z", 0),
            ("utc", 0),
            ("GMT", 0),
            ("Etc/UTC", 0),
            ("+02:00", 7200),
            ("+0200", 7200),
            ("+02", 7200),
            ("+2", 7200),
            ("2", 7200),
            ("2.0", 7200),
            ("-3.5", -12_600),
            ("\u{2212}3:30", -12_600),
            ("5.75", 20_700),
            ("UTC+2", 7200),
            ("UTC -05:00", -18_000),
            ("0", 0),
            ("14", 50_400),
        ] {
            assert_eq!(zone(text), Some(east), "{text}");
        }
        for bad in ["", "CET", "Europe/Berlin", "Etc/GMT+5", "15", "0200", "7200", "nan", "2.1", "+99:00"] {
            assert_eq!(zone(bad), None, "{bad}");
        }
        assert_eq!((offset("2"), offset("zulu")), (None, None));
    }
}
