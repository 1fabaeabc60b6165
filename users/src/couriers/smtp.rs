use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use soundoff_common::ports::courier::{Courier, Notice, Undelivered};

/// How long each step of a delivery may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Mail by SMTP.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Smtp(from {})", self.from)
    }
}

impl Smtp {
    /// To the server of `url`: `smtps://user:password@host`, `smtp://host?tls=required`, or plain
    /// `smtp://127.0.0.1:1025`. Mail comes `from` an address such as `Sound Off <no-reply@example.org>`.
    ///
    /// # Errors
    /// When either is malformed.
    pub fn new(url: &str, from: &str) -> anyhow::Result<Self> {
        let uri: hyper::Uri = url.parse().map_err(|_| anyhow::anyhow!("the SMTP URL is malformed"))?;
        let encrypted = uri.scheme_str() == Some("smtps")
            || uri.query().is_some_and(|query| query.contains("tls=required"));
        let here = uri.host().is_some_and(crate::fetch::is_here);
        anyhow::ensure!(
            encrypted || here,
            "the SMTP URL must begin with smtps:// or end with ?tls=required: codes and passwords go to other machines over TLS only"
        );
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        // The URL holds a password: the error does not repeat it.
        let transport = transport.map_err(|_| anyhow::anyhow!("the SMTP URL is malformed"))?;
        let from = from.parse().with_context(|| format!("{from} is no sender of mail"))?;
        Ok(Self { transport: transport.timeout(Some(TIMEOUT)).build(), from })
    }
}

#[async_trait]
impl Courier for Smtp {
    async fn send(&self, notice: &Notice) -> Result<(), Undelivered> {
        let to = notice.to.parse().map_err(|_| Undelivered::Refused("not a mail address".to_owned()))?;
        let mail = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(notice.subject.clone())
            .header(ContentType::TEXT_PLAIN)
            .body(notice.text.clone());
        let mail =
            mail.map_err(|_| Undelivered::Refused("the notice cannot be written as a mail".to_owned()))?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            // The server's own words often repeat the address.
            Err(error) => {
                let code = error.status().map(|code| format!(" with {code}")).unwrap_or_default();
                Err(match () {
                    () if error.is_permanent() || error.is_transient() => {
                        Undelivered::Refused(format!("the mail server refused the mail{code}"))
                    }
                    () if error.is_timeout() => Undelivered::Away("the mail server took too long".to_owned()),
                    () => Undelivered::Away(format!("the mail server cannot be reached{code}")),
                })
            }
        }
    }
}
