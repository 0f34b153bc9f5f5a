//! Times as tables write them: Unix seconds, Unix milliseconds, ISO 8601, EXIF.

use super::clock;
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

/// Seconds of a time as [`list_positions_csv`](super::list_positions_csv) reads it, fractions included; a number is seconds
/// since whenever the writer counts from, or Unix milliseconds.
///
/// ```
/// use r2former_data::dataset::time_seconds;
///
/// assert_eq!(time_seconds("2024-05-04T10:11:12.25Z"), Ok(1_714_817_472.25));
/// assert_eq!(time_seconds("0.5"), Ok(0.5));
/// ```
///
/// # Errors
/// Says what is wrong, for use in a message.
pub fn time_seconds(text: &str) -> Result<f64, String> {
    if let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) {
        return Ok(if value.abs() >= MILLISECONDS_FROM { value / 1000.0 } else { value });
    }
    let dashes = exif_date(text).map(|(date, rest)| format!("{} {}", date.replace(':', "-"), rest.trim()));
    match (iso(dashes.as_deref().unwrap_or(text)), dashes) {
        (Some((_, _, Unit::IsoWithoutZone | Unit::Day)), Some(_)) => Err(format!(
            "\"{text}\" is local time somewhere: add its offset, as in 2024:05:04 10:11:12+02:00"
        )),
        (Some((seconds, fraction, _)), _) => Ok(seconds as f64 + fraction),
        (None, _) => {
            Err(format!("\"{text}\" is neither a number of seconds nor a time such as 2024-01-31T12:00:00Z"))
        }
    }
}

/// How a time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Seconds,
    SinceStart,
    Milliseconds,
    Iso,
    IsoWithoutZone,
    Day,
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
            Self::Day => "dates alone, taken as midnight",
            Self::Exif => "EXIF",
        }
    }
}

/// What is known of the zone of a time that states none itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Nothing: ISO 8601 is taken as UTC, EXIF is local time somewhere.
    Unstated,
    /// Seconds east of UTC.
    East(i64),
    /// It is local time somewhere.
    Local,
}

/// Why a cell gives no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoTime {
    /// Local time somewhere, or an EXIF date of zeros: no time, and no mistake.
    Local,
    /// What is wrong, for use in a message.
    Bad(String),
}

/// Seconds since 1970-01-01 UTC, rounded down, and how they were written. `what` is the column, for messages.
///
/// # Errors
/// Says why there is no time.
pub(super) fn parse(what: &str, cell: &str, zone: Zone) -> Result<(i64, Unit), NoTime> {
    if let Some((date, rest)) = exif_date(cell) {
        return exif(what, cell, date, rest, zone);
    }
    match (iso(cell), zone) {
        (Some((local, _, Unit::Day)), Zone::East(east)) => Ok((local - east, Unit::Day)),
        (Some((local, _, Unit::IsoWithoutZone)), Zone::East(east)) => Ok((local - east, Unit::Iso)),
        (Some((_, _, Unit::IsoWithoutZone | Unit::Day)), Zone::Local) => Err(NoTime::Local),
        (Some((time, _, unit)), _) => Ok((time, unit)),
        (None, _) => unix(what, cell).map_err(NoTime::Bad),
    }
}

/// The date of `2024:05:04 10:11:12`, and what follows it; none for another spelling.
fn exif_date(cell: &str) -> Option<(&str, &str)> {
    let (date, rest) = cell.split_at_checked(10)?;
    let colons = date.bytes().enumerate().all(|(i, b)| match i {
        4 | 7 => b == b':',
        _ => b.is_ascii_digit() || b == b' ',
    });
    colons.then_some((date, rest))
}

/// EXIF's spelling, with fractions and a zone or without. Local time of an unknown zone is no time, as in the EXIF of
/// photographs.
fn exif(what: &str, cell: &str, date: &str, rest: &str, zone: Zone) -> Result<(i64, Unit), NoTime> {
    if rest.trim().is_empty() || cell.bytes().all(|b| matches!(b, b'0' | b':' | b' ' | b'.' | b'Z')) {
        return Err(NoTime::Local);
    }
    match (iso(&format!("{} {}", date.replace(':', "-"), rest.trim())), zone) {
        (Some((time, _, Unit::Iso)), _) => Ok((time, Unit::Exif)),
        (Some((local, ..)), Zone::East(east)) => Ok((local - east, Unit::Exif)),
        (Some(_), _) => Err(NoTime::Local),
        (None, _) => {
            Err(NoTime::Bad(format!("{what} \"{cell}\" is no EXIF date such as 2024:05:04 10:11:12+02:00")))
        }
    }
}

/// Seconds since 1970-01-01 UTC of a time that states its zone.
pub(crate) fn moment(text: &str) -> Option<i64> {
    iso(text).filter(|(_, _, unit)| *unit == Unit::Iso).map(|(time, ..)| time)
}

/// The date of a cell that is one alone, or one at midnight as spreadsheets fill it up: `2024-05-04`, `2024:05:04`,
/// `2024-05-04 00:00:00`.
pub(super) fn day(cell: &str) -> Option<&str> {
    let (date, rest) = cell.split_once(['T', 't', ' ']).unwrap_or((cell, ""));
    let midnight = rest.bytes().all(|b| matches!(b, b'0' | b':' | b'.' | b' '));
    (midnight && iso(&date.replace(':', "-")).is_some()).then_some(date)
}

/// The time of a date and a time of day that stand in columns of their own.
///
/// # Errors
/// As [`parse`].
pub(super) fn joined(date: (&str, &str), clock: (&str, &str), zone: Zone) -> Result<(i64, Unit), NoTime> {
    let bad = |(what, cell): (&str, &str), example: &str| {
        Err(NoTime::Bad(format!("{what} \"{cell}\" is no {example}")))
    };
    let Some(day) = day(date.1) else { return bad(date, "date such as 2024-01-31") };
    if clock::parse(clock.1).is_none() {
        return bad(clock, "time of day such as 12:00:00, 12:00 PM or 12:00+02:00");
    }
    parse(clock.0, &format!("{day} {}", clock.1), zone)
}

/// A Unix time in seconds or milliseconds, or seconds since the start of a recording.
fn unix(what: &str, cell: &str) -> Result<(i64, Unit), String> {
    let dates = matches!(cell.len(), 4 | 6 | 8) && (cell.starts_with("19") || cell.starts_with("20"));
    if dates && cell.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "{what} \"{cell}\" looks like a date without separators: write it as 2024-01-31, or as Unix seconds"
        ));
    }
    if let Ok(value) = cell.parse::<f64>() {
        // A 253402300800 s is the year 10000; as milliseconds a thousand times that.
        if !value.is_finite() || value.abs() >= 253_402_300_800_000.0 {
            return Err(format!("{what} \"{cell}\" is outside the years 1 to 9999"));
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
            return Err(format!("{what} \"{cell}\" {}", too_small(value)));
        }
        return Ok((seconds.floor() as i64, unit));
    }
    Err(format!("{what} \"{cell}\" is neither a Unix time nor ISO 8601 such as 2024-01-31T12:00:00Z"))
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

/// `YYYY-MM-DD` or `YYYY/MM/DD`, with a [time of day](clock::parse) after `T` or a space or without: seconds, what is left of one, and how the
/// zone was stated.
fn iso(text: &str) -> Option<(i64, f64, Unit)> {
    let (date, rest) = match text.split_once(['T', 't', ' ']) {
        Some((date, rest)) => (date, rest.trim()),
        None => (text, ""),
    };
    let date = parts(date)?;
    if rest.is_empty() {
        return Some((seconds(date, [0; 3])?, 0.0, Unit::Day));
    }
    let clock = clock::parse(rest)?;
    let local = seconds(date, clock.parts)?;
    Some(match clock.east {
        None => (local, clock.fraction, Unit::IsoWithoutZone),
        Some(east) => (local - east, clock.fraction, Unit::Iso),
    })
}

/// Year, month and day between dashes or slashes: four digits say that the year comes first.
fn parts(text: &str) -> Option<[i64; 3]> {
    let mark = if text.contains('/') { '/' } else { '-' };
    let mut out = [0; 3];
    let mut found = text.split(mark);
    for (slot, digits) in out.iter_mut().zip([4..=4, 1..=2, 1..=2]) {
        let part = found.next().filter(|part| digits.contains(&part.len()))?;
        *slot = part.bytes().all(|c| c.is_ascii_digit()).then(|| part.parse().ok())??;
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
            ("2000/2/29 12:00", Unit::IsoWithoutZone),
            ("2000-02-29T12:00:00,5", Unit::IsoWithoutZone),
            ("2000-02-29 12:00 PM", Unit::IsoWithoutZone),
            ("2000-02-29 2:00:00 pm UTC+2", Unit::Iso),
            ("2000:02:29 14:00:00+02:00", Unit::Exif),
            ("2000:02:29 12:00:00.75Z", Unit::Exif),
        ] {
            assert_eq!(parse("t", text, Zone::Unstated), Ok((NOON, unit)), "{text}");
        }
        for (text, time) in [
            ("1970-01-02", (86_400, Unit::Day)),
            ("631152000", (631_152_000, Unit::Seconds)),
            ("19999.5", (19_999, Unit::SinceStart)),
            ("0", (0, Unit::SinceStart)),
        ] {
            assert_eq!(parse("t", text, Zone::Unstated), Ok(time), "{text}");
        }
    }

    #[test]
    fn exif_dates_need_a_zone() {
        let noon = |unit| Ok((951_825_600, unit));
        let date = "2000:02:29 14:00:00";
        let read = |text: &str, zone| parse("t", text, zone);
        let (none, east) = (Zone::Unstated, Zone::East(7200));
        assert_eq!(read(date, none), Err(NoTime::Local));
        assert_eq!(read(date, east), noon(Unit::Exif));
        assert_eq!(read("2000:02:29 12:00:00Z", east), noon(Unit::Exif));
        assert_eq!(read("2000-02-29 14:00:00", east), noon(Unit::Iso));
        assert_eq!(read("2000-02-29 12:00:00Z", Zone::Local), noon(Unit::Iso));
        assert_eq!(read("951825600", Zone::Local), noon(Unit::Seconds));
        for local in ["2000-02-29 14:00:00", "2000-02-29", date] {
            assert_eq!(read(local, Zone::Local), Err(NoTime::Local), "{local}");
        }
        for zeros in ["0000:00:00 00:00:00", "    :  :     :  :  ", "2000:02:29"] {
            assert_eq!(read(zeros, none), Err(NoTime::Local), "{zeros}");
        }
        for bad in ["2024:13:45 10:11:12", "2000:02:29 25:00:00", "2000:02:29 noon", "2000:02:29 14:00:00+99"]
        {
            assert!(matches!(read(bad, none), Err(NoTime::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn a_date_beside_a_time_of_day() {
        let read = |date: &str, clock: &str, zone| joined(("date", date), ("time", clock), zone);
        for (date, clock, zone, unit) in [
            ("2000-02-29", "12:00", Zone::Unstated, Unit::IsoWithoutZone),
            ("2000:02:29", "12:00 PM", Zone::East(0), Unit::Exif),
            ("2000-02-29 00:00:00", "12:00:00.5", Zone::Unstated, Unit::IsoWithoutZone),
            ("2000-02-29", "14:00+02:00", Zone::Unstated, Unit::Iso),
            ("2000-02-29", "2 p.m.", Zone::East(7200), Unit::Iso),
        ] {
            assert_eq!(read(date, clock, zone), Ok((951_825_600, unit)), "{date} {clock}");
        }
        for (date, clock, wanted) in [
            ("29.2.2000", "12:00", "date \"29.2.2000\" is no date such as 2024-01-31"),
            ("2000-02-30", "12:00", "date \"2000-02-30\" is no date"),
            ("2000-02-29", "1011", "time \"1011\" is no time of day such as 12:00:00"),
            ("2000-02-29", "25:00", "time \"25:00\" is no time of day"),
        ] {
            assert!(
                matches!(read(date, clock, Zone::Unstated), Err(NoTime::Bad(said)) if said.starts_with(wanted)),
                "{date} {clock}"
            );
        }
        assert_eq!(read("2000-02-29", "12:00", Zone::Local), Err(NoTime::Local));
        assert_eq!(
            ["2000-02-29", "2000-2-29", "2000-02-29T00:00", "2000-02-29 00:01", "951825600", "10:11:12"]
                .map(day),
            [Some("2000-02-29"), Some("2000-2-29"), Some("2000-02-29"), None, None, None]
        );
    }

    #[test]
    fn frames_have_times_to_the_millisecond() {
        for (text, seconds) in [
            ("0", 0.0),
            ("-2.5", -2.5),
            ("1700000000.25", 1_700_000_000.25),
            ("1700000000250", 1_700_000_000.25),
            ("2000-02-29T12:00:00.250Z", 951_825_600.25),
            ("2000-02-29 14:00:00.5+02:00", 951_825_600.5),
            ("2000:02:29 14:00:00.5+02:00", 951_825_600.5),
        ] {
            assert_eq!(time_seconds(text), Ok(seconds), "{text}");
        }
        for bad in ["noon", "", "nan", "2000:02:29 14:00:00", "10:11:12"] {
            assert!(time_seconds(bad).is_err(), "{bad}");
        }
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
            match parse("t", cell, Zone::Unstated) {
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
            "24-05-04",
            "05/04/2024",
            "2024/05-04",
            "+-1-1",
        ] {
            assert!(matches!(parse("t", bad, Zone::Unstated), Err(NoTime::Bad(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_an_error(text in "\\PC{0,30}", dateish in "[0-9TZ:+. -]{0,30}") {
            let _ = (parse("t", &text, Zone::Unstated), parse("t", &dateish, Zone::East(3600)), clock::parse(&dateish));
            let _ = (joined(("d", &dateish), ("t", &text), Zone::Local), clock::zone(&text), time_seconds(&text));
        }
    }
}
