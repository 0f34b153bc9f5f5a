//! When a row's photograph was taken: from columns of times, of dates beside times of day, and of their zone.

use super::clock;
use super::column_names::Role;
use super::table::Table;
use super::timestamps::{self, NoTime, Unit, Zone};

/// Names of columns of times of day, where their cells do not show it.
const CLOCKS: [&str; 11] = [
    "clock",
    "capturetime",
    "timetaken",
    "time",
    "localtime",
    "utctime",
    "timeofday",
    "zeit",
    "uhrzeit",
    "hora",
    "heure",
];
/// Names of columns of dates, likewise.
const DATES: [&str; 7] = ["capturedate", "datetaken", "date", "localdate", "utcdate", "datum", "fecha"];

/// Names of columns of zones, where their cells show it.
const ZONES: [&str; 3] = ["zone", "offset", "utc"];

/// The columns that say when photographs were taken.
#[derive(Debug)]
pub(super) struct Times {
    /// The surest first: the first one that gives a time counts.
    pub(super) columns: Vec<usize>,
    /// Columns of a date, and of the time of day on it.
    pair: Option<(usize, usize)>,
    /// A column of offsets from UTC.
    zone: Option<usize>,
    /// EXIF's date and time of day of the receiver, in UTC.
    gps: Option<(usize, usize)>,
}

/// Why a row has no time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WithoutTime {
    /// The kind of a [remark](super::remarks::Remarks::add).
    pub(super) kind: &'static str,
    pub(super) problem: String,
}

/// The first column that gives no time; local time says more than what cannot be read.
struct Failed(Option<(usize, NoTime)>);

impl Failed {
    fn add(&mut self, at: usize, why: NoTime) {
        if matches!((&self.0, &why), (None, _) | (Some((_, NoTime::Bad(_))), NoTime::Local)) {
            self.0 = Some((at, why));
        }
    }
}

impl Times {
    /// Finds them among the columns of `table`, whose keys are `names`.
    pub(super) fn detect(table: &Table, names: &[String], all: impl Fn(Role) -> Vec<usize>) -> Self {
        let first = |role: Role| all(role).first().copied();
        let columns = all(Role::Time);
        let pair = pair(table, &columns, names);
        let gps = first(Role::GpsDate).zip(first(Role::GpsTime));
        let zone = first(Role::Offset).or_else(|| {
            // Names that mean something else as well: every cell has to be an offset.
            (0..names.len()).find(|at| {
                ZONES.contains(&names[*at].as_str())
                    && stated(table, *at).next().is_some()
                    && stated(table, *at).all(|cell| clock::offset(cell).is_some())
            })
        });
        Self { columns, pair, zone, gps }
    }

    /// Columns that are no tags, since what they say is in the time. Of several times the ones that are not the surest stay
    /// tags as well, and so does a column of zones that are no offsets.
    pub(super) fn taken(&self, table: &Table) -> Vec<usize> {
        let sure = self.zone.filter(|at| stated(table, *at).all(|cell| clock::zone(cell).is_some()));
        let receivers = self.gps.filter(|_| self.columns.is_empty());
        let pairs = [self.pair, receivers].into_iter().flatten().flat_map(|(date, clock)| [date, clock]);
        let single = self.columns.first().copied().filter(|_| self.pair.is_none());
        single.into_iter().chain(pairs).chain(sure.filter(|_| self.exist())).collect()
    }

    fn exist(&self) -> bool {
        !self.columns.is_empty() || self.gps.is_some()
    }

    /// What was found, with the names that the file uses; none without a column of times.
    pub(super) fn describe(&self, table: &Table) -> Option<String> {
        let name = |at: usize| table.header[at].as_str();
        let pair = self.pair.or(self.gps.filter(|_| self.columns.is_empty()));
        let found = match (pair, self.columns.first()) {
            (Some((date, clock)), _) => format!("{} and {}", name(date), name(clock)),
            (None, Some(at)) => name(*at).to_owned(),
            (None, None) => return None,
        };
        let zone = self.zone.map_or(String::new(), |at| format!("; time zone = {}", name(at)));
        Some(format!("time = {found}{zone}"))
    }

    /// Seconds since 1970 of the surest column that gives them, and how they were written; none where the row states
    /// nothing.
    ///
    /// # Errors
    /// Says why what is stated is no time.
    pub(super) fn of(&self, table: &Table, cells: &[String]) -> Result<Option<(i64, Unit)>, WithoutTime> {
        let named = |at: usize| (table.header[at].as_str(), cells[at].as_str());
        let written: Vec<usize> = self.columns.iter().copied().filter(|at| !cells[*at].is_empty()).collect();
        let day = self
            .pair
            .map(|(date, _)| date)
            .filter(|date| written.contains(date))
            .or_else(|| written.iter().copied().find(|at| timestamps::day(&cells[*at]).is_some()));
        let mut failed = Failed(None);
        let mut clock = self.pair.map(|(_, clock)| clock).filter(|at| written.contains(at));
        // The time of day belongs to the date, whatever is written there.
        let beside = clock.filter(|_| day.is_some());
        for at in written.iter().copied().filter(|at| Some(*at) != day && Some(*at) != beside) {
            let (what, cell) = named(at);
            if clock::parse(cell).is_some() {
                clock = clock.or(Some(at));
                continue;
            }
            match timestamps::parse(what, cell, self.zone_of(table, cells, &[at])) {
                Ok(found) if timestamps::day(cell).is_none() => return Ok(Some(found)),
                Ok(_) => {}
                Err(why) => failed.add(at, why),
            }
        }
        match (day, clock, self.pair) {
            (Some(date), Some(at), _) => {
                match timestamps::joined(named(date), named(at), self.zone_of(table, cells, &[date, at])) {
                    Ok(found) => return Ok(Some(found)),
                    Err(why) => failed.add(date, why),
                }
            }
            (Some(date), None, Some((_, at))) => {
                let ((what, cell), empty) = (named(date), &table.header[at]);
                failed.add(date, NoTime::Bad(format!("{what} {cell} has no time of day: {empty} is empty")));
            }
            (Some(date), None, None) => {
                let (what, cell) = named(date);
                match timestamps::parse(what, cell, self.zone_of(table, cells, &[date])) {
                    // Another column has a time that cannot be read: midnight would be a guess.
                    Ok(found) if failed.0.is_none() => return Ok(Some(found)),
                    Ok(_) => {}
                    Err(why) => failed.add(date, why),
                }
            }
            (None, Some(at), _) => {
                let (what, cell) = named(at);
                failed.add(at, NoTime::Bad(format!("{what} \"{cell}\" is a time of day without a date")));
            }
            (None, None, _) => {}
        }
        if let Some((date, at)) =
            self.gps.filter(|(date, at)| !cells[*date].is_empty() && !cells[*at].is_empty())
        {
            match timestamps::joined(named(date), named(at), Zone::East(0)) {
                Ok((time, _)) => return Ok(Some((time, Unit::Exif))),
                Err(why) => failed.add(date, why),
            }
        }
        match failed.0 {
            None => Ok(None),
            Some((_, NoTime::Bad(problem))) => Err(WithoutTime { kind: "without a time", problem }),
            Some((at, NoTime::Local)) => {
                Err(WithoutTime { kind: "whose time has no zone", problem: self.local(table, cells, at) })
            }
        }
    }

    /// What is known of the zone of a time in some columns.
    fn zone_of(&self, table: &Table, cells: &[String], columns: &[usize]) -> Zone {
        let says = |word: &str| columns.iter().any(|at| table.header[*at].to_lowercase().contains(word));
        if says("utc") || says("gmt") {
            return Zone::East(0);
        }
        match self.zone.map(|at| cells[at].as_str()).filter(|cell| !cell.is_empty()) {
            Some(cell) => clock::zone(cell).map_or(Zone::Local, Zone::East),
            None if says("local") => Zone::Local,
            None => Zone::Unstated,
        }
    }

    /// Why local time is no time.
    fn local(&self, table: &Table, cells: &[String], at: usize) -> String {
        let local = format!("\"{}\" is local time somewhere", cells[at]);
        match self.zone.filter(|at| !cells[*at].is_empty() && clock::zone(&cells[*at]).is_none()) {
            Some(at) => {
                let (what, cell) = (&table.header[at], &cells[at]);
                format!("{local}, and {what} \"{cell}\" is no offset from UTC such as +02:00")
            }
            None => local,
        }
    }
}

/// The cells of a column that say something.
fn stated(table: &Table, at: usize) -> impl Iterator<Item = &str> {
    table.rows.iter().map(move |(_, cells)| cells[at].as_str()).filter(|cell| !cell.is_empty())
}

/// The column of dates and that of the times of day on them, by what they hold, else by their names.
fn pair(table: &Table, columns: &[usize], names: &[String]) -> Option<(usize, usize)> {
    let moment = |cell: &str| {
        timestamps::parse("", cell, Zone::East(0)).is_ok_and(|(_, unit)| unit != Unit::SinceStart)
    };
    let of = |is: &dyn Fn(&str) -> bool, known: &[&str]| {
        columns.iter().copied().find(|at| {
            let other = |cell: &str| !is(cell) && (moment(cell) || clock::parse(cell).is_some());
            let some = stated(table, *at).next().is_some();
            let all = !stated(table, *at).any(other);
            some && all && (stated(table, *at).any(is) || known.contains(&names[*at].as_str()))
        })
    };
    let date = of(&|cell| timestamps::day(cell).is_some(), &DATES)?;
    let clock = of(&|cell| clock::parse(cell).is_some(), &CLOCKS)?;
    (date != clock).then_some((date, clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::column_names::{NAMES, key};
    use std::path::Path;

    /// 2024-05-04 10:11:12 UTC.
    const TIME: i64 = 1_714_817_472;

    fn times(text: &str) -> (Table, Times) {
        let table = Table::parse(text.as_bytes(), Path::new("t.csv")).expect(text);
        let names: Vec<String> = table.header.iter().map(|name| key(name)).collect();
        let times = Times::detect(&table, &names, |role| {
            let known = NAMES.iter().filter(|(r, _)| *r == role).flat_map(|(_, known)| *known);
            known.filter_map(|known| names.iter().position(|name| name == known)).collect()
        });
        (table, times)
    }

    /// The time of the last row: rows before it show what the columns hold.
    fn last(text: &str) -> Result<Option<i64>, String> {
        let (table, times) = times(text);
        let (_, cells) = table.rows.last().expect(text);
        times.of(&table, cells).map(|found| found.map(|(time, _)| time)).map_err(|why| why.problem)
    }

    #[test]
    fn a_time_of_day_belongs_to_its_date() {
        for (columns, cells) in [
            ("date,time", "2024-05-04,10:11:12"),
            ("time,date", "10:11:12 AM,2024-05-04"),
            ("date,time", "2024-05-04,12:11:12+02:00"),
            ("date,time", "2024-05-04 00:00:00,10:11:12"),
            ("date,time,tz", "2024-05-04,12:11:12,+0200"),
            ("Datum,Uhrzeit,Zeitzone", "2024-05-04,12:11:12,2"),
            ("GPSDateStamp,GPSTimeStamp", "2024:05:04,10:11:12"),
            ("date,time,timestamp", "2024-05-04,1:00,1714817472"),
            ("date,time", "2024-5-4,10:11:12"),
            ("date,time", "2024/05/04,10:11:12"),
            ("date,time", "2024-05-04,1899-12-30 10:11:12"),
            ("capture_date,capture_time", "2024-05-04,10:11:12"),
            ("date_taken,time_taken,zone", "2024-05-04,12:11:12,+02:00"),
            ("date,clock,offset", "2024-05-04,12:11:12,UTC+2"),
            ("gps_date,gps_time", "2024-05-04,10:11:12"),
            ("timestamp,date", ",2024-05-04T10:11:12Z"),
            ("DateTimeOriginal,GPSDateStamp,GPSTimeStamp", "2024:05:04 12:11:12,2024:05:04,10:11:12"),
        ] {
            assert_eq!(last(&format!("{columns}\n{cells}\n")), Ok(Some(TIME)), "{columns}: {cells}");
        }
        assert_eq!(last("path,date,time\na.jpg,,\n"), Ok(None));
        // Seconds of a recording, whatever its day.
        assert_eq!(last("timestamp,date\n12.5,2024-05-04\n"), Ok(Some(12)));
        assert_eq!(last("path,date\na.jpg,2024-05-04\n"), Ok(Some(TIME - 36_672)));
    }

    #[test]
    fn a_time_of_day_that_cannot_be_read_is_no_midnight() {
        for (text, wanted) in [
            ("date,time\n2024-05-04,10h11\n", "time \"10h11\" is no time of day"),
            ("date,time\n2024-05-04,25:11\n", "time \"25:11\" is no time of day"),
            ("date,time\n2024-05-04,1011\n", "time \"1011\" is no time of day"),
            ("date,time\n2024-05-04,13:00 PM\n", "time \"13:00 PM\" is no time of day"),
            ("date,time\n2024-05-04,10:11 CET\n", "time \"10:11 CET\" is no time of day"),
            (
                "date,time\n2024-05-04,10:11\n2024-05-04,\n",
                "date 2024-05-04 has no time of day: time is empty",
            ),
            ("time\n1899-12-30 10:11:12\n", "time \"1899-12-30 10:11:12\" is a time of day without a date"),
            ("date,time\n4.5.2024,10:11\n", "date \"4.5.2024\" is no date such as 2024-01-31"),
            ("date,time\n2024-05-04,10:11\n,10:12\n", "time \"10:12\" is a time of day without a date"),
            ("GPSDateStamp,GPSTimeStamp\n2024:05:04,25:11\n", "GPSTimeStamp \"25:11\" is no time of day"),
            ("timestamp,date\nnoon,2024-05-04\n", "timestamp \"noon\" is neither a Unix time"),
        ] {
            let said = last(text).expect_err(text);
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn zones_in_a_column_of_their_own() {
        for (columns, cells, wanted) in [
            ("time,tz", "2024-05-04 12:11:12,+02:00", Ok(Some(TIME))),
            ("time,timezone", "2024-05-04T12:11:12,2", Ok(Some(TIME))),
            ("time,Time Zone", "2024-05-04 12:11 PM,UTC+2", Ok(Some(TIME - 12))),
            ("time,utc_offset", "2024:05:04 06:41:12,-03:30", Ok(Some(TIME))),
            ("DateTimeOriginal,OffsetTimeOriginal", "2024:05:04 12:11:12,+02:00", Ok(Some(TIME))),
            // What states its own zone, or needs none.
            ("time,tz", "2024-05-04T10:11:12Z,+02:00", Ok(Some(TIME))),
            ("time,tz", "2024-05-04T10:11:12Z,Europe/Berlin", Ok(Some(TIME))),
            ("time,tz", "1714817472,Europe/Berlin", Ok(Some(TIME))),
            ("time_utc,tz", "2024-05-04 10:11:12,+02:00", Ok(Some(TIME))),
            ("utc_time,tz", "2024:05:04 10:11:12,Europe/Berlin", Ok(Some(TIME))),
            ("time,tz", "2024-05-04 10:11:12,", Ok(Some(TIME))),
            (
                "time,tz",
                "2024-05-04 12:11:12,Europe/Berlin",
                Err("local time somewhere, and tz \"Europe/Berlin\" is no offset from UTC such as +02:00"),
            ),
            ("date,time,tz", "2024-05-04,12:11:12,CEST", Err("tz \"CEST\" is no offset")),
            ("local_time", "2024-05-04 12:11:12", Err("\"2024-05-04 12:11:12\" is local time somewhere")),
        ] {
            match (last(&format!("{columns}\n{cells}\n")), wanted) {
                (Err(said), Err(wanted)) => assert!(said.contains(wanted), "{said}"),
                (found, wanted) => assert_eq!(found, wanted.map_err(String::from), "{columns}: {cells}"),
            }
        }
    }

    #[test]
    fn what_is_used_is_no_tag() {
        for (text, taken, said) in [
            ("date,time\n2024-05-04,10:11\n", &[0, 1][..], "time = date and time"),
            ("time,tz\n2024-05-04,+02:00\n", &[0, 1], "time = time; time zone = tz"),
            ("time,tz\n2024-05-04,CET\n", &[0], "time = time; time zone = tz"),
            ("time,date\n1714817472,2024-05-04\n", &[0], "time = time"),
            (
                "GPSDateStamp,GPSTimeStamp\n2024:05:04,10:11\n",
                &[0, 1],
                "time = GPSDateStamp and GPSTimeStamp",
            ),
        ] {
            let (table, times) = times(text);
            assert_eq!(
                (times.taken(&table), times.describe(&table).as_deref()),
                (taken.to_vec(), Some(said))
            );
        }
        let (table, times) = times("path,tz\na.jpg,CET\n");
        assert_eq!((times.taken(&table), times.describe(&table)), (vec![], None));
    }
}
