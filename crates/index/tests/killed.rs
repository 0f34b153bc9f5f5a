//! A writer that is killed at any moment loses nothing that it acknowledged.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{MODEL, Random, config, image};
use r2former_index::{
    Batch, Filter, NewPlace, Place, ReadPlaces, Reader, WritePlaces, Writer, place_id, verify,
};

const DIR: &str = "R2FORMER_TEST_KILLED_DIR";
const SEED: &str = "R2FORMER_TEST_KILLED_SEED";

/// Kills: 40, or as many as the environment says for a longer storm.
fn rounds() -> u64 {
    std::env::var("R2FORMER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Images that rounds add, replace and remove.
const IMAGES: u64 = 150;

/// Not a test: the writer that is killed. It prints a line after each acknowledgement.
#[test]
fn child() {
    let (Ok(dir), Ok(seed)) = (std::env::var(DIR), std::env::var(SEED)) else { return };
    let mut random = Random(seed.parse().unwrap());
    let mut writer = Writer::open(dir, MODEL).unwrap();
    // One write a line: a kill leaves no half of one.
    let say = |line: String| std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
    loop {
        match random.next() % 20 {
            0 => {
                say("compact".into());
                writer.compact().unwrap();
            }
            1..=3 => {
                let i = random.next() % IMAGES;
                say(format!("try {i} -"));
                writer.remove(&[place_id(&image(i, 0).place.name)]).unwrap();
                say("ack".into());
            }
            // What is known about images that are there changes; one is added with new vectors, in the same commit.
            4..=8 => {
                let (first, count, v) = (random.next() % IMAGES, 1 + random.next() % 6, random.next() % 1000);
                let mut there = Vec::new();
                for i in first..first + count {
                    let place = described(image(i, 0).place, v);
                    there.extend(writer.contains(&[place_id(&place.name)]).unwrap()[0].then_some((i, place)));
                }
                let describe: Vec<_> = there.iter().map(|(_, place)| place.clone()).collect();
                let line: String = there.iter().map(|(i, _)| format!(" {i} ={v}")).collect();
                let (i, v) = (first + count, random.next() % 1000);
                say(format!("try{line} {i} {v}"));
                writer.write(&Batch { add: &[image(i, v)], describe: &describe, sources: &[] }).unwrap();
                say("ack".into());
            }
            _ => {
                let (first, count, v) = (random.next() % IMAGES, 1 + random.next() % 6, random.next() % 1000);
                let batch: Vec<_> = (first..first + count).map(|i| image(i, v)).collect();
                let line: String = (first..first + count).map(|i| format!(" {i} {v}")).collect();
                say(format!("try{line}"));
                writer.add(&batch).unwrap();
                say("ack".into());
            }
        }
    }
}

/// What is known about an image from its version `v` on, while its vectors stay.
fn described(mut place: Place, v: u64) -> Place {
    place.heading = Some(v as f64);
    place.tags.insert("described".into(), (v % 3).to_string());
    place.file = image(1, v).place.file;
    place
}

/// The image with vectors of version `v`, and what is known about it of version `about` if that is another.
fn version(i: u64, (v, about): (u64, Option<u64>)) -> NewPlace {
    let mut new = image(i, v);
    if let Some(about) = about {
        new.place = described(image(i, 0).place, about);
    }
    new
}

type State = BTreeMap<u64, (u64, Option<u64>)>;

fn after(state: &State, words: &str) -> State {
    let mut state = state.clone();
    let words: Vec<_> = words.split_whitespace().collect();
    for pair in words.chunks(2) {
        let i = pair[0].parse().unwrap();
        match (pair[1].parse(), pair[1].strip_prefix('=')) {
            (Ok(v), _) => drop(state.insert(i, (v, None))),
            (_, Some(about)) => {
                state.entry(i).and_modify(|(_, known)| *known = about.parse().ok());
            }
            _ => drop(state.remove(&i)),
        }
    }
    state
}

fn holds(index: &impl ReadPlaces, state: &State) -> bool {
    let images: Vec<_> = state.iter().map(|(&i, &v)| version(i, v)).collect();
    let ids: Vec<_> = images.iter().map(|new| place_id(&new.place.name)).collect();
    let (places, globals, locals) =
        (index.get(&ids).unwrap(), index.globals(&ids).unwrap(), index.locals(&ids).unwrap());
    index.count(&Filter::default()).unwrap() == state.len()
        && images.iter().enumerate().all(|(i, new)| {
            places[i].as_ref() == Some(&new.place)
                && globals[i].as_ref() == Some(&new.global)
                && locals[i].as_ref().is_some_and(|local| local.rows == new.local)
        })
}

#[test]
fn everything_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), config()).unwrap().close().unwrap();
    let mut state = State::new();
    let mut random = Random(4711);
    let (mut acknowledged, mut compactions) = (0, 0);
    for round in 0..rounds() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIR, dir.path())
            .env(SEED, (round + 1_000_003 * (random.next() % 1000 + 1)).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reading = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(60 + random.next() % 400));
        child.kill().unwrap();
        child.wait().unwrap();

        // The last change may or may not have happened: as a whole.
        let mut open = None;
        for line in reading.join().unwrap() {
            match (line.strip_prefix("try "), line.as_str(), open.take()) {
                (Some(words), _, None) => open = Some(words.to_owned()),
                (None, "ack", Some(words)) => {
                    state = after(&state, &words);
                    acknowledged += 1;
                }
                (None, "compact", None) => compactions += 1,
                (_, other, _) => panic!("round {round}: {other}"),
            }
        }
        // Whoever comes first: a reader or a writer.
        if round % 2 == 0 {
            drop(Reader::open(dir.path(), Some(MODEL)).unwrap());
        }
        let writer = Writer::open(dir.path(), MODEL).unwrap();
        let maybe = open.map(|words| after(&state, &words));
        match maybe {
            Some(maybe) if holds(&writer, &maybe) => state = maybe,
            _ => assert!(holds(&writer, &state), "round {round}"),
        }
        writer.close().unwrap();
        assert!(holds(&Reader::open(dir.path(), Some(MODEL)).unwrap(), &state), "round {round}: the reader");
    }
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.images, state.len());
    eprintln!("{acknowledged} changes acknowledged, {compactions} compactions begun, {} kills", rounds());
    assert!(acknowledged > 40 && compactions > 5);
}
