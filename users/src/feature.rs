//! Signing in as a feature.

use std::sync::Arc;

use anyhow::Context as _;
use soundoff_common::model::sign_ins;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::courier::Courier;
use soundoff_common::ports::tables::Table;

use crate::config::UsersConfig;
use crate::foreign::ForeignTokens;
use crate::holdings::HOLDINGS;
use crate::keys::ring::Ring;
use crate::service::{JWKS, Users, UsersDeps};

/// The parts of the User service of this process.
#[derive(Clone)]
pub struct UsersSettings {
    /// How users sign in.
    pub config: UsersConfig,
    /// The keys of access tokens.
    pub ring: Arc<Ring>,
    /// The customer's own tokens, where they are taken.
    pub foreign_tokens: Option<Arc<ForeignTokens>>,
    /// Sends mails.
    pub mail: Arc<dyn Courier>,
    /// Sends texts.
    pub texts: Arc<dyn Courier>,
    /// Whether notices that no courier carries can be read at `/dev/outbox`.
    pub outbox: bool,
}

/// The User service. `settings` are `None` where only the declaration is wanted, or the process does not serve it.
#[must_use]
pub fn feature(settings: Option<UsersSettings>) -> Feature {
    const TABLES: &[Table] = &[Table::Users, Table::Entities];
    let pages = settings.clone();
    Feature::new("users")
        .shows(Tier::Users, &["/v1/auth", JWKS], &[], move |world| {
            let UsersSettings { config, ring, foreign_tokens, mail, texts, outbox } =
                pages.clone().context("no settings of the User service")?;
            let deps = UsersDeps {
                tables: world.tables.clone(),
                replies: world.outward.replies.clone(),
                ring,
                verifier: world.verifier()?,
                foreign_tokens,
                secret: world.secret.clone(),
                mail,
                texts,
                outbox,
                metrics: world.metrics.clone(),
                weather: world.weather.clone(),
            };
            Ok(Users::new(config, deps))
        })
        .runs(Tier::Users, "renewal of token keys", &[], move |_, stop| {
            let settings = settings.as_ref().context("no settings of the User service")?;
            Ok(settings.ring.clone().keep_fresh(stop))
        })
        .touches(Tier::Users, Touches { reads: TABLES, writes: TABLES, ..Touches::default() })
        .keeps(HOLDINGS)
        .keeps(sign_ins::HOLDINGS)
}
