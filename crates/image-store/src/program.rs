//! Single files of an image, for a caller that needs no container to read them.

use std::fs::File;

use bulkhead_erofs::{FileType, Image, ReadError};

use crate::StoreError;
use crate::parents::{Look, look};
use crate::resolve::{LayerFile, ResolvedImage};
use crate::store::Store;

impl Store {
    /// The content of a regular file of the image, as overlayfs would show it; symbolic links are not followed.
    /// `None` when there is none. The path has no leading slash. Blocks.
    ///
    /// # Errors
    /// When it has more than `maximum_bytes`, or a layer cannot be read or is damaged.
    pub fn file_content(
        &self,
        image: &ResolvedImage,
        path: &[u8],
        maximum_bytes: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        for layer in image.layers.iter().rev() {
            let file =
                File::open(&layer.path).map_err(|source| StoreError::file("open", &layer.path, source))?;
            match find(file, path, maximum_bytes).map_err(|error| failed(layer, error))? {
                Found::Content(content) => return Ok(Some(content)),
                Found::Hidden => return Ok(None),
                Found::Nothing => {}
            }
        }
        Ok(None)
    }
}

enum Found {
    Content(Vec<u8>),
    /// Lower layers do not count: a whiteout, an opaque directory, something that is no file.
    Hidden,
    Nothing,
}

fn find(layer: File, path: &[u8], maximum_bytes: u64) -> Result<Found, ReadError> {
    let image = Image::open(layer)?;
    match image.lookup(path)? {
        Some(stat) if stat.kind == FileType::Regular => {
            image.content(&stat, maximum_bytes).map(Found::Content)
        }
        Some(_) => Ok(Found::Hidden),
        None => {
            let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |end| &path[..end]);
            let hidden = match look(&image, parent)? {
                Look::Nothing { hides_lower } | Look::Directory { hides_lower, .. } => hides_lower,
            };
            Ok(if hidden { Found::Hidden } else { Found::Nothing })
        }
    }
}

fn failed(layer: &LayerFile, error: ReadError) -> StoreError {
    match error {
        ReadError::Input(source) => StoreError::file("read", &layer.path, source),
        _ => StoreError::DamagedLayer { diff_id: layer.diff_id },
    }
}
