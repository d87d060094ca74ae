//! An http server of WASI 0.3 that says which Pod answered: asynchronous functions and streams are
//! part of the interface, so that no runtime is needed in the guest. Nodes run it only when they
//! were started with --wasi-p3.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Hello;

wasip3::http::service::export!(Hello);

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
        let text = format!("hello in WASI 0.3 from {}\n", pod.as_deref().unwrap_or("unknown"));
        let headers = Fields::new();
        let plain = b"text/plain; charset=utf-8".to_vec();
        headers
            .append("content-type", &plain)
            .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
        let (mut writer, body) = wit_stream::new();
        let (no_trailers, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(body), trailers);
        // Written while the host already sends the head.
        wit_bindgen::spawn_local(async move {
            writer.write_all(text.into_bytes()).await;
            drop(no_trailers);
        });
        Ok(response)
    }
}
