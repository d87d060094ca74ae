//! A process that calls each URL of its arguments and prints what came back, once, or every
//! INTERVAL_MS milliseconds. Without an interval it fails when a call failed.

use wstd::time::Duration;

#[wstd::main]
async fn main() {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let interval: Option<u64> = std::env::var("INTERVAL_MS").ok().and_then(|text| text.parse().ok());
    loop {
        let mut failed = false;
        for url in &urls {
            match fetch::call(url).await {
                Ok(answer) => println!("{url} {answer}"),
                Err(failure) => {
                    failed = true;
                    println!("{url} failed: {failure}");
                }
            }
        }
        match interval {
            Some(pause) => {
                wstd::task::sleep(Duration::from_millis(pause)).await;
            }
            None if failed => std::process::exit(1),
            None => return,
        }
    }
}
