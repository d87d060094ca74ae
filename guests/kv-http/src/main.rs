//! An http server that keeps values in files of the volume mounted at /data.
//!
//! `PUT /name` keeps the body, `GET /name` answers it, `DELETE /name` forgets it, `GET /` lists the
//! names, one a line. A name is letters, digits, `-`, `_` and `.`, and no leading dot.

use std::fs;
use std::io;
use std::path::PathBuf;

use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let method = request.method().clone();
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let mut body = request.into_body();
    let received = body.contents().await?.to_vec();
    let done = match (method, path_of(&name)) {
        (Method::GET, None) if name.is_empty() => list(),
        (_, None) => return Ok(answer(StatusCode::BAD_REQUEST, "not a name\n")),
        (Method::GET, Some(path)) => fs::read(path),
        (Method::PUT, Some(path)) => fs::write(path, received).map(|()| Vec::new()),
        (Method::DELETE, Some(path)) => fs::remove_file(path).map(|()| Vec::new()),
        _ => return Ok(answer(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT or DELETE\n")),
    };
    Ok(match done {
        Ok(value) => answer(StatusCode::OK, value),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            answer(StatusCode::NOT_FOUND, "no such name\n")
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    })
}

fn path_of(name: &str) -> Option<PathBuf> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed);
    good.then(|| PathBuf::from("/data").join(name))
}

fn list() -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/data")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.iter().flat_map(|name| format!("{name}\n").into_bytes()).collect())
}

fn answer(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}
