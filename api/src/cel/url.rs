//! URLs as Kubernetes' CEL library takes them apart: absolute, or a path from the root.

use std::fmt;

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Reads a URL; `None` for what is none.
    pub fn parse(text: &str) -> Option<Url> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') || !percent_is_right(text) {
            return None;
        }
        let before = text.split('#').next().unwrap_or(text);
        let (main, query) = before.split_once('?').unwrap_or((before, ""));
        let (scheme, rest) = if main.starts_with('/') {
            ("", main)
        } else {
            let (scheme, rest) = main.split_once(':')?;
            let fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
            if !fits {
                return None;
            }
            (scheme, rest)
        };
        let (host, path) = match rest.strip_prefix("//") {
            Some(authority) => authority.split_at(authority.find('/').unwrap_or(authority.len())),
            None if rest.starts_with('/') => ("", rest),
            None => return None,
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if !host_is_right(host) {
            return None;
        }
        Some(Url {
            text: text.to_owned(),
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    /// `https`
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// `example.com:80`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `example.com`
    pub fn hostname(&self) -> &str {
        let host = self.host.strip_suffix(&format!(":{}", self.port())).unwrap_or(&self.host);
        host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
    }

    /// `80`, or nothing.
    pub fn port(&self) -> &str {
        let end = self.host.rfind(']').unwrap_or(0);
        self.host[end..].rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path, escaped as it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parameters with their values, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect()
    }
}

fn percent_is_right(text: &str) -> bool {
    let hex = |c: Option<&u8>| c.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    (0..bytes.len()).all(|i| bytes[i] != b'%' || hex(bytes.get(i + 1)) && hex(bytes.get(i + 2)))
}

fn host_is_right(host: &str) -> bool {
    let end = host.rfind(']').unwrap_or(0);
    let port_is_right = match host[end..].split_once(':') {
        Some((_, port)) => port.chars().all(|c| c.is_ascii_digit()),
        None => true,
    };
    port_is_right
        && host.starts_with('[') == host.contains(']')
        && !host.contains(['<', '>', '"', '\\', '^', '`'])
}

fn decode(text: &str) -> String {
    let bytes = text.replace('+', " ").into_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("https://user@example.com:80/a%20b?k=1&k=2&x#f");
        let url = url.as_ref();
        assert_eq!(url.map(Url::host), Some("example.com:80"));
        assert_eq!(
            url.map(|url| (url.hostname(), url.port(), url.path())),
            Some(("example.com", "80", "/a%20b"))
        );
        assert_eq!(url.map(|url| url.query().len()), Some(3));
        assert_eq!(
            Url::parse("https://[::1]:80/").as_ref().map(|url| (url.hostname(), url.port())),
            Some(("::1", "80"))
        );
        for wrong in ["", "a b", "../x", "https://a:b/", "http://%zz", "1http://a"] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
        assert!(Url::parse("/path").is_some());
    }
}
