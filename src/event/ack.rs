//! The ack that a client waits for.

use std::{
    borrow::Cow,
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    packet::{EncodedArgs, Target, encode_ack},
    parser::try_encode_by,
    server::{EmitError, Socket},
    util::log,
};

/// An ack that a client waits for. Only the first answer is sent, whoever gives it.
#[derive(Debug)]
pub(crate) struct PendingAck {
    id: u64,
    answered: AtomicBool,
    watched: Option<Box<Watched>>,
}

/// An ack whose answer a layer wants to see, although the handler gives it by itself.
struct Watched {
    ack: Arc<PendingAck>,
    see: Box<dyn Fn(&EncodedArgs) + Send + Sync>,
}

thread_local! {
    /// One that has been answered and is used again: nearly every event has an ack, and few are handed out.
    static SPARE_ACK: Cell<Option<Arc<PendingAck>>> = const { Cell::new(None) };
}

impl PendingAck {
    #[inline(always)]
    pub(super) fn new(id: u64) -> Arc<Self> {
        let new = Self { id, answered: AtomicBool::new(false), watched: None };
        // Nobody else may hold it.
        if let Some(mut spare) = SPARE_ACK.take()
            && let Some(unused) = Arc::get_mut(&mut spare)
        {
            *unused = new;
            return spare;
        }
        Arc::new(new)
    }

    /// Whether the answer is JSON, and nobody wants to see it first.
    pub(super) fn is_plain(&self, socket: &Socket) -> bool {
        self.watched.is_none() && socket.namespace.settings.parser.is_none()
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Shows an answer to `see` before it is sent.
    pub(super) fn watched(self: Arc<Self>, see: impl Fn(&EncodedArgs) + Send + Sync + 'static) -> Arc<Self> {
        let id = self.id;
        let watched = Some(Box::new(Watched { ack: self, see: Box::new(see) }));
        Arc::new(Self { id, answered: AtomicBool::new(false), watched })
    }

    pub(super) fn give_back(self: Arc<Self>) {
        SPARE_ACK.set(Some(self));
    }

    pub(crate) fn answer(&self, socket: &Arc<Socket>, args: EncodedArgs) -> Result<(), EmitError> {
        if let Some(watched) = &self.watched {
            if self.is_answered() {
                return Ok(());
            }
            (watched.see)(&args);
            // What cannot be encoded is no answer yet.
            let answered = watched.ack.answer(socket, args);
            return answered.inspect_err(|error| self.answered.store(!error.is_encode(), Ordering::Relaxed));
        }
        let target = Target { namespace: socket.namespace.name(), id: Some(self.id) };
        let packet = encode_ack(target, args);
        if let Some(parser) = &socket.namespace.settings.parser {
            try_encode_by(&packet, &**parser, || socket.namespace.count_panic()).map_err(EmitError::parser)?;
        }
        if self.is_answered() {
            return Ok(());
        }
        Ok(socket.deliver(Cow::Owned(packet), false)?)
    }

    /// Whether it has been answered before; from now on it has.
    pub(super) fn is_answered(&self) -> bool {
        let answered = self.answered.swap(true, Ordering::Relaxed);
        if answered {
            log!(debug, "an ack was answered twice");
        }
        answered
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("ack", &self.ack).finish_non_exhaustive()
    }
}
