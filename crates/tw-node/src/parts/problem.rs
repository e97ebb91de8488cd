//! Errors of the crates below as problems of the interface.

use tw_api::{Code, Problem};
use tw_types::chain;

/// An error of a statement.
pub(crate) fn of_project(error: tw_project::Error) -> Problem {
    use tw_project::Error;
    let code = match error {
        Error::Log(error) => return error.into(),
        Error::NotFound { what: "projection", .. } => Code::NoProjection,
        Error::NotFound { what: "source", .. } => Code::NoSource,
        Error::NotFound { what: "stream", .. } => Code::NoStream,
        Error::NotFound { what: "table", .. } => Code::NoTable,
        Error::Exists { .. } => Code::AlreadyExists,
        Error::InUse { .. } => Code::InUse,
        Error::NotReadable { .. } => Code::WrongState,
        Error::NoOwner { .. } | Error::Peer { .. } => Code::NoOwner,
        Error::Timeout { .. } | Error::TokenTimeout { .. } => Code::Timeout,
        Error::Stored(_) => Code::Damaged,
        Error::State(_) | Error::Engine(_) => Code::Internal,
        _ => Code::InvalidStatement,
    };
    Problem::new(code, chain(&error))
}

/// An error of a definition that came without a statement.
pub(crate) fn of_definition(error: tw_project::Error) -> Problem {
    match error {
        tw_project::Error::Refused(reason) => Problem::new(Code::InvalidDefinition, reason),
        error => of_project(error),
    }
}

/// A configuration that is not accepted.
pub(crate) fn of_config(error: crate::InvalidConfig) -> Problem {
    Problem::new(Code::InvalidOption, error.to_string())
}

/// An error of coordination.
pub(crate) fn of_cluster(error: tw_cluster::Error) -> Problem {
    use tw_cluster::Error;
    let text = chain(&error);
    let code = match error {
        Error::Waited { name, holder, ahead, .. } => {
            return Problem::locked(&name, &holder, ahead as u64, text);
        }
        Error::InvalidLock { what, .. } => return Problem::parameter(what, text),
        Error::InvalidKey { .. } => return Problem::parameter("name", text),
        Error::NoSession(_) | Error::NoLease(_) => Code::NoLockSession,
        Error::NotHeld { .. } => Code::LockNotHeld,
        Error::NoMember { .. } => Code::NoNode,
        Error::NoPlan(_) => Code::WrongState,
        Error::NotPlanned { .. } => Code::Timeout,
        Error::Wounded { .. } => Code::Wounded,
        Error::Unavailable(_)
        | Error::Unknown(_)
        | Error::Refused(_)
        | Error::OtherCluster { .. }
        | Error::WentBack { .. } => Code::CoordinationUnavailable,
        _ => Code::Internal,
    };
    Problem::new(code, text)
}

/// An error of the workers.
pub(crate) fn of_process(error: tw_process::Error) -> Problem {
    use tw_process::Error;
    let code = match error {
        Error::Log(error) => return error.into(),
        Error::NotParked(_) => Code::NoParkedEvent,
        Error::NoView(_) => Code::NoProjection,
        Error::Timeout { .. } => Code::Timeout,
        Error::Stopped { .. } => Code::WrongState,
        Error::Closed => Code::ShuttingDown,
        Error::NotAssigned { .. } => Code::NoOwner,
        _ => Code::Internal,
    };
    Problem::new(code, chain(&error))
}
