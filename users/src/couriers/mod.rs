//! How codes reach people: mail by SMTP, texts by a webhook, or an outbox that only a developer reads.

mod outbox;
mod post;
mod smtp;
mod webhook;

pub use outbox::Outbox;
pub(crate) use post::Post;
pub use smtp::Smtp;
pub use webhook::Webhook;
