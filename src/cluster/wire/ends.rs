//! Where the large values of a message end. A value is passed over once for each value that it is in, unless its end is known.

use crate::parser::msgpack::reader::Reader;

use super::{
    Result,
    json::value_end,
    msgpack::{Begin, begin, skip},
};

/// The least number of bytes of a message with an index, and of a value in it.
const LARGE_MESSAGE: usize = 1024;
const LARGE_VALUE: usize = 128;

/// The levels of brackets that are in the index. The headers of a socket are on the sixth.
const LEVELS: usize = 6;

/// The starts and ends of the lists and maps that are large, by their start. Empty for a small message.
#[derive(Debug, Default)]
pub(super) struct Ends(Vec<(usize, usize)>);

impl Ends {
    pub(super) fn of_json(json: &[u8]) -> Self {
        let mut ends = Self::default();
        if json.len() < LARGE_MESSAGE {
            return ends;
        }
        let mut starts = [0; LEVELS];
        let (mut depth, mut at) = (0usize, 0);
        while let Some(&byte) = json.get(at) {
            match byte {
                b'[' | b'{' => {
                    if let Some(start) = starts.get_mut(depth) {
                        *start = at;
                    }
                    depth += 1;
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    if let Some(&start) = starts.get(depth) {
                        ends.add(start, at + 1);
                    }
                }
                b'"' => {
                    at = value_end(json, at);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        ends.sorted()
    }

    /// Passes over a value.
    pub(super) fn of_msgpack(input: &mut Reader<'_>) -> Result<Self> {
        let mut ends = Self::default();
        match input.rest() < LARGE_MESSAGE {
            true => skip(input)?,
            false => ends.pass(input, LEVELS)?,
        }
        Ok(ends.sorted())
    }

    fn pass(&mut self, input: &mut Reader<'_>, levels: usize) -> Result<()> {
        if levels == 0 {
            return skip(input);
        }
        let start = input.at;
        let values = match begin(input)? {
            Begin::List(length) => length,
            Begin::Map(entries) => 2 * entries,
            _ => return Ok(()),
        };
        for _ in 0..values {
            self.pass(input, levels - 1)?;
        }
        self.add(start, input.at);
        Ok(())
    }

    fn add(&mut self, start: usize, end: usize) {
        if end - start >= LARGE_VALUE {
            self.0.push((start, end));
        }
    }

    fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    pub(super) fn get(&self, start: usize) -> Option<usize> {
        let place = self.0.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        Some(self.0[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::msgpack::from_json, *};
    use crate::cluster::payload::Payload;

    /// Lists of seven levels, with brackets in text.
    fn message() -> Payload {
        let text = format!(r#""{}]\"{{""#, "x".repeat(LARGE_MESSAGE));
        let nested = (0..=LEVELS).fold(text, |inner, level| format!(r#"{{"{level}" : [ {inner} ], "[" :{{}} }}"#));
        Payload::new(format!("[{nested},{nested},[{nested}],1]"), Vec::new()).unwrap()
    }

    #[test]
    fn the_ends_are_where_a_value_ends() {
        let message = message();
        let json = message.json().as_bytes();
        let ends = Ends::of_json(json);
        assert_eq!(ends.get(0), Some(json.len()));
        assert!(ends.0.len() > LEVELS);
        for &(start, end) in &ends.0 {
            assert_eq!(end, value_end(json, start));
        }

        let mut bytes = Vec::new();
        from_json(&message, &mut bytes);
        let bytes = bytes.into();
        let mut input = Reader::new(&bytes);
        let ends = Ends::of_msgpack(&mut input).unwrap();
        assert_eq!((ends.get(0), input.rest()), (Some(bytes.len()), 0));
        assert!(ends.0.len() > LEVELS);
        for &(start, end) in &ends.0 {
            input.at = start;
            skip(&mut input).unwrap();
            assert_eq!(input.at, end);
        }
    }

    #[test]
    fn small_messages_have_no_index() {
        let json = format!("[[{}]]", "1,".repeat(100) + "1");
        assert_eq!(Ends::of_json(json.as_bytes()).0, []);
    }
}
