//! A file of this machine, or of a disk that it mounts. It is copied: what lies elsewhere may change.

use super::{Context, Fetch, Offer, OfferedFile, Source, keys};
use crate::HubError;
use crate::manifest::FileRole;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalPath {
    path: PathBuf,
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let source: LocalPath = keys(table)?;
    // A path that depends on where the program was started would name another file tomorrow.
    if !source.path.has_root() {
        return Err(format!("path: expected an absolute path, got {:?}", source.path.display().to_string()));
    }
    Ok(Arc::new(source))
}

impl Source for LocalPath {
    fn describe(&self) -> String {
        format!("path {}", self.path.display())
    }

    fn offer(&self, _: &Context<'_>) -> Result<Offer, HubError> {
        let missing = |_| HubError::NotFound {
            what: self.path.display().to_string(),
            hint: "check the path, and whether its disk is mounted".to_string(),
        };
        let bytes = std::fs::metadata(&self.path).map_err(missing)?.len();
        let file = OfferedFile {
            role: FileRole::Model,
            file_name: "model.gguf".to_string(),
            bytes: Some(bytes),
            sha256: None,
            fetch: Fetch::Local(self.path.clone()),
        };
        Ok(Offer { files: vec![file], origin: self.describe(), license: None, page: None, settings: None })
    }
}
