//! As much of DER as it takes to give something signed another part: rcgen's names hold each attribute once, those of
//! requests several organisations.
//!
//! Certificates and requests are the same here: a sequence of what is signed, an algorithm, and the signature. Only what
//! a parser has read is given to it, so that it says no more than that something does not fit.

/// A sequence.
pub(super) const SEQUENCE: u8 = 0x30;
/// Bits; before them stands how many of the last byte do not count.
const BIT_STRING: u8 = 0x03;

/// Something signed in which the element at `place` is another, signed again. The signer says nothing if it fails.
pub(super) fn with_part(
    signed: &[u8],
    place: usize,
    part: &[u8],
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (body, rest) = split(content(signed)?)?;
    let (algorithm, _) = split(rest)?;
    let mut left = content(body)?;
    let mut parts = Vec::new();
    for at in 0.. {
        if left.is_empty() {
            break;
        }
        let (element, rest) = split(left)?;
        parts.extend_from_slice(if at == place { part } else { element });
        left = rest;
    }
    let body = wrapped(SEQUENCE, &parts);
    let signature = wrapped(BIT_STRING, &[&[0], sign(&body)?.as_slice()].concat());
    Some(wrapped(SEQUENCE, &[body.as_slice(), algorithm, &signature].concat()))
}

/// An element.
pub(super) fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match length {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The first element, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = head(bytes)?;
    bytes.split_at_checked(head.checked_add(length)?)
}

/// What is in an element.
fn content(element: &[u8]) -> Option<&[u8]> {
    let (head, length) = head(element)?;
    element.get(head..head.checked_add(length)?)
}

/// How many bytes tag and length take, and how many the content.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    let length = bytes.get(2..2 + count).filter(|_| count <= 4)?;
    Some((2 + count, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, head) in [
            (0, vec![0x30, 0]),
            (127, vec![0x30, 127]),
            (128, vec![0x30, 0x81, 128]),
            (300, vec![0x30, 0x82, 1, 44]),
        ] {
            let element = wrapped(SEQUENCE, &vec![7; length]);
            assert_eq!(element[..head.len()], head);
            assert_eq!(content(&element).map(<[u8]>::len), Some(length));
            assert_eq!(split(&[element.as_slice(), &[1]].concat()), Some((element.as_slice(), &[1][..])));
        }
    }

    #[test]
    fn a_part_is_replaced_and_signed() {
        let body = wrapped(SEQUENCE, &[wrapped(2, &[1]), wrapped(4, b"old"), wrapped(2, &[3])].concat());
        let signed =
            wrapped(SEQUENCE, &[body, wrapped(SEQUENCE, &[9]), wrapped(BIT_STRING, &[0, 5])].concat());
        let other = with_part(&signed, 1, &wrapped(4, b"other"), |body| Some(vec![body.len() as u8]));
        let body = wrapped(SEQUENCE, &[wrapped(2, &[1]), wrapped(4, b"other"), wrapped(2, &[3])].concat());
        let signature = wrapped(BIT_STRING, &[0, body.len() as u8]);
        assert_eq!(other, Some(wrapped(SEQUENCE, &[body, wrapped(SEQUENCE, &[9]), signature].concat())));
        assert_eq!(with_part(&signed, 1, &[], |_| None), None);
        for end in 0..signed.len() {
            assert_eq!(with_part(&signed[..end], 1, &[], |_| Some(Vec::new())), None, "cut at {end}");
        }
        assert_eq!(with_part(&[0x30, 0x88, 1, 2, 3, 4, 5, 6, 7, 8], 0, &[], |_| Some(Vec::new())), None);
    }
}
