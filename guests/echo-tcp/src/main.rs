//! A TCP server that sends back what it receives, on the port of its first argument or 7.

use wstd::iter::AsyncIterator as _;
use wstd::net::TcpListener;

#[wstd::main]
async fn main() -> wstd::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "7".to_owned());
    let listener = TcpListener::bind(&format!("0.0.0.0:{port}")).await?;
    println!("listening on port {port}");
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        wstd::runtime::spawn(async move {
            // The other side may leave whenever it likes.
            let _ = wstd::io::copy(&stream, &stream).await;
        })
        .detach();
    }
    Ok(())
}
