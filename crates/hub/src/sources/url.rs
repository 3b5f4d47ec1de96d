//! A file at an address, as it is.

use super::{Context, Fetch, Offer, OfferedFile, Source, keys};
use crate::HubError;
use crate::http::Request;
use crate::manifest::FileRole;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: String,
}

struct Address(Request);

impl std::fmt::Debug for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.describe())
    }
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let Keys { url } = keys(table)?;
    let request = Request::new(&url).map_err(|_| format!("url: expected an http or https address, got {url:?}"))?;
    Ok(Arc::new(Address(request)))
}

impl Source for Address {
    fn describe(&self) -> String {
        format!("url {}", self.0.shown())
    }

    fn offer(&self, _: &Context<'_>) -> Result<Offer, HubError> {
        let file = OfferedFile {
            role: FileRole::Model,
            file_name: "model.gguf".to_string(),
            bytes: None,
            sha256: None,
            fetch: Fetch::Address(self.0.clone()),
        };
        Ok(Offer { files: vec![file], origin: self.describe(), license: None, page: None, settings: None })
    }
}
