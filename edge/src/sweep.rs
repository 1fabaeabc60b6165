//! One timer for all sockets: those past a deadline are warned, closed or cut.

use std::sync::Arc;

use soundoff_common::protocol::{ServerFrame, now_ms};

use crate::deadlines::{Due, Now};
use crate::edge::Edge;
use crate::state::Class;

/// Checks the deadlines of all sockets, again and again.
pub(crate) async fn sweep(edge: Arc<Edge>) {
    let deadlines = edge.deadlines();
    loop {
        tokio::time::sleep(edge.config.sweep_every()).await;
        let now = Now { clock_ms: edge.clock_ms(), unix_ms: now_ms() };
        let mut found = Vec::new();
        edge.registry.each(|connection| {
            found.extend(connection.due(now, deadlines).map(|due| (connection.clone(), due)));
        });
        edge.lobby.tidy();
        edge.rules.budgets.tidy(edge.clock_ns());
        edge.rules.minutes.tidy(edge.clock_ns());
        edge.hellos.tidy(edge.clock_ns());
        edge.guests.tidy(edge.clock_ns());
        let (limit, waiting) = edge.at_tables.figures();
        edge.metrics.edge_hello_slots.set(limit as i64);
        edge.metrics.edge_hellos_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        for (connection, due) in found {
            match due {
                Due::Close(code) => edge.close(&connection, code),
                Due::Auth(expires_in_ms) => {
                    edge.offer(&connection, &ServerFrame::AuthDue { expires_in_ms }, Class::Durable);
                }
                Due::Cut => connection.cut(),
            }
        }
    }
}
