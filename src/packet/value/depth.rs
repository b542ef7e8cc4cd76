use super::{Iter, Value};

impl Value {
    /// Returns `true` if arrays and objects are nested at most `levels` deep. Adds the number of binary values to `binaries`.
    pub(crate) fn is_within(&self, levels: usize, binaries: &mut usize) -> bool {
        let mut open: Vec<Children<'_>> = Vec::new();
        let mut value = self;
        loop {
            match value {
                Self::Array(_) | Self::Object(_) if open.len() == levels => return false,
                Self::Array(values) => open.push(Children::Array(values.iter())),
                Self::Object(entries) => open.push(Children::Object(entries.iter())),
                Self::Binary(_) => *binaries += 1,
                Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => {}
            }
            value = loop {
                let Some(innermost) = open.last_mut() else { return true };
                match innermost.next() {
                    Some(child) => break child,
                    None => open.pop(),
                };
            }
        }
    }
}

/// The remaining children of an array or an object.
enum Children<'a> {
    Array(std::slice::Iter<'a, Value>),
    Object(Iter<'a>),
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a Value;

    fn next(&mut self) -> Option<&'a Value> {
        match self {
            Self::Array(values) => values.next(),
            Self::Object(entries) => entries.next().map(|(_, value)| value),
        }
    }
}
