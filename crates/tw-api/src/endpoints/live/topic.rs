//! The topics of the live stream, and what each is at a moment: the same as a GET of its path.

use crate::Problem;
use crate::endpoints::{admin, streams};
use crate::parts::Extent;
use crate::service::Api;
use serde::Serialize;
use serde_json::{Value, json};

/// Something that can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Status,
    Streams,
    Projections,
    Sources,
    Parked,
    Cluster,
    Regions,
}

impl Topic {
    pub(crate) const ALL: [Self; 7] = [
        Self::Status,
        Self::Streams,
        Self::Projections,
        Self::Sources,
        Self::Parked,
        Self::Cluster,
        Self::Regions,
    ];

    /// Its name, which is that of its path.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Streams => "streams",
            Self::Projections => "projections",
            Self::Sources => "sources",
            Self::Parked => "parked",
            Self::Cluster => "cluster",
            Self::Regions => "regions",
        }
    }

    /// Whether of its list only what has changed is sent.
    pub(super) const fn is_of_rows(self) -> bool {
        matches!(self, Self::Streams | Self::Projections)
    }

    /// Whether there is such a thing on this node.
    pub(super) fn is_here(self, api: &Api) -> bool {
        match self {
            Self::Cluster => api.parts.cluster.is_some(),
            Self::Regions => api.parts.regions.is_some(),
            _ => true,
        }
    }

    /// What it is now.
    ///
    /// # Errors
    /// Those of the part that is asked.
    pub(super) async fn look(self, api: &Api) -> Result<Value, Problem> {
        let parts = &api.parts;
        match self {
            Self::Status => value(&parts.control.status().await?),
            Self::Streams => Ok(json!({ "streams": streams::rows(api) })),
            Self::Projections => {
                Ok(json!({ "projections": parts.control.projections(Extent::Everywhere).await? }))
            }
            Self::Sources => Ok(json!({ "sources": parts.control.sources().await? })),
            Self::Parked => admin::parked_first(api).await,
            Self::Cluster => match &parts.cluster {
                Some(cluster) => value(&cluster.view().await?),
                None => Ok(Value::Null),
            },
            Self::Regions => match &parts.regions {
                Some(regions) => value(&regions.view().await?),
                None => Ok(Value::Null),
            },
        }
    }

    /// What of it counts when it is asked whether it has changed: time goes on, and a disk is never quite the same.
    pub(super) fn essence(self, value: &Value) -> Value {
        let mut essence = value.clone();
        if let (Self::Status, Some(members)) = (self, essence.as_object_mut()) {
            members.remove("uptime_ms");
            let free = members.get("disk_free_bytes").and_then(Value::as_u64).unwrap_or_default();
            members.insert("disk_free_bytes".to_owned(), json!(free / DISK_STEP_BYTES));
        }
        essence
    }
}

/// By how much the free room on the disk has to change before that is told.
const DISK_STEP_BYTES: u64 = 16 << 20;

fn value(of: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(of).map_err(|error| Problem::new(crate::Code::Internal, error.to_string()))
}
