//! One connection to a server: simple queries, replication commands, and the way into streaming.
//!
//! Only the simple query protocol is used: it works in every mode of a connection, and it returns every value as the
//! text that the server's output functions make, which is also what logical replication sends.

use super::address::Address;
use super::auth::{self, Purpose};
use super::frame::{Fields, Frame, Inbox};
use super::replication::{self, Reader, Writer};
use super::stream::Stream;
use crate::error::ServerError;
use crate::{Error, Secret};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use serde::Deserialize;
use std::ops::ControlFlow;
use tokio::io::AsyncWriteExt;

/// One row of an answer: the values as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Row(Vec<Option<String>>);

impl Row {
    /// The text of a column; None for NULL, and for a column that is not there.
    pub(crate) fn text(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// The text of a column that is never NULL.
    pub(crate) fn need(&self, column: usize) -> Result<&str, Error> {
        self.text(column).ok_or_else(|| Error::Protocol(format!("column {column} of an answer is missing")))
    }

    /// The value of a column that is never NULL.
    pub(crate) fn parse<T: std::str::FromStr>(&self, column: usize) -> Result<T, Error> {
        let text = self.need(column)?;
        text.parse().map_err(|_| Error::Protocol(format!("column {column} of an answer is `{text}`")))
    }

    /// Whether a boolean column is true.
    pub(crate) fn is_true(&self, column: usize) -> bool {
        self.text(column) == Some("t")
    }
}

/// An open, authenticated connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    inbox: Inbox,
    pub(crate) outbox: BytesMut,
    pub(crate) channel_binding: Option<Vec<u8>>,
    server_version: String,
    /// Whether the database takes any bytes for text.
    without_encoding: bool,
}

impl Connection {
    /// Connects, encrypts, authenticates.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Tls`], [`Error::Authentication`], [`Error::Server`], [`Error::Lost`].
    pub(crate) async fn open(
        address: &Address,
        password: &Secret,
        purpose: Purpose,
        frame_bytes_max: usize,
    ) -> Result<Self, Error> {
        let stream = Stream::open(address).await?;
        let channel_binding = stream.channel_binding();
        let mut connection = Self {
            stream,
            inbox: Inbox::new(frame_bytes_max),
            outbox: BytesMut::new(),
            channel_binding,
            server_version: String::new(),
            without_encoding: false,
        };
        let greeting = async {
            auth::start(&mut connection, address, password, purpose).await?;
            connection.until_ready(|_| Ok(())).await?;
            if connection.without_encoding {
                // Texts come as they are: we can say in which table and column one does not read, the server cannot.
                connection.query("SET client_encoding = 'SQL_ASCII'").await?;
            }
            Ok(())
        };
        tokio::time::timeout(address.connect_timeout, greeting).await.unwrap_or_else(|_| {
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
            Err(Error::Connect { address: address.to_string(), source: late })
        })?;
        Ok(connection)
    }

    /// The server's major version, such as 15; 0 when it did not say.
    pub(crate) fn major(&self) -> u32 {
        let digits = self.server_version.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    /// Sends what is in the outbox.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.outbox).await.map_err(Error::Lost)?;
        self.stream.flush().await.map_err(Error::Lost)?;
        self.outbox.clear();
        Ok(())
    }

    /// Waits for the next frame.
    pub(crate) async fn frame(&mut self) -> Result<Frame<'_>, Error> {
        while !self.inbox.is_ready()? {
            if self.inbox.fill(&mut self.stream).await? == 0 {
                return Err(Error::closed());
            }
        }
        self.inbox.next()?.ok_or_else(Error::closed)
    }

    /// Reads until the server is ready for the next query, and hands every frame of rows to `each`.
    ///
    /// An error of the server is reported once the connection is in order again.
    async fn until_ready(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.until_enough(|frame| each(frame).map(|()| ControlFlow::Continue(()))).await.map(drop)
    }

    /// The same, but that `each` can break it off; then the rest is still to be read. Tells whether the server is ready.
    async fn until_enough(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<bool, Error> {
        let mut refused = None;
        loop {
            let frame = match self.frame().await {
                // A server that turns a client away says why, and hangs up.
                Err(Error::Lost(lost)) => return Err(refused.unwrap_or(Error::Lost(lost))),
                frame => frame?,
            };
            match frame.tag {
                b'Z' => return refused.map_or(Ok(true), Err),
                b'E' => refused = Some(server_error(frame.body)),
                b'S' => {
                    let mut fields = Fields(frame.body);
                    match fields.text() {
                        Some("server_version") => {
                            self.server_version = fields.text().unwrap_or_default().to_owned();
                        }
                        Some("server_encoding") => self.without_encoding = fields.text() == Some("SQL_ASCII"),
                        _ => {}
                    }
                }
                b'D' if refused.is_none() => match each(frame) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(false),
                    Err(error) => refused = Some(error),
                },
                _ => {}
            }
        }
    }

    /// Runs a statement and collects the rows of its answer.
    ///
    /// # Errors
    /// [`Error::Server`] when the server refuses it; [`Error::Lost`].
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        self.each_row(sql, |body| {
            let mut values = RowValues::new(body).ok_or_else(bad_row)?;
            let mut row = Vec::with_capacity(values.left());
            while let Some(value) = values.next_value().map_err(|()| bad_row())? {
                let text = value.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
                row.push(text.map_err(|_| bad_row())?);
            }
            rows.push(Row(row));
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Runs a statement whose answer has exactly one row.
    pub(crate) async fn query_one(&mut self, sql: &str) -> Result<Row, Error> {
        let mut rows = self.query(sql).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(Error::Protocol("an answer has not exactly one row".into())),
        }
    }

    /// Runs a statement and hands the body of every DataRow to `each`, in place.
    pub(crate) async fn each_row(
        &mut self,
        sql: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.ask(sql).await?;
        self.until_ready(|frame| each(frame.body)).await
    }

    /// Sends a statement, whose answer [`Connection::some_rows`] reads.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<(), Error> {
        frontend::query(sql, &mut self.outbox).map_err(|error| Error::Protocol(error.to_string()))?;
        self.flush().await
    }

    /// Hands the body of every DataRow of an answer to `each`, in place, until that has enough. Tells whether the answer is
    /// complete; otherwise the rest is to be read before anything else is asked.
    pub(crate) async fn some_rows(
        &mut self,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        self.until_enough(|frame| Ok(each(frame.body))).await
    }

    /// Runs a command that turns the connection into a stream of changes (CopyBoth mode).
    ///
    /// # Errors
    /// [`Error::Server`] when the server refuses it; [`Error::Lost`].
    pub(crate) async fn stream(mut self, command: &str) -> Result<(Reader, Writer), Error> {
        frontend::query(command, &mut self.outbox).map_err(|error| Error::Protocol(error.to_string()))?;
        self.flush().await?;
        loop {
            let frame = self.frame().await?;
            match frame.tag {
                b'W' => break,
                b'E' => return Err(server_error(frame.body)),
                b'N' | b'S' => {}
                tag => return Err(Error::Protocol(format!("a message of type {tag} instead of a stream"))),
            }
        }
        Ok(replication::split(self.stream, self.inbox))
    }

    /// Says goodbye; whoever does not wait for it loses nothing.
    pub(crate) async fn close(mut self) {
        frontend::terminate(&mut self.outbox);
        let _gone_already = self.flush().await;
    }
}

fn bad_row() -> Error {
    Error::Protocol("a row of an answer contradicts itself or is not UTF-8".into())
}

/// The values of a DataRow, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowValues<'a> {
    fields: Fields<'a>,
    left: usize,
}

impl<'a> RowValues<'a> {
    /// None when the body is too short to be a row.
    pub(crate) fn new(body: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let left = usize::from(fields.u16()?);
        Some(Self { fields, left })
    }

    /// How many values have not been taken.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// The next value, NULL being `Some(None)`; None at the end.
    pub(crate) fn next_value(&mut self) -> Result<Option<Option<&'a [u8]>>, ()> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let length = self.fields.i32().ok_or(())?;
        match usize::try_from(length) {
            Ok(length) => Ok(Some(Some(self.fields.take(length).ok_or(())?))),
            Err(_) => Ok(Some(None)),
        }
    }
}

/// Reads an ErrorResponse.
pub(crate) fn server_error(body: &[u8]) -> Error {
    let mut error = ServerError::default();
    let mut fields = Fields(body);
    while let Some(kind) = fields.u8().filter(|kind| *kind != 0) {
        let Some(end) = fields.0.iter().position(|byte| *byte == 0) else { break };
        let text = String::from_utf8_lossy(fields.take(end).unwrap_or_default()).into_owned();
        fields.take(1);
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            _ => {}
        }
    }
    Error::Server(Box::new(error))
}
