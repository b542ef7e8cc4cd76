/// The position of an event among the events of its namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(super) offset: u64,
    /// The offset of the last event that had been evicted when this one was stamped.
    pub(super) log_start: u64,
}

/// Encodes and decodes the offsets that clients see.
#[derive(Debug)]
pub(super) struct Offsets {
    /// The prefix of each offset. It distinguishes the offsets of other servers, or of earlier runs of this one, which clients
    /// may send.
    tag: String,
}

/// An offset sent by a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Ours(u64),
    /// The offset of another server. The client has seen no event of this one.
    Foreign,
    /// Not an offset. Clients take a string as the last argument of any event for one.
    Garbage,
}

impl Offsets {
    pub(super) fn new(tag: String) -> Self {
        Self { tag }
    }

    pub(super) fn write(&self, offset: u64) -> String {
        format!("{}.{offset:x}", self.tag)
    }

    pub(super) fn read(&self, text: &str) -> Brought {
        let Some((tag, offset)) = text.split_once('.').filter(|(tag, _)| tag.len() == self.tag.len()) else {
            return Brought::Garbage;
        };
        match u64::from_str_radix(offset, 16) {
            // Only the canonical form is accepted.
            Ok(number) if format!("{number:x}") != offset => Brought::Garbage,
            Ok(number) if tag == self.tag => Brought::Ours(number),
            Ok(_) => Brought::Foreign,
            Err(_) => Brought::Garbage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        let (ours, other) = (Offsets::new("abcdefgh".into()), Offsets::new("hgfedcba".into()));
        for offset in [0, 1, 16, u64::MAX] {
            assert_eq!(ours.read(&ours.write(offset)), Brought::Ours(offset));
            assert_eq!(ours.read(&other.write(offset)), Brought::Foreign);
        }
        for text in
            ["", ".", "abcdefgh", "abcdefgh.", "abcdefgh.01", "abcdefgh.A", "abcdefgh.+1", "abcdefg.1", "1", "text.1"]
        {
            assert_eq!(ours.read(text), Brought::Garbage, "{text}");
        }
    }
}
