//! Keeps what an edge knows of how far behind the queues are.

use std::collections::HashMap;
use std::sync::Arc;

use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::load::{self, Behind};
use soundoff_common::ports::queues::QueueName;

use crate::edge::Edge;

/// Looks how far behind the queues are, again and again.
pub(crate) async fn watch(edge: Arc<Edge>) {
    let types = of_clients(&edge.rules.catalog);
    let mut queues = vec![QueueName::main()];
    queues.extend(types.iter().flat_map(|(_, queues)| queues.clone()));
    loop {
        tokio::time::sleep(load::EVERY).await;
        // Without a cache nobody knows, and all is taken, as always.
        let lags = load::read(&*edge.cache, &queues).await.unwrap_or_default();
        let Some((main, mut rest)) = lags.split_first() else {
            edge.rules.load.look(HashMap::new());
            continue;
        };
        let mut found = HashMap::new();
        for (name, queues) in &types {
            let (mine, others) = rest.split_at(queues.len());
            rest = others;
            // A message waits in main_q first, and then for the slowest of its handlers.
            let slowest = mine.iter().max_by_key(|queue| queue.lag).copied().unwrap_or_default();
            let waiting = [main.waiting, slowest.waiting].into_iter().flatten();
            let behind = Behind { lag: main.lag + slowest.lag, waiting: waiting.reduce(u64::saturating_add) };
            found.insert(*name, behind);
        }
        edge.rules.load.look(found);
    }
}

/// All types that clients send, and the queues of each.
fn of_clients(catalog: &Catalog) -> Vec<(&'static str, Vec<QueueName>)> {
    let queues = |name: &str| catalog.route(name).map(|route| route.queues.clone()).unwrap_or_default();
    catalog.terms().map(|(name, _)| (name, queues(name))).collect()
}
