//! Verifies tokens, and remembers the valid ones: clients repeat them when many reconnect at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;
use soundoff_common::ports::tokens::{Token, TokenError, TokenVerifier};

/// The verifier, and what it said about valid tokens. The key is a hash, so that no token stays in memory.
pub(crate) struct Tokens {
    verifier: Arc<dyn TokenVerifier>,
    good: Cache<[u8; 32], Token>,
    /// The verifier's epoch in which `good` was filled.
    epoch: AtomicU64,
}

impl Tokens {
    pub(crate) fn new(verifier: Arc<dyn TokenVerifier>, capacity: usize) -> Self {
        let epoch = AtomicU64::new(verifier.epoch());
        Self { verifier, good: Cache::new(capacity), epoch }
    }

    /// What the token says, if it is valid at `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// As the verifier, and [`TokenError::Expired`].
    pub(crate) fn verify(&self, token: &str, now_s: u64) -> Result<Token, TokenError> {
        let epoch = self.verifier.epoch();
        // It seldom changes, so usually this only reads what all threads share.
        if self.epoch.load(Ordering::Acquire) != epoch {
            self.good.clear();
            self.epoch.store(epoch, Ordering::Release);
        }
        let key: [u8; 32] =
            digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 is 32 bytes");
        if let Some(good) = self.good.get(&key) {
            if good.expires_at() > now_s {
                return Ok(good);
            }
            self.good.remove(&key);
            return Err(TokenError::Expired);
        }
        let good = self.verifier.verify(token, now_s)?;
        if good.expires_at() <= now_s {
            return Err(TokenError::Expired);
        }
        self.good.insert(key, good.clone());
        if self.verifier.epoch() != epoch {
            // Perhaps it was judged by keys that were dropped meanwhile: it must not be remembered.
            self.good.remove(&key);
        }
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use soundoff_common::ports::tokens::Claims;
    use soundoff_common::protocol::Role;

    use super::*;

    struct Counting(AtomicUsize);

    impl TokenVerifier for Counting {
        fn verify(&self, token: &str, _: u64) -> Result<Token, TokenError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let user = token.parse().map_err(|_| TokenError::Invalid)?;
            let claims = Claims { user, session: ulid::Ulid::nil(), role: Role::User, expires_at: 100 };
            Ok(Token::Ours(claims))
        }
    }

    #[test]
    fn good_tokens_are_remembered_until_they_expire_and_bad_ones_never() {
        let counting = Arc::new(Counting(AtomicUsize::new(0)));
        let tokens = Tokens::new(counting.clone(), 16);
        let calls = || counting.0.load(Ordering::Relaxed);
        for _ in 0..3 {
            let Token::Ours(ann) = tokens.verify("ann", 99).unwrap() else { panic!("one of ours") };
            assert_eq!(ann.user.as_str(), "ann");
        }
        assert_eq!(calls(), 1);
        assert_eq!(tokens.verify("ann", 100), Err(TokenError::Expired));
        assert_eq!(tokens.verify("ann", 100), Err(TokenError::Expired), "nor does it become good again");
        let before = calls();
        for _ in 0..3 {
            assert_eq!(tokens.verify("!", 0), Err(TokenError::Invalid));
        }
        assert_eq!(calls(), before + 3);
        for n in 0..1000 {
            tokens.verify(&format!("user{n}"), 0).unwrap();
        }
        assert!(tokens.good.len() <= 32, "{} remembered", tokens.good.len());
    }
}
