//! Where the passwords of sources are kept: in a file of a node that is alone, in coordination where any node may have to run a
//! source.

use super::Secrets;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tw_cluster::{Coordination, Key, Transaction};
use tw_types::chain;

/// The passwords of sources.
pub(crate) enum Passwords {
    /// In a file that only its owner reads.
    File(Secrets),
    /// Under `secrets/sources/NAME` in coordination, which keeps others away by its own means.
    Shared(Arc<dyn Coordination>),
}

/// A password as it is stored, version 1.
#[derive(Serialize, Deserialize)]
struct PasswordV1 {
    v: u32,
    password: String,
}

impl Passwords {
    /// The password of a source.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn get(&self, source: &str) -> Result<Option<String>, String> {
        let coordination = match self {
            Self::File(secrets) => return Ok(secrets.password(source)),
            Self::Shared(coordination) => coordination,
        };
        let read = coordination.read(key(source)?.alone(), None).await.map_err(|error| chain(&error))?;
        let Some(entry) = read.entries.first() else { return Ok(None) };
        // Not the error's own words: they may show what is there.
        let stored: PasswordV1 = serde_json::from_slice(&entry.value)
            .map_err(|_| format!("the password of source `{source}` was stored by a later version"))?;
        Ok(Some(stored.password))
    }

    /// Keeps the password of a source, or forgets it.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub(crate) async fn set(&self, source: &str, password: Option<&str>) -> Result<(), String> {
        let coordination = match self {
            Self::File(secrets) => return secrets.set(source, password).map_err(|error| chain(&error)),
            Self::Shared(coordination) => coordination,
        };
        let key = key(source)?;
        let change = match password {
            Some(password) => {
                let stored = PasswordV1 { v: 1, password: password.to_owned() };
                let value = serde_json::to_vec(&stored).map_err(|error| error.to_string())?;
                Transaction::new().put(&key, value)
            }
            None => Transaction::new().delete(&key),
        };
        coordination.commit(change).await.map(drop).map_err(|error| chain(&error))
    }
}

fn key(source: &str) -> Result<Key, String> {
    Key::new(["secrets", "sources", source]).map_err(|error| error.to_string())
}
