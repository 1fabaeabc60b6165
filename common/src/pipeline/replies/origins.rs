//! Where a message came from, as its envelope says.

use std::collections::HashMap;

use super::parcels::EdgeProcess;
use crate::pipeline::deliver::{InternalKey, SignedAddress};
use crate::pipeline::envelope::Origin;
use crate::telemetry::Metrics;

/// How many edges are remembered. More than a deployment has: when it is full, all are checked again.
const MOST: usize = 4096;

/// The edges whose signatures were found valid.
pub(super) struct Origins {
    key: InternalKey,
    metrics: Metrics,
    known: HashMap<SignedAddress, EdgeProcess>,
}

impl Origins {
    pub(super) fn new(key: InternalKey, metrics: Metrics) -> Self {
        Self { key, metrics, known: HashMap::new() }
    }

    /// The edge process that an origin names, if that process said where it is. What it did not sign is as good as
    /// unsaid, and is not remembered: forged addresses must not fill the memory.
    pub(super) fn edge(&mut self, origin: &Origin) -> Option<EdgeProcess> {
        let signed = origin.edge.as_ref()?;
        if let Some(edge) = self.known.get(signed)
            && edge.boot == origin.boot
        {
            return Some(edge.clone());
        }
        let Some(address) = self.key.address(&origin.boot, signed) else {
            self.metrics.reply_origins_unsigned.inc();
            return None;
        };
        let edge = EdgeProcess { address: address.into(), boot: origin.boot.clone() };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(signed.clone(), edge.clone());
        Some(edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_edge_signed_is_believed_and_remembered() {
        let key = InternalKey::new(&[7; 32]).unwrap();
        let forger = InternalKey::new(&[8; 32]).unwrap();
        let metrics = Metrics::new();
        let mut origins = Origins::new(key.clone(), metrics.clone());
        let origin = |key: &InternalKey, boot: &str, address: &str, says: &str| Origin {
            boot: says.into(),
            connection: 1,
            edge: Some(key.sign_address(boot, address)),
        };
        let edge = EdgeProcess { address: "10.0.0.1:9090".into(), boot: "one".into() };
        for _ in 0..2 {
            assert_eq!(origins.edge(&origin(&key, "one", "10.0.0.1:9090", "one")), Some(edge.clone()));
        }
        assert_eq!(origins.edge(&origin(&forger, "one", "10.0.0.1:9090", "one")), None, "another key");
        assert_eq!(origins.edge(&origin(&key, "one", "10.0.0.1:9090", "two")), None, "another's signature");
        assert_eq!(metrics.reply_origins_unsigned.get(), 2);
        let unsaid = Origin { boot: "one".into(), connection: 1, edge: None };
        assert_eq!(origins.edge(&unsaid), None);
        assert_eq!((metrics.reply_origins_unsigned.get(), origins.known.len()), (2, 1));
        for n in 0..2 * MOST {
            let boot = n.to_string();
            assert!(origins.edge(&origin(&key, &boot, "10.0.0.1:9090", &boot)).is_some());
            assert!(origins.known.len() <= MOST);
        }
    }
}
