//! A core module that computes without end and never waits for anything.

use std::hint::black_box;

fn main() {
    println!("spinning");
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}
