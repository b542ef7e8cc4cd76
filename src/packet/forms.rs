use std::sync::OnceLock;

use crate::engine::Packet;

/// How the packets of a client are encoded: as JSON, or by a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form(pub(crate) u8);

impl Form {
    pub(crate) const JSON: Self = Self(0);
}

/// The other forms of a packet, for clients that cannot read its primary one. Each is created when the first client needs it.
///
/// A list, because there are at most a few.
#[derive(Debug, Clone)]
pub(super) struct OtherForms(OnceLock<Box<OtherForm>>);

#[derive(Debug, Clone)]
struct OtherForm {
    form: Form,
    /// `None` if it is equal to the primary form.
    packets: Option<Box<[Packet]>>,
    next: OtherForms,
}

impl OtherForms {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Returns the packets of a form, or `None` if it is equal to the primary one. The first call creates it.
    pub(super) fn get(&self, form: Form, make: impl FnOnce() -> Option<Box<[Packet]>>) -> Option<&[Packet]> {
        let (mut make, mut list) = (Some(make), self);
        loop {
            let other = list.0.get_or_init(|| {
                let make = make.take().expect("the loop ends with the form that is created");
                Box::new(OtherForm { form, packets: make(), next: Self::new() })
            });
            if other.form == form {
                return other.packets.as_deref();
            }
            list = &other.next;
        }
    }

    /// Returns the cost in a history of the forms that exist.
    pub(super) fn cost(&self, cost: impl Fn(&[Packet]) -> usize) -> usize {
        let others = std::iter::successors(self.0.get(), |other| other.next.0.get());
        others.filter_map(|other| other.packets.as_deref()).map(cost).sum()
    }
}
