//! The pending ack of an event.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    packet::{EncodedArgs, Form, Target, encode_ack},
    server::{EmitError, Socket},
    util::log,
};

/// An ack that the client requested. Only the first response is sent.
#[derive(Debug)]
pub(crate) struct PendingAck {
    id: u64,
    answered: AtomicBool,
    observed: Option<Box<ObservedAck>>,
}

/// An ack whose arguments a layer observes when an `AckSender` sends it.
struct ObservedAck {
    ack: Arc<PendingAck>,
    observer: Box<dyn Fn(&EncodedArgs) + Send + Sync>,
}

thread_local! {
    /// An ack to reuse. Nearly every event has an ack, and few handlers take it.
    static SPARE_ACK: Cell<Option<Arc<PendingAck>>> = const { Cell::new(None) };
}

impl PendingAck {
    #[inline(always)]
    pub(super) fn new(id: u64) -> Arc<Self> {
        let new = Self { id, answered: AtomicBool::new(false), observed: None };
        // `None` if it is still referenced.
        if let Some(mut spare) = SPARE_ACK.take()
            && let Some(unused) = Arc::get_mut(&mut spare)
        {
            *unused = new;
            return spare;
        }
        Arc::new(new)
    }

    /// Returns `true` if the ack is encoded as JSON and has no observer.
    pub(super) fn is_plain(&self, socket: &Socket) -> bool {
        self.observed.is_none() && socket.client.form == Form::JSON
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Calls `observer` with the arguments before they are sent.
    pub(super) fn observed(self: Arc<Self>, observer: impl Fn(&EncodedArgs) + Send + Sync + 'static) -> Arc<Self> {
        let id = self.id;
        let observed = Some(Box::new(ObservedAck { ack: self, observer: Box::new(observer) }));
        Arc::new(Self { id, answered: AtomicBool::new(false), observed })
    }

    pub(super) fn give_back(self: Arc<Self>) {
        if Arc::strong_count(&self) == 1 {
            SPARE_ACK.set(Some(self));
        }
    }

    pub(crate) fn answer(&self, socket: &Arc<Socket>, args: EncodedArgs) -> Result<(), EmitError> {
        if let Some(observed) = &self.observed {
            if self.is_answered() {
                return Ok(());
            }
            (observed.observer)(&args);
            // An ack that cannot be encoded may be sent again.
            let answered = observed.ack.answer(socket, args);
            return answered.inspect_err(|error| self.answered.store(!error.is_encode(), Ordering::Relaxed));
        }
        let target = Target { namespace: socket.namespace.name(), id: Some(self.id) };
        let packet = encode_ack(target, args);
        let parsers = &socket.namespace.settings.parsers;
        parsers
            .try_encode(&packet, socket.client.form, || socket.namespace.count_panic())
            .map_err(EmitError::parser)?;
        if self.is_answered() {
            return Ok(());
        }
        Ok(socket.deliver_owned(packet, false)?)
    }

    /// Returns `true` if the ack has not been sent and only the caller can send it.
    pub(crate) fn is_unanswered(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && !self.answered.load(Ordering::Relaxed)
    }

    /// Marks the ack as sent. Returns `true` if it was sent before.
    pub(super) fn is_answered(&self) -> bool {
        let answered = self.answered.swap(true, Ordering::Relaxed);
        if answered {
            log!(debug, "an ack was sent twice; the second one is dropped");
        }
        answered
    }
}

impl fmt::Debug for ObservedAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedAck").field("ack", &self.ack).finish_non_exhaustive()
    }
}
