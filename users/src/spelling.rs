//! What people type and paste, and what phones and word processors put between it.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

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

/// Whether a character shows nothing of itself: zero-width spaces and joiners, soft hyphens, marks of direction, variation
/// selectors, fillers, controls.
pub(crate) fn is_invisible(c: char) -> bool {
    let hidden = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control | GeneralCategory::Format
    );
    // The blank of Braille is a letter like others to Unicode.
    hidden || c == '\u{2800}' || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
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
