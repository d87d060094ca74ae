//! The functions: CEL's own and Kubernetes', one row for each signature.
//!
//! The checker reads the signatures, the evaluator the functions. A method's first argument is
//! what it is called on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;

use crate::cel::duration::Duration;
use crate::cel::format::Named;
use crate::cel::meter::Meter;
use crate::cel::semver::Semver;
use crate::cel::types::Type;
use crate::cel::url::Url;
use crate::cel::value::{Dictionary, Key, List, Value};
use crate::cel::{EvaluateError, text};
use crate::quantity::{Format, Quantity};
use crate::time::Timestamp;

pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";

/// What a signature says of an argument or the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Length,
    Type,
    List,
    Texts,
    Map,
    Optional,
    Named(&'static str),
    /// The type of the first argument.
    Same,
    /// The type of the first argument's items.
    Item,
    /// Optional, of the first argument's type.
    Maybe,
    /// Optional, of the type of the first argument's items.
    MaybeItem,
    /// What is in the first argument, an optional.
    Inside,
    /// A list of lists, one level less deep.
    Flat,
}

use Kind::{
    Any, Bool, Bytes, Double, Flat, Inside, Int, Item, Length, Map, Maybe, MaybeItem, Optional, Same, Text,
    Texts, Time, Uint,
};

type Result<'a> = std::result::Result<Value<'a>, EvaluateError>;
type Run = for<'a> fn(&mut Meter<'_>, &[Value<'a>]) -> Result<'a>;

/// One signature and what it does.
pub(crate) struct Function {
    pub name: &'static str,
    pub method: bool,
    pub arguments: &'static [Kind],
    pub result: Kind,
    pub run: Run,
}

const fn method(name: &'static str, arguments: &'static [Kind], result: Kind, run: Run) -> Function {
    Function { name, method: true, arguments, result, run }
}

const fn global(name: &'static str, arguments: &'static [Kind], result: Kind, run: Run) -> Function {
    Function { name, method: false, arguments, result, run }
}

const LIST: Kind = Kind::List;
const Q: Kind = Kind::Named(QUANTITY);
const A: Kind = Kind::Named(IP);
const C: Kind = Kind::Named(CIDR);
const U: Kind = Kind::Named(URL);
const V: Kind = Kind::Named(SEMVER);
const F: Kind = Kind::Named(FORMAT);

static FUNCTIONS: &[Function] = &[
    // The language's own.
    global("size", &[Text], Int, size),
    global("size", &[Bytes], Int, size),
    global("size", &[LIST], Int, size),
    global("size", &[Map], Int, size),
    method("size", &[Text], Int, size),
    method("size", &[Bytes], Int, size),
    method("size", &[LIST], Int, size),
    method("size", &[Map], Int, size),
    method("contains", &[Text, Text], Bool, text::contains),
    method("startsWith", &[Text, Text], Bool, text::starts_with),
    method("endsWith", &[Text, Text], Bool, text::ends_with),
    method("matches", &[Text, Text], Bool, text::matches),
    global("matches", &[Text, Text], Bool, text::matches),
    global("type", &[Any], Kind::Type, |_, a| Ok(Value::Type(Arc::from(a[0].type_name())))),
    global("dyn", &[Any], Any, |_, a| Ok(a[0].clone())),
    global("bool", &[Bool], Bool, |_, a| Ok(a[0].clone())),
    global("bool", &[Text], Bool, |_, a| match a[0].shown().as_str() {
        "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
        _ => Err(failed("type conversion error from 'string' to 'bool'")),
    }),
    global("int", &[Int], Int, int),
    global("int", &[Uint], Int, int),
    global("int", &[Double], Int, int),
    global("int", &[Text], Int, int),
    global("int", &[Time], Int, int),
    global("int", &[Length], Int, int),
    global("uint", &[Int], Uint, uint),
    global("uint", &[Uint], Uint, uint),
    global("uint", &[Double], Uint, uint),
    global("uint", &[Text], Uint, uint),
    global("double", &[Int], Double, double),
    global("double", &[Uint], Double, double),
    global("double", &[Double], Double, double),
    global("double", &[Text], Double, double),
    global("string", &[Text], Text, string),
    global("string", &[Bool], Text, string),
    global("string", &[Int], Text, string),
    global("string", &[Uint], Text, string),
    global("string", &[Double], Text, string),
    global("string", &[Bytes], Text, string),
    global("string", &[Time], Text, string),
    global("string", &[Length], Text, string),
    global("string", &[A], Text, string),
    global("string", &[C], Text, string),
    global("string", &[V], Text, string),
    global("bytes", &[Bytes], Bytes, |_, a| Ok(a[0].clone())),
    global("bytes", &[Text], Bytes, |_, a| Ok(Value::Bytes(a[0].shown().into_bytes().into()))),
    global("timestamp", &[Time], Time, |_, a| Ok(a[0].clone())),
    global("timestamp", &[Int], Time, |_, a| Ok(Value::Timestamp(Timestamp::from_seconds(whole(&a[0]))))),
    global("timestamp", &[Text], Time, |_, a| {
        let text = a[0].shown();
        Timestamp::parse(&text).map(Value::Timestamp).map_err(|_| failed(format!("parsing time {text:?}")))
    }),
    global("duration", &[Length], Length, |_, a| Ok(a[0].clone())),
    global("duration", &[Int], Length, |_, a| {
        Ok(Value::Duration(Duration(whole(&a[0]).saturating_mul(1_000_000_000))))
    }),
    global("duration", &[Text], Length, |_, a| {
        let text = a[0].shown();
        let wrong = || failed(format!("time: invalid duration {text:?}"));
        Duration::parse(&text).map(Value::Duration).ok_or_else(wrong)
    }),
    method("getFullYear", &[Time], Int, |_, a| civil(a, |t| i64::from(t.year()))),
    method("getFullYear", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.year()))),
    method("getMonth", &[Time], Int, |_, a| civil(a, |t| i64::from(t.month()) - 1)),
    method("getMonth", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.month()) - 1)),
    method("getDate", &[Time], Int, |_, a| civil(a, |t| i64::from(t.day()))),
    method("getDate", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.day()))),
    method("getDayOfMonth", &[Time], Int, |_, a| civil(a, |t| i64::from(t.day()) - 1)),
    method("getDayOfMonth", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.day()) - 1)),
    method("getDayOfWeek", &[Time], Int, |_, a| civil(a, |t| i64::from(t.weekday().to_sunday_zero_offset()))),
    method("getDayOfWeek", &[Time, Text], Int, |_, a| {
        civil(a, |t| i64::from(t.weekday().to_sunday_zero_offset()))
    }),
    method("getDayOfYear", &[Time], Int, |_, a| civil(a, |t| i64::from(t.day_of_year()) - 1)),
    method("getDayOfYear", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.day_of_year()) - 1)),
    method("getHours", &[Time], Int, |_, a| civil(a, |t| i64::from(t.hour()))),
    method("getHours", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.hour()))),
    method("getHours", &[Length], Int, |_, a| length(a, 3_600_000_000_000)),
    method("getMinutes", &[Time], Int, |_, a| civil(a, |t| i64::from(t.minute()))),
    method("getMinutes", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.minute()))),
    method("getMinutes", &[Length], Int, |_, a| length(a, 60_000_000_000)),
    method("getSeconds", &[Time], Int, |_, a| civil(a, |t| i64::from(t.second()))),
    method("getSeconds", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.second()))),
    method("getSeconds", &[Length], Int, |_, a| length(a, 1_000_000_000)),
    method("getMilliseconds", &[Time], Int, |_, a| civil(a, |t| i64::from(t.millisecond()))),
    method("getMilliseconds", &[Time, Text], Int, |_, a| civil(a, |t| i64::from(t.millisecond()))),
    method("getMilliseconds", &[Length], Int, |_, a| length(a, 1_000_000)),
    // Optional values.
    global("optional.of", &[Any], Maybe, |_, a| Ok(Value::some(a[0].clone()))),
    global("optional.none", &[], Optional, |_, _| Ok(Value::Optional(None))),
    global("optional.ofNonZeroValue", &[Any], Maybe, |_, a| {
        Ok(if is_zero(&a[0]) { Value::Optional(None) } else { Value::some(a[0].clone()) })
    }),
    method("hasValue", &[Optional], Bool, |_, a| Ok(Value::Bool(matches!(a[0], Value::Optional(Some(_)))))),
    method("value", &[Optional], Inside, |_, a| match &a[0] {
        Value::Optional(Some(value)) => Ok((**value).clone()),
        _ => Err(failed("optional.none() dereference")),
    }),
    method("or", &[Optional, Optional], Same, |_, a| {
        Ok(if matches!(a[0], Value::Optional(Some(_))) { a[0].clone() } else { a[1].clone() })
    }),
    method("orValue", &[Optional, Any], Inside, |_, a| match &a[0] {
        Value::Optional(Some(value)) => Ok((**value).clone()),
        _ => Ok(a[1].clone()),
    }),
    // Texts.
    method("charAt", &[Text, Int], Text, text::char_at),
    method("indexOf", &[Text, Text], Int, text::index_of),
    method("indexOf", &[Text, Text, Int], Int, text::index_of),
    method("lastIndexOf", &[Text, Text], Int, text::last_index_of),
    method("lastIndexOf", &[Text, Text, Int], Int, text::last_index_of),
    method("lowerAscii", &[Text], Text, |_, a| Ok(Value::text(a[0].shown().to_ascii_lowercase()))),
    method("upperAscii", &[Text], Text, |_, a| Ok(Value::text(a[0].shown().to_ascii_uppercase()))),
    method("replace", &[Text, Text, Text], Text, text::replace),
    method("replace", &[Text, Text, Text, Int], Text, text::replace),
    method("split", &[Text, Text], Texts, text::split),
    method("split", &[Text, Text, Int], Texts, text::split),
    method("substring", &[Text, Int], Text, text::substring),
    method("substring", &[Text, Int, Int], Text, text::substring),
    method("trim", &[Text], Text, |_, a| Ok(Value::text(a[0].shown().trim()))),
    method("reverse", &[Text], Text, |_, a| Ok(Value::text(a[0].shown().chars().rev().collect::<String>()))),
    method("join", &[LIST], Text, text::join),
    method("join", &[LIST, Text], Text, text::join),
    method("format", &[Text, LIST], Text, text::format),
    global("jsonpatch.escapeKey", &[Text], Text, |_, a| {
        Ok(Value::text(a[0].shown().replace('~', "~0").replace('/', "~1")))
    }),
    global("strings.quote", &[Text], Text, |_, a| Ok(Value::text(format!("{:?}", a[0].shown())))),
    method("find", &[Text, Text], Text, text::find),
    method("findAll", &[Text, Text], Texts, text::find_all),
    method("findAll", &[Text, Text, Int], Texts, text::find_all),
    global("base64.encode", &[Bytes], Text, |_, a| {
        let Value::Bytes(bytes) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
        Ok(Value::text(base64::engine::general_purpose::STANDARD.encode(bytes)))
    }),
    global("base64.decode", &[Text], Bytes, |_, a| {
        let text = a[0].shown();
        let padded = base64::engine::general_purpose::STANDARD.decode(&text);
        let bytes = padded.or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(&text));
        bytes.map(|bytes| Value::Bytes(bytes.into())).map_err(|error| failed(error.to_string()))
    }),
    global("jsonpatch.escapeKey", &[Text], Text, |_, a| {
        Ok(Value::text(a[0].shown().replace('~', "~0").replace('/', "~1")))
    }),
    // Lists and sets.
    method("isSorted", &[LIST], Bool, |m, a| {
        let items = items(m, &a[0])?;
        Ok(Value::Bool(items.windows(2).all(|pair| pair[0].compare(&pair[1]).is_some_and(|o| o.is_le()))))
    }),
    method("sum", &[LIST], Item, |m, a| {
        let items = items(m, &a[0])?;
        items
            .into_iter()
            .try_fold(None, |sum, item| match sum {
                None => Ok(Some(item)),
                Some(sum) => super::arithmetic::add(m, &sum, &item).map(Some),
            })
            .map(|sum| sum.unwrap_or(Value::Int(0)))
    }),
    method("min", &[LIST], Item, |m, a| extreme(m, &a[0], "min", std::cmp::Ordering::Less)),
    method("max", &[LIST], Item, |m, a| extreme(m, &a[0], "max", std::cmp::Ordering::Greater)),
    method("indexOf", &[LIST, Any], Int, |m, a| {
        let items = items(m, &a[0])?;
        let found = position(m, items.iter().enumerate(), &a[1])?;
        Ok(Value::Int(found.map_or(-1, |at| at as i64)))
    }),
    method("lastIndexOf", &[LIST, Any], Int, |m, a| {
        let items = items(m, &a[0])?;
        let found = position(m, items.iter().enumerate().rev(), &a[1])?;
        Ok(Value::Int(found.map_or(-1, |at| at as i64)))
    }),
    method("slice", &[LIST, Int, Int], Same, |m, a| {
        let items = items(m, &a[0])?;
        let (from, to) = (index(&a[1]), index(&a[2]));
        match (from, to) {
            (Some(from), Some(to)) if from <= to && to <= items.len() => {
                Ok(Value::list(items[from..to].to_vec()))
            }
            _ => Err(failed(format!(
                "cannot slice({}, {}), list is length {}",
                a[1].shown(),
                a[2].shown(),
                items.len()
            ))),
        }
    }),
    method("flatten", &[LIST], Flat, |m, a| {
        let mut out = Vec::new();
        for item in items(m, &a[0])? {
            match &item {
                Value::List(_) => out.extend(items(m, &item)?),
                _ => out.push(item),
            }
        }
        Ok(Value::list(out))
    }),
    method("reverse", &[LIST], Same, |m, a| Ok(Value::list(items(m, &a[0])?.into_iter().rev().collect()))),
    method("sort", &[LIST], Same, |m, a| {
        let mut items = items(m, &a[0])?;
        if items.windows(2).any(|pair| pair[0].compare(&pair[1]).is_none()) {
            return Err(failed("list elements must be comparable"));
        }
        items.sort_by(|a, b| a.compare(b).unwrap_or(std::cmp::Ordering::Equal));
        Ok(Value::list(items))
    }),
    method("distinct", &[LIST], Same, |m, a| {
        let items = items(m, &a[0])?;
        let mut out: Vec<Value<'_>> = Vec::new();
        for item in items {
            if position(m, out.iter().enumerate(), &item)?.is_none() {
                out.push(item);
            }
        }
        Ok(Value::list(out))
    }),
    method("first", &[LIST], MaybeItem, |m, a| {
        Ok(Value::Optional(items(m, &a[0])?.into_iter().next().map(Box::new)))
    }),
    method("last", &[LIST], MaybeItem, |m, a| Ok(Value::Optional(items(m, &a[0])?.pop().map(Box::new)))),
    global("lists.range", &[Int], LIST, |m, a| {
        let count = whole(&a[0]).max(0);
        m.charge(count.unsigned_abs())?;
        Ok(Value::list((0..count).map(Value::Int).collect()))
    }),
    global("sets.contains", &[LIST, LIST], Bool, |m, a| Ok(Value::Bool(subset(m, &a[1], &a[0])?))),
    global("sets.equivalent", &[LIST, LIST], Bool, |m, a| {
        Ok(Value::Bool(subset(m, &a[1], &a[0])? && subset(m, &a[0], &a[1])?))
    }),
    global("sets.intersects", &[LIST, LIST], Bool, |m, a| {
        let (left, right) = (items(m, &a[0])?, items(m, &a[1])?);
        for item in &left {
            if position(m, right.iter().enumerate(), item)?.is_some() {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    // URLs.
    global("url", &[Text], U, |_, a| {
        let text = a[0].shown();
        Url::parse(&text).map(|url| Value::Url(Arc::new(url))).ok_or_else(|| {
            failed(format!(
                "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
            ))
        })
    }),
    global("isURL", &[Text], Bool, |_, a| Ok(Value::Bool(Url::parse(&a[0].shown()).is_some()))),
    method("getScheme", &[U], Text, |_, a| url(a, |url| Value::text(url.scheme()))),
    method("getHost", &[U], Text, |_, a| url(a, |url| Value::text(url.host()))),
    method("getHostname", &[U], Text, |_, a| url(a, |url| Value::text(url.hostname()))),
    method("getPort", &[U], Text, |_, a| url(a, |url| Value::text(url.port()))),
    method("getEscapedPath", &[U], Text, |_, a| url(a, |url| Value::text(url.path()))),
    method("getQuery", &[U], Map, |_, a| {
        let Value::Url(url) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
        let mut all: BTreeMap<Key, Vec<Value<'_>>> = BTreeMap::new();
        for (name, value) in url.query() {
            all.entry(Key::Text(name.into())).or_default().push(Value::text(value));
        }
        let all = all.into_iter().map(|(name, values)| (name, Value::list(values))).collect();
        Ok(Value::Map(Dictionary::Owned(Arc::new(all))))
    }),
    // Addresses.
    global("ip", &[Text], A, |_, a| {
        let text = a[0].shown();
        address(&text).map(Value::Ip).ok_or_else(|| failed(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP")))
    }),
    global("isIP", &[Text], Bool, |_, a| Ok(Value::Bool(address(&a[0].shown()).is_some()))),
    global("ip.isCanonical", &[Text], Bool, |_, a| {
        let text = a[0].shown();
        let parsed =
            address(&text).ok_or_else(|| failed(format!("ParseAddr({text:?}): unable to parse IP")))?;
        Ok(Value::Bool(parsed.to_string() == text))
    }),
    method("family", &[A], Int, |_, a| ip(a, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 }))),
    method("isUnspecified", &[A], Bool, |_, a| ip(a, |ip| Value::Bool(ip.is_unspecified()))),
    method("isLoopback", &[A], Bool, |_, a| ip(a, |ip| Value::Bool(ip.is_loopback()))),
    method("isLinkLocalMulticast", &[A], Bool, |_, a| {
        ip(a, |ip| {
            Value::Bool(match ip {
                IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
                IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
            })
        })
    }),
    method("isLinkLocalUnicast", &[A], Bool, |_, a| ip(a, |ip| Value::Bool(is_link_local(ip)))),
    method("isGlobalUnicast", &[A], Bool, |_, a| {
        ip(a, |ip| {
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            Value::Bool(
                !broadcast
                    && !ip.is_unspecified()
                    && !ip.is_loopback()
                    && !ip.is_multicast()
                    && !is_link_local(ip),
            )
        })
    }),
    global("cidr", &[Text], C, |_, a| {
        let text = a[0].shown();
        cidr(&text).ok_or_else(|| failed(format!("network address parse error during conversion from string: network address parse error: netip.ParsePrefix({text:?}): invalid CIDR")))
    }),
    global("isCIDR", &[Text], Bool, |_, a| Ok(Value::Bool(cidr(&a[0].shown()).is_some()))),
    method("containsIP", &[C, A], Bool, |_, a| contains_ip(&a[0], &a[1])),
    method("containsIP", &[C, Text], Bool, |_, a| {
        let text = a[1].shown();
        let parsed =
            address(&text).ok_or_else(|| failed(format!("ParseAddr({text:?}): unable to parse IP")))?;
        contains_ip(&a[0], &Value::Ip(parsed))
    }),
    method("containsCIDR", &[C, C], Bool, |_, a| contains_cidr(&a[0], &a[1])),
    method("containsCIDR", &[C, Text], Bool, |_, a| {
        let text = a[1].shown();
        let parsed =
            cidr(&text).ok_or_else(|| failed(format!("netip.ParsePrefix({text:?}): invalid CIDR")))?;
        contains_cidr(&a[0], &parsed)
    }),
    method("ip", &[C], A, |_, a| prefix(a, |ip, _| Value::Ip(ip))),
    method("masked", &[C], C, |_, a| prefix(a, |ip, length| Value::Cidr(masked(ip, length), length))),
    method("prefixLength", &[C], Int, |_, a| prefix(a, |_, length| Value::Int(i64::from(length)))),
    // Quantities.
    global("quantity", &[Text], Q, |_, a| {
        Quantity::parse(&a[0].shown()).map(Value::Quantity).map_err(|error| failed(error.to_string()))
    }),
    global("isQuantity", &[Text], Bool, |_, a| Ok(Value::Bool(Quantity::parse(&a[0].shown()).is_ok()))),
    method("isInteger", &[Q], Bool, |_, a| quantity(a, |q| Ok(Value::Bool(q.is_whole())))),
    method("asInteger", &[Q], Int, |_, a| {
        quantity(a, |q| {
            if q.is_whole() {
                Ok(Value::Int(q.units()))
            } else {
                Err(failed("cannot convert value to integer"))
            }
        })
    }),
    method("asApproximateFloat", &[Q], Double, |_, a| {
        quantity(a, |q| Ok(Value::Double(q.milli() as f64 / 1000.0)))
    }),
    method("sign", &[Q], Int, |_, a| {
        quantity(a, |q| {
            Ok(Value::Int(if q.is_zero() {
                0
            } else if q.is_negative() {
                -1
            } else {
                1
            }))
        })
    }),
    method("add", &[Q, Q], Q, |_, a| quantities(a, |a, b| Value::Quantity(a.add(&b)))),
    method("add", &[Q, Int], Q, |_, a| quantities(a, |a, b| Value::Quantity(a.add(&b)))),
    method("sub", &[Q, Q], Q, |_, a| quantities(a, |a, b| Value::Quantity(a.sub(&b)))),
    method("sub", &[Q, Int], Q, |_, a| quantities(a, |a, b| Value::Quantity(a.sub(&b)))),
    method("compareTo", &[Q, Q], Int, |_, a| quantities(a, |a, b| Value::Int(a.cmp(&b) as i64))),
    method("isGreaterThan", &[Q, Q], Bool, |_, a| quantities(a, |a, b| Value::Bool(a > b))),
    method("isLessThan", &[Q, Q], Bool, |_, a| quantities(a, |a, b| Value::Bool(a < b))),
    // Versions.
    global("semver", &[Text], V, |_, a| semver(&a[0], false)),
    global("semver", &[Text, Bool], V, |_, a| semver(&a[0], matches!(a[1], Value::Bool(true)))),
    global("isSemver", &[Text], Bool, |_, a| Ok(Value::Bool(Semver::parse(&a[0].shown(), false).is_some()))),
    global("isSemver", &[Text, Bool], Bool, |_, a| {
        Ok(Value::Bool(Semver::parse(&a[0].shown(), matches!(a[1], Value::Bool(true))).is_some()))
    }),
    method("major", &[V], Int, |_, a| version(a, |v| v.numbers()[0])),
    method("minor", &[V], Int, |_, a| version(a, |v| v.numbers()[1])),
    method("patch", &[V], Int, |_, a| version(a, |v| v.numbers()[2])),
    method("compareTo", &[V, V], Int, |_, a| order(a, |o| Value::Int(o as i64))),
    method("isGreaterThan", &[V, V], Bool, |_, a| order(a, |o| Value::Bool(o.is_gt()))),
    method("isLessThan", &[V, V], Bool, |_, a| order(a, |o| Value::Bool(o.is_lt()))),
    // Named formats.
    global("format.named", &[Text], Optional, |_, a| {
        Ok(Value::Optional(Named::of(&a[0].shown()).map(|named| Box::new(Value::Format(named)))))
    }),
    global("format.dns1123Label", &[], F, |_, _| named("dns1123Label")),
    global("format.dns1123Subdomain", &[], F, |_, _| named("dns1123Subdomain")),
    global("format.dns1035Label", &[], F, |_, _| named("dns1035Label")),
    global("format.dns1123LabelPrefix", &[], F, |_, _| named("dns1123LabelPrefix")),
    global("format.dns1123SubdomainPrefix", &[], F, |_, _| named("dns1123SubdomainPrefix")),
    global("format.dns1035LabelPrefix", &[], F, |_, _| named("dns1035LabelPrefix")),
    global("format.qualifiedName", &[], F, |_, _| named("qualifiedName")),
    global("format.labelValue", &[], F, |_, _| named("labelValue")),
    global("format.uri", &[], F, |_, _| named("uri")),
    global("format.uuid", &[], F, |_, _| named("uuid")),
    global("format.byte", &[], F, |_, _| named("byte")),
    global("format.date", &[], F, |_, _| named("date")),
    global("format.datetime", &[], F, |_, _| named("datetime")),
    method("validate", &[F, Text], Optional, |_, a| {
        let Value::Format(named) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
        let wrong = named.check(&a[1].shown()).err();
        Ok(Value::Optional(wrong.map(|why| Box::new(Value::list(vec![Value::text(why)])))))
    }),
];

/// Every signature of a function called in this way.
pub(crate) fn signatures(name: &str, method: bool) -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().filter(move |function| function.name == name && function.method == method)
}

/// Whether there is a function with this name that is no method.
pub(crate) fn is_function(name: &str) -> bool {
    signatures(name, false).next().is_some()
}

impl Kind {
    /// Whether a value of this type may be the argument.
    pub(crate) fn admits(self, given: &Type) -> bool {
        let wanted = match self {
            Kind::Any => return true,
            Kind::Map => return matches!(given, Type::Map(..) | Type::Object(_) | Type::Dyn),
            other => other.plain(),
        };
        wanted.admits(given)
    }

    fn plain(self) -> Type {
        match self {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Uint => Type::Uint,
            Kind::Double => Type::Double,
            Kind::Text => Type::Text,
            Kind::Bytes => Type::Bytes,
            Kind::Time => Type::Timestamp,
            Kind::Length => Type::Duration,
            Kind::Type => Type::Type,
            Kind::List => Type::list(Type::Dyn),
            Kind::Texts => Type::list(Type::Text),
            Kind::Map => Type::map(Type::Dyn),
            Kind::Optional => Type::optional(Type::Dyn),
            Kind::Named(name) => Type::Named(name),
            _ => Type::Dyn,
        }
    }

    /// The type of the result when the first argument has this type.
    pub(crate) fn result(self, first: Option<&Type>) -> Type {
        let first = first.unwrap_or(&Type::Dyn);
        match (self, first) {
            (Kind::Same, first) => first.clone(),
            (Kind::Item, first) => first.item(),
            (Kind::Maybe, first) => Type::optional(first.clone()),
            (Kind::MaybeItem, first) => Type::optional(first.item()),
            (Kind::Inside, Type::Optional(inner)) => (**inner).clone(),
            (Kind::Flat, Type::List(item)) => match &**item {
                Type::List(_) => (**item).clone(),
                _ => first.clone(),
            },
            (kind, _) => kind.plain(),
        }
    }

    /// Whether a value may be the argument.
    pub(crate) fn takes(self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Kind::Any, _)
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Int, Value::Int(_))
            | (Kind::Uint, Value::Uint(_))
            | (Kind::Double, Value::Double(_))
            | (Kind::Text, Value::Text(_))
            | (Kind::Bytes, Value::Bytes(_))
            | (Kind::Time, Value::Timestamp(_))
            | (Kind::Length, Value::Duration(_))
            | (Kind::Type, Value::Type(_))
            | (Kind::List | Kind::Texts, Value::List(_))
            | (Kind::Map, Value::Map(_))
            | (Kind::Optional, Value::Optional(_)) => true,
            (Kind::Named(name), value) => value.type_name() == name,
            _ => false,
        }
    }
}

/// A failure with a message.
pub(crate) fn failed(message: impl Into<String>) -> EvaluateError {
    EvaluateError::Failed(message.into())
}

/// A whole number; zero for what is none.
pub(crate) fn whole(value: &Value<'_>) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).unwrap_or(i64::MAX),
        _ => 0,
    }
}

fn index(value: &Value<'_>) -> Option<usize> {
    usize::try_from(whole(value)).ok()
}

/// The items of a list, whose number is charged.
pub(crate) fn items<'a>(
    meter: &mut Meter<'_>,
    value: &Value<'a>,
) -> std::result::Result<Vec<Value<'a>>, EvaluateError> {
    let Value::List(list) = value else { return Err(EvaluateError::NoSuchOverload) };
    meter.charge(list.len() as u64)?;
    Ok(match list {
        List::Owned(items) => items.to_vec(),
        list => list.iter().collect(),
    })
}

fn size<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let size = match &a[0] {
        Value::Text(text) => {
            meter.charge(text.len() as u64 / 10)?;
            text.chars().count()
        }
        other => other.size(),
    };
    Ok(Value::Int(size as i64))
}

fn int<'a>(_: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let overflow = || failed("integer overflow");
    match &a[0] {
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| overflow()),
        Value::Double(number) if number.abs() < 9.2e18 => Ok(Value::Int(*number as i64)),
        Value::Double(_) => Err(overflow()),
        Value::Text(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| failed(format!("strconv.ParseInt: parsing {:?}: invalid syntax", &**text))),
        Value::Timestamp(time) => Ok(Value::Int(time.as_seconds())),
        Value::Duration(length) => Ok(Value::Int(length.0)),
        other => Ok(other.clone()),
    }
}

fn uint<'a>(_: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    let overflow = || failed("unsigned integer overflow");
    match &a[0] {
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(number) if (0.0..1.8e19).contains(number) => Ok(Value::Uint(*number as u64)),
        Value::Double(_) => Err(overflow()),
        Value::Text(text) => text
            .parse()
            .map(Value::Uint)
            .map_err(|_| failed(format!("strconv.ParseUint: parsing {:?}: invalid syntax", &**text))),
        other => Ok(other.clone()),
    }
}

fn double<'a>(_: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    match &a[0] {
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::Text(text) => f64::from_str(text)
            .map(Value::Double)
            .map_err(|_| failed(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", &**text))),
        other => Ok(other.clone()),
    }
}

fn string<'a>(meter: &mut Meter<'_>, a: &[Value<'a>]) -> Result<'a> {
    meter.charge(a[0].size() as u64 / 10)?;
    match &a[0] {
        Value::Text(_) => Ok(a[0].clone()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(failed("invalid UTF-8 in bytes, cannot convert to string")),
        },
        other => Ok(Value::text(other.shown())),
    }
}

/// A part of a time, in UTC or at the offset or zone that the second argument names.
fn civil<'a>(a: &[Value<'a>], part: impl Fn(jiff::civil::DateTime) -> i64) -> Result<'a> {
    let Value::Timestamp(time) = &a[0] else { return Err(EvaluateError::NoSuchOverload) };
    let time =
        jiff::Timestamp::from_microsecond(time.as_micros()).map_err(|error| failed(error.to_string()))?;
    let zone = match a.get(1) {
        None => jiff::tz::TimeZone::UTC,
        Some(name) => zone(&name.shown())?,
    };
    Ok(Value::Int(part(time.to_zoned(zone).datetime())))
}

fn zone(name: &str) -> std::result::Result<jiff::tz::TimeZone, EvaluateError> {
    let unknown = || failed(format!("unknown time zone {name}"));
    let (sign, rest) = match name.as_bytes().first() {
        Some(b'-') => (-1, &name[1..]),
        Some(b'+') => (1, &name[1..]),
        _ => (1, name),
    };
    match rest.split_once(':').map(|(hours, minutes)| (hours.parse::<i32>(), minutes.parse::<i32>())) {
        Some((Ok(hours), Ok(minutes))) if hours.abs() < 24 && (0..60).contains(&minutes) => {
            let seconds = sign * (hours * 3600 + minutes * 60);
            let offset = jiff::tz::Offset::from_seconds(seconds).map_err(|_| unknown())?;
            Ok(jiff::tz::TimeZone::fixed(offset))
        }
        _ if matches!(name, "UTC" | "Z" | "") => Ok(jiff::tz::TimeZone::UTC),
        _ => jiff::tz::TimeZone::get(name).map_err(|_| unknown()),
    }
}

fn length<'a>(a: &[Value<'a>], unit: i64) -> Result<'a> {
    match &a[0] {
        Value::Duration(duration) if unit == 1_000_000 => Ok(Value::Int(duration.whole(unit) % 1000)),
        Value::Duration(duration) => Ok(Value::Int(duration.whole(unit))),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Optional(None) => true,
        Value::Double(number) => *number == 0.0,
        Value::Text(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => value.size() == 0,
        Value::Duration(length) => length.0 == 0,
        _ => false,
    }
}

fn extreme<'a>(
    meter: &mut Meter<'_>,
    list: &Value<'a>,
    name: &str,
    wanted: std::cmp::Ordering,
) -> Result<'a> {
    let mut items = items(meter, list)?.into_iter();
    let first = items.next().ok_or_else(|| failed(format!("{name} called on empty list")))?;
    Ok(items.fold(first, |best, item| if item.compare(&best) == Some(wanted) { item } else { best }))
}

/// Where an equal item is, the first in the order given.
fn position<'i, 'v: 'i>(
    meter: &mut Meter<'_>,
    items: impl Iterator<Item = (usize, &'i Value<'v>)>,
    wanted: &Value<'_>,
) -> std::result::Result<Option<usize>, EvaluateError> {
    for (at, item) in items {
        if item.equals(wanted, meter)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether a list has a value that is equal.
pub(crate) fn contains(
    meter: &mut Meter<'_>,
    list: &Value<'_>,
    wanted: &Value<'_>,
) -> std::result::Result<bool, EvaluateError> {
    let items = items(meter, list)?;
    Ok(position(meter, items.iter().enumerate(), wanted)?.is_some())
}

fn subset(
    meter: &mut Meter<'_>,
    part: &Value<'_>,
    whole: &Value<'_>,
) -> std::result::Result<bool, EvaluateError> {
    let (part, whole) = (items(meter, part)?, items(meter, whole)?);
    for item in &part {
        if position(meter, whole.iter().enumerate(), item)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn url<'a>(a: &[Value<'a>], part: impl Fn(&Url) -> Value<'a>) -> Result<'a> {
    match &a[0] {
        Value::Url(url) => Ok(part(url)),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

/// An address without zone, not an IPv4 address in IPv6's form.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

fn ip<'a>(a: &[Value<'a>], part: impl Fn(IpAddr) -> Value<'a>) -> Result<'a> {
    match &a[0] {
        Value::Ip(address) => Ok(part(*address)),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn cidr<'a>(text: &str) -> Option<Value<'a>> {
    let (ip, length) = text.split_once('/')?;
    let ip = address(ip)?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let written = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
    let plain = written && (length == "0" || !length.starts_with('0'));
    let length = length.parse().ok().filter(|length| plain && *length <= most)?;
    Some(Value::Cidr(ip, length))
}

fn prefix<'a>(a: &[Value<'a>], part: impl Fn(IpAddr, u8) -> Value<'a>) -> Result<'a> {
    match &a[0] {
        Value::Cidr(ip, length) => Ok(part(*ip, *length)),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn masked(ip: IpAddr, length: u8) -> IpAddr {
    let keep = |bits: u32| u128::MAX.checked_shl(bits.saturating_sub(u32::from(length))).unwrap_or(0);
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & keep(32) as u32).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & keep(128)).into()),
    }
}

fn contains_ip<'a>(network: &Value<'_>, ip: &Value<'_>) -> Result<'a> {
    let (Value::Cidr(network, length), Value::Ip(ip)) = (network, ip) else {
        return Err(EvaluateError::NoSuchOverload);
    };
    let same = network.is_ipv4() == ip.is_ipv4() && masked(*network, *length) == masked(*ip, *length);
    Ok(Value::Bool(same))
}

fn contains_cidr<'a>(outer: &Value<'_>, inner: &Value<'_>) -> Result<'a> {
    let (Value::Cidr(_, outer_length), Value::Cidr(ip, length)) = (outer, inner) else {
        return Err(EvaluateError::NoSuchOverload);
    };
    match contains_ip(outer, &Value::Ip(*ip))? {
        Value::Bool(inside) => Ok(Value::Bool(inside && outer_length <= length)),
        other => Ok(other),
    }
}

fn quantity<'a>(a: &[Value<'a>], part: impl Fn(Quantity) -> Result<'a>) -> Result<'a> {
    match &a[0] {
        Value::Quantity(quantity) => part(*quantity),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn quantities<'a>(a: &[Value<'a>], both: impl Fn(Quantity, Quantity) -> Value<'a>) -> Result<'a> {
    match (&a[0], &a[1]) {
        (Value::Quantity(a), Value::Quantity(b)) => Ok(both(*a, *b)),
        (Value::Quantity(a), Value::Int(b)) => Ok(both(*a, Quantity::from_units(*b, Format::DecimalSi))),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn semver<'a>(text: &Value<'_>, normalize: bool) -> Result<'a> {
    let text = text.shown();
    let version = Semver::parse(&text, normalize).map(|version| Value::Semver(Arc::new(version)));
    version.ok_or_else(|| failed(format!("invalid semver {text:?}")))
}

fn version<'a>(a: &[Value<'a>], part: impl Fn(&Semver) -> u64) -> Result<'a> {
    match &a[0] {
        Value::Semver(version) => Ok(Value::Int(i64::try_from(part(version)).unwrap_or(i64::MAX))),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn order<'a>(a: &[Value<'a>], told: impl Fn(std::cmp::Ordering) -> Value<'a>) -> Result<'a> {
    match (&a[0], &a[1]) {
        (Value::Semver(a), Value::Semver(b)) => Ok(told(a.order(b))),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn named<'a>(name: &str) -> Result<'a> {
    Named::of(name).map(Value::Format).ok_or(EvaluateError::NoSuchOverload)
}
