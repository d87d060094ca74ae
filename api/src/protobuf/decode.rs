//! From protobuf to the JSON that the same client would have sent.
//!
//! Go writes every field it does not hold by pointer, zero or not, so a zero of such a field
//! means that it is absent. Messages are kept even when empty: `emptyDir: {}` says something.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::protobuf::message::{Message, MessageField, Special, Type};
use crate::protobuf::wire::{Payload, Reader};
use crate::protobuf::{DecodeError, MAGIC, special};

/// Deeper than any object; JSON is read to 128 levels.
const DEEPEST: usize = 100;

/// The object in an envelope.
pub(crate) fn envelope(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or(DecodeError::NoMagic)?;
    let (mut type_meta, mut raw, mut encoding, mut media): (&[u8], &[u8], &[u8], &[u8]) =
        (&[], &[], &[], &[]);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let Payload::Bytes(payload) = payload else { return Err(DecodeError::Corrupt) };
        match number {
            1 => type_meta = payload,
            2 => raw = payload,
            3 => encoding = payload,
            4 => media = payload,
            _ => {}
        }
    }
    if !encoding.is_empty() {
        return Err(DecodeError::Encoding(String::from_utf8_lossy(encoding).into_owned()));
    }
    if media == b"application/json" {
        return serde_json::from_slice(raw).map_err(|_| DecodeError::Corrupt);
    }
    let (api_version, kind) = type_of(type_meta)?;
    let Some(message) = Message::of_kind(&api_version, &kind) else {
        return Err(DecodeError::UnknownKind { api_version, kind });
    };
    let mut fields = Map::new();
    message_into(message, raw, depth, &mut fields)?;
    fields.insert("apiVersion".to_owned(), Value::String(api_version));
    fields.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(fields))
}

fn type_of(bytes: &[u8]) -> Result<(String, String), DecodeError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let Payload::Bytes(text) = payload else { return Err(DecodeError::Corrupt) };
        let text = std::str::from_utf8(text).map_err(|_| DecodeError::Corrupt)?.to_owned();
        match number {
            1 => api_version = text,
            2 => kind = text,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn message_into(
    message: Message,
    bytes: &[u8],
    depth: usize,
    fields: &mut Map<String, Value>,
) -> Result<(), DecodeError> {
    if depth > DEEPEST {
        return Err(DecodeError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        // What a newer client knows beyond us is passed over, as by every protobuf reader.
        let Some(field) = message.field(number) else { continue };
        let at = Place { message, field, depth: depth + 1 };
        if field.embedded() {
            let Type::Message(inner) = field.kind() else { return Err(at.is_not("a message")) };
            message_into(inner, at.bytes(payload)?, depth + 1, fields)?;
        } else if field.map() {
            let (key, value) = at.map_entry(payload)?;
            let slot = fields.entry(field.name()).or_insert_with(|| Value::Object(Map::new()));
            slot.as_object_mut().ok_or(DecodeError::Corrupt)?.insert(key, value);
        } else if field.repeated() {
            let slot = fields.entry(field.name()).or_insert_with(|| Value::Array(Vec::new()));
            at.items(payload, slot.as_array_mut().ok_or(DecodeError::Corrupt)?)?;
        } else {
            let value = at.value(payload)?;
            if value.is_null() || (!field.keeps_zero() && is_zero(field, &value)) {
                fields.remove(field.name());
            } else {
                fields.insert(field.name().to_owned(), value);
            }
        }
    }
    items_of_list(message, fields);
    Ok(())
}

/// The items of a list are there even when there are none.
fn items_of_list(message: Message, fields: &mut Map<String, Value>) {
    let is_list = message.name().ends_with("List");
    if is_list && message.fields().any(|field| field.name() == "items" && field.repeated()) {
        fields.entry("items").or_insert_with(|| Value::Array(Vec::new()));
    }
}

fn is_zero(field: MessageField, value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty() && !matches!(field.kind(), Type::Message(_)),
        _ => false,
    }
}

/// A field of a message, for reading and for saying what is wrong with it.
struct Place {
    message: Message,
    field: MessageField,
    depth: usize,
}

impl Place {
    fn is_not(&self, want: &'static str) -> DecodeError {
        DecodeError::Field { message: self.message.name(), field: self.field.name(), want }
    }

    fn bytes<'a>(&self, payload: Payload<'a>) -> Result<&'a [u8], DecodeError> {
        match payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(self.is_not("bytes")),
        }
    }

    fn text(&self, bytes: &[u8]) -> Result<String, DecodeError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.is_not("UTF-8"))
    }

    fn map_entry(&self, payload: Payload<'_>) -> Result<(String, Value), DecodeError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(self.bytes(payload)?);
        while let Some((number, payload)) = reader.next()? {
            match number {
                1 => key = self.text(self.bytes(payload)?)?,
                2 => value = Some(self.value(payload)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(Payload::Bytes(&[]))?,
        };
        Ok((key, value))
    }

    /// One item, or several scalars packed together.
    fn items(&self, payload: Payload<'_>, out: &mut Vec<Value>) -> Result<(), DecodeError> {
        match (self.field.kind(), payload) {
            (Type::Bool | Type::Int32 | Type::Int64, Payload::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    let value = reader.varint()?;
                    out.push(self.value(Payload::Varint(value))?);
                }
            }
            (_, payload) => out.push(self.value(payload)?),
        }
        Ok(())
    }

    fn value(&self, payload: Payload<'_>) -> Result<Value, DecodeError> {
        Ok(match (self.field.kind(), payload) {
            (Type::String, Payload::Bytes(bytes)) => Value::String(self.text(bytes)?),
            (Type::Bytes, Payload::Bytes(bytes)) => {
                Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            (Type::Bool, Payload::Varint(value)) => Value::Bool(value != 0),
            // Negative numbers are sign-extended to 64 bits on the wire.
            (Type::Int32, Payload::Varint(value)) => Value::from(value as i32),
            (Type::Int64, Payload::Varint(value)) => Value::from(value as i64),
            (Type::Double, Payload::Fixed64(bits)) => {
                let number = serde_json::Number::from_f64(f64::from_bits(bits));
                Value::Number(number.ok_or_else(|| self.is_not("a finite number"))?)
            }
            (Type::Message(message), Payload::Bytes(bytes)) => self.message(message, bytes)?,
            _ => return Err(self.is_not("of its wire type")),
        })
    }

    fn message(&self, message: Message, bytes: &[u8]) -> Result<Value, DecodeError> {
        let Some(kind) = message.special() else {
            let mut fields = Map::new();
            message_into(message, bytes, self.depth, &mut fields)?;
            return Ok(Value::Object(fields));
        };
        match kind {
            Special::Time | Special::MicroTime => self.time(kind, bytes),
            Special::Quantity => {
                let text = self.text(self.first(bytes, 1)?.unwrap_or_default())?;
                Ok(Value::String(if text.is_empty() { "0".to_owned() } else { text }))
            }
            Special::IntOrString => self.int_or_string(bytes),
            Special::Raw => self.raw(self.first(bytes, 1)?.unwrap_or_default()),
            Special::Duration => {
                let nanos = numbers(bytes)?[1].unwrap_or(0) as i64;
                Ok(Value::String(special::duration(nanos)))
            }
            Special::Strings | Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings => {
                self.wrapped(message, kind, bytes)
            }
        }
    }

    fn time(&self, kind: Special, bytes: &[u8]) -> Result<Value, DecodeError> {
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let numbers = numbers(bytes)?;
        let (seconds, nanos) = (numbers[1].unwrap_or(0) as i64, numbers[2].unwrap_or(0) as i32);
        let text = match kind {
            Special::MicroTime => special::micro_time(seconds, nanos),
            _ => special::time(seconds, nanos),
        };
        text.map(Value::String).ok_or_else(|| self.is_not("a time"))
    }

    fn int_or_string(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        let numbers = numbers(bytes)?;
        Ok(match numbers[1] {
            None | Some(0) => Value::from(numbers[2].unwrap_or(0) as i32),
            Some(_) => Value::String(self.text(self.first(bytes, 3)?.unwrap_or_default())?),
        })
    }

    fn raw(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        match bytes {
            [] => Ok(Value::Null),
            bytes if bytes.starts_with(MAGIC) => {
                if self.depth > DEEPEST {
                    return Err(DecodeError::TooDeep);
                }
                envelope(bytes, self.depth)
            }
            bytes => serde_json::from_slice(bytes).map_err(|_| self.is_not("JSON")),
        }
    }

    /// Types that in JSON are one of their fields, without its name.
    fn wrapped(&self, message: Message, kind: Special, bytes: &[u8]) -> Result<Value, DecodeError> {
        let mut fields = Map::new();
        message_into(message, bytes, self.depth, &mut fields)?;
        let mut take = |name: &str| fields.remove(name);
        let value = match kind {
            Special::Strings => Some(take("items").unwrap_or_else(|| Value::Array(Vec::new()))),
            Special::SchemaOrArray => take("schema").or_else(|| take("jSONSchemas")),
            Special::SchemaOrStrings => take("schema").or_else(|| take("property")),
            _ => Some(take("schema").or_else(|| take("allows")).unwrap_or(Value::Bool(false))),
        };
        Ok(value.unwrap_or(Value::Null))
    }

    /// The bytes of one field of a small message.
    fn first<'a>(&self, bytes: &'a [u8], wanted: u32) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut found = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, payload)) = reader.next()? {
            if number == wanted {
                found = Some(self.bytes(payload)?);
            }
        }
        Ok(found)
    }
}

/// The varints of a small message by field number (1 to 3).
fn numbers(bytes: &[u8]) -> Result<[Option<u64>; 4], DecodeError> {
    let mut found = [None; 4];
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if let (Payload::Varint(value), Some(slot)) = (payload, found.get_mut(number as usize)) {
            *slot = Some(value);
        }
    }
    Ok(found)
}
