//! Kubernetes objects in protobuf: what typed clients send, and may receive.
//!
//! kubectl's generators, autoscale, auth and helm send their bodies in this encoding and do not
//! try JSON when it is refused. One transcoder driven by a table of all messages replaces 900
//! generated types: it turns an envelope into the JSON that the client would have sent, and
//! back. It promises to refuse rather than to lose: an object with a field that has no published
//! number is not encoded, so that the caller answers in JSON. It does not check objects against
//! their schema; that happens after, the same as for JSON.

mod decode;
mod encode;
mod message;
mod special;
pub(crate) mod wire;

use serde_json::Value;

use crate::protobuf::message::Message;
use crate::schema::depth;

pub use encode::EncodeError;

/// The first bytes of every protobuf object of Kubernetes.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// The media type of objects in this encoding.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What the JSON reader accepts, with a little to spare.
const DEEPEST: usize = 120;

/// Why bytes are not a Kubernetes object in protobuf.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin with [`MAGIC`].
    #[error("the body does not begin as a protobuf object of Kubernetes does")]
    NoMagic,
    /// The bytes end in the middle of a field, or a length or number is impossible.
    #[error("the protobuf body is cut short or corrupt")]
    Corrupt,
    /// Messages nest deeper than any object of Kubernetes.
    #[error("the protobuf body is nested too deeply")]
    TooDeep,
    /// No message is known for this kind.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// As in the envelope.
        api_version: String,
        /// As in the envelope.
        kind: String,
    },
    /// The content is compressed or otherwise encoded.
    #[error("the protobuf body has the unsupported content encoding {0:?}")]
    Encoding(String),
    /// A field's bytes are not of its type.
    #[error("field {field} of {message} is not {want}")]
    Field {
        /// The full name of the message.
        message: &'static str,
        /// The JSON name of the field.
        field: &'static str,
        /// What it should be.
        want: &'static str,
    },
}

/// The object in an envelope, as JSON with `apiVersion` and `kind`.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let object = decode::envelope(bytes, 0)?;
    // Embedded JSON has its own bound; together they must be readable as JSON again.
    if depth(&object) > DEEPEST { Err(DecodeError::TooDeep) } else { Ok(object) }
}

/// An object as an envelope. It must have `apiVersion` and `kind`.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    encode::envelope(object)
}

/// Whether objects of this type have an encoding at all.
pub fn knows(api_version: &str, kind: &str) -> bool {
    Message::of_kind(api_version, kind).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::protobuf::message::{Message, Type};
    use crate::schema::{Definition, Node, Shape, by_kind, definition, definitions};
    use serde_json::{Map, json};

    /// A field with length-delimited content of less than 128 bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        assert!(content.len() < 128);
        out.extend_from_slice(content);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        // Go writes empty content encoding and type as well.
        [MAGIC.to_vec(), field(1, &meta), field(2, raw), vec![0x1a, 0, 0x22, 0]].concat()
    }

    #[test]
    fn reads_what_gos_encoder_writes() {
        // ObjectMeta as Go writes it: every field that is no pointer, empty or not.
        let meta =
            [field(1, b"test"), vec![0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0], field(8, b"")]
                .concat();
        let namespace = [field(1, &meta), field(2, b""), field(3, &field(1, b""))].concat();
        assert_eq!(
            decode(&body("v1", "Namespace", &namespace)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}, "spec": {}, "status": {}}),
        );
        let options = [vec![0x08, 0x00], field(4, b"Background"), vec![0x18, 0x00]].concat();
        assert_eq!(
            decode(&body("v1", "DeleteOptions", &options)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "DeleteOptions",
                "gracePeriodSeconds": 0, "orphanDependents": false, "propagationPolicy": "Background",
            }),
        );
        let data = field(2, &[field(1, b"k"), field(2, &[0, 255])].concat());
        assert_eq!(
            decode(&body("v1", "Secret", &[data, field(3, b"helm.sh/release.v1")].concat())).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "AP8="}, "type": "helm.sh/release.v1"}),
        );
    }

    #[test]
    fn zero_means_zero_where_go_has_a_pointer() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false, "template": {"spec": {
                "containers": [{"name": "", "stdin": false, "image": ""}],
                "automountServiceAccountToken": false, "hostNetwork": false,
                "volumes": [{"name": "v", "emptyDir": {}}],
            }}, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}},
        });
        assert_eq!(
            decode(&encode(&object).unwrap()).unwrap(),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "spec": {"replicas": 0, "template": {"spec": {
                    "containers": [{"name": ""}],
                    "automountServiceAccountToken": false,
                    "volumes": [{"name": "v", "emptyDir": {}}],
                }}, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}},
            }),
        );
    }

    #[test]
    fn special_types_make_the_round_trip() {
        let objects = [
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "creationTimestamp": "2026-11-22T23:00:00Z",
                    "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:containers": {}}}}],
                },
                "spec": {"containers": [{
                    "name": "c",
                    "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3},
                    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": false}}}],
                }], "ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "c"}]},
            }),
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "spec": {"renewTime": "2026-11-22T23:00:00.000123Z", "leaseDurationSeconds": 40},
            }),
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "status": {"user": {"username": "u", "extra": {"a": ["b", "c"], "d": []}}},
            }),
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Cluster", "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "additionalProperties": false,
                        "default": {"a": [1, null]},
                        "enum": [1, "b", null],
                        "items": [{"type": "string"}],
                        "properties": {"p": {"additionalProperties": {"type": "string"}, "maximum": 1.5}},
                        "dependencies": {"x": ["y"], "z": {"type": "number"}},
                        "x-kubernetes-list-map-keys": ["name"],
                        "$ref": "#/a",
                    }},
                }]},
            }),
            json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": []}),
            json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "v1", "kind": "Pod"}]}),
            json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "details": {"causes": [{"reason": "x"}]}}),
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a"}}),
            json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "window": "30s", "usage": {"cpu": "1"}}),
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"spec": {"a": [1]}}, "revision": -2}),
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get"}}, "status": {"allowed": false}}),
        ];
        for object in objects {
            assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object);
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let unknown = json!({"apiVersion": "v9", "kind": "Pod"});
        assert!(matches!(encode(&unknown), Err(EncodeError::UnknownKind { .. })));
        assert!(matches!(encode(&json!([])), Err(EncodeError::UnknownKind { .. })));
        let error = encode(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"mystery": 1}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"field "mystery" of io.k8s.api.core.v1.PodSpec has no protobuf number"#
        );
        let error = encode(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": 1}})).unwrap_err();
        assert!(matches!(error, EncodeError::WrongType { field: "nodeName", .. }));
        assert!(
            encode(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": null, "x": null}}))
                .is_ok()
        );
        assert!(matches!(decode(b"{}"), Err(DecodeError::NoMagic)));
        assert!(matches!(decode(&body("v1", "Nothing", b"")), Err(DecodeError::UnknownKind { .. })));
        assert!(matches!(decode(&body("v1", "Pod", &[0x0a, 0x05, 1])), Err(DecodeError::Corrupt)));
        assert!(matches!(decode(&body("v1", "Pod", &[0x08, 0x05])), Err(DecodeError::Field { .. })));
    }

    /// A list in a list in a list, each an object embedded in the one before.
    #[test]
    fn depth_is_bounded() {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod"});
        let mut bytes = encode(&object).unwrap();
        for _ in 0..200 {
            object = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
            let raw = [vec![0x0a], length(bytes.len()), bytes].concat();
            let raw = [vec![0x12], length(raw.len()), raw].concat();
            let meta = [field(1, b"v1"), field(2, b"List")].concat();
            bytes = [MAGIC.to_vec(), field(1, &meta), vec![0x12], length(raw.len()), raw].concat();
        }
        assert!(matches!(decode(&bytes), Err(DecodeError::TooDeep)));
    }

    fn length(mut value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    /// Random objects of any definition, without zeros and empty lists, which protobuf cannot
    /// tell from absent fields, and without the few fields that have no number.
    fn random(rng: &mut fastrand::Rng, definition: Definition, message: Message, depth: u32) -> Value {
        let mut fields = Map::new();
        let odds = if depth > 3 { 100 } else { 35 };
        for field in definition.fields() {
            let known = message.knows(field.name()) && numbered(field.node());
            if known && rng.u8(0..100) < odds && !(depth == 0 && leads_on(field.node())) {
                let value = duration(message, field.name())
                    .unwrap_or_else(|| random_node(rng, field.node(), depth.saturating_sub(1)));
                fields.insert(field.name().to_owned(), value);
            }
        }
        Value::Object(fields)
    }

    /// The schema calls durations strings; the messages know.
    fn duration(message: Message, name: &str) -> Option<Value> {
        let field = message.fields().find(|field| field.name() == name)?;
        let Type::Message(kind) = field.kind() else { return None };
        matches!(kind.special(), Some(message::Special::Duration)).then(|| json!("1m30.5s"))
    }

    fn numbered(node: Node) -> bool {
        match node.shape() {
            Shape::Struct(definition) => Message::named(definition.name()).is_some(),
            Shape::Array(item) | Shape::Map(item) => numbered(item),
            _ => true,
        }
    }

    fn leads_on(node: Node) -> bool {
        match node.shape() {
            Shape::Struct(definition) => definition.fields().len() > 0,
            Shape::Array(item) | Shape::Map(item) => leads_on(item),
            _ => false,
        }
    }

    fn random_node(rng: &mut fastrand::Rng, node: Node, depth: u32) -> Value {
        match node.shape() {
            Shape::Struct(definition) => {
                random(rng, definition, Message::named(definition.name()).unwrap(), depth)
            }
            Shape::Array(item) => (0..rng.u8(1..3)).map(|_| random_node(rng, item, depth)).collect(),
            Shape::Map(item) => Value::Object(
                (0..rng.u8(1..3)).map(|i| (format!("k{i}"), random_node(rng, item, depth))).collect(),
            ),
            Shape::String => json!(format!("s{}", rng.u8(..))),
            Shape::Bytes => json!("AAEC"),
            Shape::Boolean => json!(true),
            Shape::Int32 => json!(rng.i32(1..)),
            Shape::Int64 => json!(-rng.i64(1..)),
            Shape::Double => json!(1.5),
            Shape::MicroTime => {
                json!("2026-01-02T03:04:05.000006Z")
            }
            Shape::Time => json!("2026-01-02T03:04:05Z"),
            Shape::Quantity => json!("250m"),
            Shape::IntOrString if rng.bool() => json!("50%"),
            Shape::IntOrString => json!(rng.i32(1..)),
            Shape::Any => json!({"type": "string"}),
        }
    }

    #[test]
    fn objects_of_every_kind_make_the_round_trip() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut kinds = 0;
        for definition in definitions() {
            for (group, version, kind) in definition.kinds() {
                let Some(message) = Message::named(definition.name()) else { panic!("{definition:?}") };
                kinds += 1;
                for round in 0..12 {
                    let mut object = random(&mut rng, definition, message, round / 2 + 1);
                    name_type(&mut object, group, version, kind);
                    let bytes = encode(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
                    let mut back = decode(&bytes).unwrap_or_else(|error| panic!("{error}: {object}"));
                    if object.get("items").is_none() && definition.name().ends_with("List") {
                        back.as_object_mut().unwrap().remove("items");
                    }
                    assert_eq!(back, object);
                }
            }
        }
        assert!(kinds > 180, "{kinds}");
    }

    fn name_type(object: &mut Value, group: &str, version: &str, kind: &str) {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        // Objects embedded in lists lose their type, as in Go.
        object.as_object_mut().unwrap().values_mut().for_each(strip_types);
    }

    /// A value at the borders of its type: zeros, the largest and smallest, empty and strange text.
    fn border(rng: &mut fastrand::Rng, node: Node, depth: u32) -> Value {
        let text = |rng: &mut fastrand::Rng| {
            let texts = ["", "a", "\u{0}\u{7f}", "ünï\u{1f600}", "\"\\/\n", "k8s\0", "0"];
            (*rng.choice(&texts).unwrap()).to_owned()
        };
        let is_json = |node: Node| {
            let name = node.reference().map(Definition::short_name);
            matches!(name, Some("RawExtension" | "JSON" | "FieldsV1"))
        };
        match node.shape() {
            Shape::Struct(definition) => {
                border_object(rng, definition, Message::named(definition.name()).unwrap(), depth)
            }
            Shape::Array(item) => (0..rng.u8(0..3)).map(|_| border(rng, item, depth)).collect(),
            Shape::Map(item) => {
                Value::Object((0..rng.u8(0..3)).map(|_| (text(rng), border(rng, item, depth))).collect())
            }
            Shape::String => json!(text(rng)),
            Shape::Bytes => {
                use base64::Engine as _;
                let bytes: Vec<u8> = (0..rng.u8(0..9)).map(|_| rng.u8(..)).collect();
                json!(base64::prelude::BASE64_STANDARD.encode(bytes))
            }
            Shape::Boolean => json!(rng.bool()),
            Shape::Int32 => json!(rng.choice([0, 1, -1, i32::MAX, i32::MIN, 127, 128])),
            Shape::Int64 => json!(rng.choice([0, 1, -1, i64::MAX, i64::MIN, 1 << 31, (1 << 53) + 1])),
            Shape::Double => json!(rng.choice([0.0, -2.5, 0.1, 1e300, f64::MIN_POSITIVE])),
            Shape::MicroTime => {
                json!(rng.choice(["1969-12-31T23:59:59.999999Z", "2026-11-24T00:00:00.000000Z"]))
            }
            Shape::Time => json!(rng.choice([
                "0001-01-01T00:00:00Z",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00Z",
                "9999-12-30T21:59:59Z"
            ])),
            Shape::Quantity => json!(rng.choice(["0", "-1", "1.5Gi", "100m", "12e6"])),
            Shape::IntOrString if rng.bool() => json!(text(rng)),
            Shape::IntOrString => json!(rng.choice([0, -1, i32::MAX, i32::MIN])),
            Shape::Any if is_json(node) => {
                let values = [
                    json!({}),
                    json!([1, null, "x"]),
                    json!("text"),
                    json!(-0.5),
                    json!({"a": {"b": [{}]}}),
                    json!(true),
                ];
                rng.choice(values).unwrap()
            }
            Shape::Any => json!({"type": "string"}),
        }
    }

    fn border_object(rng: &mut fastrand::Rng, definition: Definition, message: Message, depth: u32) -> Value {
        let mut fields = Map::new();
        for field in definition.fields() {
            let known = message.knows(field.name()) && numbered(field.node());
            if known && rng.u8(0..3) > 0 && !(depth == 0 && leads_on(field.node())) {
                let value = duration(message, field.name())
                    .unwrap_or_else(|| border(rng, field.node(), depth.saturating_sub(1)));
                fields.insert(field.name().to_owned(), value);
            }
        }
        Value::Object(fields)
    }

    /// Whether everything of `part` is in `whole`, and nothing but blanks is missing.
    fn is_all_but_blanks(whole: &Value, part: &Value) -> bool {
        match (whole, part) {
            (Value::Object(whole), Value::Object(part)) => {
                let blank = |value: &Value| match value {
                    Value::Null | Value::Bool(false) => true,
                    Value::Number(number) => number.as_f64() == Some(0.0),
                    Value::String(text) => text.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    Value::Object(fields) => fields.is_empty(),
                    Value::Bool(true) => false,
                };
                part.keys().all(|name| whole.contains_key(name) || name == "items")
                    && whole.iter().all(|(name, value)| match part.get(name) {
                        Some(found) => is_all_but_blanks(value, found),
                        None => blank(value),
                    })
            }
            (Value::Array(whole), Value::Array(part)) => {
                whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| is_all_but_blanks(a, b))
            }
            _ => whole == part,
        }
    }

    #[test]
    fn values_at_the_borders_of_their_types_make_the_round_trip_in_every_kind() {
        let mut rng = fastrand::Rng::with_seed(4);
        for definition in definitions() {
            let Some(message) = Message::named(definition.name()) else { continue };
            for (group, version, kind) in definition.kinds() {
                for round in 0..8 {
                    let mut object = border_object(&mut rng, definition, message, round / 2 + 1);
                    name_type(&mut object, group, version, kind);
                    let bytes = encode(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
                    let once = decode(&bytes).unwrap_or_else(|error| panic!("{error}: {object}"));
                    assert!(is_all_but_blanks(&object, &once), "{object}\n{once}");
                    assert_eq!(decode(&encode(&once).unwrap()).unwrap(), once);
                }
            }
        }
    }

    #[test]
    fn every_kind_of_the_table_can_be_sent_in_protobuf() {
        for kind in
            crate::kinds::KINDS.iter().filter(|kind| by_kind(kind.group, kind.version, kind.kind).is_some())
        {
            let object =
                json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "a"}});
            assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object);
        }
    }

    /// Kinds inside other kinds (list items, claim templates) have no type of their own.
    fn strip_types(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip_types),
            Value::Object(fields) => {
                if fields.contains_key("metadata") || fields.get("spec").is_some_and(Value::is_object) {
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
                fields.values_mut().for_each(strip_types);
            }
            _ => {}
        }
    }

    #[test]
    fn every_field_with_a_number_is_a_field_of_the_schema() {
        let mut without = Vec::new();
        for definition in definitions() {
            let Some(message) = Message::named(definition.name()) else { continue };
            if message.special().is_some() {
                continue;
            }
            for field in definition.fields().filter(|field| !["apiVersion", "kind"].contains(&field.name())) {
                if !message.knows(field.name()) {
                    without.push(format!("{definition:?}.{}", field.name()));
                }
            }
            for field in message.fields() {
                assert!(!field.embedded() || matches!(field.kind(), Type::Message(_)));
            }
        }
        assert!(
            without
                .iter()
                .all(|name| name.contains(".resource.v1") || name.ends_with("runningInUserNamespace")),
            "{without:?}"
        );
        assert_eq!(without.len(), 10, "{without:?}");
    }

    #[test]
    fn garbage_never_panics() {
        let mut rng = fastrand::Rng::with_seed(5);
        let seeds: Vec<Vec<u8>> = ["Pod", "Secret", "PodList", "Namespace", "DeleteOptions", "Status"]
            .iter()
            .map(|kind| {
                let definition = crate::schema::by_kind("", "v1", kind).unwrap();
                let message = Message::named(definition.name()).unwrap();
                let mut object = random(&mut rng, definition, message, 5);
                object["apiVersion"] = json!("v1");
                object["kind"] = json!(kind);
                encode(&object).unwrap()
            })
            .collect();
        for round in 0..60_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(0..bytes.len());
                match rng.u8(0..4) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes.truncate(at.max(4)),
                    2 => bytes.insert(at, rng.u8(..)),
                    _ => drop(bytes.splice(at..at, MAGIC.iter().copied())),
                }
            }
            if let Ok(value) = decode(&bytes) {
                let _ = encode(&value);
            }
        }
        for _ in 0..60_000 {
            let mut bytes = body("v1", "Pod", b"");
            let length = rng.usize(0..64);
            bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(length));
            let _ = decode(&bytes);
        }
        assert!(definition("io.k8s.api.core.v1.Pod").is_some());
    }
}
