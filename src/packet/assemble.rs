use bytes::Bytes;

use super::{DecodeError, Header};
#[cfg(test)]
use crate::engine::Packet;

/// Assembles binary packets from their text and the binary messages that follow it.
///
/// Socket.IO protocol 5, section "Binary": the attachments follow the text directly. Only control packets of Engine.IO may be
/// between them.
#[derive(Debug)]
pub(crate) struct Assembler {
    waiting: Option<Box<Waiting>>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    header: Header,
    attachments: Vec<Bytes>,
    bytes: usize,
}

/// A packet with all of its attachments.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) header: Header,
    pub(crate) attachments: Vec<Bytes>,
}

impl Assembler {
    /// Creates an assembler. `max_bytes` limits the attachments of one packet together.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { waiting: None, max_bytes }
    }

    /// Returns `true` if attachments are missing.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns the bytes that an incomplete packet holds.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes + waiting.header.payload.len())
    }

    pub(crate) fn text(&mut self, header: Header) -> Result<Option<Assembled>, DecodeError> {
        if self.is_waiting() {
            return Err(DecodeError("got plaintext data when reconstructing a packet"));
        }
        if header.attachments == 0 {
            return Ok(Some(Assembled { header, attachments: Vec::new() }));
        }
        // The client chooses the number, so it must not determine the allocation.
        let attachments = Vec::with_capacity(header.attachments.min(4));
        self.waiting = Some(Box::new(Waiting { header, attachments, bytes: 0 }));
        Ok(None)
    }

    pub(crate) fn binary(&mut self, data: Bytes) -> Result<Option<Assembled>, DecodeError> {
        let waiting = self.waiting.as_mut().ok_or(DecodeError("got binary data when not reconstructing a packet"))?;
        waiting.bytes += data.len();
        if waiting.bytes > self.max_bytes {
            return Err(DecodeError("the attachments of a packet exceed max_attachment_bytes"));
        }
        waiting.attachments.push(data);
        if waiting.attachments.len() < waiting.header.attachments {
            return Ok(None);
        }
        Ok(self.waiting.take().map(|complete| {
            let Waiting { header, attachments, .. } = *complete;
            Assembled { header, attachments }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::read_header, *};

    fn header(packet: &'static str) -> Header {
        read_header(Packet::message(packet), 10).unwrap()
    }

    #[test]
    fn a_packet_is_complete_with_its_last_attachment() {
        let mut assembler = Assembler::new(100);
        assert!(assembler.text(header(r#"52-["a"]"#)).unwrap().is_none());
        assert!(assembler.binary(Bytes::from_static(b"x")).unwrap().is_none());
        let packet = assembler.binary(Bytes::from_static(b"y")).unwrap().unwrap();
        assert_eq!(packet.attachments, [&b"x"[..], b"y"]);
        assert!(!assembler.is_waiting());
    }

    #[test]
    fn messages_out_of_order_are_rejected() {
        let mut assembler = Assembler::new(100);
        assert!(assembler.binary(Bytes::new()).is_err());
        assembler.text(header(r#"51-["a"]"#)).unwrap();
        assert!(assembler.text(header(r#"2["a"]"#)).is_err());
    }

    #[test]
    fn attachments_are_bounded_in_bytes() {
        let mut assembler = Assembler::new(3);
        assembler.text(header(r#"52-["a"]"#)).unwrap();
        assembler.binary(Bytes::from_static(b"xx")).unwrap();
        assert!(assembler.binary(Bytes::from_static(b"yy")).is_err());
    }
}
