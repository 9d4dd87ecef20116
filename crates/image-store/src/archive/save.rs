//! `image save`.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bulkhead_oci::{
    ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME, Descriptor, Digest, Document, MediaType, Platform,
    Reference,
};

use super::docker::ManifestEntry;
use crate::StoreError;
use crate::store::{Inner, Store};

const TAR_BLOCK_BYTES: u64 = 512;

impl Store {
    /// Writes images as a tar that is an OCI layout and, for each image whose platform is certain, a docker-archive as
    /// well. Blobs are the very bytes that were pulled. Blocks.
    ///
    /// With a platform, only that manifest of each image is written; else all that are in the store. The same images
    /// always make the same bytes.
    ///
    /// # Errors
    /// When content is missing or damaged, or the output fails.
    pub fn save_archive(
        &self,
        images: &[(Option<Reference>, Digest)],
        platform: Option<&Platform>,
        output: impl Write,
    ) -> Result<(), StoreError> {
        let digests: Vec<Digest> = images.iter().map(|(_, digest)| *digest).collect();
        let _lease = self.lease(&digests);
        let mut saver = Saver {
            store: self,
            inner: &self.inner,
            platform,
            output,
            written: HashSet::new(),
            index: Vec::new(),
            docker: Vec::new(),
        };
        saver.write_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for (reference, digest) in images {
            saver.add(reference.as_ref(), digest)?;
        }
        saver.finish()
    }
}

struct Saver<'a, W> {
    store: &'a Store,
    inner: &'a Inner,
    platform: Option<&'a Platform>,
    output: W,
    written: HashSet<Digest>,
    index: Vec<Descriptor>,
    docker: Vec<ManifestEntry>,
}

impl<W: Write> Saver<'_, W> {
    fn add(&mut self, reference: Option<&Reference>, digest: &Digest) -> Result<(), StoreError> {
        let mut root = match self.platform {
            Some(platform) => self.store.descriptor(&self.store.image(digest, platform)?.manifest_digest)?,
            None => self.store.descriptor(digest)?,
        };
        let variants = self.store.variants(&root.digest)?;
        if variants.is_empty() {
            return Err(StoreError::MissingBlob { digest: root.digest });
        }
        self.write_blob(&root.digest)?;
        for variant in &variants {
            let document = self.inner.documents.document(&self.inner.layout, &variant.descriptor.digest)?;
            let Document::Manifest(manifest) = &*document else { continue };
            self.write_blob(&variant.descriptor.digest)?;
            self.write_blob(&manifest.config.digest)?;
            for layer in &manifest.layers {
                self.write_blob(&layer.digest)?;
            }
        }
        // Indexes between root and manifests.
        self.write_inner_indexes(&root.digest)?;
        if let Some(reference) = reference {
            root.annotations =
                BTreeMap::from([(ANNOTATION_CONTAINERD_NAME.to_owned(), reference.to_string())]);
            if let Some(tag) = reference.tag() {
                root.annotations.insert(ANNOTATION_REF_NAME.to_owned(), tag.to_owned());
            }
        }
        let host = Platform::host();
        let for_docker = match variants.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|variant| host.matches(&variant.platform)),
        };
        if let Some(variant) = for_docker {
            let document = self.inner.documents.document(&self.inner.layout, &variant.descriptor.digest)?;
            if let Document::Manifest(manifest) = &*document {
                let tags = reference.filter(|reference| reference.tag().is_some());
                self.docker.push(ManifestEntry {
                    config: blob_name(&manifest.config.digest),
                    repo_tags: Some(tags.map(Reference::familiar_name).into_iter().collect()),
                    layers: Some(manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect()),
                });
            }
        }
        self.index.push(root);
        Ok(())
    }

    fn write_inner_indexes(&mut self, root: &Digest) -> Result<(), StoreError> {
        let mut pending = vec![*root];
        let mut seen = HashSet::new();
        while let Some(digest) = pending.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let Ok(document) = self.inner.documents.document(&self.inner.layout, &digest) else { continue };
            if let Document::Index(index) = &*document {
                self.write_blob(&digest)?;
                pending.extend(
                    index.images().filter(|entry| entry.media_type.is_index()).map(|entry| entry.digest),
                );
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), StoreError> {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciIndex.as_str(),
            "manifests": self.index,
        });
        self.write_bytes("index.json", index.to_string().as_bytes())?;
        let docker = serde_json::to_vec(&self.docker).map_err(|error| failed(error.into()))?;
        self.write_bytes("manifest.json", &docker)?;
        self.output.write_all(&[0; 1024]).and_then(|()| self.output.flush()).map_err(failed)
    }

    fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_header(name, bytes.len() as u64)?;
        self.output.write_all(bytes).map_err(failed)?;
        self.pad(bytes.len() as u64)
    }

    fn write_blob(&mut self, digest: &Digest) -> Result<(), StoreError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let path = self.inner.layout.blob(digest);
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *digest },
            _ => StoreError::file("open", &path, source),
        })?;
        let size_bytes = file.metadata().map_err(|source| StoreError::file("read", &path, source))?.len();
        self.write_header(&blob_name(digest), size_bytes)?;
        let mut limited = file.take(size_bytes);
        let copied = io::copy(&mut limited, &mut self.output).map_err(failed)?;
        if copied != size_bytes {
            return Err(StoreError::SizeMismatch {
                digest: *digest,
                expected_bytes: size_bytes,
                actual_bytes: copied,
            });
        }
        self.pad(size_bytes)
    }

    /// A ustar header of root, dated 1970; sizes beyond 8 GiB in base 256.
    fn write_header(&mut self, name: &str, size_bytes: u64) -> Result<(), StoreError> {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
        if size_bytes < 1 << 33 {
            header[124..136].copy_from_slice(format!("{size_bytes:011o}\0").as_bytes());
        } else {
            header[124] = 0x80;
            header[128..136].copy_from_slice(&size_bytes.to_be_bytes());
        }
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.output.write_all(&header).map_err(failed)
    }

    fn pad(&mut self, size_bytes: u64) -> Result<(), StoreError> {
        let padding = size_bytes.next_multiple_of(TAR_BLOCK_BYTES) - size_bytes;
        let zeros = [0; 512];
        self.output.write_all(&zeros[..usize::try_from(padding).unwrap_or(0)]).map_err(failed)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn failed(error: io::Error) -> StoreError {
    StoreError::SaveArchive(Arc::new(error))
}
