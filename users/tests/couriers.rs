//! The laws of couriers, on each of them.

#[path = "couriers/carriers.rs"]
mod carriers;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use carriers::{MailServer, Receiver};
use soundoff_common::guard::{GuardedCourier, Weather};
use soundoff_common::ports::courier::contract::{self, Harness};
use soundoff_common::ports::courier::{Courier, Notice, Undelivered};
use soundoff_common::telemetry::{EngineLabel, Metrics};
use soundoff_users::fetch::{Fetch, safe_url};
use soundoff_users::{Outbox, Smtp, Webhook};

/// A port of this machine that nobody listens on.
fn nobody() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct ByOutbox(Arc<Outbox>);

#[async_trait]
impl Harness for ByOutbox {
    fn address(&self) -> &'static str {
        "anna@example.org"
    }

    async fn open(&self) -> Arc<dyn Courier> {
        self.0.clone()
    }

    async fn failing(&self) -> Vec<Arc<dyn Courier>> {
        Vec::new()
    }

    async fn arrived(&self) -> Vec<Notice> {
        self.0.list().into_iter().rev().map(|sent| sent.notice).collect()
    }
}

struct ByWebhook(Mutex<Vec<Arc<Receiver>>>);

impl ByWebhook {
    async fn to(&self, status: u16) -> Arc<dyn Courier> {
        let receiver = Receiver::start(status, "s3cret").await;
        let url = safe_url(&format!("http://127.0.0.1:{}/texts", receiver.port)).unwrap();
        self.0.lock().unwrap().push(receiver);
        Arc::new(Webhook::new(Fetch::new(), url, Some("s3cret".to_owned())))
    }
}

#[async_trait]
impl Harness for ByWebhook {
    fn address(&self) -> &'static str {
        "+491701234567"
    }

    async fn open(&self) -> Arc<dyn Courier> {
        self.to(204).await
    }

    async fn failing(&self) -> Vec<Arc<dyn Courier>> {
        let gone = safe_url(&format!("http://127.0.0.1:{}/texts", nobody())).unwrap();
        vec![self.to(500).await, self.to(302).await, Arc::new(Webhook::new(Fetch::new(), gone, None))]
    }

    async fn arrived(&self) -> Vec<Notice> {
        self.0.lock().unwrap()[0].got.lock().unwrap().clone()
    }
}

struct BySmtp(Mutex<Vec<Arc<MailServer>>>);

impl BySmtp {
    async fn to(&self, refuses: bool) -> Arc<dyn Courier> {
        let server = MailServer::start(refuses).await;
        let url = format!("smtp://127.0.0.1:{}", server.port);
        self.0.lock().unwrap().push(server);
        Arc::new(Smtp::new(&url, "Sound Off <no-reply@example.org>").unwrap())
    }
}

#[async_trait]
impl Harness for BySmtp {
    fn address(&self) -> &'static str {
        "anna@example.org"
    }

    async fn open(&self) -> Arc<dyn Courier> {
        self.to(false).await
    }

    async fn failing(&self) -> Vec<Arc<dyn Courier>> {
        let gone = format!("smtp://127.0.0.1:{}", nobody());
        vec![self.to(true).await, Arc::new(Smtp::new(&gone, "no-reply@example.org").unwrap())]
    }

    async fn arrived(&self) -> Vec<Notice> {
        self.0.lock().unwrap()[0].got.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_was_taken_arrives() {
    contract::what_was_taken_arrives(&ByOutbox(Arc::default())).await;
    contract::what_was_taken_arrives(&ByWebhook(Mutex::default())).await;
    contract::what_was_taken_arrives(&BySmtp(Mutex::default())).await;
}

#[tokio::test]
async fn a_failure_is_told_and_tells_nothing() {
    contract::a_failure_is_told_and_tells_nothing(&ByOutbox(Arc::default())).await;
    contract::a_failure_is_told_and_tells_nothing(&ByWebhook(Mutex::default())).await;
    contract::a_failure_is_told_and_tells_nothing(&BySmtp(Mutex::default())).await;
}

#[tokio::test]
async fn a_carrier_that_refuses_is_asked_again_and_one_that_is_away_now_and_then_only() {
    let (texts, mails) = (ByWebhook(Mutex::default()), BySmtp(Mutex::default()));
    let [error, elsewhere, no_texts] = texts.failing().await.try_into().ok().unwrap();
    let [refuses, no_mails] = mails.failing().await.try_into().ok().unwrap();
    for (courier, is_away) in [
        (error, true),
        (elsewhere, false),
        (no_texts, true),
        (texts.to(400).await, false),
        (refuses, false),
        (no_mails, true),
    ] {
        let weather = Weather::new(Metrics::new());
        let guarded = GuardedCourier::new(courier, weather.engine("mail"));
        for _ in 0..25 {
            let to = "anna@example.org".to_owned();
            let sent = guarded.send(&Notice { to, subject: "s".to_owned(), text: "t".to_owned() }).await;
            assert_eq!(matches!(sent, Err(Undelivered::Away(_))), is_away, "{sent:?}");
        }
        assert_eq!(!weather.away().is_empty(), is_away);
        let asked = weather.metrics().engine_failures.get_or_create(&EngineLabel { engine: "mail" }).get();
        assert!(asked <= 10, "{asked}");
    }
}

#[tokio::test]
async fn a_bad_mail_server_is_refused_without_its_password() {
    for (url, from) in [
        ("http://x", "a@b.cd"),
        ("smtp://u:p4ss@", "a@b.cd"),
        ("smtp://127.0.0.1", "nobody"),
        ("smtp://u:p4ss@mail.example.org", "a@b.cd"),
        ("smtp://u:p4ss@mail.example.org?tls=opportunistic", "a@b.cd"),
    ] {
        let error = format!("{:#}", Smtp::new(url, from).unwrap_err());
        assert!(!error.contains("p4ss"), "{error}");
    }
    for url in
        ["smtps://u:p@mail.example.org", "smtp://u:p@mail.example.org?tls=required", "smtp://localhost:25"]
    {
        assert!(Smtp::new(url, "a@b.cd").is_ok(), "{url}");
    }
}

#[tokio::test]
async fn mail_goes_to_a_domain_of_any_script() {
    let mails = BySmtp(Mutex::default());
    let to = "x@xn--bcher-kva.example".to_owned();
    let notice = Notice { to: to.clone(), subject: "s".to_owned(), text: "t".to_owned() };
    mails.open().await.send(&notice).await.unwrap();
    assert_eq!(mails.arrived().await[0].to, to);
}
