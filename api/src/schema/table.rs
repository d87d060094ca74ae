//! The compiled form of `data/`: a block of bytes in read-only memory, read in place.
//!
//! `build.rs` writes it, this file is its only reader: nine sections of fixed-size rows of
//! little-endian words, cross-referenced by 16-bit index. Strings are one pool. Nothing is
//! parsed at start and nothing is kept on the heap; a lookup is a binary search.
//! What a row means is said by [`crate::schema`] and [`crate::protobuf`], not here.

const DATA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));

const STRING_OFFSETS: usize = section(0);
const DEFINITIONS: usize = section(1);
const FIELDS: usize = section(2);
const NODES: usize = section(3);
const KEY_LISTS: usize = section(4);
const KINDS: usize = section(5);
const MESSAGES: usize = section(6);
const MESSAGE_FIELDS: usize = section(7);
const POOL: usize = section(8);

/// "None" where an index is expected.
pub(crate) const NONE: u16 = u16::MAX;

const DEFINITION_SIZE: usize = 8;
const FIELD_SIZE: usize = 6;
const NODE_SIZE: usize = 10;
const KIND_SIZE: usize = 8;
const MESSAGE_SIZE: usize = 6;
const MESSAGE_FIELD_SIZE: usize = 8;

/// How many definitions there are.
pub(crate) const DEFINITION_COUNT: u16 = ((FIELDS - DEFINITIONS) / DEFINITION_SIZE) as u16;
/// How many (group, version, kind) there are.
pub(crate) const KIND_COUNT: u16 = ((MESSAGES - KINDS) / KIND_SIZE) as u16;
/// How many protobuf messages there are.
pub(crate) const MESSAGE_COUNT: u16 = ((MESSAGE_FIELDS - MESSAGES) / MESSAGE_SIZE) as u16;

/// A definition: its name, the node of its own type, its fields.
#[derive(Clone, Copy)]
pub(crate) struct DefinitionRow {
    pub name: u16,
    pub node: u16,
    pub first_field: u16,
    pub field_count: u16,
}

/// A field of a definition.
#[derive(Clone, Copy)]
pub(crate) struct FieldRow {
    pub name: u16,
    pub node: u16,
    pub required: bool,
}

/// A type in a place, with what `x-kubernetes-*` says of the place.
#[derive(Clone, Copy)]
pub(crate) struct NodeRow {
    pub tag: u8,
    pub list: u8,
    pub map: u8,
    pub strategy: u8,
    /// The definition of a reference, the node of a list's items or a map's values.
    pub argument: u16,
    pub merge_key: u16,
    pub keys: u16,
}

/// A protobuf message and its fields.
#[derive(Clone, Copy)]
pub(crate) struct MessageRow {
    pub name: u16,
    pub first_field: u16,
    pub field_count: u16,
}

/// A field of a protobuf message.
#[derive(Clone, Copy)]
pub(crate) struct MessageFieldRow {
    pub number: u16,
    pub name: u16,
    pub wire: u8,
    pub flags: u8,
    pub message: u16,
}

/// The string with this index.
pub(crate) fn string(id: u16) -> &'static str {
    std::str::from_utf8(text(id)).expect("build.rs writes strings")
}

/// The bytes of the string with this index: enough to compare it.
pub(crate) fn text(id: u16) -> &'static [u8] {
    let at = STRING_OFFSETS + 4 * usize::from(id);
    &DATA[POOL + long(at)..POOL + long(at + 4)]
}

pub(crate) fn definition(id: u16) -> DefinitionRow {
    let at = DEFINITIONS + DEFINITION_SIZE * usize::from(id);
    DefinitionRow { name: word(at), node: word(at + 2), first_field: word(at + 4), field_count: word(at + 6) }
}

pub(crate) fn field(id: u16) -> FieldRow {
    let at = FIELDS + FIELD_SIZE * usize::from(id);
    FieldRow { name: word(at), node: word(at + 2), required: word(at + 4) != 0 }
}

pub(crate) fn node(id: u16) -> NodeRow {
    let at = NODES + NODE_SIZE * usize::from(id);
    NodeRow {
        tag: DATA[at],
        list: DATA[at + 1],
        map: DATA[at + 2],
        strategy: DATA[at + 3],
        argument: word(at + 4),
        merge_key: word(at + 6),
        keys: word(at + 8),
    }
}

/// The strings of a list of map keys; none for [`NONE`].
pub(crate) fn key_list(at: u16) -> impl ExactSizeIterator<Item = &'static str> + Clone {
    let at = KEY_LISTS + usize::from(at);
    let count = if at == KEY_LISTS + usize::from(NONE) { 0 } else { usize::from(word(at)) };
    (0..count).map(move |i| string(word(at + 2 + 2 * i)))
}

/// Group, version, kind and the definition's index.
pub(crate) fn kind(id: u16) -> (&'static str, &'static str, &'static str, u16) {
    let at = KINDS + KIND_SIZE * usize::from(id);
    (string(word(at)), string(word(at + 2)), string(word(at + 4)), word(at + 6))
}

pub(crate) fn message(id: u16) -> MessageRow {
    let at = MESSAGES + MESSAGE_SIZE * usize::from(id);
    MessageRow { name: word(at), first_field: word(at + 2), field_count: word(at + 4) }
}

pub(crate) fn message_field(id: u16) -> MessageFieldRow {
    let at = MESSAGE_FIELDS + MESSAGE_FIELD_SIZE * usize::from(id);
    MessageFieldRow {
        number: word(at),
        name: word(at + 2),
        wire: DATA[at + 4],
        flags: DATA[at + 5],
        message: word(at + 6),
    }
}

/// Binary search in `count` rows sorted by what `compare` sees.
pub(crate) fn search(count: u16, compare: impl Fn(u16) -> std::cmp::Ordering) -> Option<u16> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

const fn section(index: usize) -> usize {
    long(4 * index)
}

const fn word(at: usize) -> u16 {
    u16::from_le_bytes([DATA[at], DATA[at + 1]])
}

const fn long(at: usize) -> usize {
    u32::from_le_bytes([DATA[at], DATA[at + 1], DATA[at + 2], DATA[at + 3]]) as usize
}
