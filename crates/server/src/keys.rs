//! Keys: who may do what, and how often. The file holds SHA-256 sums of keys of 256 random bits, which nobody can guess
//! from them; no slower hash is needed for such keys.

use crate::error::{Result, ServeError};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// What every key begins with, so that one that leaks is recognised.
const PREFIX: &str = "r2f_";

/// How often the file is looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

/// How long the keys stay as they were while the file is missing or damaged: an editor may be writing it.
const GRACE: Duration = Duration::from_secs(10);

/// What a key allows; each role includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Questions: locate, list, explain, pictures, metrics.
    Read,
    /// Adds places, and removes those that were added through the service.
    Write,
    /// Removes any place.
    Admin,
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("'{text}' is not a role: read, write or admin")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// A new key: the key itself, and its line for the file.
///
/// # Errors
/// [`ServeError::Io`] where the system has no randomness.
pub fn new_key(role: Role, name: &str) -> Result<(String, String)> {
    let mut secret = [0; 32];
    OsRng
        .try_fill_bytes(&mut secret)
        .map_err(|error| ServeError::io("random numbers", std::io::Error::other(error)))?;
    let key = format!("{PREFIX}{}", hex(&secret));
    let line = format!("role={role} name={name} sha256={}", hex(&Sha256::digest(&key)));
    Ok((key, line))
}

/// Whether a name can stand in the file of keys.
pub fn is_key_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The key's name, for the log.
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    /// The key's sum, which is its own where names are not; `None` without a key.
    pub(crate) key: Option<[u8; 32]>,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    identity: Identity,
    sum: [u8; 32],
    /// Requests in a minute; without a limit if `None`.
    per_minute: Option<u32>,
}

/// The keys of a file, which may change while the service runs.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    grace: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Arc<Vec<Key>>,
    /// What the file was at the last look; the system's words for one that could not be read.
    seen: Result<String, String>,
    /// Since when it has been missing or damaged.
    trouble: Option<Instant>,
    looked: Instant,
    /// What is left of each key's rate.
    buckets: HashMap<[u8; 32], Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refusal {
    Unknown,
    TooOften(Duration),
}

impl Keys {
    /// Reads a file of keys: a line for each, `role=read name=app sha256=...` and optionally `per-minute=60`; empty lines
    /// and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// [`ServeError::Io`] for a file that cannot be read, [`ServeError::Keys`] for a line that is not understood, or a file
    /// without any key.
    pub fn open(path: &Path) -> Result<Self> {
        let text = read(path).map_err(|error| ServeError::io(path, error))?;
        let bad = |(line, problem)| ServeError::Keys { path: path.into(), line, problem };
        let lines = Lines::of(&text);
        if let Some(first) = lines.bad.into_iter().next() {
            return Err(bad(first));
        }
        if lines.keys.is_empty() {
            return Err(bad((1, "holds no key: `r2former serve --new-key read` makes one".into())));
        }
        let state = State {
            keys: Arc::new(lines.keys),
            seen: Ok(text),
            trouble: None,
            looked: Instant::now(),
            buckets: HashMap::new(),
        };
        Ok(Self { path: path.into(), grace: GRACE, state: Mutex::new(state) })
    }

    /// Whose key this is. Every key of the file is compared, each in constant time.
    pub(crate) fn check(&self, key: &str) -> Result<Identity, Refusal> {
        let sum: [u8; 32] = Sha256::digest(key).into();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut state);
        let keys = state.keys.clone();
        let mut found = None;
        for known in keys.iter() {
            if bool::from(known.sum.ct_eq(&sum)) {
                found = Some(known);
            }
        }
        let found = found.ok_or(Refusal::Unknown)?;
        if let Some(per_minute) = found.per_minute {
            let now = Instant::now();
            let most = f64::from(per_minute);
            let bucket = state.buckets.entry(found.sum).or_insert_with(|| Bucket { left: most, filled: now });
            let gained = now.duration_since(bucket.filled).as_secs_f64() * most / 60.0;
            bucket.left = (bucket.left + gained).min(most);
            bucket.filled = now;
            if bucket.left < 1.0 {
                return Err(Refusal::TooOften(Duration::from_secs_f64((1.0 - bucket.left) * 60.0 / most)));
            }
            bucket.left -= 1.0;
        }
        Ok(found.identity.clone())
    }

    /// Reads the file again. A sound one counts at once, and one without keys lets nobody in. One that is missing or damaged
    /// changes nothing for a moment, so that a file which is being written locks nobody out; then the keys of its sound lines
    /// count, and no others: what was revoked is not valid for ever.
    fn look(&self, state: &mut State) {
        if state.looked.elapsed() < LOOK {
            return;
        }
        state.looked = Instant::now();
        let seen = read(&self.path).map_err(|error| error.to_string());
        let changed = seen != state.seen;
        if !changed && state.trouble.is_none() {
            return;
        }
        let lines = seen.as_deref().map(Lines::of).unwrap_or_default();
        let problem = match (&seen, lines.bad.first()) {
            (Err(error), _) => Some(format!("it cannot be read: {error}")),
            (Ok(_), Some((line, problem))) => Some(format!("line {line}: {problem}")),
            (Ok(_), None) => None,
        };
        state.seen = seen;
        let keys = lines.keys.len();
        let Some(problem) = problem else {
            state.trouble = None;
            state.keys = Arc::new(lines.keys);
            match keys {
                0 => tracing::error!("the file of keys holds no key any more: every key is refused"),
                _ => tracing::info!(keys, "the file of keys was read again"),
            }
            return;
        };
        let since = *state.trouble.get_or_insert_with(Instant::now);
        if since.elapsed() < self.grace {
            if changed {
                let seconds = self.grace.as_secs();
                tracing::error!(
                    problem,
                    seconds,
                    "the file of keys is unusable: so long the keys stay as they were"
                );
            }
        } else if changed || *state.keys != lines.keys {
            state.keys = Arc::new(lines.keys);
            tracing::error!(
                problem,
                keys,
                "the file of keys is unusable: only keys of its sound lines are valid"
            );
        }
    }
}

/// The file's text; what is no UTF-8 makes its line unsound.
fn read(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// What the lines of a file say.
#[derive(Debug, Default)]
struct Lines {
    /// Of sound lines.
    keys: Vec<Key>,
    /// Numbers of the others, from 1, and what is wrong with each.
    bad: Vec<(usize, String)>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let mut lines = Self::default();
        let mut twice = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse(line) {
                Ok(key) if lines.keys.iter().any(|known| known.sum == key.sum) => {
                    lines.bad.push((number, "the same key stands in the file twice".into()));
                    twice.push(key.sum);
                }
                Ok(key) => lines.keys.push(key),
                Err(problem) => lines.bad.push((number, problem)),
            }
        }
        // Nobody knows which of its lines is meant.
        lines.keys.retain(|key| !twice.contains(&key.sum));
        lines
    }
}

fn parse(line: &str) -> Result<Key, String> {
    let (mut role, mut name, mut sum, mut per_minute) = (None, None, None, None);
    for field in line.split_whitespace() {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key {
            "role" => role = Some(value.parse::<Role>()?),
            "name" if is_key_name(value) => name = Some(value),
            "name" => return Err(format!("'{value}' is not a name of letters, digits, '.', '_' and '-'")),
            "sha256" => sum = Some(unhex(value).ok_or("sha256 has 64 hexadecimal digits")?),
            "per-minute" => {
                let limit = value.parse::<u32>().ok().filter(|limit| *limit > 0);
                per_minute =
                    Some(limit.ok_or_else(|| format!("'{value}' is not a number of requests, 1 or more"))?);
            }
            // Messages go to logs.
            _ if key.starts_with(PREFIX) => {
                return Err("a key itself does not belong here, but its sum".into());
            }
            _ => {
                return Err(format!("'{field}' is not role=..., name=..., sha256=... or per-minute=..."));
            }
        }
    }
    let (Some(role), Some(sum)) = (role, sum) else {
        return Err("role=... and sha256=... are needed".into());
    };
    let identity = Identity { name: name.unwrap_or("unnamed").into(), role, key: Some(sum) };
    Ok(Key { identity, sum, per_minute })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_with_its_line_alone() {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("keys");
        let (key, line) = new_key(Role::Write, "robot-1").expect("randomness");
        let (other, _) = new_key(Role::Admin, "other").expect("randomness");
        assert!(!line.contains(&key) && key != other && key.len() == 68);
        std::fs::write(&file, format!("# ours\n\n{line} per-minute=2\n")).expect("a file");
        let keys = Keys::open(&file).expect("sound");
        let found = keys.check(&key).expect("known");
        assert_eq!((&*found.name, found.role), ("robot-1", Role::Write));
        for wrong in [other.as_str(), "", &key[..67], &key.to_uppercase()] {
            assert_eq!(keys.check(wrong), Err(Refusal::Unknown));
        }
        assert!(keys.check(&key).is_ok());
        let Err(Refusal::TooOften(wait)) = keys.check(&key) else { panic!("the third in a minute") };
        assert!(wait <= Duration::from_secs(30));
    }

    /// A file of two keys that has the state which `after` makes, at the first look and once the grace is over: which of the
    /// keys are known.
    fn known_after(after: impl Fn(&Path, &[String; 2])) -> [[bool; 2]; 2] {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("keys");
        let both = ["a", "b"].map(|name| new_key(Role::Read, name).expect("randomness"));
        let lines = both.clone().map(|(_, line)| line);
        std::fs::write(&file, lines.join("\n")).expect("a file");
        let mut keys = Keys::open(&file).expect("sound");
        after(&file, &lines);
        [GRACE, Duration::ZERO].map(|grace| {
            keys.grace = grace;
            // Longer ago than the file is trusted unseen.
            let state = keys.state.get_mut().expect("nobody panicked");
            state.looked =
                Instant::now().checked_sub(2 * LOOK).expect("a machine that runs for some seconds");
            both.each_ref().map(|(key, _)| keys.check(key).is_ok())
        })
    }

    #[test]
    fn a_key_is_revoked_by_removing_its_line() {
        let write = |file: &Path, text: &str| std::fs::write(file, text).expect("a file");
        let (none, first, all) = ([false; 2], [true, false], [true; 2]);
        assert_eq!(known_after(|_, _| ()), [all, all]);
        assert_eq!(known_after(|file, lines| write(file, &lines[0])), [first, first]);
        assert_eq!(known_after(|file, _| write(file, "")), [none, none]);
        assert_eq!(known_after(|file, _| write(file, "# nobody\n\n")), [none, none]);
        // It may be on its way: for a moment, and no longer.
        assert_eq!(known_after(|file, _| std::fs::remove_file(file).expect("removed")), [all, none]);
        let half =
            |file: &Path, lines: &[String; 2]| write(file, &format!("{}\n{}", lines[0], &lines[1][..40]));
        assert_eq!(known_after(half), [all, first]);
        let latin = |file: &Path, lines: &[String; 2]| {
            std::fs::write(file, [lines[0].as_bytes(), b"\nrole=r\xe9ad"].concat()).expect("a file");
        };
        assert_eq!(known_after(latin), [all, first]);
        let twice = |file: &Path, lines: &[String; 2]| {
            write(
                file,
                &format!("{}\n{}\n{}", lines[0], lines[1], lines[1].replace("role=read", "role=admin")),
            );
        };
        assert_eq!(known_after(twice), [all, first]);
    }

    #[test]
    fn a_file_that_comes_back_lets_its_keys_in_again() {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("keys");
        let (key, line) = new_key(Role::Read, "a").expect("randomness");
        std::fs::write(&file, &line).expect("a file");
        let mut keys = Keys::open(&file).expect("sound");
        keys.grace = Duration::ZERO;
        let mut known = |text: Option<&str>| {
            match text {
                Some(text) => std::fs::write(&file, text).expect("a file"),
                None => std::fs::remove_file(&file).expect("removed"),
            }
            let state = keys.state.get_mut().expect("nobody panicked");
            state.looked =
                Instant::now().checked_sub(2 * LOOK).expect("a machine that runs for some seconds");
            keys.check(&key).is_ok()
        };
        for (text, valid) in
            [(None, false), (Some(&*line), true), (Some(""), false), (Some(&*line), true), (Some("x"), false)]
        {
            assert_eq!(known(text), valid, "{text:?}");
        }
    }

    #[test]
    fn lines_that_mean_nothing_are_named() {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("keys");
        let sum = "a".repeat(64);
        for (text, said) in [
            (String::new(), "holds no key"),
            (format!("role=root sha256={sum}"), "role"),
            (format!("role=read sha256={sum}0"), "64"),
            (format!("role=read\nsha256={sum}"), "needed"),
            (format!("role=read sha256={sum} per-minute=0"), "1 or more"),
            (format!("role=read sha256={sum}\nrole=write sha256={sum}"), "twice"),
            (format!("role=read sha256={sum} name=a/b"), "letters"),
            ("r2f_secret".into(), "does not belong here"),
        ] {
            std::fs::write(&file, &text).expect("a file");
            let message = Keys::open(&file).expect_err(&text).to_string();
            assert!(message.contains(said), "{message}");
        }
    }
}
