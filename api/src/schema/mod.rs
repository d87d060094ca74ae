//! What every Kubernetes 1.37 type looks like: fields, types, list types, merge keys.
//!
//! The facts are the published OpenAPI definitions (`data/`, see its README), compiled into
//! a read-only table. Defaults, validation, patches, server-side apply, protobuf and OpenAPI
//! read their knowledge of types here, so that a kind needs no code to be decoded strictly or
//! patched. Prose for `explain` is not here but in [`crate::openapi`]. It deliberately does not
//! validate meaning: ranges, formats of names and cross-field rules are the kinds' own.

mod check;
mod strict;
pub(crate) mod table;

pub use check::{Problem, What, check, prune, strict_message};
pub use strict::{StrictError, depth, strict, strict_json};

/// A type with a name, e.g. `io.k8s.api.core.v1.Pod`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Definition(u16);

/// A field of a [`Definition`].
#[derive(Clone, Copy)]
pub struct Field(table::FieldRow);

/// A type in a place: of a field, of a list's items, of a map's values.
#[derive(Clone, Copy)]
pub struct Node(u16, table::NodeRow);

/// The type of a [`Node`], as Go would name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object with the fields of this definition.
    Struct(Definition),
    /// A list of these.
    Array(Node),
    /// An object with free keys and values of this type.
    Map(Node),
    /// A string.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A boolean.
    Boolean,
    /// An integer of 32 bits.
    Int32,
    /// An integer of 64 bits.
    Int64,
    /// A floating-point number.
    Double,
    /// An RFC 3339 time as a string, to the second.
    Time,
    /// An RFC 3339 time as a string, to the microsecond.
    MicroTime,
    /// A quantity: a string, or a number.
    Quantity,
    /// An integer of 32 bits, or a string.
    IntOrString,
    /// Anything (embedded objects, arbitrary JSON).
    Any,
}

/// How server-side apply merges a list (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole; also the meaning of an absent list type.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items with an identity: the list-map keys.
    Map,
}

/// Which of strategic merge patch's strategies a field names (`x-kubernetes-patch-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy(u8);

impl PatchStrategy {
    /// Lists are merged by merge key, or as a set when they hold scalars.
    pub fn merge(self) -> bool {
        self.0 & 1 != 0
    }

    /// Maps are replaced as a whole.
    pub fn replace(self) -> bool {
        self.0 & 2 != 0
    }

    /// Patches of it carry `$retainKeys`.
    pub fn retain_keys(self) -> bool {
        self.0 & 4 != 0
    }

    /// As the OpenAPI extension spells it, if there is any.
    pub fn spelled(self) -> Option<&'static str> {
        match self.0 {
            0 => None,
            1 => Some("merge"),
            2 => Some("replace"),
            4 => Some("retainKeys"),
            _ => Some("merge,retainKeys"),
        }
    }
}

/// The definition with this full name.
pub fn definition(name: &str) -> Option<Definition> {
    table::search(table::DEFINITION_COUNT, |id| table::text(table::definition(id).name).cmp(name.as_bytes()))
        .map(Definition)
}

/// The definition of a kind; the core group is the empty string.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<Definition> {
    table::search(table::KIND_COUNT, |id| {
        let (g, v, k, _) = table::kind(id);
        (g, v, k).cmp(&(group, version, kind))
    })
    .map(|id| Definition(table::kind(id).3))
}

/// Every definition, sorted by name.
pub fn definitions() -> impl Iterator<Item = Definition> {
    (0..table::DEFINITION_COUNT).map(Definition)
}

impl Definition {
    /// The full name, e.g. `io.k8s.api.core.v1.Pod`.
    pub fn name(self) -> &'static str {
        table::string(self.row().name)
    }

    /// The name of the Go struct, e.g. `Pod`.
    pub fn short_name(self) -> &'static str {
        let name = self.name();
        name.rsplit_once('.').map_or(name, |(_, short)| short)
    }

    /// The field with this JSON name.
    pub fn field(self, name: &str) -> Option<Field> {
        let row = self.row();
        table::search(row.field_count, |i| {
            table::text(table::field(row.first_field + i).name).cmp(name.as_bytes())
        })
        .map(|i| Field(table::field(row.first_field + i)))
    }

    /// The fields, sorted by name.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field> {
        let row = self.row();
        (0..row.field_count).map(move |i| Field(table::field(row.first_field + i)))
    }

    /// What this type is in itself: a struct of its fields, or one of the special types.
    pub fn node(self) -> Node {
        Node::of(self.row().node)
    }

    /// Its shape: [`Shape::Struct`] of itself unless it is one of the special types.
    pub fn shape(self) -> Shape {
        self.node().own_shape(self)
    }

    /// The (group, version, kind) it is used for; more than one for types such as DeleteOptions.
    pub fn kinds(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        (0..table::KIND_COUNT)
            .map(table::kind)
            .filter(move |row| row.3 == self.0)
            .map(|(g, v, k, _)| (g, v, k))
    }

    fn row(self) -> table::DefinitionRow {
        table::definition(self.0)
    }
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Field {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        table::string(self.0.name)
    }

    /// Whether the published schema demands it.
    pub fn required(self) -> bool {
        self.0.required
    }

    /// Its type and what is said of it.
    pub fn node(self) -> Node {
        Node::of(self.0.node)
    }
}

impl Node {
    fn of(id: u16) -> Node {
        Node(id, table::node(id))
    }

    /// Its type, references followed.
    pub fn shape(self) -> Shape {
        match self.1.tag {
            1 => Definition(self.1.argument).shape(),
            2 => Shape::Array(Node::of(self.1.argument)),
            3 => Shape::Map(Node::of(self.1.argument)),
            4 => Shape::String,
            5 => Shape::Bytes,
            6 => Shape::Boolean,
            7 => Shape::Int32,
            8 => Shape::Int64,
            9 => Shape::Double,
            10 => Shape::Time,
            14 => Shape::MicroTime,
            11 => Shape::Quantity,
            12 => Shape::IntOrString,
            _ => Shape::Any,
        }
    }

    /// The definition it refers to, special types included.
    pub fn reference(self) -> Option<Definition> {
        (self.1.tag == 1).then_some(Definition(self.1.argument))
    }

    /// How server-side apply merges the list, if the schema says so.
    pub fn list_type(self) -> Option<ListType> {
        match self.1.list {
            1 => Some(ListType::Atomic),
            2 => Some(ListType::Set),
            3 => Some(ListType::Map),
            _ => None,
        }
    }

    /// The fields by which items of a [`ListType::Map`] are told apart.
    pub fn list_map_keys(self) -> impl ExactSizeIterator<Item = &'static str> + Clone {
        table::key_list(self.1.keys)
    }

    /// Whether server-side apply replaces the object as a whole, said here or by its definition.
    pub fn atomic_map(self) -> bool {
        match self.1.map {
            1 => true,
            2 => false,
            _ => self.reference().is_some_and(|definition| definition.node().1.map == 1),
        }
    }

    /// `x-kubernetes-map-type` as it is spelled at this place.
    pub fn map_type(self) -> Option<&'static str> {
        match self.1.map {
            1 => Some("atomic"),
            2 => Some("granular"),
            _ => None,
        }
    }

    /// What strategic merge patch does here.
    pub fn patch_strategy(self) -> PatchStrategy {
        PatchStrategy(self.1.strategy)
    }

    /// The field by which strategic merge patch tells items apart.
    pub fn patch_merge_key(self) -> Option<&'static str> {
        (self.1.merge_key != table::NONE).then(|| table::string(self.1.merge_key))
    }

    fn own_shape(self, definition: Definition) -> Shape {
        match self.1.tag {
            0 => Shape::Struct(definition),
            _ => self.shape(),
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Node {}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(kind: &str, path: &str) -> Node {
        let mut definition = definition(kind).unwrap();
        let mut node = definition.node();
        for name in path.split('.') {
            node = definition.field(name).unwrap_or_else(|| panic!("{name} of {definition:?}")).node();
            let inner = match node.shape() {
                Shape::Array(item) => item.shape(),
                shape => shape,
            };
            if let Shape::Struct(next) = inner {
                definition = next;
            }
        }
        node
    }

    #[test]
    fn finds_kinds_and_their_definitions() {
        assert_eq!(by_kind("", "v1", "Pod").unwrap().name(), "io.k8s.api.core.v1.Pod");
        assert_eq!(by_kind("apps", "v1", "Deployment").unwrap().short_name(), "Deployment");
        assert_eq!(by_kind("apps", "v1", "Pod"), None);
        assert_eq!(definition("io.k8s.api.core.v1.Nothing"), None);
        assert_eq!(definitions().count(), 867);
        for each in definitions() {
            assert_eq!(definition(each.name()), Some(each));
            for field in each.fields() {
                assert_eq!(each.field(field.name()).unwrap().name(), field.name());
            }
        }
    }

    #[test]
    fn knows_lists_merge_keys_and_special_types() {
        let pod = "io.k8s.api.core.v1.Pod";
        let containers = at(pod, "spec.containers");
        assert_eq!(containers.list_type(), Some(ListType::Map));
        assert_eq!(containers.list_map_keys().collect::<Vec<_>>(), ["name"]);
        assert_eq!(containers.patch_merge_key(), Some("name"));
        assert!(containers.patch_strategy().merge());
        let ports = at(pod, "spec.containers.ports");
        assert_eq!(ports.list_map_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
        assert_eq!(ports.patch_merge_key(), Some("containerPort"));
        assert_eq!(at(pod, "spec.volumes").patch_strategy().spelled(), Some("merge,retainKeys"));
        assert_eq!(at(pod, "spec.containers.command").list_type(), Some(ListType::Atomic));
        assert!(at(pod, "spec.nodeSelector").atomic_map());
        assert!(at("io.k8s.api.apps.v1.Deployment", "spec.selector").atomic_map());
        assert!(at("io.k8s.api.apps.v1.Deployment", "spec.strategy").patch_strategy().retain_keys());
        assert_eq!(at(pod, "metadata.creationTimestamp").shape(), Shape::Time);
        assert_eq!(at("io.k8s.api.core.v1.Secret", "data").list_map_keys().count(), 0);
        let Shape::Map(values) = at("io.k8s.api.core.v1.Secret", "data").shape() else { panic!() };
        assert_eq!(values.shape(), Shape::Bytes);
    }
}
