//! What people type and paste, and what phones and word processors put between it.

use soundoff_common::invisible::is_invisible;

/// An address in its one spelling, and those in which version 0.1.0 may have stored it.
#[derive(Debug)]
pub(crate) struct Spelled {
    pub(crate) value: String,
    pub(crate) former: Vec<String>,
}

/// The zeros of the scripts whose digits keyboards write.
const ZEROS: &[char] = &[
    '0',        // ASCII
    '\u{660}',  // Arabic-Indic
    '\u{6F0}',  // Persian and Urdu
    '\u{966}',  // Devanagari
    '\u{9E6}',  // Bengali
    '\u{E50}',  // Thai
    '\u{1040}', // Burmese
    '\u{FF10}', // full-width
];

/// The ASCII digit that a character stands for.
pub(crate) fn digit(c: char) -> Option<char> {
    let value =
        ZEROS.iter().filter_map(|zero| (c as u32).checked_sub(*zero as u32)).find(|value| *value < 10)?;
    char::from_digit(value, 10)
}

/// A code as somebody typed or pasted it: in ASCII digits, without what is written between groups of them. What is
/// neither stays, so that the code is wrong.
pub(crate) fn code(typed: &str) -> String {
    let between = |c: &char| c.is_whitespace() || is_dash(*c) || is_invisible(*c);
    typed.chars().filter(|c| !between(c)).map(|c| digit(c).unwrap_or(c)).collect()
}

/// A text without the blanks and invisible characters around it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// Whether a character is a hyphen, dash or minus.
pub(crate) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}')
}

/// The ASCII character that a full-width one stands for, or the character itself.
pub(crate) fn narrow(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_and_paste_them() {
        for typed in [
            "012345",
            " 012345\n",
            "012 345",
            "01 23 45",
            "0 1 2 3 4 5",
            "012-345",
            "012\u{2013}345",
            "012\u{2011}345",
            "012\u{A0}345",
            "012\u{202F}345",
            "012\u{2009}345",
            "012\u{3000}345",
            "012345\u{200B}",
            "\u{200E}012345",
            "\u{202A}012345\u{202C}",
            "\u{2066}012\u{2069}345",
            "012\u{AD}345",
            "\u{FEFF}012345",
            "012\t345",
            "\u{660}\u{661}\u{662}\u{663}\u{664}\u{665}",
            "\u{6F0}\u{6F1}\u{6F2} \u{6F3}\u{6F4}\u{6F5}",
            "\u{FF10}\u{FF11}\u{FF12}\u{FF0D}\u{FF13}\u{FF14}\u{FF15}",
            "\u{966}\u{967}\u{968}\u{969}\u{96A}\u{96B}",
            "\u{E50}\u{E51}\u{E52}\u{E53}\u{E54}\u{E55}",
            "01\u{662}3\u{6F4}5",
        ] {
            assert_eq!(code(typed), "012345", "{typed:?}");
        }
        for wrong in
            ["", "12345", "0123450", "O12345", "012345.", "0l2345", "abcdef", "①②③④⑤⑥", "\u{1D7CE}12345"]
        {
            assert_ne!(code(wrong), "012345", "{wrong:?}");
        }
    }
}
