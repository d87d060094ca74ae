//! Expressions as trees, with the place of every node so that errors can point at it.

use std::sync::Arc;

/// The deepest tree that is built; whoever walks one needs no more stack than this.
const DEEPEST: u16 = 200;

/// A node and where it is in the text, counted in characters.
#[derive(Debug)]
pub(crate) struct Expr {
    pub at: u32,
    depth: u16,
    pub node: Node,
}

/// A literal value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// Operators of two operands that evaluate both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Binary {
    /// The name as CEL's errors give it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Binary::Add => "_+_",
            Binary::Subtract => "_-_",
            Binary::Multiply => "_*_",
            Binary::Divide => "_/_",
            Binary::Modulo => "_%_",
            Binary::Equal => "_==_",
            Binary::NotEqual => "_!=_",
            Binary::Less => "_<_",
            Binary::LessOrEqual => "_<=_",
            Binary::Greater => "_>_",
            Binary::GreaterOrEqual => "_>=_",
            Binary::In => "@in",
        }
    }
}

/// What a macro over a list or map makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    /// A map with the same keys and other values.
    TransformMap,
}

/// A macro over a list or map.
#[derive(Debug)]
pub(crate) struct Loop {
    pub fold: Fold,
    pub range: Expr,
    /// The item; with a second variable the index or key.
    pub first: String,
    /// The item or value beside its index or key.
    pub second: Option<String>,
    /// Items that do not hold are passed over.
    pub filter: Option<Expr>,
    pub body: Expr,
}

/// An entry of a list or map literal that is left out when its optional value is absent.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub optional: bool,
    pub value: T,
}

#[derive(Debug)]
pub(crate) enum Node {
    Literal(Literal),
    Name(String),
    Select {
        operand: Box<Expr>,
        field: String,
        optional: bool,
    },
    Has {
        operand: Box<Expr>,
        field: String,
    },
    Index {
        operand: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    Call {
        function: String,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    List(Vec<Entry<Expr>>),
    Map(Vec<Entry<(Expr, Expr)>>),
    /// `Name.of.type{field: value}`, as a map whose keys are the fields.
    Message(String, Vec<Entry<(Expr, Expr)>>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Choice(Box<[Expr; 3]>),
    Loop(Box<Loop>),
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

impl Node {
    fn children(&self) -> Vec<&Expr> {
        match self {
            Node::Literal(_) | Node::Name(_) => Vec::new(),
            Node::Select { operand, .. } | Node::Has { operand, .. } => vec![operand],
            Node::Index { operand, index, .. } => vec![operand, index],
            Node::Call { target, arguments, .. } => {
                target.iter().map(AsRef::as_ref).chain(arguments).collect()
            }
            Node::List(items) => items.iter().map(|item| &item.value).collect(),
            Node::Map(entries) | Node::Message(_, entries) => {
                entries.iter().flat_map(|e| [&e.value.0, &e.value.1]).collect()
            }
            Node::Not(operand) | Node::Negate(operand) => vec![operand],
            Node::Binary(_, left, right) => vec![left, right],
            Node::And(terms) | Node::Or(terms) => terms.iter().collect(),
            Node::Choice(parts) => parts.iter().collect(),
            Node::Loop(each) => [&each.range, &each.body].into_iter().chain(each.filter.as_ref()).collect(),
            Node::Bind { value, body, .. } => vec![value, body],
        }
    }
}

impl Expr {
    /// A node; `None` if the tree would be too deep.
    pub(crate) fn new(at: u32, node: Node) -> Option<Expr> {
        let depth = 1 + node.children().iter().map(|child| child.depth).max().unwrap_or(0);
        (depth <= DEEPEST).then_some(Expr { at, depth, node })
    }

    /// `google.protobuf.Timestamp` and its like, written as selections.
    pub(crate) fn dotted(&self) -> Option<String> {
        match &self.node {
            Node::Name(name) => Some(name.clone()),
            Node::Select { operand, field, optional: false } => {
                Some(format!("{}.{field}", operand.dotted()?))
            }
            _ => None,
        }
    }

    /// Every name that is read or bound in the tree, with repetitions.
    pub(crate) fn names<'a>(&'a self, out: &mut Vec<&'a str>) {
        if let Node::Name(name) = &self.node {
            out.push(name);
        }
        self.node.children().into_iter().for_each(|child| child.names(out));
    }
}
