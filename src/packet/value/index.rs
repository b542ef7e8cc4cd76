use super::{Map, Value};

/// What [`Value::get`] finds a value by: the index in an array, or the key in an object.
pub trait Index: sealed::Sealed {
    #[doc(hidden)]
    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value>;

    #[doc(hidden)]
    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value>;

    #[doc(hidden)]
    fn get_or_insert<'a>(&self, value: &'a mut Value) -> &'a mut Value;
}

impl Value {
    /// An entry of an object by its key, or of an array by its index. `None` if there is no such entry, or if this is
    /// neither. `value["key"]` and `value[0]` are null instead.
    #[must_use]
    pub fn get<I: Index>(&self, index: I) -> Option<&Self> {
        index.get(self)
    }

    /// As [`get`](Self::get), to be changed.
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
            other => panic!("there is no index {self} in what is not an array: {other:?}"),
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
            other => panic!("there is no key {self:?} in what is not an object: {other:?}"),
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

    /// The entry, or null if there is none.
    fn index(&self, index: I) -> &Self {
        const NULL: &Value = &Value::Null;
        index.get(self).unwrap_or(NULL)
    }
}

impl<I: Index> std::ops::IndexMut<I> for Value {
    /// The entry, which is added to an object if it is missing. Null becomes an object.
    ///
    /// # Panics
    ///
    /// If the value is not an array or an object, or the index is out of the array's bounds.
    fn index_mut(&mut self, index: I) -> &mut Self {
        index.get_or_insert(self)
    }
}
