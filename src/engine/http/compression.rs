//! Compression of responses to polls. RFC 9110, section 12.5.3.

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue, header};

/// A supported content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// In zlib format, as the RFC specifies.
    Deflate,
}

impl Encoding {
    /// Returns the coding with the highest weight, the first one if there are several. Returns `None` if none is accepted.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut best: Option<(Self, f32)> = None;
        for item in lists.flat_map(|list| list.split(',')) {
            let (name, parameter) = item.split_once(';').unwrap_or((item, ""));
            let encoding = match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") || name == "*" => Self::Gzip,
                name if name.eq_ignore_ascii_case("deflate") => Self::Deflate,
                _ => continue,
            };
            let weight = weight(parameter);
            if weight > best.map_or(0.0, |(_, weight)| weight) {
                best = Some((encoding, weight));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    pub(super) fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    /// Compresses a body with a level from 1 to 9. Returns `None` if that does not make it smaller.
    pub(super) fn compress(self, body: &[u8], level: u32) -> Option<Bytes> {
        let level = Compression::new(level);
        let compressed = Vec::with_capacity(body.len() / 4);
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(compressed, level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(compressed, level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
        };
        let compressed = compressed.expect("writing to a vector cannot fail");
        (compressed.len() < body.len()).then(|| compressed.into())
    }
}

/// Parses the weight of a coding, from 0 to 1. Returns 0 if it is invalid.
fn weight(parameter: &str) -> f32 {
    match parameter.trim() {
        "" => 1.0,
        parameter => match parameter.split_once('=') {
            Some((q, weight)) if q.trim().eq_ignore_ascii_case("q") => weight.trim().parse().unwrap_or(0.0),
            _ => 0.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &'static str) -> Option<Encoding> {
        Encoding::accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]))
    }

    #[test]
    fn the_accepted_coding_with_the_highest_weight_is_chosen() {
        for (accept, expected) in [
            ("gzip, deflate, br", Some(Encoding::Gzip)),
            ("deflate, gzip", Some(Encoding::Deflate)),
            ("deflate;q=0.5, GZIP ; Q=0.9", Some(Encoding::Gzip)),
            ("gzip;q=0.1,deflate;q=1.000", Some(Encoding::Deflate)),
            ("*", Some(Encoding::Gzip)),
            ("br, *;q=0.1", Some(Encoding::Gzip)),
            ("gzip;q=0, deflate;q=0.0", None),
            ("br", None),
            ("identity", None),
            ("", None),
            ("gzip;q=NaN, gzip;level=1, gzip;q=, ;;,=", None),
        ] {
            assert_eq!(accepted(accept), expected, "{accept}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_body_that_would_not_become_smaller_is_not_compressed() {
        assert!(Encoding::Gzip.compress(b"abc", 1).is_none());
        assert!(Encoding::Deflate.compress(&[b'a'; 1000], 1).is_some_and(|body| body.len() < 50));
    }
}
