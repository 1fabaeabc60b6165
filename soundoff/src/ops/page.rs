//! The operators' page: what `/metrics` has said in the last ten minutes, the gate, and the dead letters.
//!
//! Plots are as public as `/metrics`, which is on the same port. Dead letters hold what people have written, and the
//! gate is for operators to move. Under `up`, where anybody on the machine may do anything, only the pages of other
//! sites must do neither; on a deployment one needs the operator's key.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use soundoff_common::guard::{Away, Weather};
use soundoff_common::model::gate::{Gate, Keeper};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::ports::queues::{DeadLetter, QueueName};
use soundoff_common::ports::tables::TableError;
use soundoff_common::protocol::now_ms;
use soundoff_common::web::http::{
    Answer, bearer, json, method_not_allowed, parameter, read_json, refuse, unauthorized, whole,
};
use soundoff_common::web::operator::OperatorKey;
use soundoff_common::web::pages::Pages;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::depths::Looked;
use super::history::{History, Since};
use super::{Ask, Ops, Order};
use crate::files;
use crate::node::Node;

/// The most letters in a list, which has the oldest. With the largest possible bodies they take 25 MB for a moment.
const MOST_LISTED: usize = 100;
/// The most letters in one redrive.
const MOST_REDRIVEN: usize = 1000;
const MAX_BODY_BYTES: usize = 4096;

/// Where the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The public port of `up`, on loopback.
    Up,
    /// The internal port of one of a deployment's processes.
    Deployment,
}

/// A part of what a process does; it decides which plots mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    Edge,
    Queues,
    Timelines,
    Users,
}

/// Who may see and move dead letters, and the gate.
enum Guard {
    /// Anybody who can reach the port, except pages of other sites.
    SameOrigin,
    Key {
        key: OperatorKey,
        seen: watch::Sender<Instant>,
    },
}

/// The page of one process.
pub(crate) struct OpsPage {
    ops: Arc<Ops>,
    history: Arc<History>,
    guard: Guard,
    parts: &'static [Part],
    weather: Weather,
    /// The gate, where people come in.
    gate: Option<Keeper>,
    /// One request at a time looks at letters: meanwhile their bodies are in memory.
    turn: Mutex<()>,
}

/// What the plots are drawn from.
#[derive(Serialize)]
struct Data<'a> {
    version: &'static str,
    now: u64,
    parts: &'static [Part],
    /// Whether dead letters and the gate need the operator's key.
    key: bool,
    /// How the gate stands, as of this process's last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Gate>,
    /// Engines that do not answer.
    away: Vec<AwayFor>,
    #[serde(flatten)]
    since: Since<'a>,
}

/// An engine that does not answer, and for how many seconds.
#[derive(Serialize)]
struct AwayFor {
    engine: &'static str,
    seconds: u64,
}

impl From<Away> for AwayFor {
    fn from(Away { engine, time }: Away) -> Self {
        Self { engine, seconds: time.as_secs() }
    }
}

#[derive(Deserialize)]
struct OfQueue {
    queue: String,
}

#[derive(Deserialize)]
struct OneLetter {
    queue: String,
    key: String,
}

#[derive(Deserialize)]
struct Redrive {
    queue: String,
    limit: usize,
}

/// A dead letter without the text of its author. A letter that is no envelope has no sender and no type.
#[derive(Serialize)]
struct Listed {
    key: String,
    id: Option<String>,
    mid: Option<String>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    from: Option<String>,
    attempts: Option<u32>,
    reason: String,
    /// When the edge took it, and when it was given up; milliseconds since 1970.
    first_at: Option<u64>,
    last_at: u64,
    bytes: usize,
}

impl From<DeadLetter> for Listed {
    fn from(letter: DeadLetter) -> Self {
        let envelope = Envelope::parse(letter.body.as_bytes()).ok();
        let envelope = envelope.as_ref();
        Self {
            key: letter.key,
            // Messages that we queue ourselves have no client's id.
            id: envelope.map(|it| it.id.clone()).filter(|id| !id.is_empty()),
            mid: envelope.map(|it| it.mid.to_string()),
            message_type: envelope.map(|it| it.message_type.clone()),
            from: envelope.map(|it| it.from.to_string()),
            attempts: letter.attempts,
            reason: letter.reason,
            first_at: envelope.map(|it| it.at),
            last_at: letter.buried_at,
            bytes: letter.body.len(),
        }
    }
}

type Refusal = Box<Answer>;

fn refusal(status: StatusCode, code: &str, detail: &str) -> Refusal {
    Box::new(refuse(status, code, detail))
}

impl OpsPage {
    /// Makes the page, and takes samples until `stop`. `ops` names the page's queues.
    pub(crate) fn start(
        place: Place,
        parts: &'static [Part],
        ops: Arc<Ops>,
        node: &Node,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let engines = &node.engines;
        let (queues, names) = (ops.queues.clone(), ops.names.clone());
        let looked = Looked { queues, names: names.clone(), depths: engines.metrics.depths.clone() };
        let guard = match place {
            Place::Up => {
                tokio::spawn(looked.always(stop.clone()));
                Guard::SameOrigin
            }
            Place::Deployment => {
                let (seen, watched) = watch::channel(Instant::now());
                tokio::spawn(looked.while_watched(watched, stop.clone()));
                Guard::Key { key: OperatorKey::of(&engines.secret), seen }
            }
        };
        let history = Arc::new(History::new(names));
        tokio::spawn(history.clone().keep(engines.metrics.clone(), stop.clone()));
        let weather = engines.weather.clone();
        let is_public = parts.iter().any(|part| matches!(part, Part::Edge | Part::Users));
        let gate = is_public.then(|| node.gate.clone());
        Arc::new(Self { ops, history, guard, parts, weather, gate, turn: Mutex::default() })
    }

    pub(crate) fn serves(path: &str) -> bool {
        path == "/ops" || path.starts_with("/ops/") || files::OPS.iter().any(|file| file.is_at(path))
    }

    /// Answers what is below `/ops`, and the files of its pages.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(file) = files::answer(files::OPS, &files::policy(None), &request) {
            return file;
        }
        let answered = match (request.method(), request.uri().path()) {
            (&Method::GET, "/ops/data") => self.data(&request),
            (_, "/ops/data") => return method_not_allowed("GET"),
            (&Method::POST, "/ops/letters" | "/ops/letter" | "/ops/redrive") => self.letters(request).await,
            (&Method::POST, "/ops/gate") if self.gate.is_some() => self.order(request).await,
            (_, "/ops/gate") if self.gate.is_some() => return method_not_allowed("POST"),
            (_, "/ops/letters" | "/ops/letter" | "/ops/redrive") => return method_not_allowed("POST"),
            _ => {
                Err(refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing here; the page is at /ops"))
            }
        };
        answered.unwrap_or_else(|refusal| *refusal)
    }

    fn data<B>(&self, request: &Request<B>) -> Result<Answer, Refusal> {
        if let Guard::Key { seen, .. } = &self.guard
            && request.headers().contains_key(header::AUTHORIZATION)
        {
            self.is_operator(request.headers())?;
            // From now on we look at the queues, and each look costs money.
            seen.send_replace(Instant::now());
        }
        let since = match parameter(request.uri(), "since") {
            None => 0,
            Some(number) => number.parse().map_err(|_| {
                let detail = "the query is since=N, N being the `next` of an earlier answer";
                refusal(StatusCode::BAD_REQUEST, "bad_message", detail)
            })?,
        };
        let key = matches!(self.guard, Guard::Key { .. });
        let version = env!("CARGO_PKG_VERSION");
        let (now, parts, since) = (now_ms(), self.parts, self.history.since(since));
        let gate = self.gate.as_ref().map(|keeper| shown(keeper.gate()));
        let away = self.weather.away().into_iter().map(AwayFor::from).collect();
        let data = Data { version, now, parts, key, gate, away, since };
        Ok(json(StatusCode::OK, &data))
    }

    fn is_operator(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.guard {
            Guard::SameOrigin if is_same_origin(headers) => Ok(()),
            Guard::SameOrigin => {
                let detail = "only this page may ask; in scripts use `soundoff dlq` and `soundoff gate`";
                Err(refusal(StatusCode::FORBIDDEN, "forbidden", detail))
            }
            Guard::Key { key, .. } => match bearer(headers) {
                Some(shown) if key.is_shown_by(shown) => Ok(()),
                _ => {
                    let detail = "show the operator's key as bearer token; `soundoff ops-key` prints it";
                    Err(Box::new(whole(unauthorized(detail))))
                }
            },
        }
    }

    /// Whether a POST comes from an operator.
    fn may_post(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.is_operator(headers)?;
        // A form of another site cannot send this kind.
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
            let detail = "the body's content-type must be application/json";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_message", detail));
        }
        Ok(())
    }

    /// What a POST wants of the gate; returns how it stands then.
    async fn order<B>(&self, request: Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.may_post(request.headers())?;
        let example = r#"{"close":{"reason":"new disks","for_s":600}}"#;
        let order: Order = read_json(request, MAX_BODY_BYTES, example).await?;
        let answered = self.ops.answer(Ask::Gate(Some(order))).await;
        let stands = answered.map_err(|error| match error.is::<TableError>() {
            true => refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", &format!("{error:#}")),
            false => refusal(StatusCode::BAD_REQUEST, "bad_message", &format!("{error:#}")),
        })?;
        let gate = serde_json::from_value(stands).expect("a gate is what was asked for");
        Ok(json(StatusCode::OK, &json!({ "gate": shown(gate) })))
    }

    /// What a POST asks of the dead letters.
    async fn letters<B>(&self, request: Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.may_post(request.headers())?;
        let answer = match request.uri().path() {
            "/ops/letters" => {
                let asked: OfQueue = read_json(request, MAX_BODY_BYTES, r#"{"queue":"post_get_q"}"#).await?;
                let letters = self.list(self.queue(&asked.queue)?).await?.into_iter().map(Listed::from);
                json!({ "letters": letters.collect::<Vec<_>>(), "most": MOST_LISTED })
            }
            "/ops/letter" => {
                let asked: OneLetter =
                    read_json(request, MAX_BODY_BYTES, r#"{"queue":"post_get_q","key":"7"}"#).await?;
                let letters = self.list(self.queue(&asked.queue)?).await?;
                let letter = letters.into_iter().find(|letter| letter.key == asked.key);
                let letter = letter.ok_or_else(|| {
                    refusal(StatusCode::NOT_FOUND, "not_found", "the letter is not among the oldest any more")
                })?;
                json!({ "body": letter.body })
            }
            _ => {
                let asked: Redrive =
                    read_json(request, MAX_BODY_BYTES, r#"{"queue":"post_get_q","limit":10}"#).await?;
                let queue = self.queue(&asked.queue)?;
                if !(1..=MOST_REDRIVEN).contains(&asked.limit) {
                    let detail = format!("`limit` is between 1 and {MOST_REDRIVEN}");
                    return Err(refusal(StatusCode::BAD_REQUEST, "bad_message", &detail));
                }
                json!({ "moved": self.ask(Ask::Redrive { queue, limit: asked.limit }).await? })
            }
        };
        Ok(json(StatusCode::OK, &answer))
    }

    fn queue(&self, name: &str) -> Result<QueueName, Refusal> {
        let known = self.ops.names.iter().find(|queue| queue.as_str() == name).cloned();
        known.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "not_found", "this process has no such queue"))
    }

    async fn list(&self, queue: QueueName) -> Result<Vec<DeadLetter>, Refusal> {
        let letters = self.ask(Ask::DeadLetters { queue, limit: MOST_LISTED }).await?;
        Ok(serde_json::from_value(letters).expect("dead letters are what was asked for"))
    }

    async fn ask(&self, ask: Ask) -> Result<Value, Refusal> {
        let _turn = self.turn.lock().await;
        let answered = self.ops.answer(ask).await;
        answered.map_err(|error| refusal(StatusCode::CONFLICT, "conflict", &format!("{error:#}")))
    }
}

#[async_trait]
impl Pages for OpsPage {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        OpsPage::answer(self, request).await
    }
}

/// What may be seen of a gate: who knows the salt could choose an early place.
fn shown(gate: Gate) -> Gate {
    Gate { salt: 0, ..gate }
}

/// Whether a browser says that the request comes from our own page. A client that says nothing is no current browser,
/// and can use the command line.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let (site, origin) = (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN));
    let host = text(header::HOST).unwrap_or_default();
    let same_site = site.is_none_or(|site| site == "same-origin");
    let same_origin = origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    (site.is_some() || origin.is_some()) && same_site && same_origin
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
