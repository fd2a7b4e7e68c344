//! Where snapshots lie.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::{Builder, Runtime};
use weir_engine::{TABLES, Tables};

use super::manifest::Manifest;
use super::{SnapshotError, file};

/// So many files are checked at the same time.
const CHECKS_MAX: usize = 4;

/// A store of snapshots.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    runtime: Runtime,
    is_local: bool,
}

impl Store {
    /// The store at a URL: `file:` and a path, absolute or not, which is made if it is not there; in a build with
    /// the feature `cloud` also `s3://bucket/path`, `gs://` and `az://`, with credentials from the environment as
    /// the tools of these clouds take them.
    ///
    /// # Errors
    /// When this build has no support for the URL, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, SnapshotError> {
        #[cfg(feature = "cloud")]
        if !url.starts_with("file:") {
            return Self::remote(url);
        }
        let folder = folder_of(url).map_err(|why| SnapshotError::Url { url: url.to_owned(), why })?;
        fs::create_dir_all(&folder)?;
        let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { is_local: true, ..Self::over(Arc::new(objects), Path::default())? })
    }

    #[cfg(feature = "cloud")]
    fn remote(url: &str) -> Result<Self, SnapshotError> {
        let wrong = |why: String| SnapshotError::Url { url: url.to_owned(), why };
        let parsed = url::Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let ours = |name: &String| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|cloud| name.starts_with(cloud));
        let options = std::env::vars().filter(|(name, _)| ours(name));
        let options = options.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let opened = object_store::parse_url_opts(&parsed, options);
        let (objects, root) = opened.map_err(|error| wrong(error.to_string()))?;
        Self::over(objects.into(), root)
    }

    /// Any other object store, under this path in it.
    ///
    /// # Errors
    /// When the runtime that calls it cannot be made.
    pub fn over(objects: Arc<dyn ObjectStore>, root: Path) -> Result<Self, SnapshotError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { objects, root, runtime, is_local: false })
    }

    /// Whether snapshots go when this machine does.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The partition's snapshots, the newest first. What cannot be read is told in the log and left out.
    ///
    /// # Errors
    /// When the store fails.
    pub fn manifests(&self, partition: i32) -> Result<Vec<Manifest>, SnapshotError> {
        let folder = self.folder(partition);
        let mut names: Vec<String> = folder.list()?.into_iter().map(|(name, _)| name).collect();
        names.retain(|name| Manifest::sequence_of(name).is_some());
        names.sort_unstable_by(|a, b| b.cmp(a));
        let mut manifests = Vec::new();
        for name in names {
            // Another may have taken it away meanwhile.
            let Some(content) = folder.get(&name)? else { continue };
            match Manifest::unsealed(&name, &content) {
                Ok(manifest) => manifests.push(manifest),
                Err(error) => tracing::warn!(partition, %error, "a snapshot is left out"),
            }
        }
        Ok(manifests)
    }

    /// The batches of a snapshot, for [`weir_engine::Shard::restore`].
    ///
    /// # Errors
    /// When the store fails, or any byte is not what was written.
    pub fn load(&self, manifest: &Manifest) -> Result<Tables, SnapshotError> {
        let mut tables: Tables = TABLES.map(|table| (table, Vec::new())).into();
        let folder = self.folder(manifest.partition);
        thread::scope(|scope| {
            // The next file is read while those before it are checked.
            let (mut files, mut checks) = (manifest.files.iter(), VecDeque::new());
            loop {
                let next = files.next();
                if let Some(entry) = next {
                    let content = file::content(&folder, entry)?;
                    let check = thread::Builder::new().spawn_scoped(scope, || file::batches(content, entry));
                    checks.push_back((entry, check?));
                }
                if next.is_some() && checks.len() < CHECKS_MAX {
                    continue;
                }
                let Some((entry, check)) = checks.pop_front() else { return Ok::<_, SnapshotError>(()) };
                let batches = check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                let table = tables.iter_mut().find(|(name, _)| *name == entry.table);
                let (_, all) = table.ok_or_else(|| SnapshotError::Unknown(entry.table.clone()))?;
                all.extend(batches);
            }
        })?;
        Ok(tables)
    }

    /// The folder of a partition.
    pub(super) fn folder(&self, partition: i32) -> Folder<'_> {
        Folder { store: self, path: self.root.clone().join(format!("partition-{partition:05}")) }
    }
}

/// The path that a URL names.
fn folder_of(url: &str) -> Result<PathBuf, String> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("it is no URL; write `file:` and the path of a folder".to_owned());
    };
    if scheme != "file" {
        return Err(match scheme {
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "https" | "http" | "adl" => {
                "this build has no support for cloud storage (cargo feature `cloud`); write `file:` and the \
                 path of a folder"
                    .to_owned()
            }
            _ => format!("the scheme `{scheme}` is not known; write `file:` and the path of a folder"),
        });
    }
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("a folder of another host cannot be used; write `file:///…`".to_owned()),
        None => rest,
    };
    if path.is_empty() { Err("it names no folder".to_owned()) } else { Ok(path.into()) }
}

/// The folder of a partition's snapshots.
pub(super) struct Folder<'a> {
    store: &'a Store,
    path: Path,
}

impl Folder<'_> {
    fn at(&self, name: &str) -> Path {
        self.path.clone().join(name)
    }

    /// Stores a file that is named by its content.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) -> Result<(), SnapshotError> {
        let at = self.at(name);
        let put = self.store.objects.put_opts(&at, content.into(), PutMode::Overwrite.into());
        self.store.runtime.block_on(put)?;
        Ok(())
    }

    /// Stores a file where there is none of this name; whether it did.
    pub(super) fn create(&self, name: &str, content: Vec<u8>) -> Result<bool, SnapshotError> {
        let create = PutOptions::from(PutMode::Create);
        let at = self.at(name);
        let put = self.store.objects.put_opts(&at, content.into(), create);
        match self.store.runtime.block_on(put) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of a file; `None`: it is not there.
    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SnapshotError> {
        let read = async {
            let found = self.store.objects.get(&self.at(name)).await?;
            found.bytes().await
        };
        match self.store.runtime.block_on(read) {
            Ok(content) => Ok(Some(content.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Name and time of change, in seconds since 1970, of every file.
    pub(super) fn list(&self) -> Result<Vec<(String, i64)>, SnapshotError> {
        let listed = self.store.objects.list_with_delimiter(Some(&self.path));
        let listed = self.store.runtime.block_on(listed)?;
        let named =
            |meta: ObjectMeta| Some((meta.location.filename()?.to_owned(), meta.last_modified.timestamp()));
        Ok(listed.objects.into_iter().filter_map(named).collect())
    }

    /// Takes a file away, if it is there.
    pub(super) fn delete(&self, name: &str) -> Result<(), SnapshotError> {
        match self.store.runtime.block_on(self.store.objects.delete(&self.at(name))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
