//! One event a line, to the present end of the stream, as fast as the client takes them.

use super::NDJSON;
use crate::body::{Body, CutOff};
use crate::cursor::Cursor;
use crate::endpoints::Outcome;
use crate::headers;
use crate::service::{Api, Call};
use crate::tokens;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::CONTENT_TYPE;
use std::sync::Arc;
use tw_wire::cloudevents::write_event_on_one_line;

/// About how many bytes are written at once.
const PIECE_BYTES: usize = 128 << 10;

struct Lines {
    api: Arc<Api>,
    cursor: Cursor,
    /// How many events may still be sent.
    left: u64,
    ended: bool,
}

pub(super) async fn answer(call: &Call, mut cursor: Cursor, limit: Option<u64>) -> Outcome {
    cursor.until_now()?;
    let end = match limit {
        None => headers::token_value(&tokens::of_read(call, cursor.end()).await.to_string()),
        Some(_) => None,
    };
    let lines = Lines { api: call.api.clone(), cursor, left: limit.unwrap_or(u64::MAX), ended: false };
    let pieces = stream::unfold(lines, |mut lines| async move {
        let piece = lines.piece().await?;
        Some((piece, lines))
    });
    let mut response = Response::new(Body::stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, NDJSON);
    if let Some(end) = end {
        response.headers_mut().insert(headers::TOKEN, end);
    }
    Ok(response)
}

impl Lines {
    /// The next piece; None at the end. After an error the answer is cut off, so that nobody takes it for complete.
    async fn piece(&mut self) -> Option<Result<Bytes, CutOff>> {
        let mut out = Vec::with_capacity(PIECE_BYTES + (8 << 10));
        while !self.ended && out.is_empty() {
            if let Err(problem) = self.fill(&mut out).await {
                self.ended = true;
                return Some(Err(CutOff(problem)));
            }
        }
        (!out.is_empty()).then(|| Ok(Bytes::from(out)))
    }

    async fn fill(&mut self, out: &mut Vec<u8>) -> Result<(), crate::Problem> {
        self.cursor.load().await?;
        let left = &mut self.left;
        let emitted = self.cursor.emit(|event, at, _| {
            write_event_on_one_line(out, event, at.partition);
            out.push(b'\n');
            *left -= 1;
            *left > 0 && out.len() < PIECE_BYTES
        })?;
        self.api.telemetry.delivered.increment(emitted.events as u64);
        self.ended = self.left == 0 || self.cursor.at_end()?;
        Ok(())
    }
}
