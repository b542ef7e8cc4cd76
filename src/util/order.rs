//! A queue with removal from the middle.

use slab::Slab;

/// Entries in order of insertion. All operations take O(1).
#[derive(Debug)]
pub(crate) struct Order<T> {
    entries: Slab<Node<T>>,
    ends: Option<Ends>,
}

/// The places of the oldest and the newest entry.
#[derive(Debug, Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Node<T> {
    value: T,
    before: Option<u32>,
    after: Option<u32>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { entries: Slab::new(), ends: None }
    }
}

impl<T> Order<T> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends an entry and returns its place.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let before = self.ends.map(|ends| ends.last);
        let place = self.entries.insert(Node { value, before, after: None });
        let place = u32::try_from(place).expect("there are fewer than 4 billion entries");
        match before {
            Some(before) => self.entry(before).after = Some(place),
            None => self.ends = Some(Ends { first: place, last: place }),
        }
        if let Some(ends) = &mut self.ends {
            ends.last = place;
        }
        place
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.entries.get_mut(place as usize).map(|entry| &mut entry.value)
    }

    /// Returns the place of the oldest entry.
    pub(crate) fn first_place(&self) -> Option<u32> {
        self.ends.map(|ends| ends.first)
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.get(self.first_place()?)
    }

    /// Removes the entry at a place. The place may be reused.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let Node { value, before, after } = self.entries.try_remove(place as usize)?;
        match before {
            Some(before) => self.entry(before).after = after,
            None => self.ends = after.zip(self.ends).map(|(first, ends)| Ends { first, ..ends }),
        }
        match after {
            Some(after) => self.entry(after).before = before,
            None => self.ends = before.zip(self.ends).map(|(last, ends)| Ends { last, ..ends }),
        }
        self.shrink();
        Some(value)
    }

    /// Frees a large allocation once the queue is empty.
    fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries = Slab::new();
        }
    }

    fn entry(&mut self, place: u32) -> &mut Node<T> {
        &mut self.entries[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn pop<T>(order: &mut Order<T>) -> Option<T> {
        order.remove(order.first_place()?)
    }

    proptest! {
        #[test]
        fn the_order_agrees_with_a_model(steps in prop::collection::vec(0..40u32, 0..200)) {
            let (mut order, mut model) = (Order::default(), VecDeque::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    0..10 => {
                        prop_assert_eq!(order.first_place(), model.front().map(|(place, _)| *place));
                        prop_assert_eq!(pop(&mut order), model.pop_front().map(|(_, number)| number));
                    }
                    10..20 if !model.is_empty() => {
                        let (place, number) = model.remove(step as usize % model.len()).unwrap();
                        prop_assert_eq!(order.get(place), Some(&number));
                        prop_assert_eq!(order.remove(place), Some(number));
                    }
                    _ => model.push_back((order.push(number), number)),
                }
                prop_assert_eq!(order.len(), model.len());
                prop_assert_eq!(order.first(), model.front().map(|(_, number)| number));
            }
            while let Some((_, number)) = model.pop_front() {
                prop_assert_eq!(pop(&mut order), Some(number));
            }
            prop_assert!(order.is_empty() && order.first().is_none());
        }
    }
}
