//! Server-sent events: the parser of WHATWG HTML, section 9.2.6, as far as a client of ours needs it.

/// The longest line that is taken, in bytes: an event of the largest size, base64-encoded, with its attributes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// What kind it is; empty for none.
    pub(crate) event: String,
    /// Its data; None for a sign of life.
    pub(crate) data: Option<String>,
    /// The last id that was sent.
    pub(crate) id: Option<String>,
}

/// Takes bytes as they come and gives whole messages.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    message: Message,
    /// The line before ended with a carriage return: a line feed now belongs to it.
    after_return: bool,
}

/// A line is longer than is allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {LINE_BYTES_MAX} bytes")]
pub(crate) struct TooLong;

impl Parser {
    /// Takes some bytes; hands each message that they complete to `each`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(crate) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Message)) -> Result<(), TooLong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_return) && rest.first() == Some(&b'\n') {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                if self.line.len() + rest.len() > LINE_BYTES_MAX {
                    return Err(TooLong);
                }
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            self.line.extend_from_slice(rest.get(..end).unwrap_or_default());
            self.after_return = rest.get(end) == Some(&b'\r');
            rest = rest.get(end + 1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            if let Some(message) = self.end_of_line(&String::from_utf8_lossy(&line)) {
                each(message);
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let Message { event, data, id } = std::mem::take(&mut self.message);
            // The id holds for the messages that follow, too.
            self.message.id.clone_from(&id);
            return (data.is_some() || id.is_some()).then_some(Message { event, data, id });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.message.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.message.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.message.event),
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            // `retry` is a wish that our own back-off covers; a line that starts with a colon is a comment.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Message> {
        let (mut parser, mut messages) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.take(piece, |message| messages.push(message)).unwrap();
        }
        messages
    }

    fn message(data: Option<&str>, id: &str) -> Message {
        Message { event: String::new(), data: data.map(str::to_owned), id: Some(id.to_owned()) }
    }

    #[test]
    fn messages_and_signs_of_life_are_told_apart() {
        let stream = b"retry: 1000\n: alive\nid: tw1;1=0:0\n\nid: tw1;1=0:1\ndata: {\"a\":1}\n\n: alive\n\n";
        assert_eq!(
            parse(&[stream]),
            [message(None, "tw1;1=0:0"), message(Some("{\"a\":1}"), "tw1;1=0:1"), message(None, "tw1;1=0:1")]
        );
    }

    #[test]
    fn all_line_ends_are_understood_and_data_lines_are_joined() {
        let stream = b"id:1\r\ndata: a\r\ndata:b\r\n\r\nevent: x\rdata\r\r";
        let second = Message { event: "x".into(), ..message(Some(""), "1") };
        assert_eq!(parse(&[stream]), [message(Some("a\nb"), "1"), second]);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(cut in 0usize..60) {
            let stream = b"id: 1\r\ndata: \xc3\xa9\r\n\r\ndata: b\n\nevent: e\ndata: c\r\r";
            let (head, tail) = stream.split_at(cut.min(stream.len()));
            prop_assert_eq!(parse(&[head, tail]), parse(&[stream]));
        }

        #[test]
        fn any_bytes_are_taken(pieces: Vec<Vec<u8>>) {
            let mut parser = Parser::default();
            for piece in &pieces {
                parser.take(piece, |_| {}).unwrap();
            }
        }
    }
}
