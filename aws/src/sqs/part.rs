//! A member of a message as its receipt names it.

use bytes::Bytes;
use soundoff_common::ports::queues::Receipt;

/// A member of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) handle: String,
    pub(super) index: usize,
    pub(super) packed: bool,
}

/// A message as the engine names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) handle: String,
}

impl Part {
    pub(super) fn receipt(&self) -> Receipt {
        let packed = if self.packed { 'p' } else { 's' };
        Receipt(Bytes::from(format!("{packed}{} {} {}", self.index, self.id, self.handle)))
    }

    /// Reads a receipt; `None` when it is not one of ours.
    pub(super) fn of(receipt: &Receipt) -> Option<Self> {
        let text = std::str::from_utf8(&receipt.0).ok()?;
        let (head, names) = text.split_once(' ')?;
        let (id, handle) = names.split_once(' ')?;
        let packed = head.starts_with('p');
        let index = head.strip_prefix(['p', 's'])?.parse().ok()?;
        Some(Self { id: id.to_owned(), handle: handle.to_owned(), index, packed })
    }

    pub(super) fn named(&self) -> Named {
        Named { id: self.id.clone(), handle: self.handle.clone() }
    }
}
