//! Runs of many seeds: 200 in every test run, any range of them by `cargo xtask simulate`.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::simulation::story::Story;

/// The variable with a range of seeds, such as `0..10000`, for the test of the same name.
const SEEDS: &str = "EDGE_SEEDS";

/// What a story came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    digest: u64,
    lines: u64,
    changes: u64,
}

/// Tells the story of a seed.
///
/// # Errors
/// What broke, what led to it, and how to see it again.
fn tell(seed: u64) -> Result<Told, String> {
    let mut story = Story::new(seed);
    let told = std::panic::catch_unwind(AssertUnwindSafe(|| story.tell()));
    let why = match told {
        Ok(Ok(())) => {
            let (trace, changes) = (&story.cluster.trace, story.cluster.changes);
            return Ok(Told { digest: trace.digest(), lines: trace.length(), changes });
        }
        Ok(Err(broken)) => format!("{}: {}", broken.rule, broken.what),
        Err(_) => "it panicked, see above".to_owned(),
    };
    let again = format!("cargo xtask simulate --seeds {seed}..{}", seed + 1);
    Err(format!("{}seed {seed} failed: {why}\nsee it again: {again}", story.cluster.trace))
}

/// Tells the stories of a range, on as many threads as the machine has.
fn tell_all(seeds: Range<u64>) -> (u64, Vec<(u64, String)>) {
    let (next, changes) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match tell(seed) {
                Ok(told) => drop(changes.fetch_add(told.changes, Ordering::Relaxed)),
                Err(why) => failed.lock().unwrap().push((seed, why)),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    (changes.into_inner(), failed)
}

fn check(seeds: Range<u64>) {
    let count = seeds.end - seeds.start;
    let (changes, failed) = tell_all(seeds);
    if let Some((_, first)) = failed.first() {
        let last = |why: &str| why.lines().rev().nth(1).unwrap_or_default().to_owned();
        let all: Vec<String> = failed.iter().map(|(_, why)| last(why)).collect();
        panic!("{first}\n{} of {count} seeds failed:\n{}", failed.len(), all.join("\n"));
    }
    println!("{count} seeds, {changes} changes: no promise broken");
}

#[test]
fn two_hundred_stories_keep_every_promise() {
    check(0..200);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in [1, 2, 3] {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}

/// Does nothing unless a range of seeds is asked for.
#[test]
fn the_seeds_asked_for_keep_every_promise() {
    #[allow(clippy::disallowed_methods, reason = "a test has no other arguments")]
    let Ok(asked) = std::env::var(SEEDS) else { return };
    let (start, end) = asked.split_once("..").expect("a range of seeds, such as 0..100");
    check(start.parse().unwrap()..end.parse().unwrap());
}
