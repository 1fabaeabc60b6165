//! Ten messages in one request, more than packing ever puts into one.

use std::time::Duration;

use futures_util::future::join_all;
use soundoff_common::guard::Weather;
use soundoff_common::telemetry::Metrics;

use super::Calls;
use crate::{Aws, AwsConfig};

#[expect(dead_code, reason = "the adapter's own tests need more of it")]
#[path = "../../../tests/support/queue.rs"]
mod queue;

#[tokio::test(flavor = "multi_thread")]
async fn every_subset_of_ten_sends_may_fail_once() {
    if !queue::signed() {
        return;
    }
    let fake = queue::Fake::serve(Duration::ZERO).await;
    let config = AwsConfig { sqs_endpoint: Some(fake.endpoint.clone()), ..AwsConfig::default() };
    let aws = Aws::connect(config, &Weather::new(Metrics::new())).await.unwrap();
    let calls = Calls { client: aws.sqs(), meter: aws.meter().clone() };
    let all = (1..1024_u32).map(|mask| {
        let (fake, calls, name) = (&fake, &calls, format!("q{mask}"));
        async move {
            let bodies: Vec<_> = (0..10).map(|n| n.to_string()).collect();
            fake.next(&name, "SendMessageBatch", [queue::Reply::Failing(mask, false)]);
            let answers =
                calls.send(&format!("{}/0/{name}", fake.endpoint), &bodies, &vec![None; bodies.len()]).await;
            assert!(answers.len() == 10 && answers.iter().all(Result::is_ok), "{answers:?}");
            let seen = fake.calls(&name, "SendMessageBatch");
            let failed = |n: &usize| mask >> n & 1 == 1;
            let failed: Vec<_> = (0..10).filter(failed).map(|n| bodies[n].clone()).collect();
            assert_eq!((seen.len(), &seen[1].entries), (2, &failed), "each failed one is sent again, once");
            let mut kept = fake.bodies(&name);
            kept.sort();
            assert_eq!(kept, bodies, "each once");
        }
    });
    join_all(all).await;
}
