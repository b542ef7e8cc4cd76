//! An extractor that validates with [`validator`].

use serde::de::DeserializeOwned;
use tower_socketio::{
    event::EventRequest,
    extract::{Data, FromEvent},
};
use validator::{Validate, ValidationError};

use crate::InvalidArguments;

pub(crate) struct Valid<T>(pub(crate) T);

impl<S, T> FromEvent<S> for Valid<T>
where
    S: Sync,
    T: DeserializeOwned + Validate + Send + 'static,
{
    type Rejection = InvalidArguments;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, InvalidArguments> {
        let Data(value) = Data::<T>::from_event(request, state).await.map_err(InvalidArguments::Type)?;
        value.validate().map_err(|errors| {
            let text = |error: &ValidationError| error.message.as_ref().unwrap_or(&error.code).to_string();
            let fields = errors.field_errors().into_iter();
            let texts = fields.map(|(field, errors)| (field.to_string(), errors.iter().map(text).collect()));
            InvalidArguments::Rules(texts.collect())
        })?;
        Ok(Self(value))
    }
}
