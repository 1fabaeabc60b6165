//! The tables on stand-ins for DynamoDB: the port's laws, and what the port does not specify.
//!
//! DynamoDB Local and MiniStack must pass all tests; moto is a second opinion.

#[path = "dynamodb/engine.rs"]
mod engine;
#[path = "dynamodb/faults.rs"]
mod faults;
#[path = "dynamodb/proxy.rs"]
mod proxy;
#[path = "dynamodb/values.rs"]
mod values;

use soundoff_common::ports::tables::contract;

use engine::{ENGINES, EXACT};

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn survives_reopening() {
    for engine in ENGINES {
        contract::survives_reopening(&engine.start().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn increments_add_up() {
    for engine in EXACT {
        contract::increments_add_up(&engine.start().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn compare_and_set_has_one_winner() {
    for engine in EXACT {
        contract::compare_and_set_has_one_winner(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn transactions_are_all_or_nothing() {
    for engine in ENGINES {
        contract::transactions_are_all_or_nothing(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn conditions_hold_as_they_say() {
    for engine in ENGINES {
        contract::conditions_hold_as_they_say(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn changes_do_what_they_say() {
    for engine in ENGINES {
        contract::changes_do_what_they_say(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn invalid_writes_change_nothing() {
    for engine in EXACT {
        contract::invalid_writes_change_nothing(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn unexpired_items_stay() {
    for engine in ENGINES {
        contract::unexpired_items_stay(&engine.start().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn writes_are_seen_at_once() {
    for engine in ENGINES {
        contract::writes_are_seen_at_once(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn get_many_answers_in_order() {
    for engine in ENGINES {
        contract::get_many_answers_in_order(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn query_orders_by_bytes() {
    for engine in ENGINES {
        contract::query_orders_by_bytes(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn query_bounds_and_limits() {
    for engine in ENGINES {
        contract::query_bounds_and_limits(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn partitions_are_apart() {
    for engine in ENGINES {
        contract::partitions_are_apart(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn reads_refuse_invalid_calls() {
    for engine in ENGINES {
        contract::reads_refuse_invalid_calls(&engine.start().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn scan_answers_everything_once() {
    for engine in ENGINES {
        contract::scan_answers_everything_once(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn handed_over_writes_are_judged_in_order() {
    for engine in ENGINES {
        contract::handed_over_writes_are_judged_in_order(&engine.start().await).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn random_operations_agree_with_a_model() {
    for engine in EXACT {
        for seed in [1, 20_261_122] {
            contract::random_operations_agree_with_a_model(&engine.start().await, seed).await;
        }
    }
}
