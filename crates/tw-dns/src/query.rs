//! A query, as its bytes say it.
//!
//! Whatever the bytes are, this ends soon, allocates little, and never panics. Records of a query are passed over, but for EDNS
//! (RFC 6891) with the client's subnet (RFC 7871). Nothing here knows a zone.

mod client;

pub(crate) use client::ClientSubnet;

use crate::answer::Code;
use hickory_proto::op::{Header, HeaderCounts, MessageType, Metadata, OpCode, Query as Question};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// How many bytes of a message come before its question.
const HEADER_BYTES: usize = 12;
/// How long a name may be, in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// The option of EDNS that carries the client's subnet.
pub(crate) const CLIENT_SUBNET: u16 = 8;

/// A query, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Query {
    /// What its header says.
    pub(crate) metadata: Metadata,
    /// What is asked for.
    pub(crate) question: Option<Question>,
    /// What is said by EDNS; None: the client does not know EDNS.
    pub(crate) edns: Option<Edns>,
    /// The code of its answer, if it cannot be answered.
    pub(crate) wrong: Option<Code>,
}

/// What a client says by EDNS.
#[derive(Debug, Default)]
pub(crate) struct Edns {
    /// The longest answer that it takes over UDP, in bytes.
    pub(crate) answer_bytes_max: u16,
    /// Whether it wants signatures. There are none, but the bit is sent back (RFC 3225).
    pub(crate) dnssec_ok: bool,
    /// For which network it asks.
    pub(crate) subnet: Option<ClientSubnet>,
}

/// Reads a message. None: it is no query, and gets no answer; two servers would answer each other for ever otherwise.
pub(crate) fn read(bytes: &[u8]) -> Option<Query> {
    let mut decoder = BinDecoder::new(bytes);
    let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
    if metadata.message_type == MessageType::Response {
        return None;
    }
    let mut query = Query { metadata, question: None, edns: None, wrong: None };
    query.wrong = query.read_rest(bytes, &counts, &mut decoder).err();
    Some(query)
}

impl Query {
    fn read_rest(
        &mut self,
        bytes: &[u8],
        counts: &HeaderCounts,
        decoder: &mut BinDecoder<'_>,
    ) -> Result<(), Code> {
        // Of other operations not even the question is known to be one.
        if self.metadata.op_code != OpCode::Query {
            return Err(Code::NotImp);
        }
        if counts.queries != 1 {
            return Err(Code::FormErr);
        }
        let mut rest = bytes.get(HEADER_BYTES..).ok_or(Code::FormErr)?;
        // There is nothing before the first name that it could point to.
        if skip_name(&mut rest)? == Owner::Pointer {
            return Err(Code::FormErr);
        }
        take(&mut rest, 4)?;
        self.question = Some(Question::read(decoder).map_err(|_| Code::FormErr)?);
        let before = u32::from(counts.answers) + u32::from(counts.authorities);
        for number in 0..before + u32::from(counts.additionals) {
            self.read_record(&mut rest, number >= before)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(Code::FormErr) }
    }

    fn read_record(&mut self, rest: &mut &[u8], is_additional: bool) -> Result<(), Code> {
        let owner = skip_name(rest)?;
        let (kind, class, ttl) = (u16_of(rest)?, u16_of(rest)?, [u16_of(rest)?, u16_of(rest)?]);
        let length = u16_of(rest)?;
        let data = take(rest, length.into())?;
        if kind != u16::from(RecordType::OPT) {
            return Ok(());
        }
        if !is_additional || owner != Owner::Root || self.edns.is_some() {
            return Err(Code::FormErr);
        }
        let [version, flags] = ttl;
        let edns = Edns { answer_bytes_max: class, dnssec_ok: flags & 0x8000 != 0, subnet: None };
        let edns = self.edns.insert(edns);
        if version & 0xff != 0 {
            return Err(Code::BadVers);
        }
        edns.read_options(data)
    }
}

impl Edns {
    fn read_options(&mut self, mut rest: &[u8]) -> Result<(), Code> {
        while !rest.is_empty() {
            let (option, length) = (u16_of(&mut rest)?, u16_of(&mut rest)?);
            let data = take(&mut rest, length.into())?;
            if option == CLIENT_SUBNET {
                let subnet = ClientSubnet::read(data).ok_or(Code::FormErr)?;
                if self.subnet.replace(subnet).is_some() {
                    return Err(Code::FormErr);
                }
            }
        }
        Ok(())
    }
}

/// How a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is the root.
    Root,
    /// In full.
    Plain,
    /// Its end is elsewhere in the message. It is not looked for: that could take long, and nobody needs it.
    Pointer,
}

fn skip_name(rest: &mut &[u8]) -> Result<Owner, Code> {
    let mut name_bytes = 0;
    loop {
        let label_bytes = usize::from(u8_of(rest)?);
        name_bytes += label_bytes + 1;
        match label_bytes {
            0 if name_bytes == 1 => return Ok(Owner::Root),
            0 => return Ok(Owner::Plain),
            1..=63 if name_bytes < NAME_BYTES_MAX => take(rest, label_bytes)?,
            0xc0.. => {
                take(rest, 1)?;
                return Ok(Owner::Pointer);
            }
            _ => return Err(Code::FormErr),
        };
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Code> {
    let (taken, left) = rest.split_at_checked(count).ok_or(Code::FormErr)?;
    *rest = left;
    Ok(taken)
}

fn u8_of(rest: &mut &[u8]) -> Result<u8, Code> {
    let (byte, left) = rest.split_first().ok_or(Code::FormErr)?;
    *rest = left;
    Ok(*byte)
}

fn u16_of(rest: &mut &[u8]) -> Result<u16, Code> {
    let (bytes, left) = rest.split_first_chunk().ok_or(Code::FormErr)?;
    *rest = left;
    Ok(u16::from_be_bytes(*bytes))
}
