//! A side queue for what is hot. Where many messages are about one post or one person, they wait for each other, and
//! while they wait they hold the slots of their type's queue. So beyond a share of the slots they move to a side queue,
//! where they wait for as long as it takes, and everybody else's messages go on as if they were not there.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::lock::lock;
use crate::pipeline::consumer::{Job, Verdict};
use crate::pipeline::envelope::sender_of;
use crate::pipeline::handler::{Failure, MessageType};
use crate::ports::queues::{Message, Outgoing, QueueName, Queues};
use crate::protocol::{ErrorBody, numbers};
use crate::telemetry::Metrics;

/// What a queue's message is about, as a hash; `None` when it cannot be read, which its handler will say.
pub type HotKey = fn(&[u8]) -> Option<u64>;

/// The [`HotKey`] of a type's messages; `None` for a type whose messages do not wait for each other.
#[must_use]
pub(crate) fn hot_key_of<M: MessageType>() -> Option<HotKey> {
    fn key<M: MessageType>(envelope: &[u8]) -> Option<u64> {
        let About { body } = serde_json::from_slice(envelope).ok()?;
        let body: M::Body = numbers::read(body.get()).ok()?;
        Some(BuildHasherDefault::<DefaultHasher>::default().hash_one(M::HOT?(&body)))
    }
    M::HOT.map(|_| key::<M> as HotKey)
}

/// All that is needed of an envelope.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

/// How many of a queue's slots messages about the same may hold, and how many slots its side queue has: a quarter.
#[must_use]
pub fn share(slots: usize) -> usize {
    (slots / 4).max(1)
}

/// The job of a queue that has a side queue.
pub struct Side {
    job: Arc<dyn Job>,
    key: HotKey,
    slots: usize,
    queues: Arc<dyn Queues>,
    /// Its side queue.
    queue: QueueName,
    moved: Counter,
    running: Mutex<Running>,
}

/// The messages in progress.
#[derive(Default)]
struct Running {
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    /// How many are about the same, of those that were asked.
    about: HashMap<u64, usize>,
}

enum Place {
    /// Not asked what it is about: that costs reading it.
    Unasked(Bytes),
    Asked(Option<u64>),
}

impl Running {
    fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn enter(&mut self, body: Bytes) -> usize {
        let place = Some(Place::Unasked(body));
        match self.free.pop() {
            Some(at) => {
                self.places[at] = place;
                at
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        }
    }

    fn leave(&mut self, at: usize) {
        let left = self.places[at].take();
        self.free.push(at);
        if let Some(Place::Asked(Some(key))) = left
            && let Some(count) = self.about.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.about.remove(&key);
            }
        }
    }

    /// Asks all what they are about; returns how many are about the same as the one at `at`.
    fn ask(&mut self, key: HotKey, at: usize) -> usize {
        for place in self.places.iter_mut().flatten() {
            if let Place::Unasked(body) = place {
                let about = key(body);
                *place = Place::Asked(about);
                if let Some(about) = about {
                    *self.about.entry(about).or_default() += 1;
                }
            }
        }
        match &self.places[at] {
            Some(Place::Asked(Some(about))) => self.about.get(about).copied().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A message in progress, until this is dropped.
struct InProgress<'a> {
    side: &'a Side,
    at: usize,
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        lock(&self.side.running).leave(self.at);
    }
}

impl Side {
    /// The job of a queue that is pulled with `slots`, whose messages are about what `key` says, and move to `queue`.
    #[must_use]
    pub fn new(
        job: Arc<dyn Job>,
        key: HotKey,
        slots: usize,
        (queues, queue): (Arc<dyn Queues>, QueueName),
        metrics: &Metrics,
    ) -> Self {
        let moved = metrics.moved_aside(&queue);
        Self { job, key, slots, queues, queue, moved, running: Mutex::default() }
    }

    /// A place among those in progress; `None` when those about the same have their share already. While half of the
    /// slots are free nobody is in anybody's way, and nobody is asked.
    fn enter(&self, message: &Message) -> Option<InProgress<'_>> {
        let mut running = lock(&self.running);
        let at = running.enter(message.body.clone());
        if running.count() > self.slots / 2 && running.ask(self.key, at) > share(self.slots) {
            running.leave(at);
            return None;
        }
        drop(running);
        Some(InProgress { side: self, at })
    }

    /// Moves a message to the side queue. Should it stay here as well, its dedupe record makes it one effect.
    async fn aside(&self, message: &Message) -> Verdict {
        let (queue, body) = (self.queue.clone(), message.body.clone());
        let outgoing = vec![Outgoing { queue, body, user: sender_of(message) }];
        let sent: Result<(), _> = self.queues.forward(outgoing).await.into_iter().collect();
        match sent {
            Ok(()) => {
                self.moved.inc();
                Verdict::Done
            }
            Err(error) => Failure::from(error).retried(),
        }
    }
}

#[async_trait]
impl Job for Side {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let places: Vec<_> = batch.iter().map(|message| self.enter(message)).collect();
        if places.iter().all(Option::is_some) {
            return self.job.run(batch).await;
        }
        let each = batch.iter().zip(places).map(async |(message, place)| match place {
            Some(_in_progress) => self.job.run(std::slice::from_ref(message)).await,
            None => vec![self.aside(message).await],
        });
        join_all(each).await.concat()
    }

    async fn give_up(&self, message: &Message, reason: &str) {
        self.job.give_up(message, reason).await;
    }

    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        self.job.refuse(message, error).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use schemars::JsonSchema;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::pipeline::catalog::{Catalog, Spec};
    use crate::pipeline::handler::{Context, Outcome, Request};
    use crate::ports::memory::MemoryQueues;
    use crate::ports::queues::Receipt;

    const SLOTS: usize = 16;

    /// Ends runs about a post when they are let go, and others at once.
    struct Gate(Semaphore);

    #[async_trait]
    impl Job for Gate {
        async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
            if batch.iter().any(|message| message.body.windows(5).any(|part| part == b"\"post")) {
                self.0.acquire().await.expect("nobody closes it").forget();
            }
            vec![Verdict::Done; batch.len()]
        }

        async fn give_up(&self, _: &Message, _: &str) {
            self.0.add_permits(1);
        }

        async fn refuse(&self, _: &Message, _: &ErrorBody) {
            self.0.add_permits(1);
        }
    }

    #[derive(Deserialize, JsonSchema)]
    struct Liked {
        post: String,
    }

    impl MessageType for Liked {
        const TYPE: &'static str = "like.it";
        const SUMMARY: &'static str = "";
        const HOT: Option<fn(&Self) -> &str> = Some(|liked| &liked.post);
        type Body = Self;
        type Reply = ();

        async fn handle(_: &Context, _: &Request<Self>) -> Result<Outcome<()>, Failure> {
            Ok(Outcome::read(()))
        }
    }

    struct Cold;

    impl MessageType for Cold {
        const TYPE: &'static str = "cold.it";
        const SUMMARY: &'static str = "";
        type Body = Liked;
        type Reply = ();

        async fn handle(_: &Context, _: &Request<Liked>) -> Result<Outcome<()>, Failure> {
            Ok(Outcome::read(()))
        }
    }

    fn about(post: &str) -> Message {
        let body =
            format!(r#"{{"mid":"m","body":{{"text":"{}","post":"{post}"}},"at":1}}"#, rand::random::<u8>());
        Message { receipt: Receipt(Bytes::new()), body: body.into(), attempt: 3, sent_at: 1 }
    }

    fn side_q() -> QueueName {
        QueueName::new("like_it_hot_q")
    }

    struct World {
        gate: Arc<Gate>,
        queues: Arc<MemoryQueues>,
        side: Side,
        metrics: Metrics,
    }

    impl World {
        fn with(slots: usize, key: HotKey, queues: impl IntoIterator<Item = QueueName>) -> Self {
            let (gate, metrics) = (Arc::new(Gate(Semaphore::new(0))), Metrics::new());
            let queues = Arc::new(MemoryQueues::new(queues));
            let side = Side::new(gate.clone(), key, slots, (queues.clone(), side_q()), &metrics);
            Self { gate, queues, side, metrics }
        }

        fn new() -> Self {
            Self::with(SLOTS, hot_key_of::<Liked>().unwrap(), [side_q()])
        }

        /// A run that has begun and not ended; `None` when it has ended at once.
        fn begun(&self, post: &str) -> Option<BoxFuture<'_, Vec<Verdict>>> {
            let message = about(post);
            let mut run: BoxFuture<'_, _> =
                Box::pin(async move { self.side.run(std::slice::from_ref(&message)).await });
            match run.as_mut().now_or_never() {
                Some(verdicts) => {
                    assert_eq!(verdicts, [Verdict::Done]);
                    None
                }
                None => Some(run),
            }
        }

        fn begin(&self, posts: &[&str]) -> Vec<BoxFuture<'_, Vec<Verdict>>> {
            posts.iter().map(|post| self.begun(post).expect("it runs")).collect()
        }

        fn moved(&self) -> (usize, u64) {
            (self.queues.bodies(&side_q()).len(), self.metrics.moved_aside(&side_q()).get())
        }
    }

    #[test]
    fn a_share_is_a_quarter_and_at_least_one() {
        assert_eq!([1, 3, 4, 16, 256].map(share), [1, 1, 1, 4, 64]);
    }

    #[tokio::test]
    async fn beyond_their_share_messages_about_the_same_move_and_others_run() {
        let world = World::new();
        let mut hot = world.begin(&["hot"; SLOTS / 2]);
        assert!(world.begun("hot").is_none(), "now more than half of the slots are taken");
        assert_eq!(world.moved(), (1, 1));
        let mut cold = world.begin(&["one", "two", "three", "four", "four", "four", "four"]);
        assert!(world.begun("four").is_none(), "a second one is hot as well");
        // The places of those that moved are free: they count no longer.
        let last = world.begun("five").expect("it runs");
        assert_eq!((world.moved(), cold.len()), ((2, 2), 7));
        // Five of the eight end: then there are fewer than its share, and still more than half of the slots are taken.
        world.gate.0.add_permits(5);
        for run in hot.drain(..5) {
            assert_eq!(run.await, [Verdict::Done]);
        }
        hot.extend(world.begun("hot"));
        assert_eq!(hot.len(), 4, "it runs");
        assert!(world.begun("hot").is_none());
        drop((hot, last, cold.split_off(0)));
        let running = lock(&world.side.running);
        assert_eq!((running.count(), running.about.len()), (0, 0), "a run that is cut off leaves, too");
        assert!(running.places.len() <= SLOTS);
    }

    #[tokio::test]
    async fn what_moves_is_there_as_it_was_and_its_tries_begin_again() {
        let world = World::new();
        let _hot = world.begin(&["hot"; SLOTS / 2]);
        let message = about("hot");
        assert_eq!(world.side.run(std::slice::from_ref(&message)).await, [Verdict::Done]);
        let (wait, visibility) = (std::time::Duration::ZERO, std::time::Duration::from_secs(9));
        let moved = world.queues.receive(&side_q(), 9, wait, visibility).await.unwrap();
        assert_eq!(moved.iter().map(|m| (&m.body, m.attempt)).collect::<Vec<_>>(), [(&message.body, 1)]);
    }

    #[tokio::test]
    async fn while_half_of_the_slots_are_free_nobody_is_asked() {
        fn never(_: &[u8]) -> Option<u64> {
            panic!("it was asked")
        }
        let world = World::with(SLOTS, never, [side_q()]);
        for _ in 0..3 {
            let runs = world.begin(&["hot"; SLOTS / 2]);
            world.gate.0.add_permits(SLOTS / 2);
            for run in runs {
                run.await;
            }
        }
    }

    #[tokio::test]
    async fn of_a_batch_only_those_move_that_have_no_share() {
        let world = World::new();
        let _hot = world.begin(&["hot"; SLOTS / 2]);
        let batch = [about("hot"), Message { body: Bytes::from("{}"), ..about("") }, about("hot")];
        assert_eq!(world.side.run(&batch).await, vec![Verdict::Done; 3]);
        assert_eq!(world.moved(), (2, 2));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_its_handlers_business() {
        let world = World::new();
        let _hot = world.begin(&["hot"; SLOTS / 2]);
        for body in ["", "{}", r#"{"body":{"pos":"hot"}}"#] {
            for _ in 0..2 * share(SLOTS) {
                let bad = Message { body: Bytes::from(body), ..about("") };
                assert_eq!(world.side.run(&[bad]).await, [Verdict::Done]);
            }
        }
        assert_eq!(world.moved(), (0, 0));
    }

    #[tokio::test]
    async fn what_cannot_move_is_tried_again() {
        let world = World::with(SLOTS, hot_key_of::<Liked>().unwrap(), []);
        let _hot = world.begin(&["hot"; SLOTS / 2]);
        let verdicts = world.side.run(&[about("hot")]).await;
        assert_eq!(verdicts, [Verdict::Retry("there is no queue like_it_hot_q".to_owned())]);
        assert_eq!(world.metrics.moved_aside(&side_q()).get(), 0);
    }

    #[tokio::test]
    async fn what_is_given_up_is_given_up_by_the_job() {
        let world = World::new();
        world.side.give_up(&about("hot"), "five tries").await;
        assert_eq!(world.gate.0.available_permits(), 1);
    }

    #[test]
    fn types_that_say_what_they_are_about_have_a_side_queue() {
        let (hot, cold) = (Spec::of::<Liked>(), Spec::of::<Cold>());
        assert_eq!((hot.side_queue(), cold.side_queue()), (Some(side_q()), None));
        assert_eq!(hot.clone().on("other").side_queue(), Some(QueueName::new("other_hot_q")));
        let key = hot.hot.unwrap();
        let of = |post| key(&about(post).body);
        assert!(of("one").is_some() && of("one") == of("one") && of("one") != of("two"));
        let names = Catalog::new(vec![hot, cold]).queue_names();
        let names: Vec<_> = names.iter().map(QueueName::as_str).collect();
        assert_eq!(names, ["main_q", "like_it_q", "like_it_hot_q", "cold_it_q"]);
    }

    #[test]
    #[should_panic(expected = "two handlers pull like_it_hot_q")]
    fn a_queue_with_the_name_of_a_side_queue_is_a_defect() {
        let _ = Catalog::new(vec![Spec::of::<Liked>(), Spec::of::<Cold>().on("like_it_hot_q")]);
    }
}
