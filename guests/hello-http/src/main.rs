//! An http server that says which Pod answered.
//!
//! * `GET /…`: `<GREETING> from <pod>, request <n>`. n counts what the Pod served when a volume is
//!   mounted at /data; else what this instance served, which is 1 unless instances are reused.
//! * `GET /?delay=250` answers after so many milliseconds.
//! * `GET /secret` wants `authorization: Bearer $TOKEN`.
//! * `POST /…` answers the body it received and the request's `x-request-id`, and notes both, once
//!   for each execution, on stdout and in /data/posts: what happened twice is there twice.
//!
//! The Pod's name is in POD_NAME (downward API) or HOSTNAME.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use wstd::http::{Body, Error, Method, Request, Response, StatusCode};
use wstd::time::Duration;

static SERVED: AtomicU64 = AtomicU64::new(0);

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let number = count();
    if let Some(delay) = delay(request.uri().query().unwrap_or_default()) {
        wstd::task::sleep(delay).await;
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, _) => post(request, number).await,
        (_, "/secret") => Ok(secret(&request)),
        _ => answer(StatusCode::OK, number, greeting(number)),
    }
}

async fn post(request: Request<Body>, number: u64) -> Result<Response<Body>, Error> {
    let id = header(&request, "x-request-id").unwrap_or("none").to_owned();
    let mut body = request.into_body();
    let received = body.contents().await?.to_vec();
    let note = format!("POST id={id} bytes={} pod={}", received.len(), pod());
    println!("{note}");
    append("/data/posts", &format!("{note}\n"));
    let mut response = answer(StatusCode::OK, number, received)?;
    response.headers_mut().insert("x-request-id", id.parse()?);
    Ok(response)
}

fn secret(request: &Request<Body>) -> Response<Body> {
    let token = std::env::var("TOKEN").unwrap_or_default();
    let shown = header(request, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let (status, text) = match shown {
        Some(shown) if shown == token && !token.is_empty() => (StatusCode::OK, "welcome\n"),
        _ => (StatusCode::UNAUTHORIZED, "who are you?\n"),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn answer(status: StatusCode, number: u64, body: impl Into<Body>) -> Result<Response<Body>, Error> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "text/plain; charset=utf-8")
        .header("x-pod-name", pod())
        .header("x-request-number", number.to_string());
    Ok(response.body(body.into())?)
}

fn greeting(number: u64) -> String {
    let greeting = std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
    format!("{greeting} from {}, request {number}\n", pod())
}

/// The number of this request.
fn count() -> u64 {
    let mine = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    append("/data/requests", ".").unwrap_or(mine)
}

/// Appends to a file of the volume; its length afterwards, none without a volume.
fn append(path: &str, text: &str) -> Option<u64> {
    if !Path::new("/data").is_dir() {
        return None;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path).ok()?;
    file.write_all(text.as_bytes()).ok()?;
    fs::metadata(path).ok().map(|found| found.len())
}

fn pod() -> String {
    std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "unknown".to_owned())
}

fn header<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn delay(query: &str) -> Option<Duration> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("delay="))?;
    value.parse().ok().map(Duration::from_millis)
}
