use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use soundoff_common::accounts;
use soundoff_common::ports::tables::{TableError, Tables};
use soundoff_common::protocol::{Handle, now_ms};

use crate::tokens::Issuer;

/// The most users made by one call.
const MAX_HANDLES: usize = 1000;
/// How long a development token is good, unless the call says otherwise: one day, in seconds.
const LIFETIME_S: u64 = 24 * 3600;

/// Makes users and their tokens without any sign-in, for load tests and demos on one machine.
pub struct DevTokens {
    tables: Arc<dyn Tables>,
    issuer: Issuer,
}

/// The body of `POST /dev/tokens`.
#[derive(Debug, Deserialize)]
pub struct DevTokensRequest {
    /// Who; those that do not exist are made.
    pub handles: Vec<Handle>,
    /// How long the tokens are good, in seconds.
    pub expires_in: Option<u64>,
}

impl DevTokens {
    /// Makes users in `tables` and tokens with `issuer`.
    #[must_use]
    pub fn new(tables: Arc<dyn Tables>, issuer: Issuer) -> Self {
        Self { tables, issuer }
    }

    /// One token a handle.
    ///
    /// # Errors
    /// When there are too many handles, or the tables do not answer.
    pub async fn issue(&self, request: DevTokensRequest) -> anyhow::Result<BTreeMap<Handle, String>> {
        let DevTokensRequest { handles, expires_in } = request;
        anyhow::ensure!(handles.len() <= MAX_HANDLES, "at most {MAX_HANDLES} handles a call");
        let now = now_ms();
        let made = handles.iter().map(|user| self.tables.write(vec![accounts::create(user, now)]));
        for made in futures_util::future::join_all(made).await {
            match made {
                Ok(()) | Err(TableError::ConditionFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut tokens = BTreeMap::new();
        for user in handles {
            let session = ulid::Ulid::generate().to_string();
            let lifetime = expires_in.unwrap_or(LIFETIME_S);
            let token = self.issuer.issue(&user, &session, now / 1000, lifetime)?;
            tokens.insert(user, token);
        }
        Ok(tokens)
    }
}
