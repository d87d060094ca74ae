//! Texts as parts of URIs (RFC 3986), and of what borrows their encoding.

/// Percent-encodes a text for a segment of a path, or for a name or value of a query.
pub fn encode_component(text: &str) -> String {
    encode_but(text, b"-._~")
}

/// Percent-encodes all bytes but letters, digits and `kept`.
pub fn encode_but(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_uri_is_encoded() {
        assert_eq!(encode_component("a-b._~Z9"), "a-b._~Z9");
        assert_eq!(encode_component("a/b?c=d&e f:\u{e9}%"), "a%2Fb%3Fc%3Dd%26e%20f%3A%C3%A9%25");
    }
}
