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
