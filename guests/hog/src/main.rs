//! A core module that takes a mebibyte of memory every STEP_MS milliseconds (10) and keeps it,
//! until it is stopped.

use std::time::Duration;

fn main() {
    let step = std::env::var("STEP_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut held = Vec::new();
    loop {
        // Touched, so that it is really taken.
        held.push(vec![1_u8; 1 << 20]);
        println!("holding {} MiB", held.len());
        std::thread::sleep(Duration::from_millis(step));
    }
}
