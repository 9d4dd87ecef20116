//! Images.

use std::os::fd::BorrowedFd;

use bulkhead_api::image::{HistoryStep, ImageResource};
use bulkhead_api::request::{
    ImportRequest, LoadRequest, PruneImagesRequest, PruneImagesResponse, PullRequest, PushRequest,
    SaveRequest, TagRequest, VerifyImageRequest, VerifyImageResponse,
};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::event_stream::EventStream;
use crate::path::percent_encode;

impl Client {
    /// All images.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_images(&self) -> Result<Vec<ImageResource>, ClientError> {
        self.get(route::IMAGES).await
    }

    /// The names of all images; [`Self::list_images`] leaves out what is damaged.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn image_names(&self) -> Result<Vec<String>, ClientError> {
        self.get(route::IMAGE_NAMES).await
    }

    /// One image.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn image(&self, reference: &str) -> Result<ImageResource, ClientError> {
        self.get(&image_path(reference)).await
    }

    /// How an image came to be, the last step first; of this host's platform, or another.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn image_history(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<Vec<HistoryStep>, ClientError> {
        let platform = platform.map(|one| format!("&platform={}", percent_encode(one))).unwrap_or_default();
        let reference = percent_encode(reference);
        self.get(&format!("{}?reference={reference}{platform}", route::IMAGE_HISTORY)).await
    }

    /// Removes a name; what no other name needs goes with it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_image(&self, reference: &str) -> Result<(), ClientError> {
        self.delete(&image_path(reference)).await
    }

    /// Pulls an image; the last event is `Finished`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn pull_image(&self, request: &PullRequest) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::IMAGE_PULL, request, &[]).await?))
    }

    /// Pushes an image; the last event is `Finished`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn push_image(&self, request: &PushRequest) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::IMAGE_PUSH, request, &[]).await?))
    }

    /// Loads an archive from a descriptor; the last event is `Finished`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn load_images(
        &self,
        request: &LoadRequest,
        archive: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::IMAGE_LOAD, request, &[archive]).await?))
    }

    /// Makes an image of the archive in the descriptor; the last event is `ImageMade`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn import_image(
        &self,
        request: &ImportRequest,
        archive: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::IMAGE_IMPORT, request, &[archive]).await?))
    }

    /// Saves images into a descriptor; the last event is `Finished`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn save_images(
        &self,
        request: &SaveRequest,
        archive: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::IMAGE_SAVE, request, &[archive]).await?))
    }

    /// Removes images that nobody needs.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn prune_images(
        &self,
        request: &PruneImagesRequest,
    ) -> Result<PruneImagesResponse, ClientError> {
        self.post_for(route::IMAGE_PRUNE, request).await
    }

    /// Reads all of an image, compares it with its digests and mends what can be mended here.
    ///
    /// # Errors
    /// [`ClientError`], also when something is damaged for good.
    pub async fn verify_image(
        &self,
        request: &VerifyImageRequest,
    ) -> Result<VerifyImageResponse, ClientError> {
        self.post_for(route::IMAGE_VERIFY, request).await
    }

    /// Gives an image a further name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tag_image(&self, request: &TagRequest) -> Result<(), ClientError> {
        self.post(route::IMAGE_TAG, request).await
    }
}

fn image_path(reference: &str) -> String {
    format!("{}?reference={}", route::IMAGE, percent_encode(reference))
}
