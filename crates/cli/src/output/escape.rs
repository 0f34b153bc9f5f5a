//! Names and messages made safe to print: a file may be called anything.

use std::borrow::Cow;

/// The text with control characters, line separators and marks that change the direction of writing replaced by
/// escapes (`\n`, `\u{1b}`, `\u{202e}`), so that a name stays on its line and cannot steer a terminal.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .flat_map(|c| {
                let (escape, plain) = match is_unsafe(c) {
                    true => (Some(c.escape_default()), None),
                    false => (None, Some(c)),
                };
                escape.into_iter().flatten().chain(plain)
            })
            .collect(),
    )
}

/// The name that [`escaped`] printed; `None` if the text holds none of its escapes.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        name.push_str(before);
        let code = escape.strip_prefix("\\u{").and_then(|tail| tail.split_once('}'));
        let character = match escape.as_bytes().get(1) {
            Some(b'n') => Some(('\n', &escape[2..])),
            Some(b'r') => Some(('\r', &escape[2..])),
            Some(b't') => Some(('\t', &escape[2..])),
            _ => code.and_then(|(hex, tail)| {
                Some((u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?, tail))
            }),
        };
        let (character, tail) = match character.filter(|(character, _)| is_unsafe(*character)) {
            Some(character) => {
                found = true;
                character
            }
            None => ('\\', &escape[1..]),
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
            assert_eq!(escaped(name), shown);
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
