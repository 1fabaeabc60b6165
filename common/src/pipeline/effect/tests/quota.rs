use futures_util::FutureExt as _;

use super::*;
use crate::pipeline::terms::{Daily, Terms};

/// A user sends only so many a day; what is sent again counts once, and what only reads does not count.
#[tokio::test(start_paused = true)]
async fn a_day_has_room_for_as_many_as_the_limit_says() {
    const DAY_MS: u64 = 86_400_000;
    for in_order in [true, false] {
        let engine = Engine::meeting(in_order, []);
        let daily = Daily::of([(Note::TYPE, Terms::USUAL.at_most(9, 2))]);
        let cx = Context { daily: Arc::new(daily), ..context(&engine) };
        let at = |n, at| Envelope { at, ..telling(n) };
        let both = join(run_note(&cx, &at(1, 1)).boxed(), run_note(&cx, &at(2, 2)).boxed()).await;
        assert!(both.0.is_ok() && both.1.is_ok());
        assert!(run_note(&cx, &Envelope { mid: Ulid(9), ..at(1, 1) }).await.unwrap().duplicate);
        let error = refusal(run_note(&cx, &at(3, DAY_MS - 60_000)).await);
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::RateLimited, Some(60_000)), "{error:?}");
        assert_eq!(engine.inbox(), (4, Some(4)), "nothing of it has happened");
        assert!(run_note(&cx, &message(4, &json!("Read"))).await.is_ok());
        let other = Envelope { from: ann(), ..at(5, 5) };
        assert!(run_note(&cx, &other).await.is_ok(), "another user has a day of their own");
        assert!(run_note(&cx, &at(3, DAY_MS)).await.is_ok(), "a new day");
    }
}
