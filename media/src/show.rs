//! `GET /v1/media/{id}`: shows media to those who may see them, in pieces, with ranges.
//!
//! Everybody opens what a post shows to everybody. All else opens for one viewer by a URL that was signed for them, and
//! what does not open looks as if it did not exist.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use soundoff_common::model::blocks;
use soundoff_common::model::media::{Rendition, State, Stored};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{Table, TableError, Tables};
use soundoff_common::protocol::now_ms;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{Answer, names_tag, parameter, refuse};
use soundoff_common::web::paced::Hangup;
use soundoff_common::web::pictures::PictureKey;
use ulid::Ulid;

use crate::places::{Place, Places};
use crate::refusals::{count, household_of, no_place_out, no_such, unavailable};
use crate::{blob, items};

/// How many bytes are in memory for one reader.
const PIECE: u64 = 64 * 1024;
/// If a browser takes a picture for a page, the page may do nothing.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Which bytes were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    All,
    Part(Range<u64>),
    /// Bytes behind the end.
    Nothing,
}

/// Who may see a medium that is shown, and so which caches may keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Everybody.
    All,
    /// Anybody who knows its id: no post shows it yet, and its owner looks at it.
    Owner,
    /// One viewer, for so many seconds.
    One(u64),
}

/// Shows media.
pub(crate) struct Show {
    key: PictureKey,
    /// How many seconds caches may keep what everybody may see.
    max_age: u64,
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    metrics: Metrics,
    /// Places for answers that are being sent.
    showing: Places,
}

impl Show {
    pub(crate) fn new(showing: Places, max_age: u64, world: &World) -> anyhow::Result<Self> {
        let World { tables, metrics, .. } = world.clone();
        Ok(Self { key: world.pictures()?, max_age, tables, blobs: world.blobs()?, metrics, showing })
    }

    pub(crate) async fn show(&self, id: Ulid, request: &Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let size = parameter(request.uri(), "size").unwrap_or("full");
        if !blob::SIZES.contains(&size) {
            let detail = "the sizes are ?size=thumb, ?size=feed and ?size=full";
            return Err(Box::new(refuse(StatusCode::BAD_REQUEST, "bad_message", detail)));
        }
        let stored = items::read(&*self.tables, id).await.map_err(|error| unavailable(&error))?;
        let stored = stored.filter(|stored| stored.state == State::Ready).ok_or_else(no_such)?;
        let audience = self.audience(id, &stored, request.uri().query().unwrap_or_default()).await;
        let audience = audience.map_err(|error| unavailable(&error))?.ok_or_else(no_such)?;
        let renditions = stored.renditions.ok_or_else(no_such)?;
        let rendition = match size {
            "thumb" => renditions.thumb,
            "feed" => renditions.feed,
            _ => renditions.full,
        };
        let kept = self.kept(audience, request.uri().query());
        Ok(self.answer_with(id, size, &rendition, (&kept, request)))
    }

    /// Who may see a medium that has passed its check, when it is asked for with this query; `None` when who asks may not.
    /// A signature is no leave for good: across a block that came since, it opens nothing.
    async fn audience(&self, id: Ulid, stored: &Stored, query: &str) -> Result<Option<Audience>, TableError> {
        let now = now_ms() / 1000;
        let allowed = self.key.allows(id, query, now);
        let is_loose = stored.posts == 0;
        if allowed.is_none() && !is_loose && !stored.is_open() {
            return Ok(None);
        }
        let mut keys = vec![(Table::Relationships, privacy::key(&stored.owner))];
        let another = allowed.iter().map(|allowed| &allowed.viewer).find(|viewer| **viewer != stored.owner);
        keys.extend(another.into_iter().flat_map(|viewer| blocks::keys(viewer, &stored.owner)));
        let mut found = self.tables.get_many(&keys).await?;
        let states = found.split_off(1);
        let Privacy { private, .. } = Privacy::parse(found.pop().flatten())?;
        Ok(match allowed {
            Some(_) if blocks::judge(&states).0 => None,
            Some(allowed) => Some(Audience::One(allowed.until.saturating_sub(now))),
            None if private => None,
            None if is_loose => Some(Audience::Owner),
            None => Some(Audience::All),
        })
    }

    /// What caches are told. Those in front keep a picture only under the URLs that a purge names.
    fn kept(&self, audience: Audience, query: Option<&str>) -> String {
        let is_named = matches!(query, None | Some("size=feed" | "size=thumb"));
        match audience {
            Audience::All if is_named => format!("public, max-age={}", self.max_age),
            Audience::All => format!("private, max-age={}", self.max_age),
            Audience::Owner => "private, no-cache".to_owned(),
            Audience::One(rest) => format!("private, max-age={rest}"),
        }
    }

    fn answer_with(
        &self,
        id: Ulid,
        size: &str,
        rendition: &Rendition,
        (kept, request): (&str, &Request<Incoming>),
    ) -> Answer {
        let tag = format!("\"{id}-{size}\"");
        let asked = request.headers();
        let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        let known = asked.get(header::IF_NONE_MATCH).is_some_and(|tags| names_tag(tags, &tag));
        let part = match known {
            true => Asked::Nothing,
            false => part(asked, &tag, rendition.bytes),
        };
        let total = rendition.bytes;
        let (status, range) = match part {
            _ if known => (StatusCode::NOT_MODIFIED, 0..0),
            Asked::All => (StatusCode::OK, 0..total),
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Asked::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        };
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            headers.insert(
                name,
                HeaderValue::from_str(value).expect("ids, numbers and our own words are ASCII"),
            );
        };
        set(header::ETAG, &tag);
        set(header::CACHE_CONTROL, kept);
        set(header::CONTENT_SECURITY_POLICY, POLICY);
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
        match status {
            StatusCode::NOT_MODIFIED => return answer,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                // True of this range only: no cache may give it to somebody who asks for another.
                set(header::CACHE_CONTROL, "no-store");
                set(header::CONTENT_RANGE, &format!("bytes */{total}"));
                return answer;
            }
            StatusCode::PARTIAL_CONTENT => {
                set(header::CONTENT_RANGE, &format!("bytes {}-{}/{total}", range.start, range.end - 1));
            }
            _ => {}
        }
        let kind = rendition.content_type.rsplit('/').next().unwrap_or_default();
        set(header::CONTENT_TYPE, &rendition.content_type);
        set(header::CONTENT_DISPOSITION, &format!("inline; filename=\"{id}-{size}.{kind}\""));
        set(header::ACCEPT_RANGES, "bytes");
        set(header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        if request.method() != Method::HEAD {
            // A reader whose place goes to somebody else loses its connection: the length was promised.
            let Hangup(gives_way) = request.extensions().get().cloned().unwrap_or_default();
            let place = match self.showing.take(household_of(request.extensions()), None, gives_way) {
                Ok(place) => place,
                Err(full) => return no_place_out(full, &self.metrics),
            };
            if place.is_anothers {
                count(&self.metrics, "out_gave_way");
            }
            let frames = frames(self.blobs.clone(), blob::rendition(id, size), range, place);
            *answer.body_mut() = StreamBody::new(frames).boxed_unsync();
        }
        answer
    }
}

/// A blob's bytes, read when the client takes them; the place is given back after the last of them.
fn frames(
    blobs: Arc<dyn Blobs>,
    name: String,
    range: Range<u64>,
    place: Place,
) -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> + Send {
    stream::try_unfold((blobs, name, range, place), |(blobs, name, range, mut place)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let piece = range.start..range.end.min(range.start + PIECE);
        let bytes = blobs.get(&name, Some(piece)).await.map_err(io::Error::other)?;
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        // Collected since the answer began: its length was promised, so the connection must end.
        let bytes = bytes.ok_or_else(|| io::Error::other("the blob is gone"))?;
        // Asked for because the reader has taken what came before.
        place.moved(PIECE);
        let rest = range.start + bytes.len() as u64..range.end;
        Ok(Some((Frame::data(bytes), (blobs, name, rest, place))))
    })
}

/// The one range that was asked for. An invalid range, or several, count as none, as RFC 9110 (14.2) allows.
fn part(headers: &HeaderMap, tag: &str, total: u64) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Asked::All;
    };
    if text(header::IF_RANGE).is_some_and(|wanted| wanted != tag) {
        return Asked::All;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Asked::All };
    let asked = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.is_empty() => first..total,
        (Err(_), Ok(count)) if first.is_empty() => total.saturating_sub(count)..total,
        _ => return Asked::All,
    };
    if asked.start < asked.end { Asked::Part(asked) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        let asked = |range: &str, wanted: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().unwrap());
            wanted.map(|tag| headers.insert(header::IF_RANGE, HeaderValue::from_static(tag)));
            part(&headers, "\"t\"", 100)
        };
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-99", Asked::Part(0..100)),
            ("bytes=10-", Asked::Part(10..100)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-5", Asked::Part(95..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=0-18446744073709551615", Asked::Part(0..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-4", Asked::All),
            ("bytes=0-1,5-6", Asked::All),
            ("bytes=a-b", Asked::All),
            ("items=0-1", Asked::All),
            ("bytes=", Asked::All),
        ] {
            assert_eq!(asked(range, None), expected, "{range}");
        }
        assert_eq!(asked("bytes=0-0", Some("\"t\"")), Asked::Part(0..1));
        assert_eq!(asked("bytes=0-0", Some("\"other\"")), Asked::All);
        assert_eq!(part(&HeaderMap::new(), "", 100), Asked::All);
    }
}
