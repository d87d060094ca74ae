//! The store on a disk that stops at a random sync and forgets, sector by sector, what was not
//! synced: the real redb code, the real writer, many seeds.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::store::tests::*;

/// What clients know for sure, over all lives of a store.
#[derive(Default)]
struct Known {
    /// Every (key, revision) anyone saw, with its value; none for a delete.
    seen: BTreeMap<(Key, Revision), Option<Bytes>>,
    /// The newest durable acknowledged change of each key.
    durable: BTreeMap<Key, (Revision, Option<Bytes>)>,
    /// The newest revision anyone saw.
    head: Revision,
    /// What may have happened although no answer came: the values last asked for, of each key.
    asked: BTreeMap<Key, Vec<Option<Bytes>>>,
}

impl Known {
    fn saw(&mut self, key: &Key, revision: Revision, value: Option<Bytes>) {
        self.head = self.head.max(revision);
        let first = self.seen.entry((key.clone(), revision)).or_insert_with(|| value.clone());
        assert_eq!(*first, value, "{key} has two values at revision {revision}");
    }
}

/// Writes until the disk stops or enough was written.
async fn live(store: &Store, rng: &mut Rng, writes: usize, known: &mut Known) {
    let mut running = Vec::new();
    for n in 0..writes {
        let key = Key::of(rng.choice(&["a", "b", "v"]).unwrap(), "r", "", &rng.u8(0..12).to_string());
        let value: Bytes = format!("{n}-{}", "x".repeat(rng.usize(0..600))).into();
        let durability = if rng.bool() { Durability::Volatile } else { Durability::Durable };
        let op = if rng.u8(0..6) == 0 { Op::Delete } else { Op::Put(value) };
        let write = Write { key, op, when: Vec::new(), durability };
        let after = match &write.op {
            Op::Put(value) => Some(value.clone()),
            Op::Delete => None,
        };
        known.asked.entry(write.key.clone()).or_default().push(after.clone());
        let (store, write) = (store.clone(), write);
        running.push(tokio::spawn(async move { (write.clone(), after, store.write(write).await) }));
        if running.len() >= rng.usize(1..12) && !settle(&mut running, known).await {
            return;
        }
    }
    settle(&mut running, known).await;
}

type Running = tokio::task::JoinHandle<(Write, Option<Bytes>, Result<Revision, WriteError>)>;

/// Takes in answers; false when the disk has stopped.
async fn settle(running: &mut Vec<Running>, known: &mut Known) -> bool {
    let mut alive = true;
    for task in running.drain(..) {
        let (write, after, answer) = task.await.unwrap();
        match answer {
            Ok(revision) => {
                known.saw(&write.key, revision, after.clone());
                let durable = write.durability == Durability::Durable || !volatile(write.key.as_str());
                let newest = known.durable.get(&write.key).map_or(Revision::ZERO, |found| found.0);
                if durable && revision > newest {
                    known.durable.insert(write.key.clone(), (revision, after));
                }
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(_) => alive = false,
        }
    }
    alive
}

/// Checks a store that was just opened against what was known before.
async fn check(store: &Store, known: &mut Known) {
    assert!(store.head() >= known.head, "revisions go on");
    let now = store.range("", &RangeOptions::default()).unwrap();
    let objects: BTreeMap<Key, Stored> = now.items.into_iter().collect();
    for (key, (revision, value)) in &known.durable {
        let found = objects.get(key);
        let kept = found.map(|stored| stored.value.clone()) == *value;
        let overtaken = known.asked[key].iter().any(|asked| *asked == found.map(|s| s.value.clone()));
        let seen = found.is_none_or(|stored| stored.revision >= *revision);
        assert!(seen, "{key} went back behind the durable {revision}");
        assert!(kept || overtaken, "{key} lost revision {revision}");
    }
    for (key, stored) in &objects {
        let newest = known.seen.range((key.clone(), Revision::ZERO)..=(key.clone(), Revision(u64::MAX)));
        if let Some(((_, revision), _)) = newest.last() {
            assert!(stored.revision >= *revision, "{key} went back behind {revision}");
        }
        known.saw(key, stored.revision, Some(stored.value.clone()));
    }
    known.head = known.head.max(store.head());
}

/// A watch of a key space without volatile writes goes on over a crash without a gap; the other
/// lists again.
async fn check_watches(store: &Store, known: &Known, from: Revision, killed: bool) {
    let mut cursor = store.watch("/a/r/", from).unwrap();
    let mut seen = Vec::new();
    let expected: Vec<_> = known
        .durable
        .iter()
        .filter(|(key, (revision, _))| key.as_str().starts_with("/a/r/") && *revision > from)
        .map(|(key, (revision, value))| (*revision, key.clone(), value.clone()))
        .collect();
    while !expected.iter().all(|(revision, ..)| cursor.position() >= *revision) {
        seen.extend(cursor.next().await.unwrap());
    }
    for (revision, key, value) in expected {
        let found = seen.iter().find(|change| change.revision == revision).expect("no gap");
        assert_eq!((&found.key, &found.after), (&key, &value));
    }
    if killed {
        let again = store.watch("/v/r/", from);
        assert!(matches!(again, Err(ReadError::Compacted { .. })), "{again:?}");
    }
}

async fn lives(seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    let mut known = Known::default();
    let mut disk = CrashDisk::default();
    let mut config = Config::new(PathBuf::new(), volatile);
    if rng.bool() {
        config.tail_bytes = 2000;
    }
    // Small ones of which the sections begin anywhere are found only by who knows the limit.
    let large = [10_000, 25_000, 40_000, config.journal_bytes];
    let small = *rng.choice(&[None, None, Some(0), Some(700), Some(5000)]).unwrap();
    let mut killed = 0;
    for _ in 0..4 {
        config.journal_bytes = small.unwrap_or(*rng.choice(&large).unwrap());
        let (store, task) = match on(&disk, &config) {
            Ok(opened) => opened,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let from = store.head();
        check(&store, &mut known).await;
        if rng.bool() {
            disk.freeze_at(rng.u64(1..60));
        }
        let writes = rng.usize(1..120);
        live(&store, &mut rng, writes, &mut known).await;
        let kill = disk.frozen() || rng.u8(0..3) > 0;
        if kill {
            disk.freeze();
            killed += 1;
        }
        // The end writes too, and may be what the disk stops at.
        task.close().await;
        let image = disk.crash_image(&mut rng);
        disk = CrashDisk::of(image);
        let (store, task) = match on(&disk, &config) {
            Ok(opened) => opened,
            Err(error) => panic!("seed {seed}, life {killed}: {error}"),
        };
        check(&store, &mut known).await;
        check_watches(&store, &known, from, kill && known.head > from).await;
        task.close().await;
    }
    killed
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_at_any_sync() {
    let mut killed = 0;
    for seed in 0..60 {
        killed += lives(seed).await;
    }
    assert!(killed > 60, "{killed} crashes are too few");
}
