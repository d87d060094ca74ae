//! The table of messages: which number is which field, of which type.

use crate::schema::{by_kind, table};

/// A protobuf message.
#[derive(Clone, Copy)]
pub(crate) struct Message(u16);

/// A field of a message.
#[derive(Clone, Copy)]
pub(crate) struct MessageField(table::MessageFieldRow);

/// The type of a field's value, or of its items, or of its map's values.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Message(Message),
}

/// How the value of a message is written in JSON, where it is not an object of its fields.
#[derive(Clone, Copy)]
pub(crate) enum Special {
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Bytes that are JSON (or, embedded, an envelope).
    Raw,
    /// A list of strings in a message of its own.
    Strings,
    /// Nanoseconds, in JSON as Go writes durations.
    Duration,
    /// A schema, or one of: a list of schemas, a boolean, a list of strings.
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
}

impl Message {
    /// The message with this full name.
    pub(crate) fn named(name: &str) -> Option<Message> {
        table::search(table::MESSAGE_COUNT, |id| table::text(table::message(id).name).cmp(name.as_bytes()))
            .map(Message)
    }

    /// The message of a kind.
    pub(crate) fn of_kind(api_version: &str, kind: &str) -> Option<Message> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if let Some(definition) = by_kind(group, version, kind) {
            return Message::named(definition.name());
        }
        let package = match (group, version) {
            ("", "v1") => "io.k8s.api.core.v1",
            ("meta.k8s.io", "v1") => "io.k8s.apimachinery.pkg.apis.meta.v1",
            ("metrics.k8s.io", "v1beta1") => "io.k8s.metrics.pkg.apis.metrics.v1beta1",
            _ => return None,
        };
        Message::named(&format!("{package}.{kind}"))
    }

    pub(crate) fn name(self) -> &'static str {
        table::string(table::message(self.0).name)
    }

    /// The fields by ascending number.
    pub(crate) fn fields(self) -> impl Iterator<Item = MessageField> {
        let row = table::message(self.0);
        (0..row.field_count).map(move |i| MessageField(table::message_field(row.first_field + i)))
    }

    pub(crate) fn field(self, number: u32) -> Option<MessageField> {
        let row = table::message(self.0);
        let at = |i| table::message_field(row.first_field + i);
        table::search(row.field_count, |i| u32::from(at(i).number).cmp(&number)).map(|i| MessageField(at(i)))
    }

    /// Whether JSON may have a field of this name, embedded structs included.
    pub(crate) fn knows(self, name: &str) -> bool {
        self.fields().any(|field| match (field.embedded(), field.kind()) {
            (true, Type::Message(inner)) => inner.knows(name),
            _ => field.name() == name,
        })
    }

    pub(crate) fn special(self) -> Option<Special> {
        let name = self.name();
        Some(match name.rsplit_once('.').map_or(name, |(_, short)| short) {
            "Time" => Special::Time,
            "MicroTime" => Special::MicroTime,
            "Quantity" => Special::Quantity,
            "IntOrString" => Special::IntOrString,
            "FieldsV1" | "RawExtension" | "JSON" => Special::Raw,
            "ExtraValue" | "AttestationValue" | "Verbs" => Special::Strings,
            "Duration" => Special::Duration,
            "JSONSchemaPropsOrArray" => Special::SchemaOrArray,
            "JSONSchemaPropsOrBool" => Special::SchemaOrBool,
            "JSONSchemaPropsOrStringArray" => Special::SchemaOrStrings,
            _ => return None,
        })
    }
}

impl MessageField {
    pub(crate) fn number(self) -> u32 {
        u32::from(self.0.number)
    }

    pub(crate) fn name(self) -> &'static str {
        table::string(self.0.name)
    }

    pub(crate) fn kind(self) -> Type {
        match self.0.wire {
            0 => Type::String,
            1 => Type::Bytes,
            2 => Type::Bool,
            3 => Type::Int32,
            4 => Type::Int64,
            5 => Type::Double,
            _ => Type::Message(Message(self.0.message)),
        }
    }

    /// An embedded struct: its fields are the parent's own in JSON.
    pub(crate) fn embedded(self) -> bool {
        self.0.flags & 1 != 0
    }

    pub(crate) fn map(self) -> bool {
        self.0.flags & 2 != 0
    }

    pub(crate) fn repeated(self) -> bool {
        self.0.flags & 4 != 0
    }

    /// Whether zero on the wire means zero, and not absent: Go holds it by pointer, or writes
    /// it to JSON even when it is empty.
    pub(crate) fn keeps_zero(self) -> bool {
        self.0.flags & (8 | 16) != 0
    }
}
