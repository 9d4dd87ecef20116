//! `image import`: a root file system from a descriptor.

use std::os::fd::OwnedFd;

use bulkhead_api::error::ApiError;
use bulkhead_api::request::ImportRequest;
use bulkhead_image_store::Composition;
use serde_json::{Map, Value, json};

use super::changes::with_changes;
use super::client_file::ClientFile;
use super::compose::{Made, step};
use super::{Images, parse_platform};
use crate::date;
use crate::error::printable;
use crate::events::EventSink;

impl Images {
    /// Makes an image of one layer.
    pub(crate) async fn import(
        &self,
        request: ImportRequest,
        archive: OwnedFd,
        sink: &EventSink,
    ) -> Result<Made, ApiError> {
        let source = printable(&request.source);
        let what = format!("cannot import '{source}'");
        let name = self.new_name(request.reference.as_deref())?;
        let platform = parse_platform(request.platform.as_deref())?;
        let config = with_changes(Map::new(), &request.changes)?;
        let configuration = json!({
            "created": date::now(),
            "os": platform.os,
            "architecture": platform.architecture,
            "config": config,
        });
        let Value::Object(mut configuration) = configuration else { return Err(super::invalid(what)) };
        if let Some(variant) = platform.variant {
            configuration.insert("variant".to_owned(), Value::String(variant));
        }
        let comment = request.message.unwrap_or_else(|| format!("Imported from {source}"));
        let step = step(String::new(), None, Some(comment));
        let archive = ClientFile::to_read(archive, sink.clone());
        let layer = self.spool(archive, true, &what).await?;
        self.compose(Composition { parent: None, configuration, step }, layer, name, &what).await
    }
}
