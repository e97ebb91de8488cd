//! What is stored under keys: JSON with a version, so that a person can read it and a newer node can tell.

use crate::{Entry, Error, Key, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a record that is to be stored under a key.
pub(crate) fn encode(key: &Key, record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| invalid(key, &error))
}

/// The record that an entry holds.
pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value).map_err(|error| invalid(&entry.key, &error))
}

fn invalid(key: &Key, error: &serde_json::Error) -> Error {
    Error::InvalidRecord { key: key.clone(), reason: error.to_string() }
}
