use serde::{Deserialize, Serialize};

/// Numbers in order of arrival. Each run of consecutive numbers is stored as its first and its last.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(pub Vec<(u32, u32)>);

impl Ranges {
    pub fn push(&mut self, number: u32) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.0.push((number, number)),
        }
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first + 1) as usize).sum()
    }

    /// Returns the sorted ranges, and how many numbers occur more than once.
    pub fn sorted(&self) -> (Self, usize) {
        let mut numbers: Vec<u32> = self.0.iter().flat_map(|(first, last)| *first..=*last).collect();
        numbers.sort_unstable();
        let all = numbers.len();
        numbers.dedup();
        let mut sorted = Self::default();
        numbers.iter().for_each(|number| sorted.push(*number));
        (sorted, all - numbers.len())
    }

    /// Returns how many of these numbers are missing in `other`.
    pub fn missing_in(&self, other: &Self) -> usize {
        let known: std::collections::HashSet<u32> = other.0.iter().flat_map(|(first, last)| *first..=*last).collect();
        self.0.iter().flat_map(|(first, last)| *first..=*last).filter(|number| !known.contains(number)).count()
    }
}
