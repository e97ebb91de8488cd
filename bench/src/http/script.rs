//! What clients send: requests that are made once, and changed in place before each use so that no event is like another.

use super::client::Load;

/// How many digits an id has.
const ID_DIGITS: usize = 16;

/// A request, and where in it ids and subjects are.
pub(crate) struct Script {
    request: Vec<u8>,
    ids: Vec<usize>,
    subjects: Vec<usize>,
    next: u64,
    subject_count: u64,
}

impl Script {
    /// The requests of `load`. Ids count up from `first`.
    pub(crate) fn new(load: &Load, first: u64) -> Self {
        let Load { address, events, lines, subjects: subject_count, .. } = *load;
        let (mut body, mut ids, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..events {
            body.extend_from_slice(br#"{"specversion":"1.0","id":""#);
            ids.push(body.len());
            body.extend_from_slice(&[b'0'; ID_DIGITS]);
            body.extend_from_slice(
                br#"","source":"/shop/checkout","type":"com.example.order.placed","subject":"order-"#,
            );
            subjects.push(body.len());
            body.extend_from_slice(&[b'0'; ID_DIGITS]);
            body.extend_from_slice(br#"","data":{"customer":"c-00042","total":129.90,"currency":"EUR","items":[{"sku":"A-1","n":1}]}}"#);
            if lines {
                body.push(b'\n');
            }
        }
        let media_type = if lines { "application/x-ndjson" } else { "application/cloudevents+json" };
        let mut request = format!(
            "POST /v1/streams/orders/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: {media_type}\r\n{}content-length: {}\r\n\r\n",
            if lines { "prefer: return=minimal\r\n" } else { "" },
            body.len()
        )
        .into_bytes();
        let head = request.len();
        request.append(&mut body);
        for place in ids.iter_mut().chain(&mut subjects) {
            *place += head;
        }
        Self { request, ids, subjects, next: first, subject_count }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> &[u8] {
        for (id, subject) in self.ids.iter().zip(&self.subjects) {
            write_hex(&mut self.request, *id, self.next);
            write_hex(&mut self.request, *subject, self.next % self.subject_count);
            self.next += 1;
        }
        &self.request
    }
}

fn write_hex(request: &mut [u8], at: usize, mut number: u64) {
    for digit in request.iter_mut().skip(at).take(ID_DIGITS).rev() {
        *digit = b"0123456789abcdef".get((number & 15) as usize).copied().unwrap_or(b'0');
        number >>= 4;
    }
}
