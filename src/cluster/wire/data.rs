//! What the messages of all adapters are made of.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        message::{BroadcastFlags, BroadcastOptions, HandshakeDescription, SocketDescription},
        payload::{EventBody, Payload},
    },
    INCOMPLETE, Result, WireError,
    input::Input,
    output::Output,
};

/// The type of packet of an event, the only one that may be broadcast.
const EVENT: u64 = 2;

impl<'a> Input<'a> {
    pub(super) fn shared(self) -> Result<Arc<str>> {
        Ok((&*self.text()?).into())
    }

    /// Reads `opts`. A key that is absent is empty.
    pub(super) fn options(self) -> Result<BroadcastOptions> {
        let [rooms, except, flags] = self.fields(["rooms", "except", "flags"])?;
        let names = |list: Option<Input<'a>>| list.map_or_else(|| Ok(Vec::new()), Input::texts);
        let flags = flags.map_or_else(|| Ok(BroadcastFlags::default()), Input::flags)?;
        Ok(BroadcastOptions::new(names(rooms)?, names(except)?).flags(flags))
    }

    fn flags(self) -> Result<BroadcastFlags> {
        let [volatile, compress, timeout, single] =
            self.fields(["volatile", "compress", "timeout", "expectSingleResponse"])?;
        let is_set = |flag: Option<Input<'_>>| flag.and_then(Input::bool).unwrap_or_default();
        Ok(BroadcastFlags {
            volatile: is_set(volatile),
            compress: compress.and_then(Input::bool),
            timeout: timeout.and_then(Input::number).and_then(millis),
            expect_single_response: is_set(single),
        })
    }

    /// Reads a packet that is to be broadcast, and its namespace. What would break clients is refused.
    pub(super) fn packet(self) -> Result<(EventBody, Option<Arc<str>>)> {
        let [kind, data, namespace] = self.fields(["type", "data", "nsp"])?;
        if kind.ok_or(INCOMPLETE)?.natural()? != EVENT {
            return Err(WireError::Message("a packet that is not an event"));
        }
        let event = data.ok_or(INCOMPLETE)?.event()?;
        if event.is_reserved() {
            return Err(WireError::Message("the event name is reserved"));
        }
        Ok((event, namespace.map(Input::shared).transpose()?))
    }

    pub(super) fn socket(self) -> Result<SocketDescription> {
        let [id, handshake, rooms, data] = self.fields(["id", "handshake", "rooms", "data"])?;
        let rooms = rooms.map_or_else(|| Ok(Vec::new()), Input::texts)?;
        let data = data.map_or_else(|| Ok(Payload::default()), Input::payload)?;
        let mut socket = SocketDescription::new(id.ok_or(INCOMPLETE)?.shared()?, rooms, data);
        if let Some(handshake) = handshake {
            socket.handshake = HandshakeDescription::new(handshake.payload()?)?;
        }
        Ok(socket)
    }
}

fn millis(number: f64) -> Option<Duration> {
    let seconds = number / 1000.0;
    // The nearest millisecond, so that what is written is read.
    Duration::try_from_secs_f64(seconds).ok().map(|_| Duration::from_millis(number.round() as u64))
}

impl Output<'_> {
    pub(super) fn options(&mut self, options: &BroadcastOptions) {
        self.map(3, |out| {
            out.selection(options);
            out.key("flags").flags(&options.flags);
        });
    }

    pub(super) fn selection(&mut self, options: &BroadcastOptions) {
        self.key("rooms").texts(&options.rooms);
        self.key("except").texts(&options.except);
    }

    fn flags(&mut self, flags: &BroadcastFlags) {
        let BroadcastFlags { volatile, compress, timeout, expect_single_response } = *flags;
        let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let set = [volatile, compress.is_some(), timeout.is_some(), expect_single_response];
        self.map(set.iter().filter(|set| **set).count(), |out| {
            if volatile {
                out.key("volatile").bool(true);
            }
            if let Some(compress) = compress {
                out.key("compress").bool(compress);
            }
            if expect_single_response {
                out.key("expectSingleResponse").bool(true);
            }
            if let Some(timeout) = timeout {
                out.key("timeout").natural(timeout);
            }
        });
    }

    /// Writes a packet. Only the classic adapter says its namespace.
    pub(super) fn packet(&mut self, event: &EventBody, namespace: Option<&str>) {
        self.map(2 + usize::from(namespace.is_some()), |out| {
            out.key("type").natural(EVENT);
            out.key("data").payload(event.payload());
            if let Some(namespace) = namespace {
                out.key("nsp").text(namespace);
            }
        });
    }

    pub(super) fn sockets(&mut self, sockets: &[SocketDescription]) {
        self.list(sockets.len(), |out| sockets.iter().for_each(|socket| out.socket(socket)));
    }

    fn socket(&mut self, socket: &SocketDescription) {
        self.map(4, |out| {
            out.key("id").text(&socket.id);
            out.key("handshake").payload(socket.handshake.payload());
            out.key("rooms").texts(&socket.rooms);
            out.key("data").payload(&socket.data);
        });
    }
}
