//! Objects and lists as answers.
//!
//! Plain JSON is spliced from stored bytes and never parsed; a long list is made while it is sent.

use std::io::Write as _;

use bytes::Bytes;
use edge_api::kind::Kind;
use edge_api::protobuf;
use edge_api::table::{self, Headings, IncludeObject};
use edge_api::time::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::http::body::{Body, Response};
use crate::http::form::{Encoding, Form, View};
use crate::http::status;
use crate::registry::{ApiError, List, Object, Reason};

/// Bytes of a chunk of a long list.
const CHUNK: usize = 64 * 1024;
/// From how many bytes compression pays.
const WORTH_COMPRESSING: usize = 128 * 1024;

/// How an answer is wanted, and when it is given.
#[derive(Clone, Copy)]
pub struct Wish {
    /// The form.
    pub form: Form,
    /// What rows of tables carry.
    pub include: IncludeObject,
    /// Whether gzip is accepted.
    pub gzip: bool,
    /// The present, for ages.
    pub now: Timestamp,
}

/// A failure, in the encoding that an `Accept` header asks for if there is such.
pub fn failure(error: &ApiError, accept: Option<&str>) -> Response {
    let mut response = status::failure(error);
    let encoding = Form::negotiate(accept).map_or(Encoding::Json, |form| form.encoding);
    if encoding != Encoding::Json
        && let Ok(bytes) = encode(encoding, &status::object(error))
    {
        *response.body_mut() = Body::Full(bytes);
        set_type(&mut response, encoding);
    }
    response
}

/// One object.
pub fn object(wish: &Wish, code: StatusCode, kind: &Kind, object: &Object) -> Result<Response, ApiError> {
    let plain = wish.form == Form::JSON;
    let bytes = if plain { object.json() } else { encode(wish.form.encoding, &view(wish, kind, object))? };
    Ok(respond(wish, code, bytes))
}

/// A list.
pub fn list(wish: &Wish, kind: &'static Kind, list: List) -> Result<Response, ApiError> {
    if wish.form == Form::JSON {
        return Ok(plain_list(wish, kind, list));
    }
    let mut metadata = json!({"resourceVersion": list.revision.to_string()});
    if !list.continue_token.is_empty() {
        metadata["continue"] = list.continue_token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let objects: Vec<Value> = list.items.iter().map(Object::value).collect();
    let value = match wish.form.view {
        View::Table => table::table(kind, &objects, metadata, wish.include, Headings::Shown, wish.now),
        View::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": objects.iter().map(table::partial).collect::<Vec<_>>(),
        }),
        View::Whole => json!({
            "kind": kind.list_kind(), "apiVersion": kind.api_version(), "metadata": metadata,
            "items": objects,
        }),
    };
    Ok(respond(wish, StatusCode::OK, encode(wish.form.encoding, &value)?))
}

/// An object as the caller wants to see it.
fn view(wish: &Wish, kind: &Kind, object: &Object) -> Value {
    let value = object.value();
    match wish.form.view {
        View::Whole => value,
        View::Metadata => table::partial(&value),
        View::Table => {
            let metadata = json!({"resourceVersion": object.revision.to_string()});
            table::table(kind, [&value], metadata, wish.include, Headings::Shown, wish.now)
        }
    }
}

fn plain_list(wish: &Wish, kind: &'static Kind, list: List) -> Response {
    let mut head = Vec::with_capacity(256);
    let token = serde_json::to_string(&list.continue_token).expect("a string is JSON");
    let _ = write!(
        head,
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"",
        kind.list_kind(),
        kind.api_version(),
        list.revision
    );
    if !list.continue_token.is_empty() {
        let _ = write!(head, ",\"continue\":{token}");
    }
    if let Some(remaining) = list.remaining {
        let _ = write!(head, ",\"remainingItemCount\":{remaining}");
    }
    head.extend_from_slice(b"},\"items\":[");
    let size: usize = list.items.iter().map(|object| object.stored.len() + 48).sum();
    // Lists of custom resources hold whole objects.
    let typed = kind.custom.is_some();
    let pieces = Pieces { buffer: head, items: list.items.into_iter(), typed, first: true, ended: false };
    if size < CHUNK {
        let mut bytes = Vec::with_capacity(size + 256);
        for piece in pieces {
            bytes.extend_from_slice(&piece);
        }
        return respond(wish, StatusCode::OK, bytes.into());
    }
    let compressed = wish.gzip && size >= WORTH_COMPRESSING;
    let chunks: crate::http::body::Chunks = if compressed {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Box::pin(futures::stream::iter(Compressed { pieces, encoder: Some(encoder) }))
    } else {
        Box::pin(futures::stream::iter(pieces.map(Ok)))
    };
    let mut response = Response::new(Body::Chunks(chunks));
    set_type(&mut response, Encoding::Json);
    if compressed {
        set_gzip(&mut response);
    }
    response
}

/// A list cut into chunks; each is made when it is asked for.
struct Pieces {
    buffer: Vec<u8>,
    items: std::vec::IntoIter<Object>,
    typed: bool,
    first: bool,
    ended: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = std::mem::take(&mut self.buffer);
        out.reserve(CHUNK);
        while out.len() < CHUNK {
            let Some(object) = self.items.next() else {
                out.extend_from_slice(b"]}\n");
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            if self.typed {
                object.write(&mut out);
            } else {
                object.write_item(&mut out);
            }
        }
        Some(out.into())
    }
}

/// The same compressed.
struct Compressed {
    pieces: Pieces,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Iterator for Compressed {
    type Item = std::io::Result<Bytes>;

    fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        loop {
            let encoder = self.encoder.as_mut()?;
            let Some(piece) = self.pieces.next() else {
                return self.encoder.take().map(|encoder| encoder.finish().map(Bytes::from));
            };
            if let Err(error) = encoder.write_all(&piece) {
                return Some(Err(error));
            }
            if encoder.get_ref().len() >= CHUNK / 4 {
                return Some(Ok(std::mem::take(encoder.get_mut()).into()));
            }
        }
    }
}

/// A value in an encoding.
pub fn encode(encoding: Encoding, value: &Value) -> Result<Bytes, ApiError> {
    match encoding {
        Encoding::Json => Ok(serde_json::to_vec(value).map_err(ApiError::internal)?.into()),
        Encoding::Yaml => Ok(serde_saphyr::to_string(value).map_err(ApiError::internal)?.into()),
        Encoding::Protobuf => protobuf::encode(value).map(Bytes::from).map_err(|error| {
            ApiError::new(Reason::NotAcceptable, format!("not available in protobuf: {error}"))
        }),
    }
}

/// Finished bytes as an answer, compressed if that pays.
fn respond(wish: &Wish, code: StatusCode, bytes: Bytes) -> Response {
    let compressed = (wish.gzip && bytes.len() >= WORTH_COMPRESSING).then(|| gzip(&bytes)).flatten();
    let is_compressed = compressed.is_some();
    let mut response = Response::new(Body::Full(compressed.unwrap_or(bytes)));
    *response.status_mut() = code;
    set_type(&mut response, wish.form.encoding);
    if is_compressed {
        set_gzip(&mut response);
    }
    response
}

/// Compresses bytes.
pub fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn set_type(response: &mut Response, encoding: Encoding) {
    let value = match encoding {
        Encoding::Json => "application/json",
        Encoding::Yaml => "application/yaml",
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
}

/// Says that the body is compressed.
pub fn set_gzip(response: &mut Response) {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use edge_api::kinds::config_map::KIND;
    use serde_json::{Value, json};

    use super::{Compressed, Compression, GzEncoder, Pieces};
    use crate::registry::{Object, encode};
    use crate::store::Revision;

    fn pieces(count: u64) -> Pieces {
        let items = (0..count).map(|i| {
            let value = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": format!("c{i}")},
                "data": {"x": "y".repeat(1000)}});
            Object { revision: Revision(i + 1), stored: encode(value) }
        });
        let items: Vec<Object> = items.collect();
        Pieces {
            buffer: b"{\"items\":[".to_vec(),
            items: items.into_iter(),
            typed: false,
            first: true,
            ended: false,
        }
    }

    #[test]
    fn chunks_make_one_list() {
        assert_eq!(KIND.plural, "configmaps");
        for count in [0, 1, 500] {
            let chunks: Vec<_> = pieces(count).collect();
            assert!(chunks.len() as u64 >= count * 1000 / 66_000);
            let whole: Value = serde_json::from_slice(&chunks.concat()).unwrap();
            assert_eq!(whole["items"].as_array().unwrap().len() as u64, count);
            if count > 0 {
                assert_eq!(whole["items"][0]["metadata"]["resourceVersion"], "1");
            }
            let encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let compressed = Compressed { pieces: pieces(count), encoder: Some(encoder) };
            let bytes: Vec<u8> = compressed.flat_map(|chunk| chunk.unwrap()).collect();
            let read: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&bytes[..])).unwrap();
            assert_eq!(read, whole);
        }
    }
}
