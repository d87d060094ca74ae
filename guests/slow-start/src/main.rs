//! A process that is busy starting for START_MS milliseconds (5000) before it listens on PORT
//! (8080), where it answers every request with `ready`.

use wstd::io::{AsyncRead as _, AsyncWrite as _};
use wstd::iter::AsyncIterator as _;
use wstd::net::{TcpListener, TcpStream};
use wstd::time::Duration;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\nconnection: close\r\n\r\nready\n";

#[wstd::main]
async fn main() -> wstd::io::Result<()> {
    let variable = |name| std::env::var(name).ok();
    let delay = variable("START_MS").and_then(|text| text.parse().ok()).unwrap_or(5000);
    println!("starting for {delay} ms");
    wstd::task::sleep(Duration::from_millis(delay)).await;
    let port = variable("PORT").unwrap_or_else(|| "8080".to_owned());
    let listener = TcpListener::bind(&format!("0.0.0.0:{port}")).await?;
    println!("ready on port {port}");
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        wstd::runtime::spawn(async move {
            // The other side may leave whenever it likes.
            let _ = answer(stream).await;
        })
        .detach();
    }
    Ok(())
}

/// Reads a request to the end of its head, and answers.
async fn answer(mut stream: TcpStream) -> wstd::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await? {
            0 => return Ok(()),
            length => head.extend_from_slice(&part[..length]),
        }
    }
    stream.write_all(ANSWER).await?;
    stream.flush().await
}
