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
        let compress = |packet: Encoded| if self.uncompressed { packet.uncompressed() } else { packet };
        Self::encode_with(namespace, recipient, id, event, args, compress)
    }

    /// Like [`encode`](Self::encode), for many sockets.
    pub(super) fn encode_shared<T: Serialize + ?Sized>(
        self,
        namespace: &NamespaceState,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Encoded, EmitError> {
        let compress = |packet| namespace.settings.compress_shared(packet, !self.uncompressed);
        Self::encode_with(namespace, None, id, event, args, compress)
    }

    #[inline]
    fn encode_with<T: Serialize + ?Sized>(
        namespace: &NamespaceState,
        recipient: Option<Form>,
        id: Option<u64>,
        event: &str,
        args: &T,
        compress: impl FnOnce(Encoded) -> Encoded,
    ) -> Result<Encoded, EmitError> {
        if is_reserved(event.as_bytes()) {
            return Err(EmitError::reserved());
        }
        let target = Target { namespace: namespace.name(), id };
        let packet = compress(encode_event(target, event, args).map_err(EmitError::encode)?);
        let parsers = &namespace.settings.parsers;
        let form = recipient.unwrap_or_else(|| parsers.default_form());
        parsers.try_encode(&packet, form, || namespace.count_panic()).map_err(EmitError::parser)?;
        Ok(packet)
    }
}
