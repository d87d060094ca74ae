//! A core module that prints its arguments and environment, and then once a second a number and
//! the content of a mounted file, whose path is in TICKER_FILE.

use std::time::Duration;

fn main() {
    println!("args: {}", std::env::args().collect::<Vec<_>>().join(" "));
    let mut variables: Vec<_> = std::env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        println!("env: {name}={value}");
    }
    let file = std::env::var("TICKER_FILE");
    for tick in 1_u64.. {
        match &file {
            Ok(path) => match std::fs::read_to_string(path) {
                Ok(text) => println!("tick {tick} {}", text.trim_end()),
                Err(error) => println!("tick {tick} {path}: {error}"),
            },
            Err(_) => println!("tick {tick}"),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
