//! The offers of clients. RFC 7692, section 7.1; the syntax is in RFC 6455, section 9.1.

use http::{HeaderMap, HeaderValue, header};

/// An acceptable offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offer {
    server_no_context: bool,
    client_no_context: bool,
    /// The largest window that the client accepts.
    pub(super) server_bits: Option<u8>,
    /// The client takes a window from the server.
    limits_client: bool,
    /// The window that the client will use.
    client_bits: Option<u8>,
}

/// Returns the first acceptable offer. Malformed ones are skipped, and never cause a rejection of the request.
pub(super) fn accept(headers: &HeaderMap) -> Option<Offer> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| split(list, ',')).find_map(Offer::read)
}

/// Splits a text at a separator, but not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| match character {
        _ if std::mem::take(&mut is_escaped) => false,
        '\\' => {
            is_escaped = is_quoted;
            false
        }
        '"' => {
            is_quoted = !is_quoted;
            false
        }
        character => character == separator && !is_quoted,
    })
}

impl Offer {
    /// Returns `None` if it is not acceptable.
    fn read(text: &str) -> Option<Self> {
        let mut parts = split(text, ';');
        if !parts.next()?.trim().eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut offer = Self::default();
        for parameter in parts {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquoted(value.trim())?)),
                None => (parameter.trim(), None),
            };
            let is_repeated = match (name, value) {
                ("server_no_context_takeover", None) => std::mem::replace(&mut offer.server_no_context, true),
                ("client_no_context_takeover", None) => std::mem::replace(&mut offer.client_no_context, true),
                // zlib cannot compress with 8 bits.
                ("server_max_window_bits", Some(bits)) => {
                    offer.server_bits.replace(window_bits(bits).filter(|bits| *bits > 8)?).is_some()
                }
                ("client_max_window_bits", None) => std::mem::replace(&mut offer.limits_client, true),
                ("client_max_window_bits", Some(bits)) => {
                    offer.client_bits = Some(window_bits(bits)?);
                    std::mem::replace(&mut offer.limits_client, true)
                }
                _ => return None,
            };
            if is_repeated {
                return None;
            }
        }
        Some(offer)
    }

    /// Returns the header of the response. No context is kept, whether or not the client has offered that.
    pub(super) fn response(self) -> HeaderValue {
        let mut response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.server_bits {
            response.push_str(&format!("; server_max_window_bits={bits}"));
        }
        if let Some(bits) = self.client_bits {
            response.push_str(&format!("; client_max_window_bits={bits}"));
        }
        HeaderValue::try_from(response).expect("it is ASCII")
    }
}

/// Removes the quotes of a value. A value of this extension needs no escapes.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(value) => value.strip_suffix('"'),
        None => Some(value),
    }
}

/// Reads a number between 8 and 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    value.parse().ok().filter(|bits| (8..=15).contains(bits) && !value.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offers: &[&'static str]) -> Option<String> {
        let lists = offers.iter().map(|list| (header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(list)));
        let response = accept(&lists.collect())?.response();
        Some(response.to_str().unwrap().replace("; server_no_context_takeover; client_no_context_takeover", " nct"))
    }

    #[test]
    fn the_first_acceptable_offer_is_accepted() {
        for (offers, expected) in [
            ("permessage-deflate", "permessage-deflate nct"),
            ("PerMessage-Deflate", "permessage-deflate nct"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate nct"),
            ("permessage-deflate ;client_max_window_bits = 10", "permessage-deflate nct; client_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits=\"10\"", "permessage-deflate nct; client_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits=8", "permessage-deflate nct; client_max_window_bits=8"),
            ("permessage-deflate; server_max_window_bits=9", "permessage-deflate nct; server_max_window_bits=9"),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", "permessage-deflate nct"),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                "permessage-deflate nct; server_max_window_bits=10",
            ),
            ("permessage-deflate; foo, permessage-deflate", "permessage-deflate nct"),
            ("permessage-deflate; foo=\"a, permessage-deflate; b\", permessage-deflate", "permessage-deflate nct"),
            ("permessage-deflate; foo=\"\\\",\", permessage-deflate", "permessage-deflate nct"),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate nct"),
            ("permessage-bzip2, permessage-deflate,", "permessage-deflate nct"),
        ] {
            assert_eq!(answer(&[offers]).as_deref(), Some(expected), "{offers}");
        }
        let lists =
            ["permessage-deflate; foo", "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=15"];
        assert_eq!(answer(&lists).as_deref(), Some("permessage-deflate nct; server_max_window_bits=15"));
    }

    #[test]
    fn offers_that_cannot_be_accepted_are_declined() {
        assert_eq!(answer(&[]), None);
        for offers in [
            "",
            ",;,=",
            "x-webkit-deflate-frame",
            "permessage-deflate-2",
            "permessage-deflate; foo",
            "permessage-deflate;",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+10",
            "permessage-deflate; server_max_window_bits=266",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=\"",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "\"permessage-deflate",
        ] {
            assert_eq!(answer(&[offers]), None, "{offers}");
        }
    }
}
