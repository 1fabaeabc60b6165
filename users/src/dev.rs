use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use soundoff_common::model::accounts;
use soundoff_common::ports::tables::{Item, MAX_WRITES, Table, TableError, Tables};
use soundoff_common::protocol::{Handle, Role, now_ms};
use ulid::Ulid;

use crate::keys::tokens::Issuer;
use crate::sessions::families;

/// The most users made by one call.
const MAX_HANDLES: usize = 1000;
/// How long a development token is valid unless the call says otherwise: one day, in seconds.
const LIFETIME_S: u64 = 24 * 3600;

/// Makes users and their tokens without any sign-in, for load tests and demos on one machine.
pub struct DevTokens {
    tables: Arc<dyn Tables>,
    issuer: Issuer,
}

/// The body of `POST /dev/tokens`.
#[derive(Debug, Deserialize)]
pub struct DevTokensRequest {
    /// The users; those that do not exist are made.
    pub handles: Vec<Handle>,
    /// How long the tokens are valid, in seconds.
    pub expires_in: Option<u64>,
}

impl DevTokens {
    /// Makes users in `tables` and tokens with `issuer`.
    #[must_use]
    pub fn new(tables: Arc<dyn Tables>, issuer: Issuer) -> Self {
        Self { tables, issuer }
    }

    /// One token for each handle, each with a sign-in of its own.
    ///
    /// # Errors
    /// When there are too many handles, or the tables do not answer.
    pub async fn issue(&self, request: DevTokensRequest) -> anyhow::Result<BTreeMap<Handle, String>> {
        let DevTokensRequest { handles, expires_in } = request;
        anyhow::ensure!(handles.len() <= MAX_HANDLES, "at most {MAX_HANDLES} handles a call");
        let now = now_ms();
        let lifetime = expires_in.unwrap_or(LIFETIME_S);
        let made = handles.iter().map(|user| self.tables.write(vec![accounts::create(user, now)]));
        for made in futures_util::future::join_all(made).await {
            match made {
                Ok(()) | Err(TableError::ConditionFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let keys: Vec<_> = handles.iter().map(|user| (Table::Users, accounts::key(user))).collect();
        let (mut tokens, mut writes) = (BTreeMap::new(), Vec::with_capacity(handles.len()));
        for (user, account) in handles.into_iter().zip(self.tables.get_many(&keys).await?) {
            let account: Option<accounts::Account> = account.map(Item::parse).transpose()?;
            let (role, revoked_at) = account.map_or((Role::User, 0), |a| (a.role, a.revoked_at));
            let session = Ulid::generate();
            writes.push(families::without_refresh(&user, session, (now, lifetime), revoked_at));
            let token = self.issuer.issue(&user, role, session, now / 1000, lifetime)?;
            tokens.insert(user, token);
        }
        let chunks = writes.chunks(MAX_WRITES).map(|chunk| self.tables.write(chunk.to_vec()));
        futures_util::future::try_join_all(chunks).await?;
        Ok(tokens)
    }
}
