//! Writing an answer, no longer than it may be.

use super::{Answer, Code, Transport};
use crate::query::{CLIENT_SUBNET, ClientSubnet, Query};
use hickory_proto::op::{Edns, Message, Metadata};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::EdnsOption;

/// The longest answer over UDP without EDNS, in bytes (RFC 1035, section 4.2.1).
const PLAIN_BYTES_MAX: u16 = 512;
/// The longest answer over UDP, whatever a client asks for, in bytes: what passes every network in one piece.
const UDP_BYTES_MAX: u16 = 1_232;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Reply {
    message: Message,
    /// The longest answer that the client takes over UDP, in bytes.
    udp_bytes_max: u16,
    subnet: Option<ClientSubnet>,
    scope_bits: u8,
}

impl Reply {
    /// An empty answer to a query, with its question as it was asked.
    pub(super) fn to(query: &Query) -> Self {
        let metadata = Metadata::response_from_request(&query.metadata);
        let mut message = Message::response(metadata.id, metadata.op_code);
        message.metadata.recursion_desired = metadata.recursion_desired;
        message.queries.extend(query.question.clone());
        let mut udp_bytes_max = PLAIN_BYTES_MAX;
        if let Some(edns) = &query.edns {
            udp_bytes_max = edns.answer_bytes_max.clamp(PLAIN_BYTES_MAX, UDP_BYTES_MAX);
            let mut ours = Edns::new();
            ours.set_max_payload(UDP_BYTES_MAX);
            ours.set_dnssec_ok(edns.dnssec_ok);
            message.set_edns(ours);
        }
        let subnet = query.edns.as_ref().and_then(|edns| edns.subnet);
        Self { message, udp_bytes_max, subnet, scope_bits: 0 }
    }

    /// It is the zone's own server that says this.
    pub(super) fn authoritative(&mut self) {
        self.message.metadata.authoritative = true;
    }

    pub(super) fn answers(&mut self, records: impl IntoIterator<Item = Record>) {
        self.message.answers.extend(records);
    }

    pub(super) fn authority(&mut self, record: Record) {
        self.message.authorities.push(record);
    }

    pub(super) fn additional(&mut self, records: impl IntoIterator<Item = Record>) {
        self.message.additionals.extend(records);
    }

    /// For which clients it holds: those who have this many first bits of their address in common. Otherwise it holds for all.
    pub(super) fn scope(&mut self, scope_bits: u8) {
        self.scope_bits = scope_bits;
    }

    /// Whether nothing is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.message.answers.is_empty()
    }

    /// The answer that says so, cut if it is too long. None: it cannot be written.
    pub(super) fn finish(mut self, code: Code, transport: Transport) -> Option<Answer> {
        self.message.metadata.response_code = code.to_wire();
        if matches!(code, Code::NoError | Code::NxDomain) {
            self.write_subnet();
        }
        let bytes_max = match transport {
            Transport::Udp => self.udp_bytes_max,
            Transport::Tcp => u16::MAX,
        };
        let mut bytes = self.message.to_vec().ok()?;
        if bytes.len() > bytes_max.into() {
            // Whoever wants these asks for them (RFC 2181, section 9).
            self.message.additionals.clear();
            bytes = self.message.to_vec().ok()?;
        }
        if bytes.len() > bytes_max.into() {
            return self.cut();
        }
        Some(Answer { bytes, code, is_truncated: false })
    }

    /// The answer without records, which says that the client has to come again over TCP.
    pub(super) fn cut(mut self) -> Option<Answer> {
        self.message.answers.clear();
        self.message.authorities.clear();
        self.message.additionals.clear();
        self.message.metadata.truncation = true;
        let (bytes, code) = (self.message.to_vec().ok()?, Code::NoError);
        Some(Answer { bytes, code, is_truncated: true })
    }

    fn write_subnet(&mut self) {
        if let (Some(subnet), Some(edns)) = (&self.subnet, &mut self.message.edns) {
            let data = subnet.with_scope(self.scope_bits);
            edns.options_mut().insert(EdnsOption::Unknown(CLIENT_SUBNET, data));
        }
    }
}
