//! What a proxy changes in the head of a message (RFC 9110, 7.6).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Fields that concern one connection only, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is the same for every request of a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    text: HeaderValue,
    scheme: HeaderValue,
}

impl Client {
    pub(crate) fn new(ip: IpAddr, encrypted: bool) -> Self {
        let ip = ip.to_canonical();
        let text = HeaderValue::try_from(ip.to_string()).expect("an address is plain ASCII");
        let scheme = HeaderValue::from_static(if encrypted { "https" } else { "http" });
        Client { ip, text, scheme }
    }

    /// Tells the backend who asked for what. The scheme and host are ours to say; the chain of
    /// addresses grows by this client's.
    pub(crate) fn announce(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        let chain = match headers.get(FORWARDED_FOR) {
            None => self.text.clone(),
            Some(before) => {
                let both = [before.as_bytes(), b", ", self.text.as_bytes()].concat();
                HeaderValue::from_bytes(&both).unwrap_or_else(|_| self.text.clone())
            }
        };
        headers.insert(FORWARDED_FOR, chain);
        headers.insert(FORWARDED_PROTO, self.scheme.clone());
        if let Some(host) = host {
            headers.insert(FORWARDED_HOST, host);
        }
    }
}

/// The protocol a client wants to change to, if it does.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let names = connection_options(headers);
    names.into_iter().any(|name| name.eq_ignore_ascii_case("upgrade")).then(|| protocol.clone())
}

fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Removes what concerns the connection it came on.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in connection_options(headers) {
            // What frames or addresses the message is not the client's to remove.
            if !matches!(name.to_ascii_lowercase().as_str(), "host" | "content-length" | "close") {
                headers.remove(name.as_str());
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Marks a head as one that changes the protocol.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let mut head = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "host"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("host", "a"),
            ("accept", "b"),
        ]);
        strip_hop_by_hop(&mut head);
        let mut left: Vec<&str> = head.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host"]);
    }

    #[test]
    fn backends_hear_who_asked() {
        let client = Client::new("::ffff:192.0.2.1".parse().unwrap(), true);
        let mut head = headers(&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "ftp")]);
        client.announce(&mut head, Some(HeaderValue::from_static("shop.example")));
        assert_eq!(head[FORWARDED_FOR], "198.51.100.1, 192.0.2.1");
        assert_eq!(head[FORWARDED_PROTO], "https");
        assert_eq!(head[FORWARDED_HOST], "shop.example");
    }

    #[test]
    fn upgrades_need_both_fields() {
        let whole = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&whole).unwrap(), "websocket");
        assert!(upgrade(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&headers(&[("connection", "upgrade")])).is_none());
    }
}
