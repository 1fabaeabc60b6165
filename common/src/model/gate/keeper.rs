//! What keeps the gate at the doors of one process.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName};
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Gate, Mode, Shut, Visitor, read};
use crate::ports::tables::Tables;
use crate::protocol::now_ms;

/// How often a process looks at the gate.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The header in which a request that opens no websocket names its app.
const APP_HEADER: HeaderName = HeaderName::from_static("soundoff-app");
/// What an app's name begins with among the subprotocols that a websocket offers.
const APP_PROTOCOL: &str = "app.";

/// Finds the country of a request, by its headers and its address.
pub type CountryOf = Arc<dyn Fn(&HeaderMap, Option<IpAddr>) -> Option<String> + Send + Sync>;

/// Keeps the gate. Cloning shares it.
#[derive(Clone)]
pub struct Keeper {
    gate: Arc<watch::Sender<Gate>>,
    is_open: Arc<AtomicBool>,
    country_of: CountryOf,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keeper({:?})", self.gate.borrow())
    }
}

impl Default for Keeper {
    /// Of a gate that is open.
    fn default() -> Self {
        Self::new(Arc::new(|_, _| None))
    }
}

impl Keeper {
    /// Of a gate that is open until the first look.
    #[must_use]
    pub fn new(country_of: CountryOf) -> Self {
        let gate = Arc::new(watch::Sender::new(Gate::default()));
        Self { gate, is_open: Arc::new(AtomicBool::new(true)), country_of }
    }

    /// Whether somebody is let in who comes from `address` with these headers.
    ///
    /// # Errors
    /// [`Shut`], when not yet.
    #[inline]
    pub fn judge(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<(), Shut> {
        if self.is_open.load(Ordering::Acquire) { Ok(()) } else { self.look_at(headers, address) }
    }

    #[cold]
    fn look_at(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<(), Shut> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let visitor = Visitor {
            address,
            agent: text(header::USER_AGENT).unwrap_or_default(),
            country: (self.country_of)(headers, address),
            app: text(APP_HEADER).or_else(|| {
                let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
                let mut names =
                    offered.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
                names.find_map(|name| name.trim().strip_prefix(APP_PROTOCOL))
            }),
        };
        self.gate.borrow().judge(&visitor, now_ms(), rand::rng().random())
    }

    /// The gate as of the last look.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.borrow().clone()
    }

    /// Waits until the gate has been closed.
    pub async fn closed(&self) {
        let mut changes = self.gate.subscribe();
        // The sender is ours: it does not end.
        let _never = changes.wait_for(|gate| gate.mode == Mode::Closed).await;
    }

    /// Waits until the gate is not closed.
    pub async fn not_closed(&self) {
        let mut changes = self.gate.subscribe();
        let _never = changes.wait_for(|gate| gate.mode != Mode::Closed).await;
    }

    /// Looks at the gate. When the tables do not answer, it stays as it was.
    pub async fn look(&self, tables: &dyn Tables) {
        match read(tables).await {
            Ok(gate) => {
                self.is_open.store(gate.mode == Mode::Open, Ordering::Release);
                self.gate.send_if_modified(|known| {
                    let changed = *known != gate;
                    *known = gate;
                    changed
                });
            }
            Err(error) => tracing::debug!(%error, "cannot look at the gate"),
        }
    }

    /// Looks again and again, until `stop`.
    pub async fn keep(self, tables: Arc<dyn Tables>, stop: CancellationToken) {
        let looking = async {
            loop {
                self.look(&*tables).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        stop.run_until_cancelled(looking).await;
    }
}
