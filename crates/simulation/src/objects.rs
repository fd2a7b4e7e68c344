//! A store of objects in memory that fails in the middle of what it is asked, and whose objects rot.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures_core::Stream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::Random;

type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Objects, and after how many calls they fail.
#[derive(Debug, Clone)]
pub struct Objects {
    memory: Arc<InMemory>,
    /// Calls that still succeed; below 0: as many as one likes.
    left: Arc<AtomicI64>,
}

impl Default for Objects {
    fn default() -> Self {
        Self { memory: Arc::new(InMemory::new()), left: Arc::new(AtomicI64::new(-1)) }
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects that may fail")
    }
}

impl Objects {
    /// From now on `calls` succeed and all others fail, until [`Objects::heal`].
    pub fn fail_after(&self, calls: i64) {
        self.left.store(calls, Ordering::Relaxed);
    }

    /// Everything succeeds again.
    pub fn heal(&self) {
        self.left.store(-1, Ordering::Relaxed);
    }

    fn call(&self) -> Result<()> {
        match self.left.load(Ordering::Relaxed) {
            0 => Err(Error::Generic { store: "simulation", source: "the store is away".into() }),
            left => {
                self.left.store(if left > 0 { left - 1 } else { left }, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Everything that is there, sorted by path.
    #[must_use]
    pub fn all(&self) -> Vec<(Path, Vec<u8>)> {
        block_on(async {
            let mut all = Vec::new();
            let folders = self.memory.list_with_delimiter(None).await.unwrap().common_prefixes;
            for folder in folders {
                for meta in self.memory.list_with_delimiter(Some(&folder)).await.unwrap().objects {
                    let bytes = self.memory.get(&meta.location).await.unwrap().bytes().await.unwrap();
                    all.push((meta.location, bytes.to_vec()));
                }
            }
            all.sort();
            all
        })
    }

    /// Puts an object as it is, or takes it away.
    pub fn set(&self, path: &Path, content: Option<Vec<u8>>) {
        block_on(async {
            match content {
                Some(content) => drop(self.memory.put(path, content.into()).await.unwrap()),
                None => self.memory.delete(path).await.unwrap(),
            }
        });
    }

    /// Takes away, cuts, alters or empties one object of a partition and says which it was, as it was before.
    pub fn damage(&self, partition: i32, random: &mut Random) -> Option<(Path, Vec<u8>)> {
        let folder = format!("partition-{partition:05}/");
        let of_partition = self.all().into_iter().filter(|(path, _)| path.as_ref().starts_with(&folder));
        let all: Vec<_> = of_partition.collect();
        if all.is_empty() {
            return None;
        }
        let (path, before) = random.pick(&all);
        let mut content = before.clone();
        let damaged = match random.below(4) {
            0 => None,
            1 => {
                content.truncate(random.below(content.len().max(1)));
                Some(content)
            }
            2 if !content.is_empty() => {
                let at = random.below(content.len());
                content[at] ^= 1 << random.below(8);
                Some(content)
            }
            _ => Some(Vec::new()),
        };
        self.set(&path, damaged);
        Some((path, before))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.call()?;
        self.memory.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call()?;
        self.memory.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call()?;
        self.memory.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<Result<Path>>) -> BoxStream<Result<Path>> {
        match self.call() {
            Ok(()) => self.memory.delete_stream(locations),
            Err(error) => Box::pin(Once(Some(Err(error)))),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call()?;
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call()?;
        self.memory.copy_opts(from, to, options).await
    }
}

/// A stream of one item.
struct Once<T>(Option<T>);

impl<T: Unpin> Stream for Once<T> {
    type Item = T;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take())
    }
}
