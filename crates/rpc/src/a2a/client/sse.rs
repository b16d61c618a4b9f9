//! Server-sent events as the HTML standard defines them, read from chunks cut anywhere. One event
//! is bounded; a comment is a sign of life and nothing else.

use std::collections::VecDeque;

/// Longest id of an event; a longer one is none.
const ID_BYTES: usize = 256;

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// The last id the stream gave, up to this event.
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// An event or a line grew beyond the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug)]
pub(super) struct Parser {
    limit: usize,
    line: Vec<u8>,
    data: Option<String>,
    id: Option<String>,
    /// A line feed right after a carriage return belongs to it.
    after_return: bool,
    is_first_line: bool,
    ready: VecDeque<SseEvent>,
}

impl Parser {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: None,
            id: None,
            after_return: false,
            is_first_line: true,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for &byte in bytes {
            let was_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if was_return => {}
                b'\n' | b'\r' => self.end_line()?,
                _ if self.line.len() >= self.limit => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn pop(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let is_first = std::mem::replace(&mut self.is_first_line, false);
        let line = if is_first { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &line };
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                self.ready.push_back(SseEvent { id: self.id.clone(), data });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.add_data(value)?,
            "id" if !value.contains('\0') => {
                // Every event carries it: a long one would be copied for each.
                self.id = Some(value.to_owned()).filter(|id| id.len() <= ID_BYTES);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: &str) -> Result<(), TooLong> {
        let held = self.data.as_ref().map_or(0, String::len);
        if held + value.len() >= self.limit {
            return Err(TooLong);
        }
        match &mut self.data {
            None => self.data = Some(value.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, chunk: usize) -> Vec<(Option<String>, String)> {
        let mut parser = Parser::new(1000);
        for bytes in text.as_bytes().chunks(chunk) {
            parser.push(bytes).unwrap();
        }
        std::iter::from_fn(|| parser.pop()).map(|event| (event.id, event.data)).collect()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut_and_ended() {
        let text = "\u{feff}: hello\n\nid: 1\nevent: x\ndata: {\"a\":\ndata:1}\n\ndata\n\nretry: 5\n\n\
                    id\ndata: ö\n\ndata: never ended";
        let expected = vec![
            (Some("1".to_owned()), "{\"a\":\n1}".to_owned()),
            (Some("1".to_owned()), String::new()),
            (Some(String::new()), "ö".to_owned()),
        ];
        for end in ["\n", "\r", "\r\n"] {
            for chunk in [1, 2, 3, 1000] {
                assert_eq!(read(&text.replace('\n', end), chunk), expected, "{end:?} {chunk}");
            }
        }
    }

    #[test]
    fn a_long_id_is_not_copied_to_every_event() {
        let mut parser = Parser::new(1 << 20);
        parser.push(format!("id: {}\n", "x".repeat(1 << 19)).as_bytes()).unwrap();
        parser.push(&b"data\n\n".repeat(10_000)).unwrap();
        let held =
            std::iter::from_fn(|| parser.pop()).map(|event| event.id.map_or(0, |id| id.len()));
        assert_eq!(held.sum::<usize>(), 0);
    }

    #[test]
    fn neither_a_line_nor_an_event_grows_without_bound() {
        assert_eq!(Parser::new(10).push(b"data: 123456789"), Err(TooLong));
        assert_eq!(Parser::new(10).push(&b"data:1234\n".repeat(3)), Err(TooLong));
        assert_eq!(Parser::new(10).push(&b":12345678\n".repeat(1000)), Ok(()));
    }
}
