use std::sync::Arc;

use crate::{
    engine::Packet,
    packet::{Encoded, Form},
};

use super::{
    Parser, ParserError,
    convert::{encoded_by, try_encode_by},
};

/// The parsers of a server.
#[derive(Default)]
pub(crate) struct Parsers {
    /// That of clients that do not choose one, with [`Parsers::DEFAULT`]. `None` for JSON.
    default: Option<Arc<dyn Parser>>,
    /// Those that clients choose by their names. Their forms are the numbers after the default's.
    named: Vec<(String, Arc<dyn Parser>)>,
}

/// The name by which clients choose JSON, if it is not the default.
const JSON: &str = "json";

impl Parsers {
    const DEFAULT: Form = Form(1);
    const MAX_NAMED: usize = 250;

    pub(crate) fn set_default(&mut self, parser: impl Parser) {
        self.default = Some(Arc::new(parser));
    }

    /// Adds a parser that clients choose by its name.
    ///
    /// # Panics
    ///
    /// Panics if another parser has the name, or if there are too many.
    #[track_caller]
    pub(crate) fn add(&mut self, name: &str, parser: impl Parser) {
        let is_new = name != JSON && self.named.iter().all(|(other, _)| other != name);
        assert!(is_new, "there is another parser with the name `{name}`");
        assert!(self.named.len() < Self::MAX_NAMED, "a server has at most {} named parsers", Self::MAX_NAMED);
        self.named.push((name.to_owned(), Arc::new(parser)));
    }

    /// Returns the form of clients that do not choose a parser.
    pub(crate) fn default_form(&self) -> Form {
        if self.default.is_some() { Self::DEFAULT } else { Form::JSON }
    }

    /// Returns the form that a client has chosen by the query of its first request. It is the default if the query does not name a
    /// parser of this server.
    pub(crate) fn chosen_form(&self, query: Option<&str>) -> Form {
        self.named_form(query).unwrap_or_else(|| self.default_form())
    }

    fn named_form(&self, query: Option<&str>) -> Option<Form> {
        if self.named.is_empty() {
            return None;
        }
        let parameters = form_urlencoded::parse(query?.as_bytes());
        let (_, name) = parameters.filter(|(key, _)| key == "parser").last()?;
        if name == JSON {
            return Some(Form::JSON);
        }
        let place = self.named.iter().position(|(known, _)| *known == name)?;
        Some(Form(u8::try_from(place).ok()?.checked_add(Self::DEFAULT.0 + 1)?))
    }

    /// Returns the parser of a form, or `None` for JSON.
    #[inline]
    pub(crate) fn get(&self, form: Form) -> Option<&Arc<dyn Parser>> {
        match form {
            Form::JSON => None,
            Self::DEFAULT => self.default.as_ref(),
            Form(number) => self.named.get(usize::from(number - Self::DEFAULT.0 - 1)).map(|(_, parser)| parser),
        }
    }

    /// Returns a packet in the form of a parser. It is encoded once. If that fails, the result is empty and the packet is not sent.
    /// `count_panic` is called if the parser panics.
    pub(crate) fn encoded<'a>(&self, packet: &'a Encoded, form: Form, count_panic: impl FnOnce()) -> &'a [Packet] {
        match self.get(form) {
            Some(parser) => encoded_by(packet, form, &**parser, count_panic),
            None => packet.packets(),
        }
    }

    /// Encodes a packet in advance for [`encoded`](Self::encoded), to return the error.
    #[inline]
    pub(crate) fn try_encode(
        &self,
        packet: &Encoded,
        form: Form,
        count_panic: impl FnOnce(),
    ) -> Result<(), ParserError> {
        match self.get(form) {
            Some(parser) => try_encode_by(packet, form, &**parser, count_panic),
            None => Ok(()),
        }
    }
}
