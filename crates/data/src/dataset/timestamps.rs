//! Times as tables write them: Unix seconds, Unix milliseconds, ISO 8601, EXIF.

use crate::image::time::{civil, seconds};

/// From here on a number counts milliseconds: as seconds it would be the year 5138, as milliseconds
/// it is 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// 1990-01-01 in Unix seconds. A smaller number is no time of a photograph, but counts something else.
const EARLIEST: f64 = 631_152_000.0;

/// Below this, and from 0 on, seconds count from the start of a recording: spreadsheets' counts of days are larger.
const RECORDING: f64 = 20_000.0;

/// A time as people read it: date and time of day in UTC; a number that is no time of a photograph as seconds.
///
/// ```
/// use r2former_data::dataset::time_text;
///
/// assert_eq!(time_text(1_700_000_000.25), "2023-11-14 22:13:20.250 UTC");
/// assert_eq!(time_text(2.5), "2.5 s");
/// ```
pub fn time_text(seconds: f64) -> String {
    let milliseconds = (1000.0 * seconds).round() as i64;
    let is_date = (EARLIEST..MILLISECONDS_FROM).contains(&seconds);
    let date = is_date.then(|| civil(milliseconds.div_euclid(1000))).flatten();
    let Some(([year, month, day], [hour, minute, second])) = date else {
        return format!("{seconds} s");
    };
    let part = milliseconds.rem_euclid(1000);
    let part = if part == 0 { String::new() } else { format!(".{part:03}") };
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{part} UTC")
}

/// How a time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Seconds,
    SinceStart,
    Milliseconds,
    Iso,
    IsoWithoutZone,
    Exif,
}

impl Unit {
    /// The unit in notes.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Seconds => "Unix seconds",
            Self::SinceStart => "seconds from the start of a recording",
            Self::Milliseconds => "Unix milliseconds",
            Self::Iso => "ISO 8601",
            Self::IsoWithoutZone => "ISO 8601 without a zone, taken as UTC",
            Self::Exif => "EXIF",
        }
    }
}

/// Why a cell gives no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoTime {
    /// An EXIF date without a zone is local time somewhere, or all zeros: no time, and no mistake.
    Local,
    /// What is wrong, for use in a message.
    Bad(String),
}

/// Seconds since 1970-01-01 UTC, rounded down, and how they were written. `offset` is the zone in a column of its
/// own (`+02:00`), used where the time itself states none.
///
/// # Errors
/// Says why there is no time.
pub(super) fn parse(cell: &str, offset: Option<&str>) -> Result<(i64, Unit), NoTime> {
    if let Some(found) = exif(cell, offset) {
        return found;
    }
    if let (Some((local, Unit::IsoWithoutZone)), Some(east)) = (iso(cell), offset.and_then(offset_seconds)) {
        return Ok((local - east, Unit::Iso));
    }
    unix_or_iso(cell).map_err(NoTime::Bad)
}

/// `2024:05:04 10:11:12`, with fractions and a zone or without; none for another spelling. Local time of an unknown
/// zone is no time, as in the EXIF of photographs.
fn exif(cell: &str, offset: Option<&str>) -> Option<Result<(i64, Unit), NoTime>> {
    let date = cell.get(..10)?;
    let colons = date.bytes().enumerate().all(|(i, b)| match i {
        4 | 7 => b == b':',
        _ => b.is_ascii_digit() || b == b' ',
    });
    if !colons {
        return None;
    }
    if cell.bytes().all(|b| matches!(b, b'0' | b':' | b' ' | b'.' | b'Z')) {
        return Some(Err(NoTime::Local));
    }
    let bad = || NoTime::Bad(format!("time \"{cell}\" is no EXIF date such as 2024:05:04 10:11:12+02:00"));
    let (Some(rest), false) = (cell.get(10..), cell[10..].trim().is_empty()) else {
        return Some(Err(NoTime::Local));
    };
    Some(match iso(&format!("{} {}", date.replace(':', "-"), rest.trim())) {
        Some((time, Unit::Iso)) => Ok((time, Unit::Exif)),
        Some((local, _)) => match offset.map(offset_seconds) {
            Some(Some(east)) => Ok((local - east, Unit::Exif)),
            Some(None) => Err(bad()),
            None => Err(NoTime::Local),
        },
        None => Err(bad()),
    })
}

/// EXIF's separate date and time of day of the receiver, in UTC: `2024:05:04` and `10:11:12`.
pub(super) fn gps(date: &str, clock: &str) -> Option<i64> {
    iso(&format!("{}T{}Z", date.replace(':', "-"), clock)).map(|(time, _)| time)
}

/// Seconds since 1970-01-01 UTC of a time that states its zone.
pub(crate) fn moment(text: &str) -> Option<i64> {
    iso(text).filter(|(_, unit)| *unit == Unit::Iso).map(|(time, _)| time)
}

/// Whether a cell is a time of day alone, to be joined with the date in another column.
pub(super) fn is_clock(cell: &str) -> bool {
    cell.len() >= 4
        && cell.find(':').is_some_and(|at| at <= 2)
        && iso(&format!("2000-01-01T{cell}")).is_some()
}

fn unix_or_iso(cell: &str) -> Result<(i64, Unit), String> {
    let dates = matches!(cell.len(), 4 | 6 | 8) && (cell.starts_with("19") || cell.starts_with("20"));
    if dates && cell.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "time \"{cell}\" looks like a date without separators: write it as 2024-01-31, or as Unix seconds"
        ));
    }
    if let Ok(value) = cell.parse::<f64>() {
        // A 253402300800 s is the year 10000; as milliseconds a thousand times that.
        if !value.is_finite() || value.abs() >= 253_402_300_800_000.0 {
            return Err(format!("time \"{cell}\" is outside the years 1 to 9999"));
        }
        let (seconds, unit) = if value.abs() >= MILLISECONDS_FROM {
            (value / 1000.0, Unit::Milliseconds)
        } else {
            (value, Unit::Seconds)
        };
        if (0.0..RECORDING).contains(&value) {
            return Ok((value.floor() as i64, Unit::SinceStart));
        }
        if seconds < EARLIEST {
            return Err(format!("time \"{cell}\" {}", too_small(value)));
        }
        return Ok((seconds.floor() as i64, unit));
    }
    iso(cell).ok_or_else(|| {
        format!("time \"{cell}\" is neither a Unix time nor ISO 8601 such as 2024-01-31T12:00:00Z")
    })
}

/// What a number may be that is too small for a Unix time.
fn too_small(value: f64) -> String {
    /// Days from 1899-12-30, where spreadsheets begin to count, to 1970.
    const TO_1970: i64 = 25_569;
    let serial = (value.floor() as i64 - TO_1970) * 86_400 + ((value.fract() * 86_400.0).round() as i64);
    // From 1990 to 2099.
    if (32_874.0..73_051.0).contains(&value)
        && let Some(([year, month, day], [hour, minute, second])) = civil(serial)
    {
        return format!(
            "is too small for a Unix time; as a spreadsheet's count of days it would be \
             {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}: have dates written out before the table is \
             saved as CSV"
        );
    }
    "is a time before 1990 in Unix seconds, and so is not guessed: write the date out, as in 2024-01-31T12:00:00Z".into()
}

/// `YYYY-MM-DD`, with a time of day after `T` or a space, with or without seconds, fractions (cut
/// off) and zone.
fn iso(text: &str) -> Option<(i64, Unit)> {
    let (date, rest) = match text.split_once(['T', 't', ' ']) {
        Some((date, rest)) => (date, rest.trim()),
        None => (text, ""),
    };
    let date = parts::<3>(date, '-')?;
    if rest.is_empty() {
        return Some((seconds(date, [0; 3])?, Unit::IsoWithoutZone));
    }
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest[..at].trim_end(), Some(&rest[at..])),
        None => (rest, None),
    };
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let clock = match parts::<3>(clock, ':') {
        Some(clock) => clock,
        None => {
            let [hour, minute] = parts::<2>(clock, ':')?;
            [hour, minute, 0]
        }
    };
    let local = seconds(date, clock)?;
    match offset {
        None => Some((local, Unit::IsoWithoutZone)),
        Some(offset) => Some((local - offset_seconds(offset)?, Unit::Iso)),
    }
}

/// `Z`, `+HH`, `+HHMM` or `+HH:MM`, as seconds east of UTC.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, size) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", size) => (1, size),
        ("-", size) => (-1, size),
        _ => return None,
    };
    let [hours, minutes] = match size.len() {
        2 => [parts::<1>(size, ':')?[0], 0],
        4 => {
            let (hours, minutes) = size.split_at_checked(2)?;
            [parts::<1>(hours, ':')?[0], parts::<1>(minutes, ':')?[0]]
        }
        _ => parts::<2>(size, ':')?,
    };
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// `N` whole numbers between separators.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut out = [0; N];
    let mut found = text.split(separator);
    for slot in &mut out {
        let part = found.next()?;
        if !part.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        *slot = i64::from(part.parse::<u16>().ok()?);
    }
    found.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_to_write_noon() {
        const NOON: i64 = 951_825_600;
        for (text, unit) in [
            ("951825600", Unit::Seconds),
            ("951825600.75", Unit::Seconds),
            ("951825600750", Unit::Milliseconds),
            ("2000-02-29T12:00:00Z", Unit::Iso),
            ("2000-02-29 12:00:00.123 +00:00", Unit::Iso),
            ("2000-02-29T13:30+0130", Unit::Iso),
            ("2000-02-29T05:00:00-07", Unit::Iso),
            ("2000-02-29 12:00", Unit::IsoWithoutZone),
            ("2000-02-29T12:00:00,5", Unit::IsoWithoutZone),
            ("2000:02:29 14:00:00+02:00", Unit::Exif),
            ("2000:02:29 12:00:00.75Z", Unit::Exif),
        ] {
            assert_eq!(parse(text, None), Ok((NOON, unit)), "{text}");
        }
        assert_eq!(parse("1970-01-02", None), Ok((86_400, Unit::IsoWithoutZone)));
        assert_eq!(parse("631152000", None), Ok((631_152_000, Unit::Seconds)));
        assert_eq!(parse("19999.5", None), Ok((19_999, Unit::SinceStart)));
        assert_eq!(parse("0", None), Ok((0, Unit::SinceStart)));
    }

    #[test]
    fn exif_dates_need_a_zone() {
        let noon = |unit| Ok((951_825_600, unit));
        let date = "2000:02:29 14:00:00";
        assert_eq!(parse(date, None), Err(NoTime::Local));
        assert_eq!(parse(date, Some("+02:00")), noon(Unit::Exif));
        assert_eq!(parse("2000:02:29 12:00:00Z", Some("+02:00")), noon(Unit::Exif));
        assert_eq!(parse("2000-02-29 14:00:00", Some("+02:00")), noon(Unit::Iso));
        for none in ["0000:00:00 00:00:00", "    :  :     :  :  ", "2000:02:29"] {
            assert_eq!(parse(none, None), Err(NoTime::Local), "{none}");
        }
        for bad in ["2024:13:45 10:11:12", "2000:02:29 25:00:00", "2000:02:29 noon", "2000:02:29 14:00:00+99"]
        {
            assert!(matches!(parse(bad, None), Err(NoTime::Bad(_))), "{bad}");
        }
        assert!(matches!(parse(date, Some("CET")), Err(NoTime::Bad(_))));
        assert_eq!(gps("2000:02:29", "12:00:00.50"), Some(951_825_600));
        assert_eq!(gps("2000:02:29", ""), None);
        assert!(
            is_clock("10:11:12") && is_clock("9:30") && !is_clock("2024:05:04") && !is_clock("1700000000")
        );
    }

    #[test]
    fn small_numbers_are_not_guessed() {
        for (cell, wanted) in [
            ("45416.5", "count of days it would be 2024-05-04 12:00:00"),
            ("45416", "2024-05-04 00:00:00"),
            ("-1", "before 1990"),
            ("20000", "before 1990"),
            ("631151999", "before 1990"),
            ("600000000000", "before 1990"),
            ("-951825600750", "before 1990"),
        ] {
            match parse(cell, None) {
                Err(NoTime::Bad(said)) => assert!(said.contains(wanted), "{said}"),
                other => panic!("{cell}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "NaN",
            "inf",
            "1e300",
            "20240131",
            "2024",
            "2024-02-30",
            "2024-01-01T25:00",
            "yesterday",
            "2024-01-01T12:00:00+99:00",
            "2024-01-01T12",
            "2024-01-01T12:00:00.",
            "+-1-1",
        ] {
            assert!(matches!(parse(bad, None), Err(NoTime::Bad(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_an_error(text in "\\PC{0,30}", dateish in "[0-9TZ:+. -]{0,30}") {
            let _ = (parse(&text, None), parse(&dateish, Some(&text)), is_clock(&dateish), gps(&dateish, &text));
        }
    }
}
