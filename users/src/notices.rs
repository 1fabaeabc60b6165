//! Tells users by mail that the ways to sign in to their account have changed, so that no change is a secret.

use soundoff_common::ports::courier::Notice;
use soundoff_common::protocol::Handle;

use crate::linking::Unlinked;
use crate::refusal::Refusal;
use crate::service::Users;
use crate::ways::identity::{self, Identity, Kind, masked};

impl Users {
    /// Tells the user's other mail addresses of a new way to sign in.
    pub(crate) async fn tell_linked(&self, user: &Handle, new: &Identity) {
        let kind = new.kind.name();
        let what = described(kind, &masked(kind, &new.value));
        let text = format!("{what} was added to the account @{user} as a way to sign in.");
        self.tell(user, "A way to sign in was added", &text, &[], Some(&new.value)).await;
    }

    /// Tells the user's mail addresses of a way to sign in that is gone, and that address itself.
    pub(crate) async fn tell_unlinked(&self, user: &Handle, gone: &Unlinked) {
        let kind = gone.row.kind();
        let Ok(value) = gone.linked.value(kind, &self.seal) else { return };
        let what = described(kind, &masked(kind, &value));
        let text = format!(
            "{what} was removed from the account @{user}: it no longer signs in to it, and the sessions that began with it have ended."
        );
        let also = if kind == Kind::Email.name() { vec![value] } else { Vec::new() };
        self.tell(user, "A way to sign in was removed", &text, &also, None).await;
    }

    /// Sends a notice to a user's mail addresses but `except`, and to `also`. What cannot be sent is only logged: the
    /// change is made.
    async fn tell(&self, user: &Handle, subject: &str, text: &str, also: &[String], except: Option<&str>) {
        let mut addresses = also.to_vec();
        match self.mail_addresses(user).await {
            Ok(known) => addresses.extend(known),
            Err(error) => tracing::warn!(%user, "who is told of a change is not known: {error:#}"),
        }
        let text = format!(
            "{text}\n\nIf that was you, ignore this. If not, sign in at once, open Settings, end all other sessions, and remove what is not yours."
        );
        for to in addresses.into_iter().filter(|to| except != Some(to)) {
            let notice = Notice { to, subject: subject.to_owned(), text: text.clone() };
            if !self.mail.send(notice) {
                tracing::warn!(%user, "a notice of a change was not sent: too many are on their way");
            }
        }
    }

    async fn mail_addresses(&self, user: &Handle) -> Result<Vec<String>, Refusal> {
        let linked = identity::of_user(&*self.tables, user).await?;
        let mails = linked.iter().filter(|(row, _)| row.kind() == Kind::Email.name());
        mails.map(|(row, linked)| linked.value(row.kind(), &self.seal)).collect()
    }
}

/// A way to sign in, in a sentence's beginning.
fn described(kind: &str, masked: &str) -> String {
    match kind {
        "email" => format!("The mail address {masked}"),
        "phone" => format!("The phone number {masked}"),
        "passkey" => "A passkey".to_owned(),
        "foreign" => "A sign-in with an account on another server".to_owned(),
        other => format!("A sign-in with {other}"),
    }
}
