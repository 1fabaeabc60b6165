//! The `next` of a page: where the page after it begins.

use soundoff_common::model::ids;
use ulid::Ulid;

/// Characters of an id.
const ID: usize = 26;
/// Characters that distinguish one shown post from others: forty bits of its id.
const SHOWN: usize = 10;
/// The most posts in a list.
pub(crate) const MOST_LISTED: usize = 500;

/// Where a client is in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Names the list that is kept in the cache.
    pub(crate) list: Ulid,
    /// The newest post that was in the list.
    pub(crate) newest: Ulid,
    /// The oldest post that was in the list.
    pub(crate) oldest: Ulid,
    /// How far into the list.
    pub(crate) offset: u16,
    /// What has been shown, in case the list is lost.
    pub(crate) shown: Vec<u64>,
}

/// The part of a shown post's id that a cursor remembers.
pub(crate) fn mark(post: Ulid) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low forty bits are wanted")]
    let low = post.0 as u64;
    low & 0xff_ffff_ffff
}

impl Cursor {
    /// The cursor that a client sends back; `None` if it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (list, rest) = text.split_at_checked(ID)?;
        let (newest, rest) = rest.split_at_checked(ID)?;
        let (oldest, rest) = rest.split_at_checked(ID)?;
        let (offset, rest) = rest.split_at_checked(4)?;
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hex(offset) || !hex(rest) || rest.len() % SHOWN != 0 || rest.len() / SHOWN > MOST_LISTED {
            return None;
        }
        let shown = rest.as_bytes().chunks(SHOWN).map(|mark| {
            let mark = std::str::from_utf8(mark).ok()?;
            u64::from_str_radix(mark, 16).ok()
        });
        Some(Self {
            list: ids::parse(list)?,
            newest: ids::parse(newest)?,
            oldest: ids::parse(oldest)?,
            offset: u16::from_str_radix(offset, 16).ok()?,
            shown: shown.collect::<Option<_>>()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}{:04x}", self.list, self.newest, self.oldest, self.offset)?;
        self.shown.iter().try_for_each(|mark| write!(f, "{mark:010x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        for shown in [0, 1, MOST_LISTED] {
            let shown: Vec<u64> = (0..shown as u64).map(|n| mark(Ulid(u128::from(n) << 37 | 5))).collect();
            let cursor =
                Cursor { list: Ulid(7), newest: Ulid(u128::MAX), oldest: Ulid(9), offset: 0x1234, shown };
            let text = cursor.to_string();
            assert_eq!(Cursor::parse(&text), Some(cursor));
            for bad in [&text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace('7', "é"), ""]
            {
                assert_eq!(Cursor::parse(bad), None, "{bad}");
            }
        }
        let long = Cursor {
            list: Ulid(1),
            newest: Ulid(1),
            oldest: Ulid(1),
            offset: 0,
            shown: vec![1; MOST_LISTED + 1],
        };
        assert_eq!(Cursor::parse(&long.to_string()), None, "more than a list holds");
    }
}
