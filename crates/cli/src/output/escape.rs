//! Names and messages made safe to print: a file may be called anything.

use std::borrow::Cow;
use std::path::MAIN_SEPARATOR;

/// A message with control characters, line separators and marks that change the direction of writing replaced by escapes
/// (`\n`, `\u{1b}`, `\u{202e}`), so that it stays on its line and cannot steer a terminal. Names go through [`quoted`]; what
/// is [`quoted`] already stays as it is.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut safe, c));
    Cow::Owned(safe)
}

/// A name with the escapes of [`escaped`], and a backslash before what would read as one of them as `\u{5c}`: no two names
/// are printed alike, and [`unescaped`] leads back.
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    let mut safe = String::new();
    let mut rest = name;
    while let Some(at) = rest.find(|c| c == '\\' || is_unsafe(c)) {
        let (before, found) = rest.split_at(at);
        let c = found.chars().next().unwrap_or_default();
        safe.push_str(before);
        match c {
            '\\' if escape(found).is_some() => safe.push_str("\\u{5c}"),
            c => push(&mut safe, c),
        }
        rest = &found[c.len_utf8()..];
    }
    if safe.is_empty() {
        return Cow::Borrowed(name);
    }
    safe.push_str(rest);
    Cow::Owned(safe)
}

/// A path as [`quoted`] prints names; where backslashes separate its parts, they stay as they are.
pub(crate) fn quoted_path(path: &str) -> Cow<'_, str> {
    path_with(MAIN_SEPARATOR, path)
}

fn path_with(separator: char, path: &str) -> Cow<'_, str> {
    if separator == '\\' { escaped(path) } else { quoted(path) }
}

fn push(safe: &mut String, c: char) {
    match is_unsafe(c) {
        true => safe.extend(c.escape_default()),
        false => safe.push(c),
    }
}

/// The character that an escape at the start of a text stands for, and the text after it.
fn escape(text: &str) -> Option<(char, &str)> {
    let (character, tail) = match text.strip_prefix('\\')?.as_bytes().first()? {
        b'n' => ('\n', &text[2..]),
        b'r' => ('\r', &text[2..]),
        b't' => ('\t', &text[2..]),
        _ => {
            let (hex, tail) = text.strip_prefix("\\u{")?.split_once('}')?;
            (u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?, tail)
        }
    };
    (character == '\\' || is_unsafe(character)).then_some((character, tail))
}

/// The name that [`quoted`] printed; `None` if the text holds none of its escapes.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find('\\') {
        let (before, behind) = rest.split_at(at);
        name.push_str(before);
        let (character, tail) = match escape(behind) {
            Some(escape) => {
                found = true;
                escape
            }
            None => ('\\', &behind[1..]),
        };
        name.push(character);
        rest = tail;
    }
    name.push_str(rest);
    found.then_some(name)
}

/// A JSON document with the same characters as JSON's own escapes: the strings in it stay what they are.
pub(crate) fn escaped_json(document: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| c != '\n' && is_unsafe(c);
    if !document.contains(is_unsafe) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if is_unsafe(c) {
            safe.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Controls, line and paragraph separators, and everything invisible that reorders or hides text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_their_line() {
        for (name, shown) in [
            ("a b,é.jpg", "a b,é.jpg"),
            ("a\nb\t\u{1b}[31m.jpg", "a\\nb\\t\\u{1b}[31m.jpg"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{85}\u{2028}\u{2066}\u{feff}", "\\u{85}\\u{2028}\\u{2066}\\u{feff}"),
            ("back\\slash", "back\\slash"),
            ("👩\u{200d}🌾.jpg", "👩\u{200d}🌾.jpg"),
        ] {
            assert_eq!(unescaped(shown).as_deref(), (name != shown).then_some(name));
            assert_eq!((escaped(name), quoted(name)), (shown.into(), shown.into()));
        }
    }

    #[test]
    fn no_two_names_are_printed_alike() {
        for (name, shown) in [
            ("a\\nb.jpg", "a\\u{5c}nb.jpg"),
            ("a\nb.jpg", "a\\nb.jpg"),
            ("\\\n", "\\\\n"),
            ("\\\\n", "\\\\u{5c}n"),
            ("\\u{5c}n", "\\u{5c}u{5c}n"),
            ("\\u{\u{200b}}", "\\u{\\u{200b}}"),
            ("C:\\new", "C:\\u{5c}new"),
            ("C:\\a", "C:\\a"),
        ] {
            assert_eq!(quoted(name), shown);
            assert_eq!(unescaped(shown).as_deref().unwrap_or(shown), name, "{shown}");
            assert_eq!(escaped(shown), shown);
        }
    }

    #[test]
    fn separators_stay() {
        let path = "C:\\new\n\\a.jpg";
        assert_eq!(path_with('\\', path), "C:\\new\\n\\a.jpg");
        assert_eq!(path_with('/', path), quoted(path));
    }

    #[test]
    fn every_name_leads_back() {
        let mut names = vec![String::new()];
        for _ in 0..5 {
            let longer =
                |name: &String| "\\nu{5c}\n\u{1b}".chars().map(|c| format!("{name}{c}")).collect::<Vec<_>>();
            names = names.iter().flat_map(longer).collect();
            for name in &names {
                let shown = quoted(name).into_owned();
                assert!(!shown.contains(is_unsafe), "{shown:?}");
                assert_eq!(unescaped(&shown).as_ref().unwrap_or(&shown), name);
            }
        }
    }

    #[test]
    fn json_keeps_its_strings() {
        for name in ["é.jpg", "gpj.\u{202e}exe", "\u{7f}\u{9b}\n\u{e0041}"] {
            let document = serde_json::to_string_pretty(&[name]).expect("a string");
            let safe = escaped_json(&document);
            assert!(!safe.contains(|c| c != '\n' && is_unsafe(c)), "{safe:?}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&safe).expect("JSON"), [name]);
        }
    }
}
