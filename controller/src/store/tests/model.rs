//! Random operations against a store and a `BTreeMap`, over every engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use futures::future::join_all;

use crate::store::tests::*;

/// What a store must be like.
#[derive(Default)]
struct Model {
    objects: BTreeMap<Key, Stored>,
    log: Vec<Change>,
    head: Revision,
}

impl Model {
    fn write(&mut self, write: &Write) -> Result<Revision, WriteError> {
        let found = |model: &Model, key: &Key| model.objects.get(key).map(|stored| stored.revision);
        for (key, condition) in &write.when {
            let found = found(self, key);
            let holds = match condition {
                Condition::Any => true,
                Condition::Absent => found.is_none(),
                Condition::Exists => found.is_some(),
                Condition::At(revision) => found == Some(*revision),
            };
            if !holds {
                return Err(WriteError::Conflict { key: key.clone(), found });
            }
        }
        let before = self.objects.get(&write.key).cloned();
        let revision = Revision(self.head.0 + 1);
        let (verb, after) = match (&write.op, &before) {
            (Op::Put(value), None) => (Verb::Create, Some(value.clone())),
            (Op::Put(value), Some(_)) => (Verb::Update, Some(value.clone())),
            (Op::Delete, Some(_)) => (Verb::Delete, None),
            (Op::Delete, None) => {
                return Err(WriteError::Conflict { key: write.key.clone(), found: None });
            }
        };
        match &after {
            Some(value) => {
                self.objects.insert(write.key.clone(), Stored { revision, value: value.clone() });
            }
            None => drop(self.objects.remove(&write.key)),
        }
        self.log.push(Change { revision, key: write.key.clone(), verb, after, before });
        self.head = revision;
        Ok(revision)
    }

    fn objects_at(&self, at: Revision, prefix: &str) -> Vec<(Key, Stored)> {
        let mut objects = self.objects.clone();
        for change in self.log.iter().rev().take_while(|change| change.revision > at) {
            match &change.before {
                Some(stored) => drop(objects.insert(change.key.clone(), stored.clone())),
                None => drop(objects.remove(&change.key)),
            }
        }
        objects.retain(|key, _| key.as_str().starts_with(prefix));
        objects.into_iter().collect()
    }

    fn changes_after(&self, after: Revision, prefix: &str) -> Vec<&Change> {
        let later = self.log.iter().filter(|change| change.revision > after);
        later.filter(|change| change.key.as_str().starts_with(prefix)).collect()
    }
}

const PREFIXES: [&str; 9] =
    ["", "/", "/a/", "/a/r/", "/a/r/x/", "/a/r/x/1", "/v/s/", "/v/s/x/", "/none/none/"];

fn random_key(rng: &mut Rng) -> Key {
    let (group, resource) = *rng.choice(&[("a", "r"), ("a", "s"), ("b", "r"), ("v", "s")]).unwrap();
    Key::of(group, resource, rng.choice(&["x", "y", ""]).unwrap(), &rng.u8(0..14).to_string())
}

fn random_write(rng: &mut Rng, model: &Model) -> Write {
    let condition = |rng: &mut Rng, key: &Key| match rng.u8(0..8) {
        0 => Condition::Absent,
        1 => Condition::Exists,
        2 => Condition::At(Revision(rng.u64(0..=model.head.0))),
        3 => Condition::Any,
        _ => model.objects.get(key).map_or(Condition::Absent, |stored| Condition::At(stored.revision)),
    };
    let key = random_key(rng);
    let mut when = vec![(key.clone(), condition(rng, &key))];
    for _ in 0..rng.usize(0..6).saturating_sub(3) {
        let other = random_key(rng);
        when.push((other.clone(), condition(rng, &other)));
    }
    let value: Vec<u8> = (0..rng.usize(0..80)).map(|_| rng.alphanumeric() as u8).collect();
    let op = if rng.u8(0..5) == 0 { Op::Delete } else { Op::Put(value.into()) };
    let durability = if rng.bool() { Durability::Volatile } else { Durability::Durable };
    Write { key, op, when, durability }
}

/// How often a read was answered, and how often its revision was compacted.
#[derive(Default)]
struct Met {
    answered: usize,
    compacted: usize,
}

struct Check<'a> {
    store: &'a Store,
    model: &'a Model,
    rng: &'a mut Rng,
    met: &'a mut Met,
}

impl Check<'_> {
    async fn all(&mut self) {
        assert_eq!(self.store.head(), self.model.head);
        let key = random_key(self.rng);
        assert_eq!(self.store.get(&key), self.model.objects.get(&key).cloned());
        let prefix = *self.rng.choice(&PREFIXES).unwrap();
        let at = Revision(self.rng.u64(0..=self.model.head.0));
        self.list(prefix, self.model.head);
        self.list(prefix, at);
        self.watch(prefix, at).await;
        self.future();
    }

    fn list(&mut self, prefix: &str, at: Revision) {
        let limit = self.rng.bool().then(|| self.rng.usize(1..30));
        let expected = self.model.objects_at(at, prefix);
        let mut found = Vec::new();
        let mut options = RangeOptions { at: Some(at), after: None, limit };
        loop {
            let page = match self.store.range(prefix, &options) {
                Ok(page) => page,
                Err(error) => return self.compacted(&error, at),
            };
            assert_eq!(page.revision, at);
            found.extend(page.items);
            assert_eq!(page.remaining as usize, expected.len() - found.len());
            assert_eq!(page.more, page.remaining > 0);
            if !page.more {
                break;
            }
            options.after = found.last().map(|(key, _)| key.clone());
        }
        assert_eq!(found, expected, "{prefix} at {at}");
        self.met.answered += 1;
        if at == self.model.head {
            // Each is found, and what is not there is not, however many have to be looked at.
            let mut sought: Vec<&Stored> = expected.iter().map(|(_, stored)| stored).collect();
            sought.retain(|stored| self.store.any(prefix, &mut |other| other == *stored) != Ok(true));
            assert_eq!(sought, Vec::<&Stored>::new(), "{prefix}");
            let mut seen = Vec::new();
            let found = self.store.any(prefix, &mut |stored| {
                seen.push(stored.clone());
                false
            });
            assert_eq!(found, Ok(false));
            assert!(seen.iter().eq(expected.iter().map(|(_, stored)| stored)), "{prefix}");
        }
    }

    async fn watch(&mut self, prefix: &str, after: Revision) {
        let expected = self.model.changes_after(after, prefix);
        let mut cursor = match self.store.watch(prefix, after) {
            Ok(cursor) => cursor,
            Err(error) => return self.compacted(&error, after),
        };
        let mut found: Vec<Arc<Change>> = Vec::new();
        while found.len() < expected.len() {
            match cursor.next().await {
                Ok(changes) => found.extend(changes),
                // The tables may drop history at any time.
                Err(error) => {
                    assert!(found.iter().zip(&expected).all(|(found, expected)| **found == **expected));
                    return self.compacted(&error, after);
                }
            }
        }
        assert_eq!(
            found.iter().map(|change| &**change).collect::<Vec<_>>(),
            expected,
            "{prefix} after {after}"
        );
        // Without a change it may still have to look into the log.
        if !found.is_empty() {
            assert_eq!(cursor.catch_up(), self.model.head);
        }
        self.met.answered += 1;
    }

    fn future(&self) {
        let asked = self.model.head.next();
        let future = ReadError::Future { asked, head: self.model.head };
        assert_eq!(self.store.watch("", asked).unwrap_err(), future);
        let options = RangeOptions { at: Some(asked), ..RangeOptions::default() };
        assert_eq!(self.store.range("", &options).unwrap_err(), future);
    }

    fn compacted(&mut self, error: &ReadError, asked: Revision) {
        let ReadError::Compacted { floor, .. } = *error else { panic!("{error}") };
        assert!(asked < floor, "{asked} is not below the floor {floor}");
        assert!(self.store.status().floor <= floor, "history that can be read is called gone");
        self.met.compacted += 1;
    }
}

/// Where a store under test lies.
enum Side {
    Memory,
    Disk(CrashDisk),
}

impl Side {
    fn open(&self, config: &Config) -> (Store, Option<StoreTask>) {
        match self {
            Side::Memory => (in_memory(config), None),
            Side::Disk(disk) => {
                let (store, task) = on(disk, config).unwrap();
                (store, Some(task))
            }
        }
    }
}

async fn run(seed: u64, side: Side, config: &Config) -> Met {
    let mut rng = Rng::with_seed(seed);
    let mut model = Model::default();
    let mut met = Met::default();
    let (mut store, mut task) = side.open(config);
    for _ in 0..60 {
        // Sent together, in order: they end up in one batch, or in a few.
        let writes: Vec<_> = (0..rng.usize(1..30)).map(|_| random_write(&mut rng, &model)).collect();
        let answers = join_all(writes.iter().map(|write| store.write(write.clone()))).await;
        let expected: Vec<_> = writes.iter().map(|write| model.write(write)).collect();
        assert_eq!(answers, expected, "seed {seed}");
        Check { store: &store, model: &model, rng: &mut rng, met: &mut met }.all().await;
        if task.is_some() && rng.u8(0..12) == 0 {
            task.take().unwrap().close().await;
            (store, task) = side.open(config);
            Check { store: &store, model: &model, rng: &mut rng, met: &mut met }.all().await;
        }
    }
    met
}

#[tokio::test]
async fn memory_is_like_the_model() {
    for seed in 0..40 {
        let met = run(seed, Side::Memory, &Config::new(PathBuf::new(), volatile)).await;
        assert_eq!(met.compacted, 0);
    }
}

#[tokio::test]
async fn small_memory_is_like_the_model() {
    let mut met = Met::default();
    for seed in 0..40 {
        let one = run(seed, Side::Memory, &small(PathBuf::new())).await;
        met.answered += one.answered;
        met.compacted += one.compacted;
    }
    assert!(met.answered > 1000 && met.compacted > 100, "both ways are met");
}

#[tokio::test]
async fn redb_is_like_the_model() {
    for seed in 0..25 {
        let config = Config::new(PathBuf::new(), volatile);
        let met = run(seed, Side::Disk(CrashDisk::default()), &config).await;
        assert_eq!(met.compacted, 0);
    }
}

#[tokio::test]
async fn redb_with_small_bounds_is_like_the_model() {
    let mut met = Met::default();
    for seed in 100..125 {
        let one = run(seed, Side::Disk(CrashDisk::default()), &small(PathBuf::new())).await;
        met.answered += one.answered;
        met.compacted += one.compacted;
    }
    assert!(met.answered > 1000 && met.compacted > 100, "both ways are met");
}
