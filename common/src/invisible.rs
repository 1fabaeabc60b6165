//! Characters that show nothing, by Unicode's own tables.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a character shows nothing of itself: zero-width spaces and joiners, soft hyphens, marks of direction,
/// variation selectors, fillers, controls.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    let hidden = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control | GeneralCategory::Format
    );
    // The blank of Braille is a letter like others to Unicode.
    hidden || c == '\u{2800}' || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}
