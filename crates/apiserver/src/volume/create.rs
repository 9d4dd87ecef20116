//! Making volumes, by request and by first use.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_api::volume::{
    ANONYMOUS_LABEL, CreateVolumeRequest, MAXIMUM_NAME_BYTES, VolumeConfiguration, VolumeResource,
    is_valid_name,
};
use bulkhead_state::Change;
use tokio::sync::OnceCell;

use super::options::VolumeOptions;
use super::{Entry, Volume, Volumes, format, missing, shared};
use crate::date;
use crate::error::{exists, failed, invalid};
use crate::events::EventSink;
use crate::trash;

impl Volumes {
    /// Creates a volume.
    pub(crate) async fn create(
        self: &Arc<Self>,
        request: CreateVolumeRequest,
    ) -> Result<VolumeResource, ApiError> {
        let name = request.name.clone();
        let (volume, is_new) = self.reserve(request, None)?;
        if !is_new {
            return Err(exists(format!("volume '{name}' already exists")));
        }
        self.complete(volume).await?;
        self.inspect(&name)
    }

    /// Makes somebody a user of the volumes in these mounts, and creates those that are missing. On
    /// failure nothing has changed but for volumes with a name. A mount that has a source already is that of
    /// another container: its volume must be there still, and is as anonymous as it was.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        user: &str,
        mounts: &mut [Mount],
        sink: &EventSink,
    ) -> Result<(), ApiError> {
        let outcome = self.try_attach(user, mounts, sink).await;
        if outcome.is_err() {
            self.forsake(user, mounts).await;
        }
        outcome
    }

    /// Undoes [`Self::attach`].
    pub(crate) async fn forsake(&self, user: &str, mounts: &[Mount]) {
        self.detach(user);
        if let Err(error) = self.delete_anonymous(mounts).await {
            tracing::error!("cannot remove the volumes of a container that was not created: {error}");
        }
    }

    async fn try_attach(
        self: &Arc<Self>,
        user: &str,
        mounts: &mut [Mount],
        sink: &EventSink,
    ) -> Result<(), ApiError> {
        // What is not reached is nothing to undo.
        let were_anonymous = mounts.iter_mut().map(|mount| match &mut mount.kind {
            MountKind::Volume { anonymous, .. } => std::mem::take(anonymous),
            _ => false,
        });
        let were_anonymous: Vec<bool> = were_anonymous.collect();
        for (mount, was_anonymous) in mounts.iter_mut().zip(were_anonymous) {
            let MountKind::Volume { name, anonymous, .. } = &mut mount.kind else { continue };
            if !name.is_empty() && !mount.source.is_empty() {
                let (volume, has_others) = self.join(name, user)?;
                // One that nobody has any more was left on purpose.
                *anonymous = was_anonymous && has_others && volume.configuration.is_anonymous();
                mount.source.clone_from(&volume.configuration.source);
                self.complete(volume).await?;
                continue;
            }
            let mut request = CreateVolumeRequest::default();
            // Whatever the request says: who names a volume keeps it.
            *anonymous = name.is_empty();
            if *anonymous {
                *name = uuid::Uuid::new_v4().hyphenated().to_string();
                request.labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            }
            request.name.clone_from(name);
            let (volume, is_new) = self.reserve(request, Some(user))?;
            if is_new && !*anonymous {
                sink.notice(format!("warning: volume '{name}' did not exist and is created")).await;
            }
            mount.source.clone_from(&volume.configuration.source);
            self.complete(volume).await?;
        }
        keep_named(mounts);
        Ok(())
    }

    /// Finds a volume that must be there; tells whether others use it.
    fn join(&self, name: &str, user: &str) -> Result<(Arc<Volume>, bool), ApiError> {
        let mut all = self.lock();
        let entry = all.get_mut(name).ok_or_else(|| missing(name))?;
        let has_others = entry.users.iter().any(|other| other != user);
        entry.users.insert(user.to_owned());
        Ok((Arc::clone(&entry.volume), has_others))
    }

    /// Takes the name, or finds the volume that has it already; tells which.
    fn reserve(
        &self,
        request: CreateVolumeRequest,
        user: Option<&str>,
    ) -> Result<(Arc<Volume>, bool), ApiError> {
        let CreateVolumeRequest { name, labels, options } = request;
        validate_name(&name)?;
        let parsed = VolumeOptions::parse(&options)?;
        if self.set_aside.contains(&name) {
            let message = format!("the record of volume '{name}' is damaged, and its disk is kept");
            return Err(exists(message).with_hint("See: container system logs".to_owned()));
        }
        let mut all = self.lock();
        let is_new = !all.contains_key(&name);
        let entry = all.entry(name.clone()).or_insert_with(|| Entry {
            volume: Arc::new(Volume {
                configuration: VolumeConfiguration {
                    driver: "local".to_owned(),
                    format: if parsed.shared { "virtiofs" } else { "ext4" }.to_owned(),
                    source: self.place(&name, parsed.shared).display().to_string(),
                    creation_date: date::now(),
                    labels,
                    options,
                    size_in_bytes: (!parsed.shared).then_some(parsed.size_bytes),
                    name,
                },
                made: OnceCell::new(),
            }),
            users: BTreeSet::new(),
            holder: None,
        });
        entry.users.extend(user.map(str::to_owned));
        Ok((Arc::clone(&entry.volume), is_new))
    }

    /// Makes disk and record of a volume, unless somebody did. Whoever comes second waits, and hears the
    /// same. It is brought to an end even if the client is gone.
    async fn complete(self: &Arc<Self>, volume: Arc<Volume>) -> Result<(), ApiError> {
        if volume.is_ready() {
            return Ok(());
        }
        let volumes = Arc::clone(self);
        let name = volume.configuration.name.clone();
        let work = tokio::spawn(async move {
            let outcome = volume.made.get_or_init(|| volumes.make(&volume.configuration)).await.clone();
            outcome.inspect_err(|_| volumes.drop_incomplete(&volume))
        });
        work.await.map_err(|error| failed(format!("cannot create volume '{name}'"), &error))?
    }

    fn drop_incomplete(&self, volume: &Arc<Volume>) {
        let mut all = self.lock();
        let name = &volume.configuration.name;
        if all.get(name).is_some_and(|entry| Arc::ptr_eq(&entry.volume, volume)) {
            all.remove(name);
        }
    }

    async fn make(&self, configuration: &VolumeConfiguration) -> Result<(), ApiError> {
        let name = &configuration.name;
        let options = VolumeOptions::parse(&configuration.options)?;
        let path = self.place(name, options.shared);
        let made = tokio::task::spawn_blocking(move || match options.shared {
            true => shared::create(&path),
            false => format::create(&path, options),
        });
        made.await
            .map_err(|error| failed(format!("cannot create volume '{name}'"), &error))?
            .map_err(|error| failed(format!("cannot create volume '{name}'"), &error))?;
        let recorded = self.records.submit(Change::PutVolume(Box::new(configuration.clone()))).wait().await;
        if let Err(error) = recorded {
            // Nobody knows of it, and the name must be free for another try.
            if let Err(error) = trash::discard(&self.directories.volumes(), name) {
                tracing::warn!(name, "a volume that could not be recorded is left behind: {error}");
            }
            return Err(error);
        }
        self.history.volume("create", name);
        Ok(())
    }
}

pub(crate) fn validate_name(name: &str) -> Result<(), ApiError> {
    if is_valid_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
    Err(invalid(format!(
        "'{shown}' is not a volume name: 1 to {MAXIMUM_NAME_BYTES} letters, digits, '_', '.' or '-', of which \
         the first is a letter or digit"
    )))
}

/// A volume that is also mounted by its name is not the container's to remove, wherever else it has it from.
fn keep_named(mounts: &mut [Mount]) {
    let named = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, anonymous: false, .. } => Some(name.clone()),
        _ => None,
    });
    let named: BTreeSet<String> = named.collect();
    for mount in mounts {
        if let MountKind::Volume { name, anonymous, .. } = &mut mount.kind {
            *anonymous &= !named.contains(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bulkhead_state::Quarantined;

    use super::*;
    use crate::history::History;
    use crate::service::testing::{directories, records};

    #[tokio::test]
    async fn a_damaged_record_keeps_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let directories = directories(folder.path());
        let disk = directories.volume_disk("data");
        std::fs::create_dir_all(disk.parent().unwrap()).unwrap();
        std::fs::write(&disk, "precious").unwrap();
        let damaged = |origin: &str, key: &str| Quarantined {
            origin: origin.into(),
            key: key.into(),
            reason: "nonsense".into(),
        };
        let damaged = [damaged("volume", "data"), damaged("container", "box")];
        let records = Arc::new(records(folder.path()).0);
        let history: Arc<History> = Arc::default();
        let volumes = Arc::new(Volumes::new(&directories, records, history, Vec::new(), &damaged));
        volumes.sweep();
        let request = CreateVolumeRequest { name: "data".into(), ..CreateVolumeRequest::default() };
        let error = volumes.create(request).await.unwrap_err();
        assert!(error.message.contains("is damaged"), "{}", error.message);
        assert_eq!(std::fs::read_to_string(&disk).unwrap(), "precious");
        // The record of something else is no reason.
        let options = [("type".to_owned(), "shared".to_owned())].into();
        let request = CreateVolumeRequest { name: "box".into(), options, ..CreateVolumeRequest::default() };
        volumes.create(request).await.unwrap();
    }

    #[tokio::test]
    async fn an_inherited_volume_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let directories = directories(folder.path());
        let records = Arc::new(records(folder.path()).0);
        let volume = |name: &str, labels: &[&str]| VolumeConfiguration {
            name: name.to_owned(),
            driver: "local".to_owned(),
            format: "ext4".to_owned(),
            source: format!("/{name}"),
            creation_date: String::new(),
            labels: labels.iter().map(|label| ((*label).to_owned(), String::new())).collect(),
            options: BTreeMap::new(),
            size_in_bytes: None,
        };
        let known = ["nobodys", "left", "lent"].map(|name| volume(name, &[ANONYMOUS_LABEL]));
        let known = [&known[..], &[volume("data", &[])]].concat();
        let volumes = Arc::new(Volumes::new(&directories, records, Arc::default(), known, &[]));
        let mount = |name: &str, source: &str| {
            let mut kind = MountKind::volume(name);
            if let MountKind::Volume { anonymous, .. } = &mut kind {
                *anonymous = true;
            }
            Mount { kind, source: source.to_owned(), destination: "/x".to_owned(), options: Vec::new() }
        };
        let sink = crate::events::channel().0;
        let mut own = ["lent", "data"].map(|name| mount(name, ""));
        volumes.attach("source", &mut own, &sink).await.unwrap();
        let mut mounts = [mount("lent", "/lent"), mount("data", "/data"), mount("left", "/left")];
        volumes.attach("next", &mut mounts, &sink).await.unwrap();
        let anonymous = |mount: &Mount| matches!(mount.kind, MountKind::Volume { anonymous: true, .. });
        assert_eq!(mounts.each_ref().map(anonymous), [true, false, false]);
        // Who also names it keeps it.
        let mut mounts = [mount("lent", "/lent"), mount("lent", "")];
        volumes.attach("keeper", &mut mounts, &sink).await.unwrap();
        assert_eq!(mounts.each_ref().map(anonymous), [false, false]);
        // One that is gone is not replaced, and what was not reached stays.
        let mut mounts = [mount("gone", "/gone"), mount("nobodys", "/nobodys")];
        let error = volumes.attach("third", &mut mounts, &sink).await.unwrap_err();
        assert!(error.message.contains("'gone'"), "{}", error.message);
        assert!(volumes.inspect("gone").is_err());
        assert!(volumes.inspect("nobodys").is_ok());
    }

    #[tokio::test]
    async fn a_volume_without_a_record_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directories = directories(folder.path());
        let records = Arc::new(records(folder.path()).0);
        let volumes = Volumes::new(&directories, Arc::clone(&records), Arc::default(), Vec::new(), &[]);
        let volumes = Arc::new(volumes);
        // As if the database could not be written.
        records.close();
        let options: BTreeMap<_, _> = [("type".to_owned(), "shared".to_owned())].into();
        for _ in 0..2 {
            let options = options.clone();
            let request =
                CreateVolumeRequest { name: "data".into(), options, ..CreateVolumeRequest::default() };
            let error = volumes.create(request).await.unwrap_err();
            assert!(!error.to_string().contains("exists"), "{error}");
            assert!(!directories.volumes().join("data").exists());
        }
    }
}
