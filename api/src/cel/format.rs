//! The named formats of strings (`format.dns1123Label()` and its like).

use crate::cel::url::Url;
use crate::name;
use crate::time::Timestamp;
use base64::Engine as _;

/// A name and the check of it.
type Format = (&'static str, fn(&str) -> Result<(), String>);

/// A named format.
#[derive(Clone, Copy, Debug)]
pub struct Named(&'static Format);

impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.name() == other.name()
    }
}

static FORMATS: [Format; 13] = [
    ("dns1123Label", name::dns1123_label),
    ("dns1123Subdomain", name::dns1123_subdomain),
    ("dns1035Label", name::dns1035_label),
    ("dns1123LabelPrefix", |text| name::NameRule::Label.check(text, true)),
    ("dns1123SubdomainPrefix", |text| name::NameRule::Subdomain.check(text, true)),
    ("dns1035LabelPrefix", |text| name::NameRule::Label1035.check(text, true)),
    ("qualifiedName", name::label_key),
    ("labelValue", name::label_value),
    ("uri", |text| Url::parse(text).map(drop).ok_or_else(|| format!("invalid URI {text:?}"))),
    ("uuid", |text| if is_uuid(text) { Ok(()) } else { Err("does not match the UUID format".to_owned()) }),
    ("byte", |text| {
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(drop)
            .map_err(|_| "invalid base64".to_owned())
    }),
    ("date", |text| {
        let valid = text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok();
        if valid { Ok(()) } else { Err("invalid date".to_owned()) }
    }),
    ("datetime", |text| Timestamp::parse(text).map(drop).map_err(|_| "invalid datetime".to_owned())),
];

/// Whether the text is a UUID of any version.
pub(crate) fn is_uuid(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    plain.len() == 32 && plain.bytes().all(|c| c.is_ascii_hexdigit())
}

impl Named {
    /// The format of this name.
    pub fn of(name: &str) -> Option<Named> {
        FORMATS.iter().find(|(one, _)| *one == name).map(Named)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.0
    }

    /// What is wrong with a text.
    pub fn check(self, text: &str) -> Result<(), String> {
        self.0.1(text)
    }
}
