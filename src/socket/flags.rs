use std::time::Duration;

use serde::Serialize;

use crate::{
    packet::{Encoded, Form, Target, encode_event, is_reserved},
    server::{EmitError, NamespaceState},
};

/// The options of an emit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) volatile: bool,
    pub(super) local: bool,
    pub(super) uncompressed: bool,
    pub(super) timeout: Option<Duration>,
}

impl Flags {
    /// Encodes an event for a namespace, also in the form of the recipient if it is known. Fails if its name is reserved.
    pub(super) fn encode<T: Serialize + ?Sized>(
        self,
        namespace: &NamespaceState,
        recipient: Option<Form>,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Encoded, EmitError> {
        let target = Self::target(namespace, id, event)?;
        self.finish(namespace, recipient, encode_event(target, event, args).map_err(EmitError::encode)?)
    }

    /// Like [`encode`](Self::encode), for many sockets.
    pub(super) fn encode_shared<T: Serialize + ?Sized>(
        self,
        namespace: &NamespaceState,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Encoded, EmitError> {
        let target = Self::target(namespace, id, event)?;
        self.finish_shared(namespace, encode_event(target, event, args).map_err(EmitError::encode)?)
    }

    // These are not generic, because they are compiled for each type of arguments otherwise.

    fn target<'a>(namespace: &'a NamespaceState, id: Option<u64>, event: &str) -> Result<Target<'a>, EmitError> {
        if is_reserved(event.as_bytes()) {
            return Err(EmitError::reserved());
        }
        Ok(Target { namespace: namespace.name(), id })
    }

    fn finish(
        self,
        namespace: &NamespaceState,
        recipient: Option<Form>,
        packet: Encoded,
    ) -> Result<Encoded, EmitError> {
        let packet = if self.uncompressed { packet.uncompressed() } else { packet };
        Self::parsed(namespace, recipient, packet)
    }

    fn finish_shared(self, namespace: &NamespaceState, packet: Encoded) -> Result<Encoded, EmitError> {
        Self::parsed(namespace, None, namespace.settings.compress_shared(packet, !self.uncompressed))
    }

    /// Encodes a packet with the parser of its recipient, or else of most.
    fn parsed(namespace: &NamespaceState, recipient: Option<Form>, packet: Encoded) -> Result<Encoded, EmitError> {
        let parsers = &namespace.settings.parsers;
        let form = recipient.unwrap_or_else(|| parsers.default_form());
        parsers.try_encode(&packet, form, || namespace.count_panic()).map_err(EmitError::parser)?;
        Ok(packet)
    }
}
