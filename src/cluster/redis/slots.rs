//! The slots of a Redis Cluster: which master has a channel.

use redis::Value;

const COUNT: u16 = 16384;

/// Returns the slot of a channel: that of what is between the first braces, if there is something.
pub(super) fn slot(channel: &[u8]) -> u16 {
    let tag = || {
        let start = 1 + memchr::memchr(b'{', channel)?;
        let length = memchr::memchr(b'}', &channel[start..])?;
        (length > 0).then(|| &channel[start..start + length])
    };
    crc16(tag().unwrap_or(channel)) % COUNT
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

/// The slots of the masters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    /// Host and port. The host is empty if the node does not know how it is reached.
    pub(super) masters: Vec<(String, u16)>,
    /// First slot, last slot, index of the master; in order.
    ranges: Vec<(u16, u16, usize)>,
}

impl Slots {
    /// Reads the reply to `CLUSTER SLOTS`: a list of first slot, last slot, master and replicas.
    pub(super) fn read(reply: &Value) -> Option<Self> {
        let Value::Array(entries) = reply else { return None };
        let (mut masters, mut ranges) = (Vec::new(), Vec::new());
        for entry in entries {
            let Value::Array(entry) = entry else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = entry.as_slice() else { return None };
            let [host, Value::Int(port), ..] = master.as_slice() else { return None };
            let host = match host {
                Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
                Value::Nil => String::new(),
                _ => return None,
            };
            let master = (host, u16::try_from(*port).ok()?);
            let index = masters.iter().position(|known| *known == master).unwrap_or_else(|| {
                masters.push(master);
                masters.len() - 1
            });
            ranges.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, index));
        }
        ranges.sort_unstable();
        (!masters.is_empty()).then_some(Self { masters, ranges })
    }

    /// Returns the index of the master that has a channel.
    pub(super) fn master(&self, channel: &[u8]) -> Option<usize> {
        let slot = slot(channel);
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, master) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(*master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"123456789"), 12739);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % COUNT);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % COUNT);
    }

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let node = Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node])
    }

    #[test]
    fn a_channel_has_the_master_of_its_slot() {
        let reply = Value::Array(vec![
            range(10923, 16383, "c", 3),
            range(0, 5460, "a", 1),
            range(5461, 5470, "c", 3),
            range(5480, 10922, "b", 2),
        ]);
        let slots = Slots::read(&reply).unwrap();
        assert_eq!(slots.masters, [("c".to_owned(), 3), ("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(slots.master(b"123456789"), Some(0));
        let of_slot = |wanted| (0..).map(|n: u32| n.to_string()).find(|name| slot(name.as_bytes()) == wanted).unwrap();
        for (slot, master) in
            [(0, Some(1)), (5460, Some(1)), (5465, Some(0)), (5475, None), (5480, Some(2)), (16383, Some(0))]
        {
            assert_eq!(slots.master(of_slot(slot).as_bytes()), master, "{slot}");
        }
    }

    #[test]
    fn other_replies_are_refused() {
        let int = |n| Value::Int(n);
        let node = |values: Vec<Value>| Value::Array(vec![Value::Array(vec![int(0), int(1), Value::Array(values)])]);
        for reply in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Array(vec![int(0), int(1)])]),
            node(Vec::new()),
            node(vec![int(1), int(2)]),
            node(vec![Value::BulkString(vec![0xff]), int(2)]),
            node(vec![Value::Nil, int(70_000)]),
        ] {
            assert_eq!(Slots::read(&reply), None);
        }
        assert!(Slots::read(&node(vec![Value::Nil, int(7000)])).is_some());
    }
}
