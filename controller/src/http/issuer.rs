//! What others need to check the tokens of ServiceAccounts themselves, as OpenID Connect Discovery has it.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::http::body::Response;
use crate::http::status::json_response;
use crate::identity::Signer;

/// Who issues tokens, and where the keys are.
pub fn configuration(signer: &Signer) -> Response {
    let issuer = signer.issuer();
    lasting(json_response(
        StatusCode::OK,
        &json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
    ))
}

/// The keys.
pub fn keys(signer: &Signer) -> Response {
    let mut response = json_response(StatusCode::OK, &signer.key_set());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    lasting(response)
}

/// Says that the answer may be kept for an hour.
fn lasting(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
