//! What a closed gate does to the sockets that are open.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use soundoff_common::model::gate::Visitor;
use soundoff_common::protocol::{CloseCode, now_ms};

use crate::edge::Edge;
use crate::reason::reason;

/// How long after the gate has closed those are closed that were let in at that moment.
const AGAIN: Duration = Duration::from_secs(1);

/// Closes all sockets whenever the gate is closed.
pub(crate) async fn watch(edge: Arc<Edge>) {
    loop {
        edge.gate.closed().await;
        let (gate, now) = (edge.gate.gate(), now_ms());
        edge.registry.each(|connection| {
            let name = connection.id.to_string();
            let visitor = Visitor { agent: &name, ..Visitor::default() };
            if let Err(shut) = gate.judge(&visitor, now, rand::rng().random()) {
                edge.close_for(connection, CloseCode::Shedding, &reason(shut.wait_ms, &shut.reason));
            }
        });
        tokio::time::sleep(AGAIN).await;
    }
}
