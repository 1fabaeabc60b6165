//! Where an operator's process learns from which country a request comes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use hyper::header::{HeaderMap, HeaderName};
use maxminddb::{Reader, geoip2};
use soundoff_common::model::gate::CountryOf;

/// What stands between clients and a public port, and what it tells of them.
#[derive(Debug, Args)]
pub(crate) struct CountryArgs {
    /// The header in which your balancer or CDN names a client's country by two letters, such as
    /// CloudFront-Viewer-Country. It is believed, so nobody else may be able to set it. The gate opens by it.
    #[arg(long, env = "SOUNDOFF_COUNTRY_HEADER", value_name = "HEADER")]
    country_header: Option<String>,
    /// A file of countries by address (.mmdb, of MaxMind or others), for clients of whom no header tells a country. It is
    /// read once, at the start.
    #[arg(long, env = "SOUNDOFF_COUNTRY_FILE", value_name = "FILE")]
    country_file: Option<PathBuf>,
}

impl CountryArgs {
    /// What finds the country of a request.
    ///
    /// # Errors
    /// A name that is none of a header, or a file that is no database of countries.
    pub(crate) fn finder(&self) -> anyhow::Result<CountryOf> {
        let name = |text: &String| {
            HeaderName::from_bytes(text.as_bytes())
                .with_context(|| format!("--country-header: `{text}` is no name of a header"))
        };
        let header = self.country_header.as_ref().map(name).transpose()?;
        let open = |path: &PathBuf| {
            let file = Reader::open_readfile(path)
                .with_context(|| format!("--country-file: {} is no file of countries", path.display()))?;
            let kind = &file.metadata().database_type;
            let tells = kind.contains("Country") || kind.contains("City");
            anyhow::ensure!(tells, "--country-file: {} holds `{kind}`, and no countries", path.display());
            Ok(file)
        };
        let file = self.country_file.as_ref().map(open).transpose()?;
        Ok(Arc::new(move |headers: &HeaderMap, address: Option<IpAddr>| {
            let told = header.as_ref().and_then(|name| headers.get(name)?.to_str().ok());
            let looked_up = || {
                let found = file.as_ref()?.lookup(address?).ok()?;
                found.decode::<geoip2::Country<'_>>().ok()??.country.iso_code.map(str::to_owned)
            };
            told.map(str::to_uppercase).or_else(looked_up)
        }))
    }
}
