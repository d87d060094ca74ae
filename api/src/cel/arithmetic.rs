//! `+ - * / %` and the negative: of numbers checked for overflow, of times, texts and lists.

use std::sync::Arc;

use crate::cel::EvaluateError;
use crate::cel::duration::Duration;
use crate::cel::library::{failed, items};
use crate::cel::meter::Meter;
use crate::cel::syntax::Binary;
use crate::cel::types::Type;
use crate::cel::value::Value;
use crate::time::Timestamp;

type Result<'a> = std::result::Result<Value<'a>, EvaluateError>;

/// The type of the result; `None` if there is no such operation.
pub(crate) fn result(operator: Binary, left: &Type, right: &Type) -> Option<Type> {
    use Type::{Bytes, Double, Duration, Dyn, Int, List, Text, Timestamp, Uint};
    let same = |kind: &Type| Some(kind.clone());
    match (operator, left, right) {
        (Binary::Modulo, Int | Uint, right) if left == right => same(left),
        (Binary::Modulo, Double, _) | (Binary::Modulo, _, Double) => None,
        (Binary::Modulo, Dyn, Int | Uint | Dyn) => same(right),
        (Binary::Modulo, Int | Uint, Dyn) => same(left),
        (Binary::Modulo, ..) => None,
        (_, Int | Uint | Double, right) if left == right => same(left),
        (Binary::Add, Text | Bytes, right) if left == right => same(left),
        (Binary::Add, List(a), List(b)) if a.admits(b) => same(if **a == Dyn { right } else { left }),
        (Binary::Add, Duration, Duration) | (Binary::Subtract, Duration, Duration) => Some(Duration),
        (Binary::Add, Timestamp, Duration)
        | (Binary::Add, Duration, Timestamp)
        | (Binary::Subtract, Timestamp, Duration) => Some(Timestamp),
        (Binary::Subtract, Timestamp, Timestamp) => Some(Duration),
        (_, Dyn, _) | (_, _, Dyn) => Some(Dyn),
        _ => None,
    }
}

/// The result of an operator on two values.
pub(crate) fn apply<'a>(
    meter: &mut Meter<'_>,
    operator: Binary,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<'a> {
    match operator {
        Binary::Add => add(meter, left, right),
        Binary::Subtract => subtract(left, right),
        _ => scale(operator, left, right),
    }
}

fn whole<'a>(value: Option<i64>) -> Result<'a> {
    value.map(Value::Int).ok_or_else(|| failed("integer overflow"))
}

fn natural<'a>(value: Option<u64>) -> Result<'a> {
    value.map(Value::Uint).ok_or_else(|| failed("unsigned integer overflow"))
}

fn length<'a>(value: Option<i64>) -> Result<'a> {
    value.map(|nanos| Value::Duration(Duration(nanos))).ok_or_else(|| failed("duration overflow"))
}

fn moved<'a>(time: &Timestamp, nanos: Option<i64>) -> Result<'a> {
    let micros = nanos.and_then(|nanos| time.as_micros().checked_add(nanos / 1000));
    // From the year 1 to the year 9999, as Kubernetes' times.
    let fits = micros.filter(|micros| (-62_135_596_800_000_000..=253_402_300_799_999_999).contains(micros));
    fits.map(|micros| Value::Timestamp(Timestamp::from_micros(micros)))
        .ok_or_else(|| failed("timestamp overflow"))
}

pub(crate) fn add<'a>(meter: &mut Meter<'_>, left: &Value<'a>, right: &Value<'a>) -> Result<'a> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => whole(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => natural(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::Text(a), Value::Text(b)) => {
            meter.charge_size((a.len() + b.len()) as u64)?;
            Ok(Value::text([&**a, &**b].concat()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.charge_size((a.len() + b.len()) as u64)?;
            Ok(Value::Bytes(Arc::from([&**a, &**b].concat())))
        }
        (Value::List(a), Value::List(b)) => {
            meter.charge_size((a.len() + b.len()) as u64)?;
            let mut all = items(meter, left)?;
            all.extend(items(meter, right)?);
            Ok(Value::list(all))
        }
        (Value::Duration(a), Value::Duration(b)) => length(a.0.checked_add(b.0)),
        (Value::Timestamp(time), Value::Duration(by)) | (Value::Duration(by), Value::Timestamp(time)) => {
            moved(time, Some(by.0))
        }
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<'a> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => whole(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => natural(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => length(a.0.checked_sub(b.0)),
        (Value::Timestamp(time), Value::Duration(by)) => moved(time, by.0.checked_neg()),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            length(a.as_micros().checked_sub(b.as_micros()).and_then(|micros| micros.checked_mul(1000)))
        }
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn scale<'a>(operator: Binary, left: &Value<'a>, right: &Value<'a>) -> Result<'a> {
    let zero = matches!(right, Value::Int(0) | Value::Uint(0));
    match (operator, left, right) {
        (Binary::Divide, Value::Int(_) | Value::Uint(_), _) if zero => Err(failed("division by zero")),
        (Binary::Modulo, Value::Int(_) | Value::Uint(_), _) if zero => Err(failed("modulus by zero")),
        (Binary::Multiply, Value::Int(a), Value::Int(b)) => whole(a.checked_mul(*b)),
        (Binary::Multiply, Value::Uint(a), Value::Uint(b)) => natural(a.checked_mul(*b)),
        (Binary::Multiply, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        (Binary::Divide, Value::Int(a), Value::Int(b)) => whole(a.checked_div(*b)),
        (Binary::Divide, Value::Uint(a), Value::Uint(b)) => natural(a.checked_div(*b)),
        (Binary::Divide, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        (Binary::Modulo, Value::Int(a), Value::Int(b)) => whole(a.checked_rem(*b)),
        (Binary::Modulo, Value::Uint(a), Value::Uint(b)) => natural(a.checked_rem(*b)),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

/// The negative of a number.
pub(crate) fn negate<'a>(value: &Value<'a>) -> Result<'a> {
    match value {
        Value::Int(number) => whole(number.checked_neg()),
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Duration(duration) => length(duration.0.checked_neg()),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}
