//! The engine: a folder, or a folder of a bucket, through the crate `object_store`.
//!
//! Requests run on a runtime that is given, so that whoever waits for them needs none.

use crate::place::Place;
use crate::{Depot, Error, Options, Result, check_name};
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Objects in a folder or a bucket. Cheap to clone.
///
/// In a folder an object is a file of its name, which appears in one step; nothing is synced, so that after a power loss a
/// file may be damaged: what must not be is told by a checksum of its reader. A process that is killed may leave files behind
/// whose names end in `#` and a number, which nobody sees or needs. In a bucket an object is stored by one request.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// For errors.
    place: Arc<str>,
    /// What the names of all objects start with: nothing, or a folder and `/`.
    prefix: Arc<str>,
    runtime: Handle,
    request_ms_max: u64,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Objects {
    /// Opens the depot that the options name; None if they name none. A folder is made if it is not there; a bucket is not
    /// asked before the first request, see [`Objects::probe`]. The runtime must have timers, and I/O for a bucket.
    ///
    /// # Errors
    /// As [`Options::check`]; [`Error::Folder`], [`Error::File`], [`Error::NoKeys`], [`Error::Engine`].
    pub fn open(options: &Options, runtime: Handle) -> Result<Option<Self>> {
        options.check()?;
        let Some(place) = options.place()? else { return Ok(None) };
        let failed = |source| Error::Engine { place: options.place.clone(), source: Arc::new(source) };
        let (store, prefix): (Arc<dyn ObjectStore>, String) = match place {
            Place::Folder(path) => {
                std::fs::create_dir_all(&path).map_err(|source| Error::Folder {
                    place: options.place.clone(),
                    source: Arc::new(source),
                })?;
                let folder = LocalFileSystem::new_with_prefix(path).map_err(failed)?;
                (Arc::new(folder.with_automatic_cleanup(true)), String::new())
            }
            #[cfg(feature = "s3")]
            Place::Bucket(bucket) => {
                let store = crate::s3::open(options, &bucket, |name| std::env::var(name).ok())?;
                let prefix = if bucket.folder.is_empty() { bucket.folder } else { bucket.folder + "/" };
                (Arc::new(store), prefix)
            }
            #[cfg(not(feature = "s3"))]
            Place::Bucket(_) => return Err(Error::NotBuilt { place: options.place.clone() }),
        };
        Ok(Some(Self {
            store,
            place: options.place.as_str().into(),
            prefix: prefix.into(),
            runtime,
            request_ms_max: options.request_ms_max,
        }))
    }

    /// Where objects are kept, as the options say it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks for the objects that are there, and forgets them: whether a server answers, its bucket is there and may be
    /// listed. Whether anything may be stored shows only when it is.
    ///
    /// # Errors
    /// [`Error::Timeout`], the engine's.
    pub async fn probe(&self) -> Result<()> {
        let this = self.clone();
        let asked = self.run(async move {
            let folder = this.prefix.strip_suffix('/').map(Path::from);
            this.store.list(folder.as_ref()).try_next().await.map_err(|error| this.failed(error))
        });
        asked.await.map(drop)
    }

    /// Where an object is.
    fn path(&self, name: &str) -> Result<Path> {
        check_name(name)?;
        let path = Path::parse(format!("{}{name}", self.prefix));
        path.map_err(|_| Error::InvalidName(name.to_owned()))
    }

    fn failed(&self, source: object_store::Error) -> Error {
        #[cfg(feature = "s3")]
        if let Some(explained) = crate::s3::explain(&self.place, &source) {
            return explained;
        }
        Error::Engine { place: self.place.to_string(), source: Arc::new(source) }
    }

    /// Runs a request where it has a runtime, for no longer than it may take.
    fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (place, request_ms_max) = (self.place.clone(), self.request_ms_max);
        let runtime = self.runtime.clone();
        Box::pin(async move {
            let bounded =
                runtime.spawn(async move { timeout(Duration::from_millis(request_ms_max), request).await });
            match bounded.await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Error::Timeout { place: place.to_string(), request_ms_max }),
                Err(_) => Err(Error::Closed),
            }
        })
    }
}

/// A request that finds nothing has an answer.
fn found<T>(outcome: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        #[cfg(feature = "s3")]
        Err(error) if crate::s3::is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Depot for Objects {
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<()>> {
        let (this, path) = (self.clone(), self.path(name));
        self.run(async move {
            let stored = this.store.put(&path?, PutPayload::from_bytes(bytes)).await;
            stored.map(drop).map_err(|error| this.failed(error))
        })
    }

    fn get<'a>(&'a self, name: &'a str, bytes_max: u64) -> BoxFuture<'a, Result<Option<Bytes>>> {
        let (this, path, name) = (self.clone(), self.path(name), name.to_owned());
        self.run(async move {
            let got = found(this.store.get(&path?).await).map_err(|error| this.failed(error))?;
            let Some(got) = got else { return Ok(None) };
            let bytes = got.meta.size;
            if bytes > bytes_max {
                return Err(Error::TooLarge { name, bytes, bytes_max });
            }
            // Its size is known, and no more of it is read.
            got.bytes().await.map(Some).map_err(|error| this.failed(error))
        })
    }

    fn list<'a>(&'a self, folder: &'a str, names_max: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        let (this, path, folder) = (self.clone(), self.path(folder), folder.to_owned());
        self.run(async move {
            let mut listed = this.store.list(Some(&path?));
            let mut names = Vec::new();
            while let Some(meta) = listed.try_next().await.map_err(|error| this.failed(error))? {
                // Others may keep what they like beside it.
                let name = meta.location.as_ref().strip_prefix(&*this.prefix);
                let Some(name) = name.filter(|name| check_name(name).is_ok()) else { continue };
                if names.len() == names_max {
                    return Err(Error::TooMany { folder, names_max });
                }
                names.push(name.to_owned());
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        let (this, path) = (self.clone(), self.path(name));
        self.run(async move {
            let removed = found(this.store.delete(&path?).await);
            removed.map(drop).map_err(|error| this.failed(error))
        })
    }
}
