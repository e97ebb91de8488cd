//! Startup and authentication.
//!
//! Source: PostgreSQL documentation, "Message Flow" (Start-up) and "SASL Authentication".

use super::address::Address;
use super::connection::{Connection, server_error};
use super::frame::Fields;
use crate::{Error, Secret};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// SQL statements.
    Sql,
    /// Replication commands, in the database that the address names.
    Replication,
}

/// Settings under which every value is turned into text, the same for the stream and for the snapshot; and settings
/// of the database or of the user that must not get in the way.
const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("quote_all_identifiers", "off"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("row_security", "off"),
    ("default_transaction_read_only", "off"),
    // Nothing that a source commits is worth waiting for a standby.
    ("synchronous_commit", "local"),
];

const SASL_FAILED: &str = "the password exchange failed: the password may be wrong";

/// Introduces the client to the server and proves who it is.
pub(crate) async fn start(
    connection: &mut Connection,
    address: &Address,
    password: &Secret,
    purpose: Purpose,
) -> Result<(), Error> {
    let replication = (purpose == Purpose::Replication).then_some(("replication", "database"));
    let named = [
        ("user", address.user.as_str()),
        ("database", address.database.as_str()),
        ("application_name", address.application_name.as_str()),
    ];
    let parameters = named.into_iter().chain(SETTINGS.iter().copied()).chain(replication);
    frontend::startup_message(parameters, &mut connection.outbox)
        .map_err(|error| Error::Protocol(error.to_string()))?;
    connection.flush().await?;
    let mut exchange = Exchange { address, password, scram: None };
    loop {
        let frame = connection.frame().await?;
        match frame.tag {
            b'R' => {
                let mut fields = Fields(frame.body);
                let request = fields.u32().ok_or_else(short)?;
                let body = fields.0.to_vec();
                if exchange.answer(connection, request, &body)? {
                    return Ok(());
                }
                connection.flush().await?;
            }
            b'E' => return Err(server_error(frame.body)),
            b'N' => {}
            tag => return Err(Error::Protocol(format!("a message of type {tag} during authentication"))),
        }
    }
}

struct Exchange<'a> {
    address: &'a Address,
    password: &'a Secret,
    scram: Option<ScramSha256>,
}

impl Exchange<'_> {
    /// Answers one request; true when the server is satisfied.
    fn answer(&mut self, connection: &mut Connection, request: u32, body: &[u8]) -> Result<bool, Error> {
        match request {
            0 => return Ok(true),
            3 => self.send_password(connection, self.password.reveal().as_bytes())?,
            5 => {
                let salt = *body.first_chunk().ok_or_else(short)?;
                let user = self.address.user.as_bytes();
                let hash = md5_hash(user, self.password.reveal().as_bytes(), salt);
                self.send_password(connection, hash.as_bytes())?;
            }
            10 => self.begin_scram(connection, body)?,
            11 => {
                let scram = self.scram.as_mut().ok_or_else(unasked)?;
                scram.update(body).map_err(|_| self_failed(self.address))?;
                frontend::sasl_response(scram.message(), &mut connection.outbox).map_err(wire)?;
            }
            12 => {
                let scram = self.scram.as_mut().ok_or_else(unasked)?;
                scram.finish(body).map_err(|_| self_failed(self.address))?;
            }
            other => {
                return Err(Error::Authentication {
                    address: self.address.to_string(),
                    reason: format!(
                        "the server asks for method {other}, which is not supported: allow scram-sha-256 in pg_hba.conf"
                    ),
                });
            }
        }
        Ok(false)
    }

    fn send_password(&self, connection: &mut Connection, password: &[u8]) -> Result<(), Error> {
        self.need_password()?;
        frontend::password_message(password, &mut connection.outbox).map_err(wire)
    }

    fn need_password(&self) -> Result<(), Error> {
        if self.password.is_empty() {
            return Err(Error::Authentication {
                address: self.address.to_string(),
                reason: format!(
                    "the server asks for the password of `{}`: give the source one",
                    self.address.user
                ),
            });
        }
        Ok(())
    }

    fn begin_scram(&mut self, connection: &mut Connection, body: &[u8]) -> Result<(), Error> {
        self.need_password()?;
        let mut fields = Fields(body);
        let offered: Vec<&str> =
            std::iter::from_fn(|| fields.text()).take_while(|name| !name.is_empty()).collect();
        let bound = connection.channel_binding.clone();
        let (mechanism, binding) = match bound {
            Some(hash) if offered.contains(&SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
            }
            // "We could have, but the server did not offer": the server notices if somebody took its offer away.
            Some(_) if offered.contains(&SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if offered.contains(&SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => {
                return Err(Error::Authentication {
                    address: self.address.to_string(),
                    reason: "the server offers none of the supported password exchanges: allow scram-sha-256"
                        .into(),
                });
            }
        };
        let scram = ScramSha256::new(self.password.reveal().as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut connection.outbox).map_err(wire)?;
        self.scram = Some(scram);
        Ok(())
    }
}

fn short() -> Error {
    Error::Protocol("an authentication request is too short".into())
}

fn unasked() -> Error {
    Error::Protocol("the server goes on with a password exchange that has not begun".into())
}

fn self_failed(address: &Address) -> Error {
    Error::Authentication { address: address.to_string(), reason: SASL_FAILED.into() }
}

fn wire(error: std::io::Error) -> Error {
    Error::Protocol(error.to_string())
}
