//! What the archive keeps of a message: who sent it is a pseudonym, and private words are left out.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::model::pseudonyms;
use soundoff_common::pipeline::archived::{Archived, is_for_everybody};
use soundoff_common::pipeline::consumer::Verdict;
use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::ports::archive::Record;
use soundoff_common::ports::tables::{Table, TableError, Tables};
use soundoff_common::protocol::{Handle, rfc3339};
use ulid::ULID_LEN;

use crate::pseudonyms::Pseudonyms;

/// The version of archived records. Those of version 1 have the sender's handle as `user_key`, and all bodies.
const RECORD_VERSION: u32 = 2;
/// The `user_key` of a message that is nobody's.
const NOBODY: &str = "soundoff";

/// A message that is to be archived.
pub(crate) struct Archivable<'a> {
    envelope: Routed<'a>,
    keeps: Keeps,
}

/// What is kept of its body.
enum Keeps {
    Nothing,
    Body,
    /// The body, unless its sender's account is private.
    UnlessPrivate,
    /// This, with the sender's pseudonym in the field.
    Keyed(&'static str, Map<String, Value>),
    /// The body, which is about nobody.
    OfNobody,
}

impl<'a> Archivable<'a> {
    /// A message of a type that is archived in this way.
    pub(crate) fn new(envelope: Routed<'a>, archived: Archived) -> Self {
        let keeps = match archived {
            Archived::Whole => Keeps::Body,
            Archived::Public if is_for_everybody(envelope.body) => Keeps::UnlessPrivate,
            Archived::Keyed(field) => keyed(field, envelope.body),
            Archived::Public | Archived::Header | Archived::Not => Keeps::Nothing,
        };
        Self { envelope, keeps }
    }
}

fn keyed(field: &'static str, body: &RawValue) -> Keeps {
    match serde_json::from_str::<Map<String, Value>>(body.get()) {
        Ok(body) if !body.contains_key(field) => Keeps::OfNobody,
        Ok(body) => Keeps::Keyed(field, body),
        Err(_) => Keeps::Nothing,
    }
}

/// Makes records.
pub(crate) struct Recorder {
    tables: Arc<dyn Tables>,
    pseudonyms: Pseudonyms,
}

/// What the tables say of users, or why they do not; each list in the order of the users.
#[derive(Default)]
struct Found {
    pseudonyms: Vec<(Handle, Result<Arc<str>, Verdict>)>,
    private: Vec<(Handle, Result<bool, Verdict>)>,
}

impl Recorder {
    pub(crate) fn new(tables: Arc<dyn Tables>) -> Self {
        Self { pseudonyms: Pseudonyms::new(tables.clone()), tables }
    }

    /// The records of messages that are archived at `ingested`. One whose sender's pseudonym or privacy cannot be read
    /// now has the verdict on its message instead.
    pub(crate) async fn records(
        &self,
        messages: Vec<Archivable<'_>>,
        ingested: &Arc<str>,
    ) -> Vec<Result<Record, Verdict>> {
        let remembered = self.pseudonyms.remembered(messages.iter().map(|message| &message.envelope.from));
        let (mut unknown, mut authors) = (Vec::new(), Vec::new());
        for (Archivable { envelope, keeps }, pseudonym) in messages.iter().zip(&remembered) {
            if pseudonym.is_none() && !matches!(keeps, Keeps::OfNobody) {
                unknown.push(envelope.from.clone());
            }
            if matches!(keeps, Keeps::UnlessPrivate) {
                authors.push(envelope.from.clone());
            }
        }
        for users in [&mut unknown, &mut authors] {
            users.sort_unstable();
            users.dedup();
        }
        let found = self.look_up(unknown, authors).await;
        let made = messages.into_iter().zip(remembered);
        made.map(|(message, pseudonym)| record(message, pseudonym, &found, ingested)).collect()
    }

    async fn look_up(&self, unknown: Vec<Handle>, authors: Vec<Handle>) -> Found {
        if unknown.is_empty() && authors.is_empty() {
            return Found::default();
        }
        let privacies = authors.iter().map(|author| (Table::Relationships, privacy::key(author)));
        let keys: Vec<_> = unknown.iter().map(pseudonyms::key).chain(privacies).collect();
        let items = match self.tables.get_many(&keys).await {
            Ok(items) => items,
            Err(error) => {
                let why = verdict(error);
                return Found {
                    pseudonyms: unknown.into_iter().map(|user| (user, Err(why.clone()))).collect(),
                    private: authors.into_iter().map(|author| (author, Err(why.clone()))).collect(),
                };
            }
        };
        let mut items = items.into_iter();
        let given = unknown.into_iter().zip(items.by_ref()).map(async |(user, item)| {
            let pseudonym = self.pseudonyms.of(&user, item).await;
            (user, pseudonym.map_err(verdict))
        });
        let pseudonyms = join_all(given).await;
        let private = authors.into_iter().zip(items).map(|(author, item)| {
            let privacy = Privacy::parse(item).map_err(verdict);
            (author, privacy.map(|privacy| privacy.private))
        });
        Found { pseudonyms, private: private.collect() }
    }
}

/// The verdict on a message that the tables hold up.
fn verdict(error: TableError) -> Verdict {
    Failure::from(error).retried()
}

/// What was found of a user whom the look-up was for.
fn of<T: Clone>(found: &[(Handle, Result<T, Verdict>)], user: &Handle) -> Result<T, Verdict> {
    match found.binary_search_by(|(other, _)| other.cmp(user)) {
        Ok(at) => found[at].1.clone(),
        Err(_) => Err(Verdict::Retry(format!("{user} was not looked up"))),
    }
}

fn record(
    Archivable { envelope, keeps }: Archivable<'_>,
    remembered: Option<Arc<str>>,
    found: &Found,
    ingested: &Arc<str>,
) -> Result<Record, Verdict> {
    let user_key = match remembered {
        _ if matches!(keeps, Keeps::OfNobody) => NOBODY.into(),
        Some(pseudonym) => pseudonym,
        None => of(&found.pseudonyms, &envelope.from)?,
    };
    let body = match keeps {
        Keeps::Nothing => None,
        Keeps::UnlessPrivate if of(&found.private, &envelope.from)? => None,
        Keeps::Keyed(field, mut body) => {
            body.insert(field.to_owned(), (*user_key).into());
            Some(raw(&body))
        }
        Keeps::Body | Keeps::UnlessPrivate | Keeps::OfNobody => Some(envelope.body.to_owned()),
    };
    let mut digits = [0; ULID_LEN];
    let mid: Arc<str> = (*envelope.mid.array_to_str(&mut digits)).into();
    Ok(Record {
        id: mid.clone(),
        message_type: envelope.message_type.into_owned(),
        v: RECORD_VERSION,
        ts: rfc3339(envelope.at),
        ingest_ts: ingested.clone(),
        user_key,
        trace_id: mid,
        body,
    })
}
