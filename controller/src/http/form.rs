//! In which form the caller wants an answer.

use crate::registry::{ApiError, Reason};

/// What of an object the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The object.
    Whole,
    /// A row of a table.
    Table,
    /// The metadata.
    Metadata,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf envelope.
    Protobuf,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// What of an object.
    pub view: View,
    /// How it is written.
    pub encoding: Encoding,
}

impl Form {
    /// Whole objects in JSON.
    pub const JSON: Form = Form { view: View::Whole, encoding: Encoding::Json };

    /// The form of an `Accept` header that is offered and liked best, of several alike the first. Protobuf costs us
    /// more than JSON, so it is the answer only to those who take nothing else.
    pub fn negotiate(accept: Option<&str>) -> Result<Form, ApiError> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Ok(Form::JSON) };
        let mut protobuf = None;
        let mut ranges: Vec<Range<'_>> = accept.split(',').map(Range::parse).collect();
        ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
        for Range { media, view, .. } in ranges {
            let Some(view) = view else { continue };
            let encoding = match media {
                "application/json" | "*/*" | "application/*" => Encoding::Json,
                "application/yaml" => Encoding::Yaml,
                "application/vnd.kubernetes.protobuf" => {
                    protobuf = protobuf.or(Some(view).filter(|view| *view != View::Table));
                    continue;
                }
                _ => continue,
            };
            return Ok(Form { view, encoding });
        }
        if let Some(view) = protobuf {
            return Ok(Form { view, encoding: Encoding::Protobuf });
        }
        Err(ApiError::new(
            Reason::NotAcceptable,
            "only the following media types are accepted: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf",
        ))
    }
}

/// One of the forms that an `Accept` header lists.
struct Range<'a> {
    media: &'a str,
    /// None if what is asked for does not exist.
    view: Option<View>,
    /// How much it is liked, in thousandths.
    quality: u16,
}

impl Range<'_> {
    fn parse(range: &str) -> Range<'_> {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (mut wanted, mut group, mut version, mut quality) = ("", "meta.k8s.io", "v1", 1000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "as" => wanted = value.trim(),
                "g" => group = value.trim(),
                "v" => version = value.trim(),
                "q" => {
                    quality =
                        value.trim().parse::<f32>().map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16)
                }
                _ => {}
            }
        }
        let offered = group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1");
        let view = match wanted {
            "" => Some(View::Whole),
            "Table" if offered => Some(View::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if offered => Some(View::Metadata),
            _ => None,
        };
        Range { media, view, quality }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Form, View};

    #[test]
    fn the_first_offered_form_wins() {
        let form = |view, encoding| Some(Form { view, encoding });
        for (accept, expected) in [
            ("", form(View::Whole, Encoding::Json)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                form(View::Table, Encoding::Json),
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io, application/json",
                form(View::Whole, Encoding::Json),
            ),
            ("application/vnd.kubernetes.protobuf,application/json", form(View::Whole, Encoding::Json)),
            ("application/vnd.kubernetes.protobuf", form(View::Whole, Encoding::Protobuf)),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                form(View::Metadata, Encoding::Json),
            ),
            ("application/yaml", form(View::Whole, Encoding::Yaml)),
            ("text/html, */*;q=0.8", form(View::Whole, Encoding::Json)),
            ("application/json;q=0.5, application/yaml", form(View::Whole, Encoding::Yaml)),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                form(View::Metadata, Encoding::Protobuf),
            ),
            ("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", None),
            ("image/png", None),
        ] {
            assert_eq!(Form::negotiate(Some(accept)).ok(), expected, "{accept}");
        }
    }
}
