//! Frame numbers in file names, and which frames of two recordings they make the same.

use super::names::ordinal;
use crate::Photo;
use std::collections::HashSet;

/// The frames of two recordings by the numbers in their names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Of each frame of the database.
    database: Vec<u64>,
    /// For each query the number that its own frame has in the database.
    own: Vec<u64>,
    /// How the two belong together, for notes.
    pub(super) how: String,
}

impl Numbers {
    /// The numbers of both sides, where every name has one of its own; none where names do not say it. A query may
    /// count every `every`-th frame by that frame's number, or by its own from the first query on.
    pub(super) fn of(database: &[Photo], queries: &[Photo], every: usize) -> Option<Self> {
        let every = every as u64;
        let (database, asked) = (numbers(database)?, numbers(queries)?);
        let (first, first_asked) = (*database.iter().min()?, *asked.iter().min()?);
        let from_first: HashSet<u64> = database.iter().map(|number| number - first).collect();
        let steps = |number: &u64| number - first_asked;
        let named = "the number in their names";
        let (own, how) = if asked.iter().map(steps).any(|steps| !steps.is_multiple_of(every)) {
            let own = asked.iter().map(|number| first.checked_add(steps(number).checked_mul(every)?));
            // Beyond the last frame the queries are not counted so.
            let own =
                own.collect::<Option<Vec<u64>>>().filter(|own| own.iter().max() <= database.iter().max())?;
            (own, format!("{named}, each query the {} frame", ordinal(every as usize)))
        } else if first != first_asked
            && database.len().div_ceil(every as usize) == asked.len()
            && asked.iter().all(|number| from_first.contains(&steps(number)))
        {
            // One of the two counts from 0, or was cut elsewhere: otherwise they are numbered alike.
            let own = asked.iter().map(|number| first.checked_add(steps(number)));
            let how = format!("{named}, from the first of each on ({first} and {first_asked})");
            (own.collect::<Option<Vec<u64>>>()?, how)
        } else {
            (asked, named.to_owned())
        };
        Some(Self { database, own, how })
    }

    /// For each query the frames within a tolerance of its own, ascending.
    pub(super) fn positives(&self, tolerance: usize) -> Vec<Vec<u32>> {
        let mut order: Vec<u32> = (0..self.database.len() as u32).collect();
        order.sort_by_key(|i| self.database[*i as usize]);
        let tolerance = tolerance as u64;
        let near = |own: &u64| {
            let number = |i: &u32| self.database[*i as usize];
            let from = order.partition_point(|i| number(i) < own.saturating_sub(tolerance));
            let to = order.partition_point(|i| number(i) <= own.saturating_add(tolerance));
            let mut found = order[from..to].to_vec();
            found.sort_unstable();
            found
        };
        self.own.iter().map(near).collect()
    }

    /// How many queries have no frame of their own number.
    pub(super) fn alone(&self) -> usize {
        let known: HashSet<&u64> = self.database.iter().collect();
        self.own.iter().filter(|own| !known.contains(own)).count()
    }
}

/// The frame number of each: the last digits of its name, or the first, whichever no two frames share.
fn numbers(photos: &[Photo]) -> Option<Vec<u64>> {
    let of = |last: bool| -> Option<Vec<u64>> {
        let found: Vec<u64> = photos.iter().map(|photo| number(&photo.name, last)).collect::<Option<_>>()?;
        let each: HashSet<&u64> = found.iter().collect();
        (each.len() == found.len()).then_some(found)
    };
    of(true).or_else(|| of(false))
}

fn number(name: &str, last: bool) -> Option<u64> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let mut runs = stem.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    if last { runs.next_back() } else { runs.next() }?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photos(names: &[&str]) -> Vec<Photo> {
        names.iter().map(|name| Photo::new(*name, *name)).collect()
    }

    fn of(database: &[&str], queries: &[&str], every: usize) -> Option<(Vec<Vec<u32>>, String, usize)> {
        let numbers = Numbers::of(&photos(database), &photos(queries), every)?;
        Some((numbers.positives(0), numbers.how.clone(), numbers.alone()))
    }

    #[test]
    fn numbers_decide_where_frames_are_missing() {
        // The database lacks frame 3, the queries frame 1.
        let (positives, how, alone) =
            of(&["f0.jpg", "f1.jpg", "f2.jpg", "f4.jpg"], &["w0.jpg", "w2.jpg", "w3.jpg", "w4.jpg"], 1)
                .unwrap();
        assert_eq!(positives, [vec![0], vec![2], vec![], vec![3]]);
        assert_eq!((how.as_str(), alone), ("the number in their names", 1));
    }

    #[test]
    fn queries_count_as_their_frames_or_on_their_own() {
        let database: Vec<String> = (1..=21).map(|i| format!("frame_{i:05}.png")).collect();
        let database: Vec<&str> = database.iter().map(String::as_str).collect();
        let expected = [vec![0], vec![10], vec![20]];
        for queries in
            [["1.png", "11.png", "21.png"], ["1.png", "2.png", "3.png"], ["0.png", "10.png", "20.png"]]
        {
            let (positives, how, alone) = of(&database, &queries, 10).unwrap();
            assert_eq!((positives.as_slice(), alone), (&expected[..], 0), "{queries:?}: {how}");
        }
        let (.., how, _) = of(&["0.jpg", "1.jpg"], &["1.jpg", "2.jpg"], 1).unwrap();
        assert_eq!(how, "the number in their names, from the first of each on (0 and 1)");
    }

    #[test]
    fn names_without_numbers_of_their_own_do_not_say_it() {
        assert_eq!(of(&["a.jpg", "b.jpg"], &["1.jpg", "2.jpg"], 1), None);
        assert_eq!(of(&["x/1.jpg", "y/1.jpg"], &["1.jpg", "2.jpg"], 1), None);
        assert_eq!(of(&["0.jpg", "1.jpg", "2.jpg"], &["0.jpg", "1.jpg", "2.jpg"], 10), None);
        assert_eq!(of(&["99999999999999999999.jpg"], &["1.jpg"], 1), None);
        // A camera or a year may follow the number.
        assert!(of(&["1_cam2.jpg", "2_cam2.jpg"], &["1_2013.jpg", "2_2013.jpg"], 1).is_some());
        let numbers = Numbers::of(&photos(&["5.jpg", "7.jpg", "9.jpg"]), &photos(&["7.jpg"]), 1).unwrap();
        assert_eq!(numbers.positives(2), [[0, 1, 2]]);
        assert_eq!(numbers.positives(usize::MAX), [[0, 1, 2]]);
    }
}
