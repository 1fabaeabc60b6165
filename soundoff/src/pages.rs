//! Plain HTTP on public ports: sign-in, media and the app; for development also a console, tokens and the outbox.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde_json::json;
use soundoff_common::model::gate::Keeper;
use soundoff_common::ports::tables::Tables;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{Answer, Peer, json, read_json, refuse, retry_later};
use soundoff_common::web::packing::Packing;
use soundoff_common::web::pages::Pages;
use soundoff_common::web::pairing::Pairing;
use soundoff_users::{DevTokens, Issuer, Outbox, Ring};

use crate::door::{Door, Visit};
use crate::files;
use crate::lan;
use crate::node::{Mounted, Node};

/// What the gate is in front of.
const API: &str = "/v1/";
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What is served only on a developer's own machine, because it asks for no proof of identity.
pub(crate) struct Dev {
    tokens: DevTokens,
    outbox: Arc<Outbox>,
    /// What others in the local network show, if they may come.
    pairing: Option<Arc<Pairing>>,
}

/// The features' pages, the app, and perhaps the pages for development.
pub(crate) struct Site {
    mounted: Vec<Mounted>,
    dev: Option<Dev>,
    gate: Keeper,
    metrics: Metrics,
    policy: HeaderValue,
    door: Door,
}

impl Site {
    /// The site behind this door. Its content policy allows uploads to the host of `upload`, a URL where
    /// clients put large media.
    pub(crate) fn new(
        mounted: Vec<Mounted>,
        dev: Option<Dev>,
        node: &Node,
        upload: &str,
        door: Door,
    ) -> Self {
        // A path without a host is on this server, which pages may talk to anyway.
        let uri: Option<Uri> = upload.parse().ok();
        let elsewhere = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
        let origin = elsewhere.map(|(scheme, authority)| format!("{scheme}://{authority}"));
        let (gate, metrics) = (node.gate.clone(), node.engines.metrics.clone());
        Self { mounted, dev, gate, metrics, policy: files::policy(origin.as_deref()), door }
    }

    /// Whether the gate lets a request in. The app's files are for all: they tell people what is going on.
    fn let_in<B>(&self, request: &Request<B>) -> Result<(), Box<Answer>> {
        if !request.uri().path().starts_with(API) {
            return Ok(());
        }
        let address = request.extensions().get::<Peer>().map(|peer| peer.0);
        self.gate.judge(request.headers(), address).map_err(|shut| {
            self.metrics.gate_refused.inc();
            let seconds = shut.wait_ms.div_ceil(1000);
            Box::new(retry_later(StatusCode::IM_A_TEAPOT, "closed", &shut.reason, seconds))
        })
    }
}

#[async_trait]
impl Pages for Site {
    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        if let Some(dev) = &self.dev
            && let Err(refusal) = lan::judge_host(request.headers(), dev.pairing.as_deref())
        {
            return *refusal;
        }
        self.door.base.plain(&mut request);
        let packing = Packing::of(&request);
        let mut visit = Visit::of(&self.door.origins, &request);
        let mut answer = match visit.answer.take() {
            Some(answer) => answer,
            None => self.page(request).await,
        };
        visit.mark(&mut answer);
        packing.pack(answer).await
    }
}

impl Site {
    async fn page(&self, request: Request<Incoming>) -> Answer {
        if let Err(shut) = self.let_in(&request) {
            return *shut;
        }
        let path = request.uri().path();
        if let Some(page) = path.strip_suffix('/').filter(|path| files::is_page(path)) {
            return elsewhere(&format!("..{page}"));
        }
        if let Some(pairing) = self.dev.as_ref().and_then(|dev| dev.pairing.as_deref())
            && let Err(refusal) = lan::judge_developer(&request, pairing)
        {
            return *refusal;
        }
        if let Some(mounted) = self.mounted.iter().find(|mounted| mounted.serves(path)) {
            return mounted.pages.answer(request).await;
        }
        if let Some(answer) = files::answer(files::APP, &self.policy, &request) {
            return answer;
        }
        match &self.dev {
            Some(dev) => dev.answer(request, &self.policy).await,
            None => nothing(),
        }
    }
}

impl Dev {
    /// Gives tokens for accounts in `tables`, and shows the codes that no courier carries.
    pub(crate) fn new(tables: &Arc<dyn Tables>, ring: &Arc<Ring>, outbox: Arc<Outbox>) -> Self {
        Self { tokens: DevTokens::new(tables.clone(), Issuer::new(ring.clone())), outbox, pairing: None }
    }

    /// The same for others in the local network, too, who show this.
    pub(crate) fn paired(self, pairing: Option<Arc<Pairing>>) -> Self {
        Self { pairing, ..self }
    }

    async fn answer(&self, request: Request<Incoming>, policy: &HeaderValue) -> Answer {
        if let Some(answer) = files::answer(files::CONSOLE, policy, &request) {
            return answer;
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/dev/outbox") => json(StatusCode::OK, &json!({ "items": self.outbox.list() })),
            (&Method::POST, "/dev/tokens") => self.tokens(request).await,
            (_, "/dev/tokens" | "/dev/outbox") => {
                refuse(StatusCode::METHOD_NOT_ALLOWED, "bad_message", "this address takes another method")
            }
            _ => nothing(),
        }
    }

    async fn tokens(&self, request: Request<Incoming>) -> Answer {
        let asked = match read_json(request, MAX_BODY_BYTES, r#"{"handles":["alice"]}"#).await {
            Ok(asked) => asked,
            Err(refusal) => return *refusal,
        };
        match self.tokens.issue(asked).await {
            Ok(tokens) => json(StatusCode::OK, &json!({ "tokens": tokens })),
            Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_message", &format!("{error:#}")),
        }
    }
}

/// The pages of an edge behind a balancer, which sends all other requests elsewhere: none.
pub(crate) struct NoPages;

#[async_trait]
impl Pages for NoPages {
    async fn answer(&self, _request: Request<Incoming>) -> Answer {
        nothing()
    }
}

/// The answer to who asks for a page by its name and a slash: its links are written for the name.
fn elsewhere(path: &str) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let path = HeaderValue::from_str(path).expect("a part of a path is ASCII");
    answer.headers_mut().insert(header::LOCATION, path);
    answer
}

fn nothing() -> Answer {
    refuse(StatusCode::NOT_FOUND, "not_found", "there is nothing here; the websocket is at /v1/ws")
}
