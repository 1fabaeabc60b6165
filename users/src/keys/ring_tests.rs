use soundoff_common::web::secret::Role;

use super::*;
use crate::keys::seal::tests::rotated;

fn key(created_at: u64) -> Arc<TokenKey> {
    Arc::new(TokenKey::of(&TokenKey::generate().unwrap(), created_at.to_string(), created_at).unwrap())
}

#[test]
fn a_new_key_is_known_before_it_signs_and_an_old_one_long_after() {
    let (first, second) = (key(1_000_000), key(RENEW_MS));
    let all = [first.clone(), second.clone()];
    let signs = |now: u64| signing(&all, now).unwrap().id.clone();
    let lives = |now: u64| live(&all, now).len();
    assert_eq!(signing(&all[..1], 1_000_000).unwrap().id, first.id, "the first signs at once");
    assert_eq!((signs(RENEW_MS + LEAD_MS - 1), lives(RENEW_MS)), (first.id.clone(), 2));
    let turn = RENEW_MS + LEAD_MS;
    assert_eq!((signs(turn), lives(turn), lives(turn + OVERLAP_MS - 1)), (second.id.clone(), 2, 2));
    assert_eq!(live(&all, turn + OVERLAP_MS).iter().map(|key| &key.id).collect::<Vec<_>>(), [&second.id]);
    assert!(signing(&[], 0).is_none() && live(&[], 0).is_empty());
}

#[test]
fn a_key_from_the_future_holds_up_no_other_and_is_not_lost() {
    let now = RENEW_MS;
    let (ahead, first) = (key(now + 365 * OVERLAP_MS), key(1_000_000));
    let alone = [ahead.clone()];
    assert_eq!(signing(&alone, now).unwrap().id, ahead.id, "the only one there is");
    assert!(is_due(&alone, now), "but its successor is made now");
    let fresh = [key(now), ahead.clone()];
    assert_eq!(signing(&fresh, now + LEAD_MS - 1).unwrap().id, ahead.id, "others do not know the new one");
    assert_eq!(signing(&fresh, now + LEAD_MS).unwrap().id, fresh[0].id);
    assert!(!is_due(&fresh, now + RENEW_MS - 1) && is_due(&fresh, now + RENEW_MS));
    assert_eq!(live(&fresh, now).len(), 2);
    let both = [first.clone(), ahead];
    assert_eq!(signing(&both, now).unwrap().id, first.id);
    assert_eq!((live(&both, now).len(), is_due(&both, now)), (2, false));
    assert!(is_due(&both, 1_000_000 + RENEW_MS));
    // To a process whose clock is behind, the present key seems to come from the future.
    assert_eq!(live(&both, 0).len(), 2);
}

/// The rings of two processes on the same tables.
pub(crate) async fn two_processes() -> (tempfile::TempDir, [Arc<Ring>; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let options = soundoff_embedded::tables::TableOptions::default();
    let tables = soundoff_embedded::tables::EmbeddedTables::open(dir.path(), &options).unwrap();
    let secret = Secret::new(&[1; 32]).unwrap();
    let one = Ring::open(tables.clone(), &secret).await.unwrap();
    let other = Ring::open(tables, &secret).await.unwrap();
    // Keys are in order of time, to the millisecond.
    while now_ms() == one.keys().all[0].created_at {
        tokio::task::yield_now().await;
    }
    (dir, [one, other])
}

#[tokio::test]
async fn all_processes_have_the_same_keys_and_drop_them_together() {
    let (_dir, [one, other]) = two_processes().await;
    let now = now_ms();
    let first = one.signing(now).unwrap().id.clone();
    assert_eq!(other.signing(now).unwrap().id, first, "one process made it, both have it");
    let second = one.rotate(false).await.unwrap();
    other.round(now).await.unwrap();
    for ring in [&one, &other] {
        assert!(ring.verifying(&second).is_some() && ring.signing(now).unwrap().id == first);
        assert_eq!(ring.signing(now + LEAD_MS + 1000).unwrap().id, second);
    }
    assert_eq!(other.epoch(), 0, "tokens that were verified are still valid");
    let third = one.rotate(true).await.unwrap();
    other.round(now).await.unwrap();
    for ring in [&one, &other] {
        assert!(ring.verifying(&first).is_none() && ring.verifying(&second).is_none());
        assert_eq!((ring.signing(now).unwrap().id.clone(), ring.epoch()), (third.clone(), 1));
    }
}

#[tokio::test]
async fn a_follower_makes_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let tables = soundoff_embedded::tables::EmbeddedTables::open(dir.path(), &Default::default()).unwrap();
    let secret = Secret::new(&[7; 32]).unwrap();
    let follower = Ring::follow(tables.clone(), &secret).await.unwrap();
    assert!(follower.signing(now_ms()).is_none());
    let ring = Ring::open(tables, &secret).await.unwrap();
    let id = ring.signing(now_ms()).unwrap().id.clone();
    assert!(follower.verifying(&id).is_none());
    follower.look(now_ms()).await.unwrap();
    assert!(follower.verifying(&id).is_some(), "a follower learns of keys that others make");
}

#[tokio::test]
async fn a_key_is_renewed_by_itself_once() {
    let (_dir, [one, other]) = two_processes().await;
    let now = now_ms();
    one.round(now + RENEW_MS - 60_000).await.unwrap();
    assert_eq!(one.keys().all.len(), 1);
    one.round(now + RENEW_MS).await.unwrap();
    other.round(now + RENEW_MS).await.unwrap();
    assert_eq!((one.keys().all.len(), other.keys().all.len()), (2, 2));
    other.round(now + RENEW_MS + LEAD_MS + OVERLAP_MS + 1000).await.unwrap();
    assert_eq!(other.keys().all.len(), 1, "the old one is no longer needed");
    let left = other.tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await.unwrap();
    assert_eq!(left.items.len(), 1, "and its item is gone");
}

/// Tables, and the ring of a process that signs there.
async fn signer(secret: &Secret) -> (tempfile::TempDir, Arc<dyn Tables>, Arc<Ring>) {
    let dir = tempfile::tempdir().unwrap();
    let tables = soundoff_embedded::tables::EmbeddedTables::open(dir.path(), &Default::default()).unwrap();
    let ring = Ring::open(tables.clone(), secret).await.unwrap();
    (dir, tables, ring)
}

/// What an edge is given of a secret.
fn of_edge(secret: &Secret) -> Secret {
    Secret::read(secret.derive(Role::Edge).unwrap().as_bytes()).unwrap()
}

async fn stored(tables: &dyn Tables) -> (String, Stored) {
    let page = tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await.unwrap();
    let (sk, item) = page.items.into_iter().next_back().unwrap();
    (sk, item.parse().unwrap())
}

#[tokio::test]
async fn neither_tables_nor_an_edge_can_plant_a_key() {
    let secret = Secret::new(&[1; 32]).unwrap();
    let (_dir, tables, ring) = signer(&secret).await;
    let (_, ours) = stored(&*tables).await;
    let edge = Ring::follow(tables.clone(), &of_edge(&secret)).await.unwrap();
    let good = ring.signing(now_ms()).unwrap().id.clone();
    assert!(edge.verifying(&good).is_some() && edge.verifying(&good).unwrap().encoding.is_none());
    assert!(
        edge.rotate(false).await.is_err() && Ring::open(tables.clone(), &of_edge(&secret)).await.is_err()
    );

    // A key of somebody who can write to the tables, with what an edge has, and with what is stored of a good one.
    let pkcs8 = TokenKey::generate().unwrap();
    let theirs = TokenKey::of(&pkcs8, String::new(), 1).unwrap();
    let other = Authority::new(&Secret::new(&[2; 32]).unwrap()).unwrap();
    let public = Some(BASE64.encode(&theirs.public));
    for (created_at, signature) in
        [(ours.created_at, Some(other.sign(&theirs))), (ours.created_at, ours.signature.clone()), (1, None)]
    {
        let planted = Stored { created_at, sealed: ours.sealed.clone(), public: public.clone(), signature };
        let at = stored_at(created_at + 1, &theirs.id);
        tables.write(vec![Write::put(Table::Entities, at.clone(), Item::of(&planted))]).await.unwrap();
        edge.look(now_ms()).await.unwrap();
        assert!(edge.verifying(&theirs.id).is_none() && edge.verifying(&good).is_some());
        tables.write(vec![Write::delete(Table::Entities, at)]).await.unwrap();
    }
    // An old key of ours under another time.
    let moved = Stored { created_at: ours.created_at + 1, ..ours };
    let at = stored_at(moved.created_at, &good);
    tables.write(vec![Write::put(Table::Entities, at, Item::of(&moved))]).await.unwrap();
    let late = Ring::follow(tables, &of_edge(&secret)).await.unwrap();
    assert_eq!((late.keys().all.len(), late.keys().refused.len()), (1, 1));
}

#[tokio::test]
async fn keys_of_0_1_0_are_completed_for_those_who_only_verify() {
    let secret = Secret::new(&[1; 32]).unwrap();
    let (_dir, tables, ring) = signer(&secret).await;
    let (sk, ours) = stored(&*tables).await;
    let before = Item::new().with("created_at", ours.created_at).with(SEALED, ours.sealed.as_str());
    tables.write(vec![Write::put(Table::Entities, key_of(sk), before)]).await.unwrap();
    let edge = Ring::follow(tables.clone(), &of_edge(&secret)).await.unwrap();
    assert!(edge.keys().all.is_empty());
    ring.round(now_ms()).await.unwrap();
    edge.first_key().await;
    assert_eq!(edge.keys().all[0].id, ring.keys().all[0].id);
    assert_eq!(stored(&*tables).await.1.signature, ours.signature);
}

#[tokio::test]
async fn token_keys_go_on_under_a_new_root() {
    let [before, both, after] = rotated();
    let (_dir, tables, old) = signer(&before).await;
    let id = old.keys().all[0].id.clone();
    for secret in [&both, &before] {
        let edge = Ring::follow(tables.clone(), &of_edge(secret)).await.unwrap();
        assert!(edge.verifying(&id).is_some());
    }
    assert!(Ring::open(tables.clone(), &after).await.is_err(), "it is sealed under the former");
    let ring = Ring::open(tables.clone(), &both).await.unwrap();
    assert_eq!(ring.reseal(true).await.unwrap().left, 1);
    assert_eq!(ring.reseal(false).await.unwrap().moved, 1);
    let again = ring.reseal(false).await.unwrap();
    assert_eq!((again.moved, again.left), (0, 0));
    assert_eq!(Ring::open(tables.clone(), &after).await.unwrap().keys().all[0].id, id);
    assert!(Ring::follow(tables, &of_edge(&after)).await.unwrap().verifying(&id).is_some());
}
