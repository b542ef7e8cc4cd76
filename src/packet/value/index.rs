use super::{Map, Value};

/// An index of [`Value::get`]: the index in an array, or the key in an object.
///
/// This trait is sealed.
pub trait Index: sealed::Sealed {
    #[doc(hidden)]
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value>;

    #[doc(hidden)]
    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value>;

    #[doc(hidden)]
    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value;
}

impl Value {
    /// Returns the value of a key of an object, or the element at an index of an array. Returns `None` if there is no such entry, or
    /// if this is neither.
    ///
    /// `value["key"]` and `value[0]` return null instead of `None`.
    #[must_use]
    pub fn get<I: Index>(&self, index: I) -> Option<&Self> {
        index.get(self)
    }

    /// Like [`get`](Self::get), but returns a mutable reference.
    #[must_use]
    pub fn get_mut<I: Index>(&mut self, index: I) -> Option<&mut Self> {
        index.get_mut(self)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for usize {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl Index for usize {
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_array()?.get(*self)
    }

    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_array_mut()?.get_mut(*self)
    }

    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        match value {
            Value::Array(values) => &mut values[*self],
            other => panic!("cannot index into a value that is not an array: {other:?}[{self}]"),
        }
    }
}

impl Index for str {
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_object()?.get(self)
    }

    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        match value {
            Value::Object(entries) => entries.get_or_insert(self),
            other => panic!("cannot access a key of a value that is not an object: {other:?}[{self:?}]"),
        }
    }
}

impl Index for String {
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        Index::get(self.as_str(), value)
    }

    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        Index::get_mut(self.as_str(), value)
    }

    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        Index::get_or_insert(self.as_str(), value)
    }
}

impl<T: Index + ?Sized> Index for &T {
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        (**self).get(value)
    }

    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        (**self).get_mut(value)
    }

    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        (**self).get_or_insert(value)
    }
}

impl<I: Index> std::ops::Index<I> for Value {
    type Output = Self;

    /// Returns the entry, or null if it does not exist.
    fn index(&self, index: I) -> &Self {
        const NULL: &Value = &Value::Null;
        index.get(self).unwrap_or(NULL)
    }
}

impl<I: Index> std::ops::IndexMut<I> for Value {
    /// Returns the entry. A missing key is added to an object, and null becomes an object.
    ///
    /// # Panics
    ///
    /// Panics if the value is not an array or an object, or if the index is out of bounds.
    fn index_mut(&mut self, index: I) -> &mut Self {
        index.get_or_insert(self)
    }
}
