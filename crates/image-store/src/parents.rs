//! Directories that a layer uses but does not describe.
//!
//! A tar may hold `home/user/file` without entries for `home` and `home/user`. Extracted onto the layers below, as
//! Docker does it, the directories keep the owner and mode they have there. A layer that stands alone has to make them
//! up, and overlayfs shows the topmost directory's: `/tmp` would lose its sticky bit. Where that matters, one more
//! small layer on top of all others holds these directories as they should be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;

use bulkhead_erofs::{DirectoryId, FileType, Identity, Image, Metadata, Writer};
use bulkhead_oci::{Digest, DigestHasher};

use crate::StoreError;
use crate::files::{Layout, TemporaryFile};
use crate::layer::{IMPLICIT_PERMISSIONS, LayerError};
use crate::resolve::LayerFile;

const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";
const OPAQUE_ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";

/// What directories should have, by path; sorted, so that parents come first.
type Directories = BTreeMap<Vec<u8>, Metadata>;

/// The name of the layer that corrects directories of these layers; no DiffID can be equal to it by accident.
pub(crate) fn correction_digest(diff_ids: &[Digest]) -> Digest {
    let mut hasher = DigestHasher::new();
    hasher.update(b"directories that layers leave to those below\n");
    for diff_id in diff_ids {
        hasher.update(diff_id.bytes());
    }
    hasher.finish()
}

/// One of the image's layers.
struct Layer {
    image: Image,
    implicit: BTreeSet<Vec<u8>>,
}

/// The layer to put on top of `layers`, if one is needed. It is made when first asked for.
pub(crate) fn correction(layout: &Layout, layers: &[LayerFile]) -> Result<Option<LayerFile>, StoreError> {
    let Some((diff_id, corrections)) = needed(layout, layers)? else { return Ok(None) };
    let path = layout.layer(&diff_id);
    let known = File::open(&path).ok().and_then(|file| Image::open(file).ok());
    let length_bytes = match known {
        Some(image) => image.length_bytes(),
        None => {
            let (file, length_bytes) = write(layout, &diff_id, &corrections)?;
            file.publish(&path)?;
            length_bytes
        }
    };
    Ok(Some(LayerFile { diff_id, path, length_bytes }))
}

/// What [`correction`] would make, whatever is there.
pub(crate) fn fresh_correction(
    layout: &Layout,
    layers: &[LayerFile],
) -> Result<Option<(Digest, TemporaryFile)>, StoreError> {
    let Some((diff_id, corrections)) = needed(layout, layers)? else { return Ok(None) };
    Ok(Some((diff_id, write(layout, &diff_id, &corrections)?.0)))
}

/// The directories of a correction and its name, if one is needed.
fn needed(layout: &Layout, layers: &[LayerFile]) -> Result<Option<(Digest, Directories)>, StoreError> {
    let mut opened = Vec::with_capacity(layers.len());
    let mut paths = BTreeSet::new();
    for (index, layer) in layers.iter().enumerate() {
        let implicit = read_implicit(layout, &layer.diff_id)?;
        // Below the lowest layer there is nothing to take after.
        if index > 0 {
            paths.extend(implicit.iter().cloned());
        }
        opened.push((layer, implicit));
    }
    if paths.is_empty() {
        return Ok(None);
    }
    let mut stack = Vec::with_capacity(opened.len());
    for (layer, implicit) in opened {
        let damaged = |_| StoreError::DamagedLayer { diff_id: layer.diff_id };
        let file = File::open(&layer.path).map_err(|source| StoreError::file("open", &layer.path, source))?;
        stack.push(Layer { image: Image::open(file).map_err(damaged)?, implicit });
    }
    let Some(corrections) = corrections(&stack, &paths)
        .map_err(|index| StoreError::DamagedLayer { diff_id: layers[index].diff_id })?
    else {
        return Ok(None);
    };
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    Ok(Some((correction_digest(&diff_ids), corrections)))
}

fn read_implicit(layout: &Layout, diff_id: &Digest) -> Result<BTreeSet<Vec<u8>>, StoreError> {
    let path = layout.implicit(diff_id);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            Ok(paths.map(<[u8]>::to_vec).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(StoreError::file("read", &path, source)),
    }
}

/// What the topmost view of a directory should have, by path; `None` if all of it is as it should be already.
/// Fails with the index of a damaged layer.
fn corrections(stack: &[Layer], paths: &BTreeSet<Vec<u8>>) -> Result<Option<Directories>, usize> {
    let mut found: HashMap<Vec<u8>, Option<Metadata>> = HashMap::new();
    let mut wanted = BTreeMap::new();
    for path in paths {
        let Some(metadata) = effective(stack, path)? else { continue };
        if is_made_up(&metadata) {
            continue;
        }
        // The directories on the way are in the new layer too, so they have to be right as well.
        for end in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index) {
            let parent = &path[..end];
            if !found.contains_key(parent) {
                found.insert(parent.to_vec(), effective(stack, parent)?);
            }
            if let Some(Some(metadata)) = found.get(parent) {
                wanted.insert(parent.to_vec(), metadata.clone());
            }
        }
        wanted.insert(path.clone(), metadata);
    }
    Ok((!wanted.is_empty()).then_some(wanted))
}

fn is_made_up(metadata: &Metadata) -> bool {
    metadata.permissions == IMPLICIT_PERMISSIONS
        && (metadata.uid, metadata.gid) == (0, 0)
        && metadata.attributes.is_empty()
}

/// Owner and mode of a directory as the layers together describe it; `None` if no directory is seen there.
fn effective(stack: &[Layer], path: &[u8]) -> Result<Option<Metadata>, usize> {
    let mut made_up = None;
    for (index, layer) in stack.iter().enumerate().rev() {
        let (metadata, hides_lower) = match look(&layer.image, path).map_err(|_| index)? {
            Look::Nothing { hides_lower } => (None, hides_lower),
            Look::Directory { metadata, hides_lower } => (Some(metadata), hides_lower),
        };
        if let Some(metadata) = metadata {
            if !layer.implicit.contains(path) {
                return Ok(Some(metadata));
            }
            made_up.get_or_insert(metadata);
        }
        if hides_lower {
            break;
        }
    }
    Ok(made_up)
}

/// What a layer has at a path.
pub(crate) enum Look {
    /// No directory here; files, whiteouts and opaque parents hide those of lower layers.
    Nothing {
        hides_lower: bool,
    },
    Directory {
        metadata: Metadata,
        hides_lower: bool,
    },
}

/// Looks for a directory.
pub(crate) fn look(image: &Image, path: &[u8]) -> Result<Look, bulkhead_erofs::ReadError> {
    let mut hides_lower = false;
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    for end in ends.chain([path.len()]) {
        let Some(stat) = image.lookup(&path[..end])? else { return Ok(Look::Nothing { hides_lower }) };
        if stat.kind != FileType::Directory {
            return Ok(Look::Nothing { hides_lower: true });
        }
        let mut metadata = stat.metadata;
        hides_lower |= metadata.attributes.iter().any(|attribute| attribute.name == OPAQUE_ATTRIBUTE);
        if end == path.len() {
            metadata.attributes.retain(|attribute| !attribute.name.starts_with(OVERLAY_PREFIX));
            return Ok(Look::Directory { metadata, hides_lower });
        }
    }
    Ok(Look::Nothing { hides_lower })
}

/// Writes the directories, parents first as the map is sorted. Returns the file's length in bytes as well.
fn write(
    layout: &Layout,
    diff_id: &Digest,
    directories: &Directories,
) -> Result<(TemporaryFile, u64), StoreError> {
    let file = layout.temporary()?;
    let failed = |source| StoreError::layer(*diff_id, file.path(), LayerError::Image(source));
    let mut writer = Writer::new(file.handle()?).map_err(failed)?;
    let mut known: HashMap<&[u8], DirectoryId> = HashMap::from([(&b""[..], Writer::ROOT)]);
    for (path, metadata) in directories {
        let split = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) =
            split.map_or((&b""[..], &path[..]), |slash| (&path[..slash], &path[slash + 1..]));
        // A parent that is no directory in the merged view has no directories below it either.
        let Some(parent) = known.get(parent) else { continue };
        let directory = writer.create_directory(*parent, name, metadata.clone()).map_err(failed)?;
        known.insert(path, directory);
    }
    let mut identity = Identity::default();
    identity.uuid.copy_from_slice(&diff_id.bytes()[..16]);
    let summary = writer.finish(identity).map_err(failed)?;
    Ok((file, summary.length_bytes))
}
