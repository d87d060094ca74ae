//! An http server that calls the URL after `?url=` and answers what came back.

use wstd::http::{Body, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default();
    let (status, text) = match query.strip_prefix("url=") {
        None => (StatusCode::BAD_REQUEST, "ask with ?url=…".to_owned()),
        Some(url) => match fetch::call(url).await {
            Ok(answer) => (StatusCode::OK, answer),
            Err(failure) => (StatusCode::BAD_GATEWAY, failure),
        },
    };
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    Ok(response)
}
