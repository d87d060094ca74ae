//! From text to trees: tokens, precedence, macros.
//!
//! The grammar is the language definition's. Text and depth are bounded, so that no expression can
//! exhaust memory or stack.

use std::sync::Arc;

use crate::cel::CompileError;
use crate::cel::library;
use crate::cel::syntax::{Binary, Entry, Expr, Fold, Literal, Loop, Node};

/// The longest expression that is read, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;
/// How deep parentheses, brackets and macros may be nested.
const NESTING: usize = 60;

/// Words that are no names.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Literal(Literal),
    Sign(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Name(name) => name.clone(),
            Token::Literal(Literal::Text(text)) => format!("{text:?}"),
            Token::Literal(Literal::Int(number)) => number.to_string(),
            Token::Literal(Literal::Uint(number)) => format!("{number}u"),
            Token::Literal(Literal::Double(number)) => number.to_string(),
            Token::Literal(Literal::Bool(truth)) => truth.to_string(),
            Token::Literal(Literal::Null) => "null".to_owned(),
            Token::Literal(Literal::Bytes(_)) => "bytes".to_owned(),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::End => "<EOF>".to_owned(),
        }
    }
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%", "<", ">",
];

/// The tree of an expression.
pub(crate) fn parse(text: &str) -> Result<Expr, CompileError> {
    if text.len() > LONGEST {
        return Err(CompileError::at(
            text,
            0,
            format!("expression code point size exceeds limit: {LONGEST}"),
        ));
    }
    let tokens = Lexer { text, rest: text, at: 0 }.tokens()?;
    let mut parser = Parser { text, tokens, next: 0, nesting: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expression),
        other => Err(parser.unexpected(&other.clone(), "mismatched input", "expecting <EOF>")),
    }
}

struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    at: u32,
}

impl Lexer<'_> {
    fn tokens(mut self) -> Result<Vec<(Token, u32)>, CompileError> {
        let mut tokens = Vec::new();
        loop {
            self.skip_blank();
            let at = self.at;
            let token = self.token()?;
            let ended = token == Token::End;
            tokens.push((token, at));
            if ended {
                return Ok(tokens);
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.at += u32::try_from(taken.chars().count()).unwrap_or(u32::MAX);
        self.rest = rest;
    }

    fn skip_blank(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if !self.rest.starts_with("//") {
                return;
            }
            let line = self.rest.find('\n').unwrap_or(self.rest.len());
            self.advance(line);
        }
    }

    fn fault(&self, message: impl Into<String>) -> CompileError {
        CompileError::at(self.text, self.at, format!("Syntax error: {}", message.into()))
    }

    fn token(&mut self) -> Result<Token, CompileError> {
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        if let Some(token) = self.string()? {
            return Ok(token);
        }
        let after_dot = self.rest.strip_prefix('.').and_then(|rest| rest.chars().next());
        if first.is_ascii_digit() || after_dot.is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let word = self.rest[..end.unwrap_or(self.rest.len())].to_owned();
            self.advance(word.len());
            return Ok(match word.as_str() {
                "true" => Token::Literal(Literal::Bool(true)),
                "false" => Token::Literal(Literal::Bool(false)),
                "null" => Token::Literal(Literal::Null),
                "in" => Token::Sign("in"),
                _ => Token::Name(word),
            });
        }
        if first == '`'
            && let Some(end) = self.rest[1..].find('`')
        {
            let name = self.rest[1..=end].to_owned();
            self.advance(end + 2);
            return Ok(Token::Name(name));
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.advance(sign.len());
                Ok(Token::Sign(sign))
            }
            None => Err(self.fault(format!("token recognition error at: '{first}'"))),
        }
    }

    fn number(&mut self) -> Result<Token, CompileError> {
        let rest = self.rest;
        let (token, length) = if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let digits = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            let (value, length) = (&hex[..digits], 2 + digits);
            match hex[digits..].starts_with(['u', 'U']) {
                true => (u64::from_str_radix(value, 16).ok().map(Literal::Uint), length + 1),
                false => (i64::from_str_radix(value, 16).ok().map(Literal::Int), length),
            }
        } else {
            let length = decimal_length(rest);
            let value = &rest[..length];
            if value.contains(['.', 'e', 'E']) {
                (value.parse().ok().map(Literal::Double), length)
            } else if rest[length..].starts_with(['u', 'U']) {
                (value.parse().ok().map(Literal::Uint), length + 1)
            } else {
                // One more than the largest: what `-9223372036854775808` is the negative of.
                let lowest = || (value == "9223372036854775808").then_some(i64::MIN);
                (value.parse().ok().or_else(lowest).map(Literal::Int), length)
            }
        };
        let literal = token.ok_or_else(|| self.fault(format!("invalid number: '{}'", &rest[..length])))?;
        self.advance(length);
        Ok(Token::Literal(literal))
    }

    fn string(&mut self) -> Result<Option<Token>, CompileError> {
        let start = self.rest;
        let prefix = start.find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B')).unwrap_or(0);
        let (flags, body) = start.split_at(prefix.min(2));
        let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote))
        else {
            return Ok(None);
        };
        let (raw, bytes) = (flags.contains(['r', 'R']), flags.contains(['b', 'B']));
        let inner = &body[quote.len()..];
        let mut out = Vec::new();
        let mut rest = inner;
        loop {
            if let Some(after) = rest.strip_prefix(quote) {
                self.advance(start.len() - after.len());
                break;
            }
            let c = rest.chars().next().ok_or_else(|| self.fault("unterminated string"))?;
            if c == '\n' && quote.len() == 1 {
                return Err(self.fault("unterminated string"));
            }
            rest = &rest[c.len_utf8()..];
            if c == '\\' && !raw {
                rest = escape(rest, bytes, &mut out).ok_or_else(|| self.fault("invalid escape in string"))?;
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        let literal = if bytes {
            Literal::Bytes(out.into())
        } else {
            let text = String::from_utf8(out).map_err(|_| self.fault("invalid escape in string"))?;
            Literal::Text(text.into())
        };
        Ok(Some(Token::Literal(literal)))
    }
}

fn decimal_length(text: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut length = digits(text);
    if let Some(fraction) = text[length..].strip_prefix('.') {
        let count = digits(fraction);
        if count > 0 {
            length += 1 + count;
        }
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let count = digits(&exponent[sign..]);
        if count > 0 {
            length += 1 + sign + count;
        }
    }
    length
}

/// Adds what follows a backslash; the answer is the rest.
fn escape<'a>(rest: &'a str, bytes: bool, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let simple = match c {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '?' | '"' | '\'' | '`' => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some(&rest[1..]);
    }
    let (skip, length, radix) = match c {
        'x' | 'X' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return None,
    };
    let digits = rest.get(skip..skip + length)?;
    let code = u32::from_str_radix(digits, radix).ok()?;
    if bytes && length <= 3 {
        out.push(u8::try_from(code).ok()?);
    } else {
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(&rest[skip + length..])
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, u32)>,
    next: usize,
    nesting: usize,
}

/// Precedence of the operators of two operands that are no `&&` or `||`.
const LEVELS: &[&[(&str, Binary)]] = &[
    &[
        ("==", Binary::Equal),
        ("!=", Binary::NotEqual),
        ("<", Binary::Less),
        ("<=", Binary::LessOrEqual),
        (">", Binary::Greater),
        (">=", Binary::GreaterOrEqual),
        ("in", Binary::In),
    ],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Modulo)],
];

const EXPECTING: &str = "expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

type Parsed = Result<Expr, CompileError>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].0.clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(one) if *one == sign);
        if found {
            self.take();
        }
        found
    }

    fn demand(&mut self, sign: &str) -> Result<(), CompileError> {
        if self.accept(sign) {
            return Ok(());
        }
        let found = self.peek().clone();
        Err(self.unexpected(&found, "mismatched input", &format!("expecting '{sign}'")))
    }

    fn unexpected(&self, token: &Token, what: &str, expecting: &str) -> CompileError {
        let message = format!("Syntax error: {what} '{}' {expecting}", token.shown());
        CompileError::at(self.text, self.at(), message)
    }

    fn fault(&self, at: u32, message: impl Into<String>) -> CompileError {
        CompileError::at(self.text, at, message.into())
    }

    fn make(&self, at: u32, node: Node) -> Parsed {
        Expr::new(at, node).ok_or_else(|| self.too_deep(at))
    }

    fn too_deep(&self, at: u32) -> CompileError {
        self.fault(at, "expression recursion limit exceeded")
    }

    fn expression(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > NESTING {
            return Err(self.too_deep(self.at()));
        }
        let condition = self.any()?;
        let at = self.at();
        let expression = if self.accept("?") {
            let yes = self.any()?;
            self.demand(":")?;
            let no = self.expression()?;
            self.make(at, Node::Choice(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expression)
    }

    fn any(&mut self) -> Parsed {
        self.terms("||", Node::Or, Parser::every)
    }

    fn every(&mut self) -> Parsed {
        self.terms("&&", Node::And, |parser| parser.binary(0))
    }

    fn terms(&mut self, sign: &str, join: fn(Vec<Expr>) -> Node, term: fn(&mut Self) -> Parsed) -> Parsed {
        let first = term(self)?;
        let at = self.at();
        if !self.accept(sign) {
            return Ok(first);
        }
        let mut all = vec![first, term(self)?];
        while self.accept(sign) {
            all.push(term(self)?);
        }
        self.make(at, join(all))
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.at();
            let Token::Sign(sign) = self.peek() else { return Ok(left) };
            let Some((_, operator)) = operators.iter().find(|(one, _)| one == sign) else { return Ok(left) };
            self.take();
            let right = self.binary(level + 1)?;
            left = self.make(at, Node::Binary(*operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let sign = match self.peek() {
            Token::Sign(sign @ ("!" | "-")) => *sign,
            _ => return self.postfix(),
        };
        let mut count = 0;
        while self.accept(sign) {
            count += 1;
        }
        if sign == "-"
            && let Token::Literal(Literal::Int(number)) = self.peek()
            && count == 1
        {
            let negative = number.checked_neg().unwrap_or(i64::MIN);
            self.tokens[self.next].0 = Token::Literal(Literal::Int(negative));
            return self.postfix();
        }
        let operand = self.postfix()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        let operand = Box::new(operand);
        self.make(at, if sign == "!" { Node::Not(operand) } else { Node::Negate(operand) })
    }

    fn postfix(&mut self) -> Parsed {
        let mut operand = self.primary()?;
        loop {
            let at = self.at();
            if self.accept(".") {
                let optional = self.accept("?");
                let field = self.name()?;
                let called = self.at();
                operand = if !optional && self.accept("(") {
                    self.method(called, operand, field)?
                } else {
                    self.make(at, Node::Select { operand: Box::new(operand), field, optional })?
                };
            } else if self.accept("[") {
                let optional = self.accept("?");
                let index = Box::new(self.expression()?);
                self.demand("]")?;
                operand = self.make(at, Node::Index { operand: Box::new(operand), index, optional })?;
            } else if matches!(self.peek(), Token::Sign("{"))
                && let Some(name) = operand.dotted()
            {
                self.take();
                let fields = self.fields()?;
                operand = self.make(at, Node::Message(name, fields))?;
            } else {
                return Ok(operand);
            }
        }
    }

    /// The fields of an object, as a map's entries.
    fn fields(&mut self) -> Result<Vec<Entry<(Expr, Expr)>>, CompileError> {
        let mut fields = Vec::new();
        while !self.accept("}") {
            let optional = self.accept("?");
            let at = self.at();
            let field = Literal::Text(Arc::from(self.name()?));
            let field = self.make(at, Node::Literal(field))?;
            self.demand(":")?;
            fields.push(Entry { optional, value: (field, self.expression()?) });
            if !self.accept(",") {
                self.demand("}")?;
                break;
            }
        }
        Ok(fields)
    }

    fn name(&mut self) -> Result<String, CompileError> {
        match self.take() {
            Token::Name(name) => Ok(name),
            Token::Sign("in") => Ok("in".to_owned()),
            other => {
                self.next -= usize::from(other != Token::End);
                Err(self.unexpected(&other, "no viable alternative at input", "expecting IDENTIFIER"))
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        match self.take() {
            Token::Literal(Literal::Int(i64::MIN)) if !self.is_negative(at) => {
                Err(self.fault(at, "Syntax error: invalid int literal"))
            }
            Token::Literal(literal) => self.make(at, Node::Literal(literal)),
            Token::Name(name) => self.named(at, name),
            Token::Sign(".") => {
                let name = self.name()?;
                self.named(at, name)
            }
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.demand(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let items = self.list()?;
                self.make(at, Node::List(items))
            }
            Token::Sign("{") => {
                let entries = self.map()?;
                self.make(at, Node::Map(entries))
            }
            other => {
                self.next -= usize::from(other != Token::End);
                Err(self.unexpected(&other, "mismatched input", EXPECTING))
            }
        }
    }

    fn is_negative(&self, at: u32) -> bool {
        let before: String = self.text.chars().take(at as usize).collect();
        before.trim_end().ends_with('-')
    }

    fn named(&mut self, at: u32, name: String) -> Parsed {
        if RESERVED.contains(&name.as_str()) {
            return Err(self.fault(at, format!("Syntax error: reserved identifier: {name}")));
        }
        let called = self.at();
        if self.accept("(") {
            let arguments = self.arguments()?;
            return self.global(called, name, arguments);
        }
        self.make(at, Node::Name(name))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, CompileError> {
        let mut arguments = Vec::new();
        while !self.accept(")") {
            arguments.push(self.expression()?);
            if !self.accept(",") {
                self.demand(")")?;
                break;
            }
        }
        Ok(arguments)
    }

    fn list(&mut self) -> Result<Vec<Entry<Expr>>, CompileError> {
        let mut items = Vec::new();
        while !self.accept("]") {
            let optional = self.accept("?");
            items.push(Entry { optional, value: self.expression()? });
            if !self.accept(",") {
                self.demand("]")?;
                break;
            }
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Vec<Entry<(Expr, Expr)>>, CompileError> {
        let mut entries = Vec::new();
        while !self.accept("}") {
            let optional = self.accept("?");
            let key = self.expression()?;
            self.demand(":")?;
            entries.push(Entry { optional, value: (key, self.expression()?) });
            if !self.accept(",") {
                self.demand("}")?;
                break;
            }
        }
        Ok(entries)
    }

    fn global(&mut self, at: u32, function: String, mut arguments: Vec<Expr>) -> Parsed {
        if function == "has" && arguments.len() == 1 {
            let argument = arguments.remove(0);
            return match argument.node {
                Node::Select { operand, field, optional: false } => {
                    self.make(at, Node::Has { operand, field })
                }
                _ => Err(self.fault(argument.at, "invalid argument to has() macro")),
            };
        }
        self.make(at, Node::Call { function, target: None, arguments })
    }

    fn method(&mut self, at: u32, target: Expr, function: String) -> Parsed {
        let arguments = self.arguments()?;
        if let Node::Name(space) = &target.node {
            let qualified = format!("{space}.{function}");
            if qualified == "cel.bind" && arguments.len() == 3 {
                return self.bind(at, arguments);
            }
            if library::is_function(&qualified) {
                return self.make(at, Node::Call { function: qualified, target: None, arguments });
            }
        }
        let fold = match (function.as_str(), arguments.len()) {
            ("all", 2 | 3) => Some(Fold::All),
            ("exists", 2 | 3) => Some(Fold::Exists),
            ("exists_one" | "existsOne", 2 | 3) => Some(Fold::ExistsOne),
            ("map", 2 | 3) | ("transformList", 3 | 4) => Some(Fold::Map),
            ("filter", 2) => Some(Fold::Filter),
            ("transformMap", 3 | 4) => Some(Fold::TransformMap),
            _ => None,
        };
        if let Some(fold) = fold {
            return self.fold(at, fold, &function, target, arguments);
        }
        if matches!(function.as_str(), "optMap" | "optFlatMap") && arguments.len() == 2 {
            return self.optional(at, target, function, arguments);
        }
        self.make(at, Node::Call { function, target: Some(Box::new(target)), arguments })
    }

    fn fold(&mut self, at: u32, fold: Fold, name: &str, range: Expr, mut arguments: Vec<Expr>) -> Parsed {
        let two = match name {
            "transformList" | "transformMap" => true,
            "map" | "filter" => false,
            _ => arguments.len() == 3,
        };
        let first = self.variable(arguments.remove(0))?;
        let second = if two { Some(self.variable(arguments.remove(0))?) } else { None };
        let filter = (arguments.len() == 2).then(|| arguments.remove(0));
        let body = arguments.remove(0);
        self.make(at, Node::Loop(Box::new(Loop { fold, range, first, second, filter, body })))
    }

    fn variable(&self, argument: Expr) -> Result<String, CompileError> {
        match argument.node {
            Node::Name(name) => Ok(name),
            _ => Err(self.fault(argument.at, "argument must be a simple name")),
        }
    }

    fn bind(&mut self, at: u32, mut arguments: Vec<Expr>) -> Parsed {
        let name = self.variable(arguments.remove(0))?;
        let (value, body) = (Box::new(arguments.remove(0)), Box::new(arguments.remove(0)));
        self.make(at, Node::Bind { name, value, body })
    }

    /// `x.optMap(v, e)`: the function of that name gets the value, what is said of it, and its name.
    fn optional(&mut self, at: u32, target: Expr, function: String, mut arguments: Vec<Expr>) -> Parsed {
        let name = self.variable(arguments.remove(0))?;
        let literal = self.make(at, Node::Literal(Literal::Text(Arc::from(name))))?;
        arguments.insert(0, literal);
        self.make(at, Node::Call { function, target: Some(Box::new(target)), arguments })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse;

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        for (text, expected) in [
            ("", "ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {"),
            ("self.", "ERROR: <input>:1:6: Syntax error: no viable alternative at input '<EOF>'"),
            ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {"),
            ("a b", "ERROR: <input>:1:3: Syntax error: mismatched input 'b' expecting <EOF>"),
            ("'abc", "ERROR: <input>:1:1: Syntax error: unterminated string"),
            ("a #", "ERROR: <input>:1:3: Syntax error: token recognition error at: '#'"),
            ("has(a)", "ERROR: <input>:1:5: invalid argument to has() macro"),
            ("x.all(y.z, true)", "ERROR: <input>:1:8: argument must be a simple name"),
            ("namespace == 1", "ERROR: <input>:1:1: Syntax error: reserved identifier: namespace"),
            ("9223372036854775808", "ERROR: <input>:1:1: Syntax error: invalid int literal"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_expression_is_too_deep_or_too_long() {
        for text in [
            "(".repeat(10_000),
            "[".repeat(10_000),
            "!".repeat(10_000),
            "-".repeat(10_000) + "1",
            "a?".repeat(10_000),
            "a.b".repeat(10_000),
            "a".to_owned() + &".b".repeat(10_000),
            "a".to_owned() + &"+a".repeat(10_000),
            "a".repeat(100_000),
        ] {
            assert!(parse(&text).is_err() || text.starts_with('!') || text.starts_with('-'));
        }
        assert!(parse(&("a".to_owned() + &"||a".repeat(10_000))).is_ok());
        assert!(parse("-9223372036854775808").is_ok());
    }

    #[test]
    fn nothing_makes_the_parser_panic() {
        let pieces = [
            "a",
            ".",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "?",
            ":",
            "1",
            "'",
            "\\",
            "\"",
            "r'",
            "b'é'",
            "0x",
            "1e",
            ",",
            "has(",
            "x.all(",
            "in",
            "&&",
            "||",
            "-",
            "!",
            " ",
            "\n",
            "//",
            "é",
            "`",
            "1.",
            ".5",
            "cel.bind(",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(1..12)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            drop(parse(&text));
        }
    }
}
