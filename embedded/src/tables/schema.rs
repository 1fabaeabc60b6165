//! The store's tables by name, and the number of this layout.

use redb::TableDefinition;
use soundoff_common::ports::tables::Table;

/// The layout that this code reads and writes. Raise it with every change that old code would misread.
pub(super) const LAYOUT: u64 = 2;

/// The table of the layout's number, so that neither older nor newer code works on a layout that it does not know.
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// Expiry rows (see [`super::row::expiry_row`]).
pub(super) const EXPIRY: TableDefinition<'static, &[u8], ()> = TableDefinition::new("expiry");

/// One for each [`Table`], in the order of [`Table::ALL`].
pub(super) const DATA: [TableDefinition<'static, &[u8], &[u8]>; Table::ALL.len()] = [
    TableDefinition::new("users"),
    TableDefinition::new("entities"),
    TableDefinition::new("relationships"),
    TableDefinition::new("inbox"),
    TableDefinition::new("dedupe"),
];
