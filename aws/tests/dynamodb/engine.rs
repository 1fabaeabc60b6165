//! The stand-ins, each test in tables of its own.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_aws::dynamodb::{DynamoTables, provision};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::tables::contract::Harness;
use soundoff_common::telemetry::Metrics;
use ulid::Ulid;

/// A stand-in, by the environment variable with its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Engine(&'static str);

/// The one of Amazon.
pub(crate) const LOCAL: Engine = Engine("TEST_DYNAMODB_LOCAL");
/// The other that must pass all.
pub(crate) const MINISTACK: Engine = Engine("TEST_MINISTACK");
/// The second opinion.
pub(crate) const MOTO: Engine = Engine("TEST_MOTO");
/// All of them.
pub(crate) const ENGINES: &[Engine] = &[LOCAL, MINISTACK, MOTO];
/// Those that must pass all tests. In moto `true` equals 1, the comparison of a text with a number is an error instead
/// of false, and the token of a transaction is ignored. Its threads also read and write in two steps, so that of two
/// parallel writers both may win.
pub(crate) const EXACT: &[Engine] = &[LOCAL, MINISTACK];

impl Engine {
    pub(crate) fn endpoint(self) -> String {
        std::env::var(self.0).unwrap_or_else(|_| panic!("{} says where the stand-in listens", self.0))
    }

    /// Makes tables for one test.
    pub(crate) async fn start(self) -> Started {
        eprintln!("on the engine of {}", self.0);
        let started = Started { endpoint: self.endpoint(), prefix: format!("t{}-", Ulid::generate()) };
        provision(&started.aws(&Metrics::new()).await, &started.prefix).await.unwrap();
        started
    }
}

/// Tables on a stand-in.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) endpoint: String,
    pub(crate) prefix: String,
}

impl Started {
    pub(crate) async fn aws(&self, metrics: &Metrics) -> Aws {
        let config = AwsConfig { dynamodb_endpoint: Some(self.endpoint.clone()), ..AwsConfig::default() };
        Aws::connect(config, &Weather::new(metrics.clone())).await.unwrap()
    }

    pub(crate) async fn tables(&self, metrics: &Metrics) -> Arc<DynamoTables> {
        DynamoTables::open(&self.aws(metrics).await, &self.prefix).await.unwrap()
    }

    /// The same tables through another endpoint.
    pub(crate) fn by_way_of(&self, endpoint: String) -> Self {
        Self { endpoint, prefix: self.prefix.clone() }
    }
}

#[async_trait]
impl Harness for Started {
    async fn open(&self) -> Arc<dyn Tables> {
        self.tables(&Metrics::new()).await
    }

    async fn reopen(&self, tables: Arc<dyn Tables>) -> Arc<dyn Tables> {
        drop(tables);
        self.open().await
    }
}
