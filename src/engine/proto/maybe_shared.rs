#[cfg(feature = "permessage-deflate")]
use std::sync::{Arc, OnceLock};

#[cfg(feature = "permessage-deflate")]
use bytes::Bytes;

/// The content of a packet, of one or of many recipients.
#[derive(Debug, Clone)]
pub(super) enum MaybeShared<T> {
    Own(T),
    /// The recipients share its compressed form.
    #[cfg(feature = "permessage-deflate")]
    Shared(Arc<Shared<T>>),
}

#[cfg(feature = "permessage-deflate")]
#[derive(Debug)]
pub(super) struct Shared<T> {
    content: T,
    deflated: Deflated,
}

/// The compressed form of a message, created for the first recipient that needs it. `None` inside if it is not smaller.
#[cfg(feature = "permessage-deflate")]
pub(crate) type Deflated = OnceLock<Option<Bytes>>;

impl<T: Clone> MaybeShared<T> {
    #[inline]
    pub(super) fn get(&self) -> &T {
        match self {
            Self::Own(content) => content,
            #[cfg(feature = "permessage-deflate")]
            Self::Shared(shared) => &shared.content,
        }
    }

    #[inline]
    pub(super) fn into_inner(self) -> T {
        match self {
            Self::Own(content) => content,
            #[cfg(feature = "permessage-deflate")]
            Self::Shared(shared) => shared.content.clone(),
        }
    }

    /// Lets clones share the compressed form.
    #[cfg(feature = "permessage-deflate")]
    pub(super) fn share(self) -> Self {
        match self {
            Self::Own(content) => Self::Shared(Arc::new(Shared { content, deflated: Deflated::new() })),
            shared @ Self::Shared(_) => shared,
        }
    }

    /// Returns the place of the compressed form, if clones share it.
    #[cfg(feature = "permessage-deflate")]
    pub(super) fn deflated(&self) -> Option<&Deflated> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(&shared.deflated),
        }
    }
}
