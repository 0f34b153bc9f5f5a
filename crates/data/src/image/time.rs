//! Calendar dates and seconds since 1970, in the proleptic Gregorian calendar.

/// Days from 1970-01-01 to a date; none when there is no such date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month - 1).ok()?;
    if !(1..=9999).contains(&year) || !(1..=*lengths.get(month)?).contains(&day) {
        return None;
    }
    let past = year - 1;
    let before = past * 365 + past / 4 - past / 100 + past / 400;
    Some(before - 719_162 + lengths[..month].iter().sum::<i64>() + day - 1)
}

/// Seconds since 1970-01-01 00:00 of a date and time of day; none when they do not exist.
pub(crate) fn seconds(date: [i64; 3], clock: [i64; 3]) -> Option<i64> {
    let [hour, minute, second] = clock;
    // A leap second counts as the next second, as everywhere in Unix time.
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    Some(days(date[0], date[1], date[2])? * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The date (year, month, day) and time of day (hour, minute, second) of seconds since 1970; none
/// outside the years 1 to 9999.
pub(crate) fn civil(seconds: i64) -> Option<([i64; 3], [i64; 3])> {
    let (day, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // 400 years have 146,097 days; the guess errs by at most one year either way.
    let guess = 1970 + day.checked_mul(400)?.div_euclid(146_097);
    let year = (guess - 1..=guess + 1).rfind(|&y| days(y, 1, 1).is_some_and(|first| first <= day))?;
    let month = (1..=12).rev().find(|&m| days(year, m, 1).is_some_and(|first| first <= day))?;
    let date = [year, month, day - days(year, month, 1)? + 1];
    days(date[0], date[1], date[2])?;
    Some((date, [clock / 3600, clock / 60 % 60, clock % 60]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        assert_eq!(seconds([1970, 1, 1], [0, 0, 0]), Some(0));
        assert_eq!(seconds([2000, 2, 29], [12, 0, 0]), Some(951_825_600));
        assert_eq!(seconds([2024, 12, 31], [23, 59, 59]), Some(1_735_689_599));
        assert_eq!(seconds([1969, 12, 31], [23, 59, 59]), Some(-1));
        for bad in [[2023, 2, 29], [1900, 2, 29], [2024, 13, 1], [2024, 0, 1], [2024, 4, 31], [0, 1, 1]] {
            assert_eq!(seconds(bad, [0, 0, 0]), None, "{bad:?}");
        }
        assert_eq!(seconds([2024, 1, 1], [24, 0, 0]), None);
        assert_eq!(civil(i64::MAX), None);
        assert_eq!(civil(i64::MIN), None);
    }

    proptest! {
        #[test]
        fn there_and_back(t in -62_135_596_800i64..253_402_300_800) {
            let (date, clock) = civil(t).unwrap();
            prop_assert_eq!(seconds(date, clock), Some(t));
        }
    }
}
