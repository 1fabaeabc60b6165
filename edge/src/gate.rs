//! What a closed gate does to the sockets that are open.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use serde::Serialize;
use soundoff_common::model::gate::{Shut, Visitor};
use soundoff_common::protocol::{CloseCode, now_ms};

use crate::edge::Edge;

/// How long after the gate has closed those are closed that were let in at that moment.
const AGAIN: Duration = Duration::from_secs(1);

/// The reason of a close, for the client and for people.
#[derive(Serialize)]
struct Reason<'a> {
    retry_after_ms: u64,
    reason: &'a str,
}

/// The reason of the close of a socket that is not let in.
pub(crate) fn reason(Shut { wait_ms, reason }: &Shut) -> String {
    let reason = Reason { retry_after_ms: *wait_ms, reason };
    serde_json::to_string(&reason).expect("a reason is JSON")
}

/// Closes all sockets whenever the gate is closed.
pub(crate) async fn watch(edge: Arc<Edge>) {
    loop {
        edge.gate.closed().await;
        let (gate, now) = (edge.gate.gate(), now_ms());
        edge.registry.each(|connection| {
            let name = connection.id.to_string();
            let visitor = Visitor { agent: &name, ..Visitor::default() };
            if let Err(shut) = gate.judge(&visitor, now, rand::rng().random()) {
                edge.close_for(connection, CloseCode::Shedding, &reason(&shut));
            }
        });
        tokio::time::sleep(AGAIN).await;
    }
}
