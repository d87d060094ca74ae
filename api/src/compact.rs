//! Typed objects that serialise without what is blank, as Go's `omitempty` does.
//!
//! The macro `object!` declares a struct of the fields we read: camel case on the wire, every field
//! optional when read, blank fields left out when written. A number or truth value whose zero
//! means something else than its absence is an `Option`.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Whether a value is the one that stands for absence.
pub trait Blank {
    /// Whether it is.
    fn is_blank(&self) -> bool;
}

impl Blank for String {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl Blank for bool {
    fn is_blank(&self) -> bool {
        !*self
    }
}

impl Blank for u32 {
    fn is_blank(&self) -> bool {
        *self == 0
    }
}

impl Blank for i32 {
    fn is_blank(&self) -> bool {
        *self == 0
    }
}

impl Blank for i64 {
    fn is_blank(&self) -> bool {
        *self == 0
    }
}

impl<T> Blank for Option<T> {
    fn is_blank(&self) -> bool {
        self.is_none()
    }
}

impl<T> Blank for Vec<T> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Blank for BTreeMap<K, V> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

/// Structs that the macro declares are blank in no case: `{}` and absence differ for some.
macro_rules! never_blank {
    ($($type:ty),* $(,)?) => {
        $(impl crate::compact::Blank for $type {
            fn is_blank(&self) -> bool {
                false
            }
        })*
    };
}
never_blank!(
    crate::meta::ObjectMeta,
    crate::meta::LabelSelector,
    crate::int_or_string::IntOrString,
    crate::quantity::Quantity
);

/// Whether a value is blank, as a function for serde.
pub fn is_blank<T: Blank>(value: &T) -> bool {
    value.is_blank()
}

/// Reads null as absence: other servers write it for empty lists.
pub fn null_is_blank<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares a compact struct. Every field is public.
macro_rules! object {
    ($( $(#[$attr:meta])* struct $name:ident { $( $(#[$field_attr:meta])* $field:ident: $type:ty, )* } )*) => {
        $(
            $(#[$attr])*
            #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(default, rename_all = "camelCase")]
            pub struct $name {
                $(
                    $(#[$field_attr])*
                    #[serde(
                        skip_serializing_if = "crate::compact::is_blank",
                        deserialize_with = "crate::compact::null_is_blank"
                    )]
                    pub $field: $type,
                )*
            }

            impl crate::compact::Blank for $name {
                fn is_blank(&self) -> bool {
                    false
                }
            }
        )*
    };
}
pub(crate) use object;
