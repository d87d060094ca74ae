//! The functions of texts. Positions count characters.

use crate::cel::EvaluateError;
use crate::cel::library::{failed, items, whole};
use crate::cel::meter::Meter;
use crate::cel::value::{Value, double};

type Result<'a> = std::result::Result<Value<'a>, EvaluateError>;

/// The texts of a function's first two arguments.
fn two<'v>(a: &'v [Value<'_>]) -> std::result::Result<(&'v str, &'v str), EvaluateError> {
    match (&a[0], &a[1]) {
        (Value::Text(a), Value::Text(b)) => Ok((a, b)),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn searched<'v>(
    meter: &mut Meter<'_>,
    a: &'v [Value<'_>],
) -> std::result::Result<(&'v str, &'v str), EvaluateError> {
    let (text, wanted) = two(a)?;
    meter.charge((text.len() + wanted.len()) as u64 / 10)?;
    Ok((text, wanted))
}

pub(crate) fn contains<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    searched(meter, a).map(|(text, wanted)| Value::Bool(text.contains(wanted)))
}

pub(crate) fn starts_with<'a>(_: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    two(a).map(|(text, start)| Value::Bool(text.starts_with(start)))
}

pub(crate) fn ends_with<'a>(_: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    two(a).map(|(text, end)| Value::Bool(text.ends_with(end)))
}

pub(crate) fn matches<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, pattern) = searched(meter, a)?;
    let pattern = meter.pattern(pattern)?;
    Ok(Value::Bool(pattern.is_match(text)))
}

pub(crate) fn find<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, pattern) = searched(meter, a)?;
    let pattern = meter.pattern(pattern)?;
    Ok(Value::text(pattern.find(text).map_or("", |found| found.as_str())))
}

pub(crate) fn find_all<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, pattern) = searched(meter, a)?;
    let pattern = meter.pattern(pattern)?;
    let most = a.get(2).map_or(usize::MAX, |most| usize::try_from(whole(most)).unwrap_or(usize::MAX));
    meter.charge(text.len() as u64)?;
    Ok(Value::list(pattern.find_iter(text).take(most).map(|found| Value::text(found.as_str())).collect()))
}

/// The byte at which a character begins; the end is a place too.
fn place(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    let places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.into_iter().nth(index)
}

fn out_of_range(index: i64) -> EvaluateError {
    failed(format!("index out of range: {index}"))
}

pub(crate) fn char_at<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let Value::Text(text) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
    meter.charge(text.len() as u64 / 10)?;
    let at = place(text, whole(&a[1])).ok_or_else(|| out_of_range(whole(&a[1])))?;
    Ok(Value::text(text[at..].chars().next().map(String::from).unwrap_or_default()))
}

fn position<'a>(text: &str, at: Option<usize>) -> Value<'a> {
    Value::Int(at.map_or(-1, |at| text[..at].chars().count() as i64))
}

pub(crate) fn index_of<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, wanted) = searched(meter, a)?;
    let from = a.get(2).map_or(0, whole);
    let start = place(text, from).ok_or_else(|| out_of_range(from))?;
    Ok(position(text, text[start..].find(wanted).map(|at| at + start)))
}

pub(crate) fn last_index_of<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, wanted) = searched(meter, a)?;
    let Some(last) = a.get(2).map(whole) else { return Ok(position(text, text.rfind(wanted))) };
    let start = place(text, last).ok_or_else(|| out_of_range(last))?;
    let end = (start + wanted.len()).min(text.len());
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
    Ok(position(text, text[..end].rfind(wanted)))
}

pub(crate) fn replace<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, old) = searched(meter, a)?;
    let Value::Text(new) = &a[2] else { return Err(EvaluateError::NoSuchOverload) };
    let most = a.get(3).map_or(usize::MAX, |most| usize::try_from(whole(most)).unwrap_or(usize::MAX));
    let count = text.matches(old).take(most).count();
    meter.charge_size((text.len() as u64).saturating_add((count as u64).saturating_mul(new.len() as u64)))?;
    Ok(Value::text(text.replacen(old, new, count)))
}

pub(crate) fn split<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let (text, separator) = searched(meter, a)?;
    meter.charge(text.len() as u64)?;
    let most = a.get(2).map_or(-1, whole);
    let parts = |most: usize| -> Vec<Value<'a>> {
        if separator.is_empty() {
            return split_characters(text, most);
        }
        text.splitn(most, separator).map(Value::text).collect()
    };
    Ok(Value::list(match usize::try_from(most) {
        Ok(0) => Vec::new(),
        Ok(most) => parts(most),
        Err(_) => parts(usize::MAX),
    }))
}

fn split_characters<'a>(text: &str, most: usize) -> Vec<Value<'a>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next().filter(|_| parts.len() + 1 < most) {
        parts.push(Value::text(String::from(c)));
        rest = &rest[c.len_utf8()..];
    }
    if !rest.is_empty() {
        parts.push(Value::text(rest));
    }
    parts
}

pub(crate) fn substring<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let Value::Text(text) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
    meter.charge(text.len() as u64 / 10)?;
    let start = place(text, whole(&a[1])).ok_or_else(|| out_of_range(whole(&a[1])))?;
    let end = match a.get(2).map(whole) {
        None => text.len(),
        Some(end) => place(text, end).ok_or_else(|| out_of_range(end))?,
    };
    if start > end {
        let (start, end) = (whole(&a[1]), a.get(2).map_or(0, whole));
        return Err(failed(format!("invalid substring range. start: {start}, end: {end}")));
    }
    Ok(Value::text(&text[start..end]))
}

pub(crate) fn join<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let separator = a.get(1).map(Value::shown).unwrap_or_default();
    let parts = items(meter, &a[0])?;
    if parts.iter().any(|part| !matches!(part, Value::Text(_))) {
        return Err(EvaluateError::NoSuchOverload);
    }
    let size: usize = parts.iter().map(|part| part.size() + separator.len()).sum();
    meter.charge_size(size as u64)?;
    let parts: Vec<String> = parts.iter().map(Value::shown).collect();
    Ok(Value::text(parts.join(&separator)))
}

/// `"%s is %d".format([…])`
pub(crate) fn format<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let Value::Text(pattern) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
    let mut values = items(meter, &a[1])?.into_iter().enumerate();
    let (mut out, mut rest) = (String::new(), &**pattern);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let precision = rest[..end].strip_prefix('.').and_then(|digits| digits.parse::<usize>().ok());
        let clause = rest[end..].chars().next().ok_or_else(|| failed("unexpected end of string"))?;
        rest = &rest[end + clause.len_utf8()..];
        let (index, value) = values.next().ok_or_else(|| failed("index out of range"))?;
        value.weigh(meter)?;
        let text = formatted(clause, precision.unwrap_or(6).min(100), &value);
        out.push_str(&text.ok_or_else(|| {
            let kind = value.type_name();
            failed(format!("error during formatting: unrecognized formatting clause or type: %{clause} of {kind} at {index}"))
        })?);
        meter.charge_size(out.len() as u64)?;
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

fn formatted(clause: char, precision: usize, value: &Value<'_>) -> Option<String> {
    match (clause, value) {
        ('s', value) => Some(value.shown()),
        ('d', Value::Int(_) | Value::Uint(_)) => Some(value.shown()),
        ('d', Value::Double(number)) => Some(double(*number)),
        ('f', Value::Double(number)) => Some(format!("{number:.precision$}")),
        ('f', Value::Int(number)) => Some(format!("{:.precision$}", *number as f64)),
        ('e', Value::Double(number)) => Some(format!("{number:.precision$e}")),
        ('b', Value::Int(number)) => Some(format!("{number:b}")),
        ('b', Value::Uint(number)) => Some(format!("{number:b}")),
        ('b', Value::Bool(truth)) => Some(u8::from(*truth).to_string()),
        ('o', Value::Int(number)) => Some(format!("{number:o}")),
        ('o', Value::Uint(number)) => Some(format!("{number:o}")),
        ('x', Value::Int(number)) => Some(format!("{number:x}")),
        ('x', Value::Uint(number)) => Some(format!("{number:x}")),
        ('X', Value::Int(number)) => Some(format!("{number:X}")),
        ('X', Value::Uint(number)) => Some(format!("{number:X}")),
        ('x', Value::Text(text)) => Some(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ('X', Value::Text(text)) => Some(text.bytes().map(|byte| format!("{byte:02X}")).collect()),
        _ => None,
    }
}
