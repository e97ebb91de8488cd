//! Rows while they arrive: the JSON answer of `/v1/sql`, read piece by piece, so that an answer of any length takes little
//! memory. Numbers keep every digit, because they are never numbers here.

use super::{Align, Cell};
use crate::client::Problem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest row that is taken, in bytes.
const ROW_BYTES_MAX: usize = 64 << 20;

/// A part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A column of the result; all come before the first row.
    Column(Column),
    /// A row.
    Row(Vec<Cell>),
    /// What was done, of a statement that has no rows.
    Message(String),
    /// The rows before are all that could be computed.
    Problem(Box<Problem>),
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its type, as PostgreSQL names it.
    #[serde(rename = "type")]
    pub(crate) ty: String,
}

impl Column {
    /// Numbers are flush right.
    pub(crate) fn align(&self) -> Align {
        let numbers = ["smallint", "integer", "bigint", "real", "double precision", "numeric"];
        let is_number = numbers.iter().any(|name| self.ty == *name) || self.ty.starts_with("numeric(");
        if is_number { Align::Right } else { Align::Left }
    }
}

/// Takes the bytes of an answer as they come and gives its parts.
#[derive(Debug, Default)]
pub(crate) struct RowReader {
    depth: usize,
    string: Option<Escape>,
    /// The bytes of the part that is under way.
    part: Option<Vec<u8>>,
    /// The depth at which that part ends.
    ends_at: usize,
    /// The member of the outermost object that we are in.
    member: String,
    /// A string of the outermost object is a member's name, or its value.
    after_name: bool,
}

/// Within a string: whether the next byte is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Plain,
    Escaped,
}

impl RowReader {
    /// Takes some bytes; hands each part that they complete to `each`.
    ///
    /// # Errors
    /// What about them is not an answer; or whatever `each` says.
    pub(crate) fn take<E: From<String>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Part) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in bytes {
            if let Some(part) = &mut self.part {
                if part.len() >= ROW_BYTES_MAX {
                    return Err(format!("a row is longer than {ROW_BYTES_MAX} bytes").into());
                }
                part.push(*byte);
            }
            if self.step(*byte)? {
                let part = self.part.take().unwrap_or_default();
                if let Some(part) = self.finish(&part)? {
                    each(part)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the whole answer was there.
    pub(crate) fn is_complete(&self) -> bool {
        self.depth == 0 && !self.member.is_empty()
    }

    /// Moves on by one byte; says whether it ended a part.
    fn step(&mut self, byte: u8) -> Result<bool, String> {
        match (self.string, byte) {
            (Some(Escape::Escaped), _) => self.string = Some(Escape::Plain),
            (Some(Escape::Plain), b'\\') => self.string = Some(Escape::Escaped),
            (Some(Escape::Plain), b'"') => {
                self.string = None;
                return Ok(self.part.is_some() && self.depth == self.ends_at);
            }
            (Some(Escape::Plain), _) => {}
            (None, b'"') => {
                self.string = Some(Escape::Plain);
                if self.depth == 1 {
                    self.begin(byte, 1);
                }
            }
            (None, b'{' | b'[') => {
                let of_member = byte == b'{' && self.depth == 1;
                self.depth += 1;
                if self.part.is_none() && (of_member || self.depth == 3) {
                    self.begin(byte, self.depth - 1);
                }
            }
            (None, b'}' | b']') => {
                self.depth = self.depth.checked_sub(1).ok_or("there are more ends than beginnings")?;
                return Ok(self.part.is_some() && self.depth == self.ends_at);
            }
            (None, b':') if self.depth == 1 => self.after_name = true,
            (None, b',') if self.depth == 1 => self.after_name = false,
            (None, _) => {}
        }
        Ok(false)
    }

    fn begin(&mut self, byte: u8, ends_at: usize) {
        self.part = Some(vec![byte]);
        self.ends_at = ends_at;
    }

    fn finish(&mut self, part: &[u8]) -> Result<Option<Part>, String> {
        if self.depth == 1 && !self.after_name {
            self.member = read(part)?;
            return Ok(None);
        }
        Ok(match self.member.as_str() {
            "columns" => Some(Part::Column(read(part)?)),
            "rows" => {
                let cells: Vec<&RawValue> = read(part)?;
                Some(Part::Row(cells.into_iter().map(|cell| self::cell(cell.get())).collect()))
            }
            "message" => Some(Part::Message(read(part)?)),
            "problem" => Some(Part::Problem(Box::new(Problem::within(&read(part)?)))),
            _ => None,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(part: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(part).map_err(|error| error.to_string())
}

/// A cell from its JSON text.
fn cell(json: &str) -> Cell {
    match json.as_bytes().first() {
        Some(b'n') => Cell::null(),
        Some(b'"') => serde_json::from_str::<String>(json).map_or_else(|_| Cell::text(json), Cell::text),
        _ => Cell::text(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = r#"{"columns":[{"name":"a\"]","type":"numeric(40,2)"},{"name":"b","type":"text"}],"rows":[[12345678901234567890123456789012345678.90,"x]\\"],[null,"{\"[\n"],[[1,2],{"c":"]"}]]}"#;

    fn parts(pieces: &[&[u8]]) -> Vec<Part> {
        let (mut reader, mut parts) = (RowReader::default(), Vec::new());
        for piece in pieces {
            let each = |part| {
                parts.push(part);
                Ok::<_, String>(())
            };
            reader.take(piece, each).unwrap();
        }
        assert!(reader.is_complete());
        parts
    }

    #[test]
    fn rows_keep_every_digit_and_text() {
        let parts = parts(&[ANSWER.as_bytes()]);
        let column = |name: &str, ty: &str| Part::Column(Column { name: name.into(), ty: ty.into() });
        assert_eq!(
            parts,
            [
                column("a\"]", "numeric(40,2)"),
                column("b", "text"),
                Part::Row(vec![Cell::text("12345678901234567890123456789012345678.90"), Cell::text("x]\\")]),
                Part::Row(vec![Cell::null(), Cell::text("{\"[\n")]),
                Part::Row(vec![Cell::text("[1,2]"), Cell::text(r#"{"c":"]"}"#)]),
            ]
        );
    }

    #[test]
    fn a_message_and_a_late_problem_are_parts() {
        assert_eq!(
            parts(&[br#"{"message":"stream \"a\" created"}"#]),
            [Part::Message("stream \"a\" created".into())]
        );
        let late = br#"{"columns":[{"name":"a","type":"bigint"}],"rows":[[1]],"problem":{"code":"timeout","status":504,"detail":"too long"}}"#;
        let parts = parts(&[late]);
        assert!(matches!(&parts[2], Part::Problem(problem) if problem.detail == "too long"));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(cut in 0usize..300) {
            let (head, tail) = ANSWER.as_bytes().split_at(cut.min(ANSWER.len()));
            prop_assert_eq!(parts(&[head, tail]), parts(&[ANSWER.as_bytes()]));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>) {
            let _ = RowReader::default().take(&bytes, |_| Ok::<_, String>(()));
        }

        #[test]
        fn a_damaged_answer_is_taken_or_refused(at in 0usize..300, byte: u8) {
            let mut bytes = ANSWER.as_bytes().to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = RowReader::default().take(&bytes, |_| Ok::<_, String>(()));
        }
    }
}
