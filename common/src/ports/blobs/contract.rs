//! The suite of [`Blobs`](super::Blobs): a function for each law, for every adapter.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ulid::Ulid;

use super::Blobs;

/// How a test gets the adapter.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The blobs. They may include those of other tests.
    async fn open(&self) -> Arc<dyn Blobs>;

    /// The same data through a new adapter, as after a restart.
    async fn reopen(&self, blobs: Arc<dyn Blobs>) -> Arc<dyn Blobs>;
}

fn id(name: &str) -> String {
    format!("{name}-{}", Ulid::generate())
}

async fn get(blobs: &dyn Blobs, id: &str) -> Option<Bytes> {
    blobs.get(id, None).await.expect("a valid get is Ok")
}

/// Law 1: a blob is what was put, across a restart, under every valid kind of id.
pub async fn blobs_are_what_was_put(harness: &impl Harness) {
    let blobs = harness.open().await;
    let unique = Ulid::generate().to_string();
    let ids = [
        unique.clone(),
        unique.to_lowercase(),
        format!("{unique}.jpg"),
        format!("a-b_c.d..e-{unique}"),
        format!("-{unique}"),
        format!("{unique:0<100}"),
    ];
    for (n, id) in ids.iter().enumerate() {
        let bytes = Bytes::from(vec![u8::try_from(n).expect("few"); n * 40_000]);
        blobs.put(id, bytes).await.expect("law 1: a put is Ok");
    }
    let blobs = harness.reopen(blobs).await;
    for (n, id) in ids.iter().enumerate() {
        let bytes = Bytes::from(vec![u8::try_from(n).expect("few"); n * 40_000]);
        assert!(get(&*blobs, id).await == Some(bytes), "law 1: {id} is there, whole, after a restart");
    }
    assert_eq!(get(&*blobs, &id("absent")).await, None, "law 1: what was not put is absent");
}

/// Law 1: a read while a blob is replaced finds one of the two, whole.
pub async fn a_blob_is_whole_while_replaced(harness: &impl Harness) {
    let blobs = harness.open().await;
    let name = id("replaced");
    let value = |n: u8| Bytes::from(vec![n; 200_000 + 1_000 * usize::from(n)]);
    blobs.put(&name, value(0)).await.expect("law 1: a put is Ok");
    let writer = {
        let (blobs, name) = (blobs.clone(), name.clone());
        tokio::spawn(async move {
            for n in 1..=30 {
                blobs.put(&name, value(n)).await.expect("law 1: a put is Ok");
            }
        })
    };
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        let found = get(&*blobs, &name).await.expect("law 1: never absent while replaced");
        assert!(!found.is_empty() && found == value(found[0]), "law 1: never a part or a mixture");
        reads += 1;
    }
    writer.await.expect("the writer ran");
    assert!(get(&*blobs, &name).await == Some(value(30)), "law 1: the last put counts");
}

/// Law 1: a blob that comes in parts is there when it is finished and not before; one that is dropped leaves nothing.
pub async fn parts_become_a_blob_when_finished(harness: &impl Harness) {
    let blobs = harness.open().await;
    let (whole, dropped) = (id("parts"), id("dropped"));
    let mut writer = blobs.create(&whole).await.expect("law 1: a blob can be begun");
    let mut expected = Vec::new();
    for n in 0..20u8 {
        let part = vec![n; 70_000 * usize::from(n % 3)];
        expected.extend_from_slice(&part);
        writer.write(part.into()).await.expect("law 1: a part is taken");
    }
    assert_eq!(get(&*blobs, &whole).await, None, "law 1: absent until it is finished");
    writer.finish().await.expect("law 1: a blob can be finished");
    let mut abandoned = blobs.create(&dropped).await.expect("law 1: a blob can be begun");
    abandoned.write(Bytes::from_static(b"x")).await.expect("law 1: a part is taken");
    drop(abandoned);
    let blobs = harness.reopen(blobs).await;
    assert!(get(&*blobs, &whole).await == Some(expected.into()), "law 1: all parts, in order");
    assert_eq!(get(&*blobs, &dropped).await, None, "law 1: nothing of one that was dropped");
}

/// Law 4: a blob's size is the length of what `get` returns.
pub async fn sizes_are_what_get_answers(harness: &impl Harness) {
    let blobs = harness.open().await;
    let name = id("sized");
    assert_eq!(blobs.size(&name).await.expect("law 4: a size is Ok"), None, "law 4: no blob, no size");
    for length in [0, 1, 300_000] {
        blobs.put(&name, vec![7; length].into()).await.expect("law 1: a put is Ok");
        let size = blobs.size(&name).await.expect("law 4: a size is Ok");
        assert_eq!(size, u64::try_from(length).ok(), "law 4: the size of what was put last");
    }
}

/// Law 2: a range returns its bytes, cut at the blob's end.
pub async fn ranges_answer_their_bytes(harness: &impl Harness) {
    let blobs = harness.open().await;
    let name = id("range");
    let bytes: Vec<u8> = (0..200).collect();
    blobs.put(&name, bytes.clone().into()).await.expect("law 1: a put is Ok");
    let cases = [
        (0..200, 0..200),
        (0..1, 0..1),
        (199..200, 199..200),
        (50..60, 50..60),
        (150..500, 150..200),
        (0..u64::MAX, 0..200),
        (200..300, 200..200),
        (500..600, 200..200),
        (70..70, 70..70),
    ];
    for (range, expected) in cases {
        let found = blobs.get(&name, Some(range.clone())).await.expect("law 2: a range is Ok");
        assert_eq!(found.as_deref(), Some(&bytes[expected]), "law 2: bytes {range:?} of 200");
    }
    let absent = blobs.get(&id("absent"), Some(0..1)).await.expect("law 2: a range is Ok");
    assert_eq!(absent, None, "law 2: a range of no blob is absent");
    let empty = id("empty");
    blobs.put(&empty, Bytes::new()).await.expect("law 1: an empty blob is Ok");
    let found = blobs.get(&empty, Some(0..10)).await.expect("law 2: a range is Ok");
    assert_eq!(found, Some(Bytes::new()), "law 2: a range of an empty blob is empty, not absent");
}

/// Law 3: a deleted blob is absent, deleting again is Ok, and putting again brings it back.
pub async fn delete_is_idempotent(harness: &impl Harness) {
    let blobs = harness.open().await;
    let (name, other) = (id("gone"), id("stays"));
    for id in [&name, &other] {
        blobs.put(id, Bytes::from_static(b"x")).await.expect("law 1: a put is Ok");
    }
    for time in ["the first", "the second"] {
        blobs.delete(&name).await.expect("law 3: a delete is Ok");
        assert_eq!(get(&*blobs, &name).await, None, "law 3: absent after {time} delete");
    }
    blobs.delete(&id("never")).await.expect("law 3: deleting what never was is Ok");
    let blobs = harness.reopen(blobs).await;
    assert_eq!(get(&*blobs, &name).await, None, "law 3: a delete lasts across a restart");
    assert!(get(&*blobs, &other).await.is_some(), "law 3: another blob stays");
    blobs.put(&name, Bytes::from_static(b"y")).await.expect("law 1: a put is Ok");
    assert_eq!(get(&*blobs, &name).await.as_deref(), Some(&b"y"[..]), "law 1: it may be put again");
}

/// An id never names a path: every call refuses an id that could.
pub async fn invalid_ids_are_refused(harness: &impl Harness) {
    let blobs = harness.open().await;
    let long = "a".repeat(101);
    let ids = [
        "",
        ".",
        "..",
        ".hidden",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "a b",
        "a\0",
        "é",
        "a\n",
        "a%2fb",
        &long,
    ];
    for id in ids {
        assert!(blobs.put(id, Bytes::from_static(b"x")).await.is_err(), "put refuses the id {id:?}");
        assert!(blobs.get(id, None).await.is_err(), "get refuses the id {id:?}");
        assert!(blobs.size(id).await.is_err(), "size refuses the id {id:?}");
        assert!(blobs.delete(id).await.is_err(), "delete refuses the id {id:?}");
    }
}
