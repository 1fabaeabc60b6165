//! Which way deliveries go, with edges that listen on real ports.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::lock::lock;
use crate::pipeline::deliver::{DELIVER_PATH, DeliverAnswer, DeliverRequest, Judge, Refused, SIGNED_HEADER};
use crate::pipeline::envelope::Origin;
use crate::ports::Unavailable;
use crate::ports::memory::MemorySessions;
use crate::telemetry::{EngineLabel, Metrics};

const PATIENCE: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(60);

fn key() -> InternalKey {
    InternalKey::new(&[7; 32]).unwrap()
}

fn user(name: &str) -> Handle {
    name.parse().unwrap()
}

/// An edge process: what it took, and who is not there.
struct Edge {
    boot: &'static str,
    address: String,
    took: Arc<Mutex<Vec<Delivery>>>,
    posts: Arc<AtomicUsize>,
    gone: Arc<Mutex<HashSet<u64>>>,
    /// How many of its next answers are lost on their way.
    lost: Arc<AtomicUsize>,
}

impl Edge {
    async fn start(boot: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (took, posts, gone) = (Arc::default(), Arc::default(), Arc::default());
        let edge = Self { boot, address, took, posts, gone, lost: Arc::default() };
        let (took, posts, gone) = (edge.took.clone(), edge.posts.clone(), edge.gone.clone());
        let lost = edge.lost.clone();
        let judge = Arc::new(Judge::new(key(), boot.into()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (judge, took, posts, gone) = (judge.clone(), took.clone(), posts.clone(), gone.clone());
                let lost = lost.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (judge, took, posts, gone) =
                        (judge.clone(), took.clone(), posts.clone(), gone.clone());
                    let lost = lost.clone();
                    async move {
                        posts.fetch_add(1, Ordering::Relaxed);
                        if let Some(refused) = refused(&judge, &request) {
                            return Ok(refused);
                        }
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let answer = answer(boot, &body, &took, &gone);
                        let is_lost = |left: usize| left.checked_sub(1);
                        match lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_lost) {
                            Ok(_) => Err(std::io::Error::other("the connection breaks")),
                            Err(_) => Ok(answer),
                        }
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        edge
    }

    fn posts(&self) -> usize {
        self.posts.load(Ordering::Relaxed)
    }

    /// What its sockets got: user, socket if one is named, kind.
    fn took(&self) -> Vec<(String, Option<u64>, Kind)> {
        let took = lock(&self.took);
        let each = took.iter().flat_map(|delivery| delivery.to.iter().map(move |to| (to, delivery)));
        each.map(|(to, delivery)| (to.to_string(), delivery.connection, delivery.kind)).collect()
    }

    fn registration(&self, connection: u64) -> Registration {
        Registration { edge: self.address.as_str().into(), boot: self.boot.into(), connection, device: None }
    }

    /// As this edge stamps its messages.
    fn origin(&self, connection: u64) -> Origin {
        let signed = key().sign_address(self.boot, &self.address);
        Origin { boot: self.boot.into(), connection, edge: Some(signed) }
    }
}

/// The answer to a head that an edge would refuse.
fn refused(judge: &Judge, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    let signed = request.headers()[SIGNED_HEADER].to_str().unwrap();
    let length = request.headers()["content-length"].to_str().unwrap().parse().unwrap();
    for of_0_1_0 in ["x-soundoff-time", "x-soundoff-signature"] {
        assert!(request.headers().contains_key(of_0_1_0), "{of_0_1_0}");
    }
    let refused = judge.judge("POST", DELIVER_PATH, length, signed, |_| true).err()?;
    assert_eq!(refused, Refused::OtherProcess);
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::CONFLICT;
    Some(answer)
}

fn answer(
    boot: &str,
    body: &[u8],
    took: &Mutex<Vec<Delivery>>,
    gone: &Mutex<HashSet<u64>>,
) -> Response<Full<Bytes>> {
    let request: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(request["boot"], boot, "edges of 0.1.0 look for it here");
    let request: DeliverRequest = serde_json::from_slice(body).unwrap();
    let mut missing = Vec::new();
    for (at, delivery) in request.deliveries.into_iter().enumerate() {
        if delivery.connection.is_some_and(|connection| lock(gone).contains(&connection)) {
            missing.extend(delivery.to.into_iter().map(|to| (at, to)));
        } else {
            lock(took).push(delivery);
        }
    }
    Response::new(serde_json::to_vec(&DeliverAnswer { missing }).unwrap().into())
}

/// A Session Cache that counts its look-ups, and answers none while it hangs.
#[derive(Default)]
struct Counted {
    sessions: MemorySessions,
    look_ups: AtomicUsize,
    hangs: std::sync::atomic::AtomicBool,
    goes_on: Notify,
}

#[async_trait]
impl Sessions for Counted {
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable> {
        self.sessions.put_many(entries, ttl).await
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            self.goes_on.notified().await;
        }
        // Long enough for a lane to begin a POST, as a cache across a network is.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        self.sessions.get_many(handles).await
    }

    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        self.sessions.remove(handle, registration).await
    }
}

struct Stand {
    sessions: Arc<Counted>,
    metrics: Metrics,
    replies: Replies,
}

impl Stand {
    fn new() -> Self {
        let (sessions, metrics) = (Arc::new(Counted::default()), Metrics::new());
        let replies = Replies::start(sessions.clone(), key(), Weather::new(metrics.clone()));
        Self { sessions, metrics, replies }
    }

    async fn deliver(&self, parcels: Vec<Parcel>) {
        timeout(PATIENCE, self.replies.deliver(parcels)).await.expect("delivered or given up");
    }

    fn look_ups(&self) -> usize {
        self.sessions.look_ups.load(Ordering::Relaxed)
    }
}

fn parcel(kind: Kind, to: &str, origin: Option<Origin>) -> Parcel {
    let frame = Some(RawValue::from_string("{}".to_owned()).unwrap());
    let delivery = Delivery { frame, ..Delivery::of(kind, vec![user(to)]) };
    Parcel { delivery, origin }
}

#[tokio::test]
async fn replies_to_signed_origins_ask_no_cache() {
    let (stand, edge) = (Stand::new(), Edge::start("one").await);
    let parcels: Vec<_> = (0..300).map(|n| parcel(Kind::Reply, "ann", Some(edge.origin(n)))).collect();
    stand.deliver(parcels).await;
    let expected: Vec<_> = (0..300).map(|n| ("ann".to_owned(), Some(n), Kind::Reply)).collect();
    assert_eq!(edge.took(), expected);
    assert_eq!(stand.look_ups(), 0);
    assert!(edge.posts() <= 4, "what gathers shares a POST: {}", edge.posts());
}

#[tokio::test]
async fn a_reply_shares_its_post_with_what_was_looked_up() {
    let (stand, edge) = (Stand::new(), Edge::start("one").await);
    stand.sessions.sessions.put(&user("ann"), &edge.registration(1), TTL);
    let push = parcel(Kind::Push, "ann", None);
    stand.deliver(vec![parcel(Kind::Reply, "ann", Some(edge.origin(1))), push]).await;
    let expected = [("ann".to_owned(), Some(1), Kind::Reply), ("ann".to_owned(), None, Kind::Push)];
    assert_eq!(edge.took(), expected);
    assert_eq!((stand.look_ups(), edge.posts()), (1, 1));
}

#[tokio::test]
async fn a_cache_that_hangs_holds_up_no_reply() {
    let (stand, edge) = (Stand::new(), Edge::start("one").await);
    stand.sessions.sessions.put(&user("bob"), &edge.registration(2), TTL);
    stand.sessions.hangs.store(true, Ordering::Relaxed);
    let both = vec![parcel(Kind::Push, "bob", None), parcel(Kind::Reply, "ann", Some(edge.origin(1)))];
    let waiting = tokio::spawn({
        let replies = stand.replies.clone();
        async move { replies.deliver(both).await }
    });
    for n in 2..40 {
        stand.deliver(vec![parcel(Kind::Reply, "ann", Some(edge.origin(n)))]).await;
    }
    let all = async {
        while edge.took().len() < 39 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all).await.expect("the one that gathered with the push, too");
    assert!(edge.took().iter().all(|(_, _, kind)| *kind == Kind::Reply));
    assert!(!waiting.is_finished(), "the push waits for its look-up");
    stand.sessions.hangs.store(false, Ordering::Relaxed);
    stand.sessions.goes_on.notify_one();
    timeout(PATIENCE, waiting).await.expect("delivered").unwrap();
    assert_eq!(edge.took().last(), Some(&("bob".to_owned(), None, Kind::Push)));
}

#[tokio::test]
async fn an_address_that_its_edge_did_not_sign_is_not_asked() {
    let (stand, edge, other) = (Stand::new(), Edge::start("one").await, Edge::start("evil").await);
    stand.sessions.sessions.put(&user("ann"), &edge.registration(1), TTL);
    let forger = InternalKey::new(&[8; 32]).unwrap();
    let of = |edge| Origin { boot: "one".into(), connection: 1, edge: Some(edge) };
    let forged = [
        of(forger.sign_address("one", &other.address)),
        // Signed by another process of ours, for itself.
        of(key().sign_address("evil", &other.address)),
    ];
    for origin in forged {
        stand.deliver(vec![parcel(Kind::Reply, "ann", Some(origin))]).await;
    }
    assert_eq!(other.posts(), 0);
    assert_eq!(edge.took(), vec![("ann".to_owned(), Some(1), Kind::Reply); 2], "the cache knows the socket");
    assert_eq!(stand.metrics.reply_origins_unsigned.get(), 2);
}

#[tokio::test]
async fn messages_of_edges_that_say_no_address_are_answered_by_the_cache() {
    let (stand, edge, other) = (Stand::new(), Edge::start("one").await, Edge::start("two").await);
    for registration in [edge.registration(1), edge.registration(2), other.registration(1)] {
        stand.sessions.sessions.put(&user("ann"), &registration, TTL);
    }
    let origin = Origin { edge: None, ..edge.origin(2) };
    stand.deliver(vec![parcel(Kind::Reply, "ann", Some(origin))]).await;
    assert_eq!(edge.took(), [("ann".to_owned(), Some(2), Kind::Reply)]);
    assert_eq!((other.posts(), stand.look_ups()), (0, 1));
}

#[tokio::test]
async fn a_reply_whose_socket_is_gone_goes_to_the_sockets_that_are_there() {
    let (old, new) = (Edge::start("old").await, Edge::start("new").await);
    lock(&old.gone).insert(1);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let origins = [
        ("its edge misses it", old.origin(1)),
        (
            "its edge process is gone",
            Origin {
                boot: "older".into(),
                connection: 1,
                edge: Some(key().sign_address("older", &old.address)),
            },
        ),
        (
            "nobody is at its edge's address",
            Origin { boot: "dead".into(), connection: 1, edge: Some(key().sign_address("dead", &refused)) },
        ),
    ];
    for (n, (what, origin)) in origins.into_iter().enumerate() {
        let stand = Stand::new();
        stand.sessions.sessions.put(&user("ann"), &new.registration(7), TTL);
        stand.deliver(vec![parcel(Kind::Reply, "ann", Some(origin))]).await;
        assert_eq!(new.took(), vec![("ann".to_owned(), None, Kind::Reply); n + 1], "{what}");
        assert_eq!(stand.look_ups(), 1, "{what}");
    }
    assert_eq!(old.took(), []);
}

#[tokio::test]
async fn what_an_edge_has_taken_is_signed_again_when_its_answer_was_lost() {
    let (stand, edge) = (Stand::new(), Edge::start("one").await);
    edge.lost.store(2, Ordering::Relaxed);
    stand.deliver(vec![parcel(Kind::Reply, "ann", Some(edge.origin(1)))]).await;
    // The edge takes no request twice, so these were three. Replies may be shown twice.
    assert_eq!(edge.took(), vec![("ann".to_owned(), Some(1), Kind::Reply); 3]);
    assert_eq!((edge.posts(), stand.metrics.reply_posts_failed.get()), (3, 0));
}

#[tokio::test]
async fn a_dead_edge_is_asked_now_and_then_and_holds_up_no_other() {
    let (stand, other) = (Stand::new(), Edge::start("other").await);
    // It accepts and hangs up: each connection is one try.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let signed = key().sign_address("dead", &dead.local_addr().unwrap().to_string());
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = dead.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    stand.sessions.sessions.put(&user("ann"), &other.registration(7), TTL);
    let begun = tokio::time::Instant::now();
    let mut sent = 0;
    // Long enough for the breaker's first pauses of a half, one and two seconds.
    while begun.elapsed() < Duration::from_secs(4) {
        let origin = Origin { boot: "dead".into(), connection: 1, edge: Some(signed.clone()) };
        stand.deliver(vec![parcel(Kind::Reply, "ann", Some(origin))]).await;
        sent += 1;
    }
    let tries = tries.load(Ordering::Relaxed);
    assert!((9..20).contains(&tries), "{tries} tries in four seconds, for {sent} replies");
    assert_eq!(other.took(), vec![("ann".to_owned(), None, Kind::Reply); sent], "where their user is now");
    let edges = EngineLabel { engine: "edge" };
    assert_eq!(stand.metrics.engine_away.get_or_create(&edges).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_edge_holds_up_one_batch_of_its_own_at_a_time() {
    let stand = Stand::new();
    // It accepts in the kernel and never answers.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = frozen.local_addr().unwrap().to_string();
    let origin =
        Origin { boot: "frozen".into(), connection: 1, edge: Some(key().sign_address("frozen", &address)) };
    let mut waited = Vec::new();
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let replies = stand.replies.clone();
        let parcels = vec![parcel(Kind::Reply, "ann", Some(origin.clone()))];
        waited.push(tokio::spawn(async move {
            let asked = tokio::time::Instant::now();
            replies.deliver(parcels).await;
            asked.elapsed()
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut took = Vec::new();
    for waiting in waited {
        took.push(timeout(PATIENCE, waiting).await.expect("given up").unwrap());
    }
    let long = took[300..].iter().filter(|took| **took > Duration::from_millis(100)).count();
    assert!(long <= 15, "after 15 s only trials wait: {long} of {}", took.len() - 300);
}
