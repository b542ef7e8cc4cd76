use serde::Serialize;

use super::Packet;

/// The handshake, the first packet that the server sends.
///
/// Engine.IO protocol 4, section "Handshake". The keys are in the order in which Node sends them.
#[derive(Debug)]
pub(crate) struct OpenPacket<'a> {
    pub(crate) sid: &'a str,
    pub(crate) upgrades: &'a [&'static str],
    /// Milliseconds.
    pub(crate) ping_interval: u64,
    /// Milliseconds.
    pub(crate) ping_timeout: u64,
    /// Bytes.
    pub(crate) max_payload: usize,
}

impl OpenPacket<'_> {
    pub(crate) fn to_packet(&self) -> Packet {
        let mut text = Vec::with_capacity(128);
        write_field(&mut text, r#"0{"sid":"#, self.sid);
        write_field(&mut text, r#","upgrades":"#, self.upgrades);
        write_field(&mut text, r#","pingInterval":"#, &self.ping_interval);
        write_field(&mut text, r#","pingTimeout":"#, &self.ping_timeout);
        write_field(&mut text, r#","maxPayload":"#, &self.max_payload);
        text.push(b'}');
        Packet::encoded(text)
    }
}

fn write_field(text: &mut Vec<u8>, key: &str, value: &(impl Serialize + ?Sized)) {
    text.extend_from_slice(key.as_bytes());
    serde_json::to_writer(text, value).expect("strings and numbers are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_in_the_order_of_the_reference() {
        let open = OpenPacket {
            sid: "L7DxU-lyJryW7j6lAAAA",
            upgrades: &["websocket"],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 1_000_000,
        };
        let expected = concat!(
            r#"{"sid":"L7DxU-lyJryW7j6lAAAA","upgrades":["websocket"],"#,
            r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert_eq!(open.to_packet().data(), expected.as_bytes());
    }
}
