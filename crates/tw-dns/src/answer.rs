//! The answer to a query: bytes in, bytes out, nothing else.
//!
//! The same query, world and client give the same answer. Nothing here touches a socket, a clock or a limit.

mod choice;
mod reply;

use crate::query::{self, ClientSubnet, Query};
use crate::regions::Known;
use crate::subnet::Subnet;
use crate::zone::{FIXED_TTL_S, Family, Node, Zone};
use choice::{Choice, choose};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::HINFO;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use reply::Reply;
use std::net::IpAddr;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: the answer is as short as the client asks for, and cut otherwise.
    Udp,
    /// Over a connection: an answer has up to 65,535 bytes.
    Tcp,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The message.
    pub bytes: Vec<u8>,
    /// What it says.
    pub code: Code,
    /// Whether it was cut, and says so.
    pub is_truncated: bool,
}

/// What an answer says (RFC 1035, section 4.1.1; RFC 6891, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The name exists.
    NoError,
    /// The query cannot be read.
    FormErr,
    /// There is no plan of the regions.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// The operation is not known.
    NotImp,
    /// Nobody is answered that.
    Refused,
    /// That version of EDNS is not known.
    BadVers,
}

impl Code {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 7] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::BadVers,
    ];

    fn to_wire(self) -> ResponseCode {
        match self {
            Self::NoError => ResponseCode::NoError,
            Self::FormErr => ResponseCode::FormErr,
            Self::ServFail => ResponseCode::ServFail,
            Self::NxDomain => ResponseCode::NXDomain,
            Self::NotImp => ResponseCode::NotImp,
            Self::Refused => ResponseCode::Refused,
            Self::BadVers => ResponseCode::BADVERS,
        }
    }
}

/// Answers a message that came from an address. `known` is what [`crate::Regions::known`] says; None: nothing of the zone is
/// answered. None as the result: the message gets no answer, because it is none that one answers.
pub fn answer(
    zone: &Zone,
    known: Option<&Known>,
    transport: Transport,
    from: IpAddr,
    bytes: &[u8],
) -> Option<Answer> {
    let query = query::read(bytes)?;
    let mut reply = Reply::to(&query);
    let code = match query.wrong {
        Some(code) => code,
        None => fill(&mut reply, zone, known, from, &query),
    };
    reply.finish(code, transport)
}

/// Tells whoever sent a query to come again over TCP: an answer that is no longer than the query and says nothing else. None: it is no
/// query that could be answered.
pub fn cut_short(bytes: &[u8]) -> Option<Answer> {
    let query = query::read(bytes)?;
    match query.wrong {
        Some(_) => None,
        None => Reply::to(&query).cut(),
    }
}

/// Fills in what a question is answered with.
fn fill(reply: &mut Reply, zone: &Zone, known: Option<&Known>, from: IpAddr, query: &Query) -> Code {
    let Some(question) = &query.question else { return Code::FormErr };
    let (name, kind) = (question.name(), question.query_type());
    let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || !zone.covers(name) || is_transfer {
        return Code::Refused;
    }
    // Without a plan the zone has no serial number and no answer to what it is for. Resolvers ask another name server then.
    let Some(known) = known else { return Code::ServFail };
    reply.authoritative();
    let Some(node) = zone.find(name) else {
        reply.authority(zone.soa(known.plan.generation()));
        return Code::NxDomain;
    };
    let filled = match kind {
        RecordType::ANY => {
            reply.answers(why_not_all(node, name));
            Code::NoError
        }
        RecordType::A if node.is_service => serve(reply, zone, known, from, query, Family::V4),
        RecordType::AAAA if node.is_service => serve(reply, zone, known, from, query, Family::V6),
        _ => {
            reply.answers(records(node, zone, known, name, kind));
            Code::NoError
        }
    };
    if kind == RecordType::NS && node.is_apex {
        reply.additional(zone.glue());
    }
    if filled == Code::NoError && reply.is_empty() {
        reply.authority(zone.soa(known.plan.generation()));
    }
    filled
}

/// Fills in the addresses of the regions that are best for whoever asks.
fn serve(reply: &mut Reply, zone: &Zone, known: &Known, from: IpAddr, query: &Query, family: Family) -> Code {
    let asked_for = query.edns.as_ref().and_then(|edns| edns.subnet.as_ref()).and_then(ClientSubnet::network);
    let client = asked_for.unwrap_or_else(|| Subnet::of(from));
    let Some(Choice { regions, scope_bits }) = choose(zone, known, &client, family) else {
        return Code::ServFail;
    };
    let Some(question) = &query.question else { return Code::FormErr };
    for addresses in regions {
        reply.answers(addresses.records(question.name(), zone.ttl_s, family));
    }
    reply.scope(scope_bits);
    Code::NoError
}

/// What a name has of a type, whoever asks.
fn records(node: &Node, zone: &Zone, known: &Known, name: &Name, kind: RecordType) -> Vec<Record> {
    let of = |family| match &node.addresses {
        Some((addresses, ttl_s)) => addresses.records(name, *ttl_s, family),
        None => Vec::new(),
    };
    match kind {
        RecordType::SOA if node.is_apex => vec![zone.soa(known.plan.generation())],
        RecordType::NS if node.is_apex => zone.ns().collect(),
        RecordType::A => of(Family::V4),
        RecordType::AAAA => of(Family::V6),
        _ => Vec::new(),
    }
}

/// Queries for everything are answered with a record that says why not (RFC 8482, section 4.2).
fn why_not_all(node: &Node, name: &Name) -> Vec<Record> {
    if !node.is_apex && !node.is_service && node.addresses.is_none() {
        return Vec::new();
    }
    let hinfo = HINFO::new("RFC8482".to_owned(), String::new());
    vec![Record::from_rdata(name.clone(), FIXED_TTL_S, RData::HINFO(hinfo))]
}

#[cfg(test)]
mod tests;
