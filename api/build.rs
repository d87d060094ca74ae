//! Turns the facts in `data/` into one table of bytes that the program reads in place.
//!
//! A table in read-only memory costs nothing at start, no heap, and of its pages only those that
//! are looked at: half a megabyte of parsed JSON would be several megabytes of the daemon's 32.
//! The layout is described in `src/schema/table.rs`, which is its only reader.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

fn main() {
    for input in ["data/schema.json", "data/protobuf.tsv", "build.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let schema = std::fs::read("data/schema.json").expect("data/schema.json is part of the crate");
    let messages =
        std::fs::read_to_string("data/protobuf.tsv").expect("data/protobuf.tsv is part of the crate");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let mut table = Table::default();
    table.definitions(&serde_json::from_slice(&schema).expect("data/schema.json is JSON"));
    table.messages(&messages);
    std::fs::write(Path::new(&out).join("schema.bin"), table.bytes()).expect("OUT_DIR can be written");
}

/// "None" where an index is expected.
const NONE: u16 = u16::MAX;

#[derive(Default)]
struct Table {
    strings: Vec<String>,
    string_ids: BTreeMap<String, u16>,
    definition_ids: BTreeMap<String, u16>,
    node_ids: BTreeMap<Vec<u8>, u16>,
    definitions: Vec<u8>,
    fields: Vec<u8>,
    nodes: Vec<u8>,
    key_lists: Vec<u8>,
    kinds: Vec<u8>,
    message_ids: BTreeMap<String, u16>,
    messages: Vec<u8>,
    message_fields: Vec<u8>,
}

impl Table {
    fn string(&mut self, text: &str) -> u16 {
        if let Some(id) = self.string_ids.get(text) {
            return *id;
        }
        let id = index(self.strings.len());
        self.strings.push(text.to_owned());
        self.string_ids.insert(text.to_owned(), id);
        id
    }

    fn definitions(&mut self, schema: &Value) {
        let schema = schema.as_object().expect("the schema is an object of definitions");
        for (id, name) in schema.keys().enumerate() {
            self.definition_ids.insert(name.clone(), index(id));
        }
        let mut kinds = Vec::new();
        let mut field_count = 0;
        for (id, (name, definition)) in schema.iter().enumerate() {
            for gvk in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let part = |key: &str| gvk[key].as_str().expect("a GVK is three strings").to_owned();
                kinds.push((part("group"), part("version"), part("kind"), index(id)));
            }
            let node = self.definition_node(name, definition);
            let fields = self.definition_fields(definition);
            let name = self.string(name);
            put(&mut self.definitions, &[name, node, field_count, index(fields.len())]);
            field_count += index(fields.len());
            for (name, node, required) in fields {
                put(&mut self.fields, &[name, node, u16::from(required)]);
            }
        }
        kinds.sort();
        for (group, version, kind, definition) in kinds {
            let row = [self.string(&group), self.string(&version), self.string(&kind), definition];
            put(&mut self.kinds, &row);
        }
    }

    fn definition_fields(&mut self, definition: &Value) -> Vec<(u16, u16, bool)> {
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Vec::new();
        for (name, field) in definition["properties"].as_object().into_iter().flatten() {
            let node = self.node(field);
            fields.push((self.string(name), node, required.contains(&name.as_str())));
        }
        fields
    }

    fn definition_node(&mut self, name: &str, definition: &Value) -> u16 {
        let tag = match name.rsplit('.').next().expect("rsplit yields at least one part") {
            "Quantity" => Tag::Quantity,
            "IntOrString" => Tag::IntOrString,
            "Time" => Tag::Time,
            "MicroTime" => Tag::MicroTime,
            "RawExtension" | "FieldsV1" | "Patch" => Tag::Any,
            _ if definition.get("type").is_none() => Tag::Any,
            _ => Tag::Struct,
        };
        self.node_of(tag, NONE, definition)
    }

    fn node(&mut self, schema: &Value) -> u16 {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let name = target.rsplit('/').next().expect("rsplit yields at least one part");
            let id = self.definition_ids[name];
            return self.node_of(Tag::Reference, id, schema);
        }
        let format = schema.get("format").and_then(Value::as_str);
        let kind = match &schema["type"] {
            Value::Array(types) => types[0].as_str().expect("types are strings"),
            single => single.as_str().expect("types are strings"),
        };
        let (tag, argument) = match (kind, format) {
            ("string", Some("byte")) => (Tag::Bytes, NONE),
            ("string", None) => (Tag::String, NONE),
            ("boolean", None) => (Tag::Boolean, NONE),
            ("integer", Some("int32")) => (Tag::Int32, NONE),
            ("integer", Some("int64")) => (Tag::Int64, NONE),
            ("number", Some("double")) => (Tag::Double, NONE),
            ("array", None) => (Tag::Array, self.node(&schema["items"])),
            ("object", None) => (Tag::Map, self.node(&schema["additionalProperties"])),
            other => panic!("a type the table does not know: {other:?}"),
        };
        self.node_of(tag, argument, schema)
    }

    fn node_of(&mut self, tag: Tag, argument: u16, schema: &Value) -> u16 {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let list = match text("x-kubernetes-list-type") {
            None => 0,
            Some("atomic") => 1,
            Some("set") => 2,
            Some("map") => 3,
            Some(other) => panic!("list type {other}"),
        };
        let map = match text("x-kubernetes-map-type") {
            None => 0,
            Some("atomic") => 1,
            Some("granular") => 2,
            Some(other) => panic!("map type {other}"),
        };
        let strategy = text("x-kubernetes-patch-strategy").unwrap_or("").split(',').fold(0, |bits, word| {
            bits | match word {
                "" => 0,
                "merge" => 1,
                "replace" => 2,
                "retainKeys" => 4,
                other => panic!("patch strategy {other}"),
            }
        });
        let merge_key = text("x-kubernetes-patch-merge-key").map_or(NONE, |key| self.string(key));
        let keys = schema.get("x-kubernetes-list-map-keys").map_or(NONE, |keys| self.key_list(keys));
        let mut row = vec![tag as u8, list, map, strategy];
        put(&mut row, &[argument, merge_key, keys]);
        if let Some(id) = self.node_ids.get(&row) {
            return *id;
        }
        let id = index(self.node_ids.len());
        self.nodes.extend_from_slice(&row);
        self.node_ids.insert(row, id);
        id
    }

    fn key_list(&mut self, keys: &Value) -> u16 {
        let keys = keys.as_array().expect("list-map-keys is a list");
        let mut row = vec![index(keys.len())];
        row.extend(keys.iter().map(|key| self.string(key.as_str().expect("keys are strings"))));
        let at = index(self.key_lists.len());
        put(&mut self.key_lists, &row);
        at
    }

    fn messages(&mut self, text: &str) {
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> = lines().filter(|line| !line.starts_with('\t')).collect();
        names.sort_unstable();
        for (id, name) in names.iter().enumerate() {
            self.message_ids.insert((*name).to_owned(), index(id));
        }
        let mut blocks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut current = "";
        for line in lines() {
            match line.strip_prefix('\t') {
                Some(field) => blocks.entry(current).or_default().push(field),
                None => {
                    current = line;
                    blocks.entry(current).or_default();
                }
            }
        }
        let mut first = 0;
        for (name, fields) in blocks {
            let row = [self.string(name), first, index(fields.len())];
            put(&mut self.messages, &row);
            first += index(fields.len());
            for field in fields {
                self.message_field(field);
            }
        }
    }

    fn message_field(&mut self, line: &str) {
        let parts: Vec<&str> = line.split('\t').collect();
        let number: u16 = parts[0].parse().expect("field numbers are small");
        let (embedded, name) = match parts[1].strip_prefix('~') {
            Some(name) => (true, name),
            None => (false, parts[1]),
        };
        let (is_map, kind) = match parts[2].strip_prefix("map ") {
            Some(value) => (true, value),
            None => (false, parts[2]),
        };
        let letters = parts.get(3).copied().unwrap_or("");
        let (wire, message) = match kind {
            "string" => (0, NONE),
            "bytes" => (1, NONE),
            "bool" => (2, NONE),
            "int32" => (3, NONE),
            "int64" => (4, NONE),
            "double" => (5, NONE),
            message => (6, self.message_ids[message]),
        };
        let mut flags = 0;
        for (bit, set) in
            [embedded, is_map, letters.contains('r'), letters.contains('*'), letters.contains('=')]
                .into_iter()
                .enumerate()
        {
            flags |= u16::from(set) << bit;
        }
        let name = self.string(name);
        put(&mut self.message_fields, &[number, name, wire | flags << 8, message]);
    }

    /// Header of nine (offset) words, then the sections in that order.
    fn bytes(&self) -> Vec<u8> {
        let mut offsets = Vec::new();
        let mut pool = Vec::new();
        for text in &self.strings {
            offsets.extend_from_slice(&u32::try_from(pool.len()).expect("the pool is small").to_le_bytes());
            pool.extend_from_slice(text.as_bytes());
        }
        offsets.extend_from_slice(&u32::try_from(pool.len()).expect("the pool is small").to_le_bytes());
        let sections: [&[u8]; 9] = [
            &offsets,
            &self.definitions,
            &self.fields,
            &self.nodes,
            &self.key_lists,
            &self.kinds,
            &self.messages,
            &self.message_fields,
            &pool,
        ];
        let mut at = 4 * (sections.len() + 1);
        let mut out = Vec::new();
        for section in sections {
            out.extend_from_slice(&u32::try_from(at).expect("the table is small").to_le_bytes());
            at += section.len();
        }
        out.extend_from_slice(&u32::try_from(at).expect("the table is small").to_le_bytes());
        for section in sections {
            out.extend_from_slice(section);
        }
        out
    }
}

/// The tags of a node's type; `src/schema/table.rs` reads them.
#[derive(Clone, Copy)]
enum Tag {
    Struct,
    Reference,
    Array,
    Map,
    String,
    Bytes,
    Boolean,
    Int32,
    Int64,
    Double,
    Time,
    Quantity,
    IntOrString,
    Any,
    MicroTime,
}

fn put(out: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn index(value: usize) -> u16 {
    let value = u16::try_from(value).expect("the table's indices fit 16 bits");
    assert!(value != NONE, "the table's indices fit 16 bits");
    value
}
