//! An extractor that validates with [`garde`].

use std::collections::BTreeMap;

use garde::Validate;
use serde::de::DeserializeOwned;
use tower_socketio::{
    event::EventRequest,
    extract::{Data, FromEvent},
};

use crate::InvalidArguments;

pub(crate) struct Valid<T>(pub(crate) T);

impl<S, T> FromEvent<S> for Valid<T>
where
    S: Sync,
    T: DeserializeOwned + Validate<Context = ()> + Send + 'static,
{
    type Rejection = InvalidArguments;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, InvalidArguments> {
        let Data(value) = Data::<T>::from_event(request, state).await.map_err(InvalidArguments::Type)?;
        value.validate().map_err(|report| {
            let mut fields = BTreeMap::<String, Vec<String>>::new();
            for (path, error) in report.iter() {
                fields.entry(path.to_string()).or_default().push(error.message().to_owned());
            }
            InvalidArguments::Rules(fields)
        })?;
        Ok(Self(value))
    }
}
