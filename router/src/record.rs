//! What the archive keeps of a message.

use std::sync::Arc;

use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::ports::archive::Record;
use soundoff_common::protocol::rfc3339;

/// The version of archived records.
const RECORD_VERSION: u32 = 1;

/// The record of a message that is archived at `ingested`.
pub(crate) fn record(envelope: Routed<'_>, ingested: &Arc<str>) -> Record {
    let mid: Arc<str> = envelope.mid.to_string().into();
    Record {
        id: mid.clone(),
        message_type: envelope.message_type.into_owned(),
        v: RECORD_VERSION,
        ts: rfc3339(envelope.at),
        ingest_ts: ingested.clone(),
        user_key: envelope.from,
        trace_id: mid,
        body: envelope.body.to_owned(),
    }
}
