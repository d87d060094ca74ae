//! How a caller asks for streams that go both ways, and hears that it has them: by a WebSocket (RFC 6455), or by
//! SPDY/3.1, as kubectl does when it is refused the first, and most programs in Go from the beginning.
//!
//! Pure: headers in, headers out. What then goes over the connection is [`crate::http::websocket`]'s and
//! [`crate::http::spdy`]'s.

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::http::body::{Body, Response};
use crate::registry::ApiError;

/// What a WebSocket's key is hashed with.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What SPDY is called in an upgrade.
const SPDY: &str = "SPDY/3.1";
/// Which streams a connection of SPDY has, and what they mean.
const STREAMS: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// The protocols of a subresource, the best first.
pub struct Known {
    /// Over a WebSocket.
    pub websocket: &'static [&'static str],
    /// Over SPDY.
    pub spdy: &'static [&'static str],
}

/// A handshake that was asked for, with the protocol chosen.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A WebSocket.
    WebSocket {
        /// What proves that the key was read.
        accept: String,
        /// The protocol chosen.
        protocol: &'static str,
    },
    /// SPDY.
    Spdy {
        /// The protocol chosen.
        protocol: &'static str,
    },
}

impl Handshake {
    /// Reads a request, and chooses the first of the `known` protocols that the caller speaks.
    pub fn read(headers: &HeaderMap, known: &Known) -> Result<Handshake, ApiError> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let upgrade = text(header::UPGRADE).unwrap_or_default();
        if upgrade.eq_ignore_ascii_case(SPDY) {
            return Ok(Handshake::Spdy { protocol: choose(headers, STREAMS, known.spdy)? });
        }
        let key = text(header::SEC_WEBSOCKET_KEY).filter(|_| upgrade.eq_ignore_ascii_case("websocket"));
        let Some(key) = key else {
            return Err(ApiError::bad_request("Upgrade request required"));
        };
        if text(header::SEC_WEBSOCKET_VERSION) != Some("13") {
            return Err(ApiError::bad_request("websocket: unsupported version: 13 is required"));
        }
        let protocol = choose(headers, header::SEC_WEBSOCKET_PROTOCOL, known.websocket)?;
        let hash =
            ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(hash);
        Ok(Handshake::WebSocket { accept, protocol })
    }

    /// The answer.
    pub fn answer(&self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Handshake::WebSocket { accept, protocol } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
                if let Ok(accept) = HeaderValue::from_str(accept) {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
            }
            Handshake::Spdy { protocol } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
                headers.insert(STREAMS, HeaderValue::from_static(protocol));
            }
        }
        response
    }
}

/// The first of the `known` protocols that a header offers.
fn choose(headers: &HeaderMap, name: HeaderName, known: &[&'static str]) -> Result<&'static str, ApiError> {
    let offered: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    known.iter().copied().find(|protocol| offered.contains(protocol)).ok_or_else(|| {
        ApiError::bad_request(format!(
            "unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KNOWN: Known =
        Known { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_websocket_is_asked_for_as_in_the_standard() {
        let mut asked = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v4.channel.k8s.io, v5.channel.k8s.io"),
        ]);
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        let expected = Handshake::WebSocket { accept, protocol: "v5.channel.k8s.io" };
        assert_eq!(Handshake::read(&asked, &KNOWN).unwrap(), expected);
        assert!(Handshake::read(&asked, &Known { websocket: &["other"], ..KNOWN }).is_err());
        asked.remove("upgrade");
        assert!(Handshake::read(&asked, &KNOWN).is_err());
    }

    #[test]
    fn spdy_is_asked_for_as_programs_in_go_do() {
        let mut asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        let handshake = Handshake::read(&asked, &KNOWN).unwrap();
        assert_eq!(handshake, Handshake::Spdy { protocol: "v4.channel.k8s.io" });
        let answer = handshake.answer();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[header::UPGRADE], "SPDY/3.1");
        assert_eq!(answer.headers()[STREAMS], "v4.channel.k8s.io");
        asked.remove(STREAMS);
        let refused = Handshake::read(&asked, &KNOWN).unwrap_err();
        assert!(refused.message.contains("server accepts [\"v4.channel.k8s.io\"]"), "{}", refused.message);
    }
}
