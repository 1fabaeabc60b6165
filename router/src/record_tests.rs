//! What the archive gets: pseudonyms and no private words, also while tables are away or another router is faster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::model::pseudonyms;
use soundoff_common::pipeline::consumer::{Job as _, Verdict};
use soundoff_common::ports::archive::Record;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::ports::tables::{Item, Table, Tables as _, Write};

use crate::stand::{EVENT, LIKE, Mood, Moody, NOTE, POST, Stand, late_q, sent, tables, types, waits};

/// The record of one message, which the router archives at once.
async fn archived(stand: &Stand, from: &str, message_type: &str, body: Value) -> Record {
    assert_eq!(stand.router.run(&[sent(7, from, message_type, &body)]).await, [Verdict::Done]);
    let mut records = stand.archived();
    assert_eq!((records.len(), stand.has(&late_q())), (1, 0), "{message_type}");
    records.remove(0)
}

fn body(record: &Record) -> Value {
    record.body.as_ref().map_or(Value::Null, |body| serde_json::from_str(body.get()).unwrap())
}

/// What `privacy.set` would have written.
async fn is_private(tables: &Moody, user: &str, private: bool) {
    let item = Item::of(&Privacy { v: 1, private, ..Privacy::default() });
    let key = privacy::key(&user.parse().unwrap());
    tables.tables.write(vec![Write::put(Table::Relationships, key, item)]).await.unwrap();
}

#[tokio::test]
async fn each_type_has_as_much_of_its_body_as_it_says() {
    let stand = Stand::new(tables(), 0);
    let said = json!({ "to": "bob", "text": "for bob alone" });
    assert_eq!(body(&archived(&stand, "ann", NOTE, said.clone()).await), Value::Null);
    assert_eq!(body(&archived(&stand, "ann", LIKE, json!({ "post": "p" })).await), json!({ "post": "p" }));
    let open = json!({ "text": "hello all", "audience": "everyone" });
    assert_eq!(body(&archived(&stand, "ann", POST, open.clone()).await), open);
    for few in [json!({ "text": "t", "audience": "close" }), json!({ "text": "t", "group": "g" }), json!([])]
    {
        assert_eq!(body(&archived(&stand, "ann", POST, few.clone()).await), Value::Null, "{few}");
    }
    // The next post after a change of the account goes by it.
    for (private, kept) in [(true, Value::Null), (false, open.clone())] {
        is_private(&stand.tables, "ann", private).await;
        assert_eq!(body(&archived(&stand, "ann", POST, open.clone()).await), kept, "{private}");
    }
    is_private(&stand.tables, "ann", true).await;
    assert_eq!(body(&archived(&stand, "bob", POST, open.clone()).await), open, "bob is not private");
}

#[tokio::test]
async fn an_event_names_its_user_by_pseudonym_and_nobody_has_none() {
    let stand = Stand::new(tables(), 0);
    let note = archived(&stand, "ann", NOTE, json!({})).await;
    let event = archived(&stand, "ann", EVENT, json!({ "kind": "signed_in", "user": "ann" })).await;
    assert_eq!(event.user_key, note.user_key);
    assert_eq!(body(&event), json!({ "kind": "signed_in", "user": &*note.user_key }));
    let items = stand.tables.tables.all().len();
    let of_nobody = archived(&stand, "soundoff", EVENT, json!({ "kind": "operated" })).await;
    assert_eq!((&*of_nobody.user_key, body(&of_nobody)), ("soundoff", json!({ "kind": "operated" })));
    assert_eq!(stand.tables.tables.all().len(), items, "nobody has no pseudonym");
    assert_eq!(body(&archived(&stand, "ann", EVENT, json!("no object")).await), Value::Null);
}

#[tokio::test]
async fn a_user_has_one_pseudonym_in_all_routers_and_after_a_restart() {
    let shared = tables();
    let (one, other) = (Stand::new(shared.clone(), 0), Stand::new(shared.clone(), 0));
    let mut keys = BTreeSet::new();
    for stand in [&one, &other, &one, &Stand::new(shared.clone(), 0)] {
        let record = archived(stand, "ann", NOTE, json!({})).await;
        assert_eq!((record.user_key.len(), record.v), (32, 2));
        keys.insert(record.user_key);
    }
    assert_eq!(keys.len(), 1);
    assert!(!keys.contains(&archived(&one, "bob", NOTE, json!({})).await.user_key));
}

#[tokio::test]
async fn a_batch_reads_once_and_a_user_who_is_known_is_not_read() {
    let stand = Stand::new(tables(), 0);
    let batch: Vec<_> = (0..60)
        .map(|n| sent(n, ["ann", "bob", "cid"][n as usize % 3], [NOTE, POST][n as usize % 2], &json!({})))
        .collect();
    stand.tables.tables.calls();
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 60]);
    assert_eq!(stand.tables.tables.calls(), (1, 3), "one multi-get, and three who are new");
    assert_eq!(stand.archived().len(), 60);
    stand.router.run(&batch).await;
    assert_eq!(stand.tables.tables.calls(), (1, 0), "who is private is read each time");
    stand.router.run(&[sent(1, "ann", NOTE, &json!({}))]).await;
    assert_eq!(stand.tables.tables.calls(), (0, 0));
}

#[tokio::test]
async fn the_loser_of_a_race_for_a_pseudonym_takes_the_winners() {
    let stand = Stand::new(tables(), 0);
    let (faster, winner) = (stand.tables.clone(), pseudonyms::fresh());
    let given = pseudonyms::give(&"ann".parse().unwrap(), &winner);
    stand.tables.tables.before_next_write(Box::pin(async move { faster.tables.apply(vec![given]).unwrap() }));
    assert_eq!(archived(&stand, "ann", NOTE, json!({})).await.user_key, winner);
    assert!(stand.tables.tables.has_come_between());
    assert_eq!(archived(&stand, "ann", NOTE, json!({})).await.user_key, winner, "and remembers it");
}

#[tokio::test]
async fn while_the_tables_are_away_messages_are_routed_and_archived_later_under_their_pseudonyms() {
    let stand = Stand::new(tables(), 0);
    let known = archived(&stand, "ann", NOTE, json!({})).await.user_key;
    stand.tables.is(Mood::Away);
    let secret = json!({ "text": "may be for few" });
    let batch =
        [sent(1, "ann", NOTE, &json!({})), sent(2, "ann", POST, &secret), sent(3, "new", NOTE, &json!({}))];
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 3]);
    assert_eq!([stand.has(&types()[0]), stand.has(&QueueName::of_type(POST))], [3, 1], "all are routed");
    let at_once = stand.archived();
    assert_eq!(at_once.iter().map(|record| &record.user_key).collect::<Vec<_>>(), [&known]);
    // What needs the tables waits: nothing is archived as if its author were public, or under a handle.
    assert_eq!(stand.has(&late_q()), 2);
    let late = &batch[1..];
    assert_eq!(waits(&stand.late.run(late).await), 2);
    assert!(stand.archived().is_empty());
    stand.tables.is(Mood::Here);
    is_private(&stand.tables, "ann", true).await;
    assert_eq!(stand.late.run(late).await, vec![Verdict::Done; 2]);
    let later = stand.archived();
    assert_eq!((&later[0].user_key, body(&later[0])), (&known, Value::Null));
    assert!(later[1].user_key.len() == 32 && later[1].user_key != known);
}

#[tokio::test(start_paused = true)]
async fn tables_that_hang_hold_up_neither_the_queues_nor_the_router() {
    let stand = Arc::new(Stand::new(tables(), 0));
    stand.tables.is(Mood::Hanging);
    let runs = stand.clone();
    let run = tokio::spawn(async move { runs.router.run(&[sent(1, "ann", NOTE, &json!({}))]).await });
    while stand.has(&types()[0]) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!run.is_finished(), "it is on its queue while the tables are waited for");
    let done = tokio::time::timeout(Duration::from_secs(5), run).await;
    assert_eq!(done.expect("they are not waited for any longer").unwrap(), [Verdict::Done]);
    assert_eq!((stand.has(&late_q()), stand.archived().len()), (1, 0));
}

#[tokio::test]
async fn an_item_that_is_no_pseudonym_gets_nothing_into_the_archive_and_ends_in_the_dead_letters() {
    let stand = Stand::new(tables(), 0);
    let (table, key) = pseudonyms::key(&"ann".parse().unwrap());
    let broken = Item::new().with(pseudonyms::attribute::KEY, "ann");
    stand.tables.tables.write(vec![Write::put(table, key, broken)]).await.unwrap();
    let batch = [sent(1, "ann", NOTE, &json!({})), sent(2, "bob", NOTE, &json!({}))];
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 2]);
    assert_eq!((stand.has(&late_q()), stand.archived().len()), (1, 1));
    let verdicts = stand.late.run(&batch).await;
    assert!(matches!(verdicts[..], [Verdict::Retry(_), Verdict::Done]), "{verdicts:?}");
}

#[tokio::test]
async fn of_what_waited_only_what_is_archived_becomes_a_record() {
    let stand = Stand::new(tables(), 0);
    let verdicts = stand.late.run(&[sent(1, "ann", "note.unknown", &json!({}))]).await;
    assert!(matches!(verdicts[..], [Verdict::Retry(_)]), "a newer router may know it: {verdicts:?}");
    assert!(stand.archived().is_empty());
}
