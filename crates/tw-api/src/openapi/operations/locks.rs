//! Locks.

use super::JSON;
use crate::Code;
use crate::endpoints::{LockRequest, MoreLocksRequest};
use crate::openapi::doc::Doc;
use crate::openapi::schemas::LockList;
use crate::parts::{Lock, LockSession};
use crate::route::Route;
use serde_json::json;

/// Describes a route about locks.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = doc.problems(&[Code::CoordinationUnavailable]);
    match route {
        Route::ListLocks => doc
            .about("locks", "List locks")
            .query("after", "Only those after this name.", "nightly-report")
            .query("limit", "At most so many, up to 10,000. Default 1,000.", 100)
            .answer::<LockList>(200, JSON, "Locks that somebody holds or waits for.")
            .problems(&[Code::InvalidParameter]),
        Route::GetLock => lock(doc)
            .about("locks", "Show a lock")
            .answer::<Lock>(200, JSON, "Who holds it and who waits for it. A lock that nobody knows is free.")
            .problems(&[Code::InvalidParameter]),
        Route::OpenLockSession => waits(doc)
            .about("locks", "Take locks")
            .details(
                "Opens a session that holds all of the locks, or answers that it does not. It ends when it is not renewed for \
                 `ttl_ms`. Whoever waits is in line; a client that disconnects leaves it.",
            )
            .body::<LockRequest>(
                JSON,
                json!({"names": ["nightly-report"], "owner": "cron@db-1", "ttl_ms": 30_000, "wait_ms": 5_000}),
            ),
        Route::TakeLocks => waits(session(doc))
            .about("locks", "Take further locks in a session")
            .details(
                "All or none. Sessions never wait for each other in a circle: one that holds what an older session waits for is \
                 not let wait (`wounded`).",
            )
            .body::<MoreLocksRequest>(JSON, json!({"names": ["monthly-report"], "wait_ms": 5_000}))
            .problems(&[Code::Wounded]),
        Route::RenewLockSession => session(doc)
            .about("locks", "Renew a session")
            .answer::<LockSession>(200, JSON, "The session, and what it still holds."),
        Route::ReleaseLock => lock(session(doc))
            .about("locks", "Release a lock of a session")
            .empty_answer(204, "It is released.")
            .problems(&[Code::LockNotHeld]),
        _ => session(doc)
            .about("locks", "End a session and release its locks")
            .empty_answer(204, "It has ended."),
    }
}

fn lock(doc: Doc<'_>) -> Doc<'_> {
    doc.path("lock", "The lock's name, percent-encoded.", "nightly-report")
}

fn session(doc: Doc<'_>) -> Doc<'_> {
    doc.path("session", "The session.", "694d77aa9e38260f").problems(&[Code::NoLockSession])
}

fn waits(doc: Doc<'_>) -> Doc<'_> {
    doc.answer::<LockSession>(200, JSON, "The session, and what it holds.").problems(&[
        Code::InvalidBody,
        Code::InvalidParameter,
        Code::Locked,
        Code::ShuttingDown,
    ])
}
