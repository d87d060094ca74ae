//! A core module that fails: after AFTER_MS milliseconds (0) with EXIT_CODE (3), or with a trap
//! when MODE is `trap`.

use std::time::Duration;

fn main() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    std::thread::sleep(Duration::from_millis(number("AFTER_MS").unwrap_or(0)));
    println!("about to crash");
    if std::env::var("MODE").as_deref() == Ok("trap") {
        std::process::abort();
    }
    std::process::exit(number("EXIT_CODE").map_or(3, |code| code as i32));
}
