//! Makes texts of other peers safe to print on a terminal or to write as a line of a file.

use std::borrow::Cow;
use std::fmt::Write;

/// Makes every character visible that could end the line, move the cursor, start an escape sequence
/// (ECMA-48: C0, DEL and C1) or turn the direction of the text behind it (embeddings, overrides and
/// isolates of Unicode TR 9). Tabs and all other characters stay as they are.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(unsafe_to_print) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            c if unsafe_to_print(c) => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Writes line breaks as `\n` and `\r` and keeps everything else, for programs that read line by
/// line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        Cow::Owned(text.replace('\n', "\\n").replace('\r', "\\r"))
    } else {
        Cow::Borrowed(text)
    }
}

fn unsafe_to_print(c: char) -> bool {
    match c {
        '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_texts_are_verbatim() {
        for text in [
            "",
            "hello\tworld",
            "back\\nslash",
            "gr\u{fc}\u{df}e \u{1f600}",
            "\u{5e9}",
        ] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\n[3fa9c1b2] b\r"), "a\\n[3fa9c1b2] b\\r");
        assert_eq!(
            visible("\u{1b}[2J\u{7}\u{7f}\u{9b}"),
            "\\u{1b}[2J\\u{7}\\u{7f}\\u{9b}"
        );
        assert_eq!(visible("\u{202e}x\u{2028}"), "\\u{202e}x\\u{2028}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_passes(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(!shown.contains(unsafe_to_print));
            prop_assert_eq!(shown.lines().count(), usize::from(!text.is_empty()));
        }
    }
}
