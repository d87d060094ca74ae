//! From JSON to protobuf: fields by ascending number, nothing that the object does not have.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::protobuf::message::{Message, MessageField, Special, Type};
use crate::protobuf::wire::{put_bytes, put_fixed64, put_varint};
use crate::protobuf::{MAGIC, special};

/// Why an object is not written in protobuf. The caller answers in JSON instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    /// No message is known for this kind, or the object does not say its kind.
    #[error("no protobuf message is known for kind {kind:?} of version {api_version:?}")]
    UnknownKind {
        /// As in the object.
        api_version: String,
        /// As in the object.
        kind: String,
    },
    /// The message has no number for the field.
    #[error("field {field:?} of {message} has no protobuf number")]
    NoNumber {
        /// The full name of the message.
        message: &'static str,
        /// The JSON name.
        field: String,
    },
    /// The value is not of the field's type.
    #[error("field {field:?} of {message} has a value of another type")]
    WrongType {
        /// The full name of the message.
        message: &'static str,
        /// The JSON name.
        field: &'static str,
    },
}

/// The object as an envelope.
pub(crate) fn envelope(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = Message::of_kind(api_version, kind).zip(object.as_object());
    let Some((message, fields)) = message else {
        return Err(EncodeError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() });
    };
    let mut type_meta = Vec::new();
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    let raw = message_bytes(message, fields)?;
    let mut out = Vec::with_capacity(raw.len() + type_meta.len() + 16);
    out.extend_from_slice(MAGIC);
    put_bytes(&mut out, 1, &type_meta);
    put_bytes(&mut out, 2, &raw);
    Ok(out)
}

fn message_bytes(message: Message, object: &Map<String, Value>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let written = message_into(message, object, &mut out)?;
    if written < object.len() {
        let lost =
            object.iter().find(|(name, value)| !value.is_null() && !is_type(name) && !message.knows(name));
        if let Some((field, _)) = lost {
            return Err(EncodeError::NoNumber { message: message.name(), field: field.clone() });
        }
    }
    Ok(out)
}

/// `apiVersion` and `kind` travel in the envelope; inside lists they go without saying.
fn is_type(name: &str) -> bool {
    name == "apiVersion" || name == "kind"
}

/// Writes the fields the message knows; returns how many of the object's they were.
fn message_into(
    message: Message,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    let mut written = 0;
    for field in message.fields() {
        let at = Place { message, field };
        if let (true, Type::Message(inner)) = (field.embedded(), field.kind()) {
            let mut bytes = Vec::new();
            let inside = message_into(inner, object, &mut bytes)?;
            if inside > 0 {
                put_bytes(out, field.number(), &bytes);
            }
            written += inside;
        } else if let Some(value) = object.get(field.name()) {
            written += 1;
            if !value.is_null() {
                at.put(value, out)?;
            }
        }
    }
    Ok(written)
}

struct Place {
    message: Message,
    field: MessageField,
}

impl Place {
    fn wrong(&self) -> EncodeError {
        EncodeError::WrongType { message: self.message.name(), field: self.field.name() }
    }

    fn put(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.field.map() {
            for (key, value) in value.as_object().ok_or_else(|| self.wrong())? {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                self.put_one(2, value, &mut entry)?;
                put_bytes(out, self.field.number(), &entry);
            }
        } else if self.field.repeated() {
            for item in value.as_array().ok_or_else(|| self.wrong())? {
                self.put_one(self.field.number(), item, out)?;
            }
        } else {
            self.put_one(self.field.number(), value, out)?;
        }
        Ok(())
    }

    fn put_one(&self, number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match (self.field.kind(), value) {
            (Type::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
            (Type::Bytes, Value::String(text)) => {
                let bytes =
                    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| self.wrong())?;
                put_bytes(out, number, &bytes);
            }
            (Type::Bool, Value::Bool(value)) => put_varint(out, number, u64::from(*value)),
            (Type::Int32, Value::Number(value)) => {
                let value = value.as_i64().filter(|value| i32::try_from(*value).is_ok());
                put_varint(out, number, value.ok_or_else(|| self.wrong())? as u64);
            }
            (Type::Int64, Value::Number(value)) => {
                put_varint(out, number, value.as_i64().ok_or_else(|| self.wrong())? as u64);
            }
            (Type::Double, Value::Number(value)) => {
                put_fixed64(out, number, value.as_f64().ok_or_else(|| self.wrong())?.to_bits());
            }
            (Type::Message(message), value) => put_bytes(out, number, &self.message(message, value)?),
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn message(&self, message: Message, value: &Value) -> Result<Vec<u8>, EncodeError> {
        let Some(special) = message.special() else {
            return match value {
                Value::Object(fields) => message_bytes(message, fields),
                Value::Null => Ok(Vec::new()),
                _ => Err(self.wrong()),
            };
        };
        self.special(message, special, value)
    }

    fn special(&self, message: Message, kind: Special, value: &Value) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        match (kind, value) {
            (Special::Time | Special::MicroTime, Value::Null) => {}
            (Special::Time | Special::MicroTime, Value::String(text)) => {
                let (seconds, nanos) = special::parse_time(text).ok_or_else(|| self.wrong())?;
                put_varint(&mut out, 1, seconds as u64);
                let nanos = if matches!(kind, Special::Time) { 0 } else { nanos };
                put_varint(&mut out, 2, nanos as u64);
            }
            (Special::Quantity, Value::String(text)) => put_bytes(&mut out, 1, text.as_bytes()),
            (Special::Quantity, Value::Number(number)) => {
                put_bytes(&mut out, 1, number.to_string().as_bytes())
            }
            (Special::IntOrString, Value::Number(number)) => {
                let number = number.as_i64().filter(|value| i32::try_from(*value).is_ok());
                put_varint(&mut out, 1, 0);
                put_varint(&mut out, 2, number.ok_or_else(|| self.wrong())? as u64);
            }
            (Special::IntOrString, Value::String(text)) => {
                put_varint(&mut out, 1, 1);
                put_bytes(&mut out, 3, text.as_bytes());
            }
            (Special::Raw, value) => put_bytes(&mut out, 1, value.to_string().as_bytes()),
            (Special::Duration, Value::String(text)) => {
                let nanos = special::parse_duration(text).ok_or_else(|| self.wrong())?;
                put_varint(&mut out, 1, nanos as u64);
            }
            (kind, value) => return self.wrapped(message, kind, value),
        }
        Ok(out)
    }

    /// Types that in JSON are one of their fields, without its name.
    fn wrapped(&self, message: Message, kind: Special, value: &Value) -> Result<Vec<u8>, EncodeError> {
        let mut fields = Map::new();
        let name = match (kind, value) {
            (Special::Strings, Value::Array(_)) => "items",
            (Special::SchemaOrArray, Value::Array(_)) => "jSONSchemas",
            (Special::SchemaOrStrings, Value::Array(_)) => "property",
            (Special::SchemaOrBool, Value::Bool(_)) => "allows",
            (Special::SchemaOrBool, Value::Object(_)) => {
                fields.insert("allows".to_owned(), Value::Bool(true));
                "schema"
            }
            (Special::SchemaOrArray | Special::SchemaOrStrings, Value::Object(_)) => "schema",
            _ => return Err(self.wrong()),
        };
        fields.insert(name.to_owned(), value.clone());
        message_bytes(message, &fields)
    }
}
