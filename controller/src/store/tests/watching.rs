//! Watches: what a cursor hands out is the log, whoever writes and however slow it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use fastrand::Rng;
use futures::FutureExt;

use crate::store::tests::*;

/// One of them is in every value that is written.
const WORDS: [&str; 3] = ["one", "two", "three"];
/// The last key that is written; its value holds all words.
const END: &str = "/a/r//~end";

/// Writes to random keys until told to stop; answers what was acknowledged.
async fn write_some(store: Store, seed: u64, count: usize) -> Vec<(Revision, Key)> {
    let mut rng = Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    for _ in 0..count {
        let key = format!("/{}/r//{}", rng.choice(&["a", "b", "v"]).unwrap(), rng.u8(0..20));
        let value = format!("{{\"{}\":{}}}", rng.choice(&WORDS).unwrap(), "x".repeat(rng.usize(0..200)));
        let mut write = if rng.bool() { put(&key, value) } else { put_volatile(&key, value) };
        if rng.u8(0..4) == 0 {
            write.op = Op::Delete;
        }
        if let Ok(revision) = store.write(write.clone()).await {
            acknowledged.push((revision, write.key));
        }
    }
    acknowledged
}

/// Follows a prefix from the beginning to a revision, sleeping now and then; checks that what it
/// sees fits together, and answers it.
async fn follow(store: Store, prefix: &'static str, upto: Revision, seed: u64) -> Vec<Arc<Change>> {
    let mut rng = Rng::with_seed(seed);
    let mut cursor = store.watch(prefix, Revision::ZERO).unwrap();
    let mut seen: Vec<Arc<Change>> = Vec::new();
    while cursor.catch_up() < upto {
        seen.extend(cursor.next().await.unwrap());
        for _ in 0..rng.u8(0..40) {
            tokio::task::yield_now().await;
        }
    }
    seen.retain(|change| change.revision <= upto);
    let mut objects: BTreeMap<Key, Stored> = BTreeMap::new();
    let mut last = Revision::ZERO;
    for change in &seen {
        assert!(change.revision > last, "in order, each once");
        last = change.revision;
        assert_eq!(objects.remove(&change.key), change.before, "{}", change.key);
        if let Some(value) = change.after.clone() {
            objects.insert(change.key.clone(), Stored { revision: change.revision, value });
        }
    }
    let listed = store.range(prefix, &RangeOptions { at: Some(upto), ..RangeOptions::default() }).unwrap();
    assert_eq!(listed.items, objects.into_iter().collect::<Vec<_>>());
    seen
}

fn holds(change: &Change, word: &str) -> bool {
    let word = format!("\"{word}\"");
    let before = change.before.as_ref().map(|stored| &stored.value);
    before.into_iter().chain(&change.after).any(|text| String::from_utf8_lossy(text).contains(&word))
}

/// Waits for a word from a revision to the end, sleeping now and then. Answers what it saw that holds the word.
async fn listen(store: Store, word: &'static str, from: Revision, seed: u64) -> Vec<Arc<Change>> {
    let mut rng = Rng::with_seed(seed);
    let mut cursor = store.watch_for(word, "/a/r/", from).unwrap();
    let mut seen: Vec<Arc<Change>> = Vec::new();
    while seen.last().is_none_or(|change| change.key.as_str() != END) {
        seen.extend(cursor.next().await.unwrap().into_iter().filter(|change| holds(change, word)));
        for _ in 0..rng.u8(0..40) {
            tokio::task::yield_now().await;
        }
    }
    seen
}

async fn watches_equal_the_log(store: Store) {
    const WRITERS: u64 = 4;
    const EACH: usize = 250;
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write_some(store.clone(), seed, EACH))).collect();
    // Early followers run beside the writers, to a revision that will certainly be reached.
    let early: Vec<_> = (0..4)
        .map(|seed| {
            let prefix = ["", "/a/r/", "/v/r/", "/b/"][seed as usize];
            tokio::spawn(follow(store.clone(), prefix, Revision(300), seed))
        })
        .collect();
    let listening = |seed: u64, from: Revision| {
        let word = WORDS[seed as usize % 3];
        (word, from, tokio::spawn(listen(store.clone(), word, from, seed)))
    };
    let mut listeners: Vec<_> = (0..6).map(|seed| listening(seed, Revision::ZERO)).collect();
    let mut acknowledged = Vec::new();
    for (seed, writer) in (6..).zip(writers) {
        acknowledged.extend(writer.await.unwrap());
        listeners.push(listening(seed, store.head()));
    }
    let all = WORDS.map(|word| format!("\"{word}\"")).join(",");
    acknowledged.push((store.write(put(END, all)).await.unwrap(), END.into()));
    for follower in early {
        follower.await.unwrap();
    }
    acknowledged.sort();
    let head = store.head();
    let seen = follow(store.clone(), "", head, 9).await;
    let seen: Vec<_> = seen.iter().map(|change| (change.revision, change.key.clone())).collect();
    assert_eq!(seen, acknowledged);
    let log = follow(store.clone(), "/a/r/", head, 9).await;
    for (word, from, listener) in listeners {
        let expected: Vec<_> =
            log.iter().filter(|change| change.revision > from && holds(change, word)).cloned().collect();
        assert_eq!(listener.await.unwrap(), expected, "{word} after {from}");
    }
}

/// Little in memory, everything in the log.
fn deep() -> Config {
    Config { retain: Retain::default(), ..small(PathBuf::new()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watches_equal_the_log_in_memory() {
    watches_equal_the_log(in_memory(&deep())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watches_equal_the_log_on_disk() {
    let (store, task) = on(&CrashDisk::default(), &deep()).unwrap();
    watches_equal_the_log(store).await;
    task.close().await;
}

#[tokio::test]
async fn a_cursor_waits_for_its_own_prefix_only() {
    let store = Store::in_memory();
    let mut cursor = store.watch("/a/r/", Revision::ZERO).unwrap();
    store.write(put("/b/r//1", "x")).await.unwrap();
    assert!(cursor.next().now_or_never().is_none());
    assert_eq!(cursor.catch_up(), Revision(1), "a bookmark needs no change");
    let wrote = store.write(put("/a/r//1", "y")).await.unwrap();
    let changes = cursor.next().await.unwrap();
    assert_eq!((changes.len(), changes[0].revision), (1, wrote));
    assert_eq!(cursor.position(), wrote);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_waits_for_a_word_misses_only_what_holds_it() {
    let retain = Retain { age: Duration::ZERO, bytes: 200_000 };
    let store = in_memory(&Config { retain, ..small(PathBuf::new()) });
    store.write(put("/a/r//0", r#"{"one":0}"#)).await.unwrap();
    let mut cursor = store.watch_for("one", "/a/r/", store.head()).unwrap();
    let others = async |count: usize| {
        for _ in 0..count {
            store.write(put("/a/r//1", format!("{{\"two\":\"{}\"}}", "x".repeat(1000)))).await.unwrap();
        }
    };
    others(200).await;
    let wrote = store.write(put("/a/r//2", r#"{"one":1}"#)).await.unwrap();
    // Out of memory, and not yet out of the log: whoever began at the beginning would be too late.
    others(60).await;
    let changes = cursor.next().await.unwrap();
    assert_eq!((changes.len(), changes[0].revision), (1, wrote), "what nobody waited for is no history");
    others(200).await;
    assert!(cursor.next().now_or_never().is_none());
}

#[tokio::test]
async fn who_waits_for_a_word_is_woken_by_no_other() {
    let (store, task) = on(&CrashDisk::default(), &deep()).unwrap();
    let old = store.write(put("/a/r//0", r#"{"one":0}"#)).await.unwrap();
    let mut cursor = store.watch_for("one", "/a/r/", Revision::ZERO).unwrap();
    assert_eq!(cursor.next().await.unwrap()[0].revision, old, "what was there before");
    assert!(cursor.next().now_or_never().is_none());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut next = Box::pin(cursor.next());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    for number in 0..200 {
        store.write(put("/a/r//1", format!("{{\"two\":{number},\"one \":1}}"))).await.unwrap();
    }
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "by two hundred others");
    let wrote = store.write(put("/a/r//1", r#"{"one":1}"#)).await.unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    let changes = next.await.unwrap();
    assert_eq!((changes.len(), changes[0].revision), (1, wrote));
    store.write(put("/a/r//1", r#"{"two":1}"#)).await.unwrap();
    assert_eq!(cursor.next().await.unwrap().len(), 1, "it was there before");
    let newest = store.write(put("/a/r//1", r#"{"two":2}"#)).await.unwrap();
    assert!(cursor.next().now_or_never().is_none());
    assert_eq!(cursor.catch_up(), newest, "a bookmark passes by what others wait for");
    task.close().await;
    assert_eq!(cursor.next().await, Err(ReadError::Closed));
}

#[tokio::test]
async fn a_cursor_of_a_quiet_prefix_is_never_behind() {
    let store = in_memory(&small(PathBuf::new()));
    store.write(put("/a/r//1", "x")).await.unwrap();
    let mut quiet = store.watch("/a/r/", Revision(1)).unwrap();
    let mut slow = store.watch("/b/r/", Revision(1)).unwrap();
    for _ in 0..500 {
        store.write(put("/b/r//1", vec![b'x'; 100])).await.unwrap();
    }
    assert!(store.status().floor > Revision(100));
    store.write(put("/a/r//1", "z")).await.unwrap();
    assert_eq!(quiet.next().await.unwrap().len(), 1);
    assert!(matches!(slow.next().await, Err(ReadError::Compacted { .. })));
}

#[tokio::test]
async fn a_closed_store_ends_its_cursors_after_the_last_change() {
    let (store, task) = on(&CrashDisk::default(), &Config::new(PathBuf::new(), volatile)).unwrap();
    let mut cursor = store.watch("/a/", Revision::ZERO).unwrap();
    store.write(put("/a/r//1", "x")).await.unwrap();
    task.close().await;
    assert_eq!(cursor.next().await.unwrap().len(), 1);
    assert_eq!(cursor.next().await.unwrap_err(), ReadError::Closed);
    assert_eq!(store.write(put("/a/r//1", "y")).await, Err(WriteError::Closed));
    assert_eq!(store.get(&"/a/r//1".into()).unwrap().value, "x");
}

#[tokio::test]
async fn a_volatile_flood_stays_bounded_and_ends_only_slow_watches_of_its_kind() {
    let disk = CrashDisk::default();
    let (store, task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    store.write(put("/a/r//1", "x")).await.unwrap();
    let commits = store.status().commits;
    let mut slow = store.watch("/v/r/", Revision(1)).unwrap();
    let mut other = store.watch("/a/r/", Revision::ZERO).unwrap();
    let value = Bytes::from(vec![b'x'; 100_000]);
    for n in 0..400 {
        store.write(put_volatile(&format!("/v/r//{}", n % 50), value.clone())).await.unwrap();
    }
    assert_eq!(store.status().commits, commits, "nothing of it goes to the disk");
    assert!(matches!(slow.next().await, Err(ReadError::Compacted { .. })));
    assert_eq!(other.next().await.unwrap().len(), 1);
    let late = store.head();
    let mut fast = store.watch("/v/r/", late).unwrap();
    store.write(put_volatile("/v/r//7", "last")).await.unwrap();
    assert_eq!(fast.next().await.unwrap().len(), 1);
    let before = store.range("", &RangeOptions::default()).unwrap();
    task.close().await;
    let (store, _task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    assert_eq!(store.range("", &RangeOptions::default()).unwrap(), before, "all of it is kept at the end");
    assert!(store.watch("/v/r/", Revision(2)).is_err(), "its history is not");
    assert_eq!(store.watch("/v/r/", late).unwrap().next().await.unwrap().len(), 1);
}

#[tokio::test]
async fn history_is_whole_wherever_in_a_row_of_the_log_a_reader_begins() {
    let disk = CrashDisk::default();
    let retain = Retain { age: Duration::ZERO, bytes: 1_500_000 };
    let config = Config { journal_bytes: 400_000, retain, ..Config::new(PathBuf::new(), volatile) };
    let (store, task) = on(&disk, &config).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut written = Vec::new();
    for _ in 0..3000 {
        let key = Key::of("a", rng.choice(&["r", "s"]).unwrap(), "", &rng.u8(0..20).to_string());
        let value = "x".repeat(rng.usize(0..2000)) + &"y".repeat(rng.usize(0..200));
        let revision = store.write(put(key.as_str(), value.clone())).await.unwrap();
        written.push((revision, key, Bytes::from(value)));
    }
    task.close().await;
    // Nothing is remembered: all is read from the tables.
    let (store, task) = on(&disk, &config).unwrap();
    let floor = store.status().floor;
    assert!(floor > Revision(500), "the beginning is gone: {floor}");
    assert!(matches!(store.watch("/a/r/", Revision(floor.0 - 1)), Err(ReadError::Compacted { .. })));
    for after in (floor.0..store.head().0).step_by(7).map(Revision) {
        let expected: Vec<_> =
            written.iter().filter(|(at, key, _)| *at > after && key.as_str().starts_with("/a/r/")).collect();
        let mut cursor = store.watch("/a/r/", after).unwrap();
        let mut found = Vec::new();
        while cursor.position() < store.head() {
            found.extend(cursor.next().await.unwrap());
        }
        assert!(found.iter().zip(&expected).all(|(change, (at, key, value))| {
            (change.revision, &change.key, change.after.as_ref()) == (*at, key, Some(value))
        }));
        assert_eq!(found.len(), expected.len(), "after {after}");
        let befores = || written.iter().rev().filter(|(at, ..)| *at <= after);
        let past = RangeOptions { at: Some(after), ..RangeOptions::default() };
        for (key, stored) in store.range("/a/r/", &past).unwrap().items {
            let (revision, _, value) = befores().find(|(_, of, _)| *of == key).unwrap();
            assert_eq!(stored, Stored { revision: *revision, value: value.clone() }, "{key} at {after}");
        }
    }
    task.close().await;
}
