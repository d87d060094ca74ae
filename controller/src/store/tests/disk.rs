//! What a store does to its disk, and what a bad disk does to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::store::tests::*;

fn config(directory: &std::path::Path) -> Config {
    Config::new(directory.join("store"), volatile)
}

fn file(config: &Config) -> PathBuf {
    config.directory.join("store.redb")
}

/// A store with this many objects of this size, closed.
async fn filled(config: &Config, objects: usize, size: usize) {
    let (store, task) = Store::open(config.clone()).unwrap();
    let value = Bytes::from(vec![b'x'; size]);
    let writes = (0..objects).map(|n| {
        let (store, value) = (store.clone(), value.clone());
        tokio::spawn(async move { store.write(put(&format!("/a/r//{n}"), value)).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    task.close().await;
}

fn open_error(config: &Config) -> String {
    Store::open(config.clone()).map(|_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    filled(&config, 1, 1).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(config.directory.clone()), 0o700);
    assert_eq!(mode(file(&config)), 0o600);
    let files: Vec<_> = fs::read_dir(&config.directory).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn an_idle_store_writes_nothing() {
    let disk = CrashDisk::default();
    let (store, task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    for n in 0..20 {
        store.write(put("/a/r//1", n.to_string())).await.unwrap();
        store.write(put_volatile("/v/r//1", n.to_string())).await.unwrap();
    }
    // A busy time may end with one more transaction, and then there is silence.
    let commits = store.status().commits;
    let mut before = disk.activity();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if std::mem::replace(&mut before, disk.activity()) == disk.activity() {
            break;
        }
    }
    let settled = store.status().commits;
    assert!(settled <= commits + 1);
    store.write(put_volatile("/v/r//1", "unwritten")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((disk.activity(), store.status().commits), (before, settled));
    task.close().await;
    let (store, task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    assert_eq!(store.get(&"/v/r//1".into()).unwrap().value, "unwritten");
    task.close().await;
    assert_eq!(store.status().commits, 0, "a store that nothing was written to is not written at its end");
}

#[tokio::test]
async fn a_second_process_is_told_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (_store, _task) = Store::open(config.clone()).unwrap();
    let text = open_error(&config);
    assert!(
        text.ends_with("store.redb: in use by another process; one data directory serves one edged"),
        "{text}"
    );
}

#[tokio::test]
async fn a_store_of_the_future_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    filled(&config, 1, 1).await;
    redb::older::pretend_format(&file(&config), 9);
    let text = open_error(&config);
    assert!(
        text.ends_with("store.redb: written by a newer edged (format 9; this one reads up to 5)"),
        "{text}"
    );
    assert_eq!(redb::older::format_of(&file(&config)), 9);
    redb::older::pretend_format(&file(&config), 5);
    assert_eq!(Store::open(config).unwrap().0.status().objects, 1);
}

#[tokio::test]
async fn damage_is_named_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    filled(&config, 200, 1000).await;
    let whole = fs::read(file(&config)).unwrap();
    let zeroed = |from: usize| {
        let mut image = whole.clone();
        image[from..].fill(0);
        image
    };
    let cases = [
        ("empty", Vec::new()),
        ("a few bytes", whole[..100].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("without its last page", whole[..whole.len() - 4096].to_vec()),
        ("something else", b"SQLite format 3\0".repeat(1000)),
        ("a header and nothing else", zeroed(4096)),
    ];
    for (case, image) in cases {
        fs::write(file(&config), &image).unwrap();
        let error = Store::open(config.clone()).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{case}: {error}");
        assert!(error.to_string().contains("store.redb: damaged or not a store"), "{case}: {error}");
        assert_eq!(fs::read(file(&config)).unwrap().len(), image.len(), "{case}");
    }
    fs::write(file(&config), &whole).unwrap();
    assert_eq!(Store::open(config).unwrap().0.status().objects, 200);
}

#[tokio::test]
async fn a_store_of_format_1_is_migrated_after_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    fs::create_dir_all(&config.directory).unwrap();
    redb::older::write_format_1(&file(&config), 40, &[("/a/r//1", 30, "one"), ("/v/r//2", 40, "two")]);
    let (store, task) = Store::open(config.clone()).unwrap();
    assert_eq!(redb::older::format_of(&config.directory.join("store.redb.format-1")), 1);
    assert!(store.head() > Revision(40));
    assert_eq!(store.get(&"/a/r//1".into()).unwrap(), Stored { revision: Revision(30), value: "one".into() });
    assert_eq!(store.get(&"/v/r//2".into()).unwrap().value, "two");
    assert!(matches!(store.watch("/a/r/", Revision(35)), Err(ReadError::Compacted { .. })));
    let head = store.head();
    let wrote = store.write(put("/a/r//1", "three")).await.unwrap();
    assert_eq!(wrote, head.next());
    task.close().await;
    let (store, _task) = Store::open(config).unwrap();
    assert_eq!(store.watch("/a/", head).unwrap().next().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_of_format_4_keeps_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    fs::create_dir_all(&config.directory).unwrap();
    redb::older::write_format_4(&config.directory, "/a/r//1", ["one", "two", "three"]);
    let (store, task) = Store::open(config.clone()).unwrap();
    for copy in ["store.redb.format-4", "store.journal.format-4"] {
        assert!(config.directory.join(copy).is_file(), "{copy}");
    }
    let changes = store.watch("/a/r/", Revision::ZERO).unwrap().next().await.unwrap();
    let versions: Vec<_> = changes
        .iter()
        .map(|change| (change.before.clone().map(|before| before.value), change.after.clone()))
        .collect();
    let [one, two, three] = ["one", "two", "three"].map(|text| Some(Bytes::from(text)));
    assert_eq!(versions, [(None, one.clone()), (one, two.clone()), (two, three)]);
    let past = RangeOptions { at: Some(Revision(2)), ..RangeOptions::default() };
    assert_eq!(store.range("/a/r/", &past).unwrap().items[0].1.value, "two");
    task.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_durable_writes_and_loses_nothing() {
    let disk = CrashDisk::default();
    let (store, task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    store.write(put("/a/r//1", "before")).await.unwrap();
    store.write(put_volatile("/v/r//1", "before")).await.unwrap();
    let mut cursor = store.watch("", Revision::ZERO).unwrap();
    disk.set_room(Some(disk.len()));
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..3 {
        let head = store.head();
        assert_eq!(store.write(put("/a/r//2", large.clone())).await, Err(WriteError::Full));
        assert_eq!(store.head(), head);
    }
    assert_eq!(store.get(&"/a/r//2".into()), None);
    let heartbeat = store.write(put_volatile("/v/r//1", "during")).await.unwrap();
    disk.set_room(None);
    let after = store.write(put("/a/r//2", large)).await.unwrap();
    assert_eq!(after, heartbeat.next(), "revisions nobody saw are not wasted");
    let mut seen = Vec::new();
    while seen.last() != Some(&after) {
        seen.extend(cursor.next().await.unwrap().iter().map(|change| change.revision));
    }
    assert_eq!(seen, (1..=after.0).map(Revision).collect::<Vec<_>>());
    let before = store.range("", &RangeOptions::default()).unwrap();
    task.close().await;
    let (store, _task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    assert_eq!(store.range("", &RangeOptions::default()).unwrap(), before);
}

#[tokio::test]
async fn a_write_whose_sync_failed_is_answered_by_what_the_disk_holds() {
    let disk = CrashDisk::default();
    let (store, _task) = on(&disk, &Config::new(PathBuf::new(), volatile)).unwrap();
    let one = store.write(put("/a/r//1", "1")).await.unwrap();
    disk.set_lying(true);
    let failed = store.write(put("/a/r//1", "2")).await;
    assert!(matches!(failed, Err(WriteError::Engine(_))), "{failed:?}");
    assert!(matches!(store.write(put_volatile("/v/r//1", "2")).await, Err(WriteError::Engine(_))));
    assert_eq!(store.head(), one, "in doubt, nothing moves");
    disk.set_lying(false);
    // The next write finds out first.
    let when = vec![("/a/r//1".into(), Condition::At(one))];
    let answer = store.write(Write { when, ..put("/a/r//1", "3") }).await;
    let mut cursor = store.watch("/a/", one).unwrap();
    let change = cursor.next().await.unwrap().remove(0);
    assert_eq!(change.before.as_ref().unwrap().revision, one);
    match answer {
        Ok(revision) => assert_eq!((change.revision, change.after.clone()), (revision, Some("3".into()))),
        Err(error) => {
            assert_eq!(error, WriteError::Conflict { key: "/a/r//1".into(), found: Some(one.next()) });
            assert_eq!(change.after, Some("2".into()));
        }
    }
}

#[tokio::test]
async fn what_the_tables_cannot_follow_is_kept_by_the_journal() {
    for trouble in [Trouble::Writes, Trouble::Syncs] {
        let disk = CrashDisk::default();
        let config = Config { journal_bytes: 40_000, ..Config::new(PathBuf::new(), volatile) };
        let (store, task) = on(&disk, &config).unwrap();
        // The first write of all is one of the tables: it allows the revisions of the others.
        store.write(put("/a/r//first", "")).await.unwrap();
        disk.set_tables(trouble);
        let value = "x".repeat(1000);
        let mut kept = 0;
        while store.write(put(&format!("/a/r//{kept}"), value.clone())).await.is_ok() {
            kept += 1;
        }
        assert!((30..=38).contains(&kept), "{trouble:?}: {kept} fill both sections");
        for seed in 0..20 {
            let image = disk.crash_image(&mut fastrand::Rng::with_seed(seed));
            let (found, task) = on(&CrashDisk::of(image), &config).unwrap();
            let lost: Vec<_> =
                (0..kept).filter(|n| found.get(&format!("/a/r//{n}").as_str().into()).is_none()).collect();
            assert!(lost.is_empty(), "{trouble:?}, seed {seed}: {lost:?}");
            task.close().await;
        }
        disk.set_tables(Trouble::Nothing);
        for n in kept..kept + 100 {
            store.write(put(&format!("/a/r//{n}"), value.clone())).await.unwrap();
        }
        task.close().await;
        let (store, _task) = on(&disk, &config).unwrap();
        assert_eq!(store.status().objects, 1 + kept + 100);
    }
}

#[tokio::test]
async fn a_mostly_empty_file_is_compacted_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { retain: Retain { age: Duration::ZERO, bytes: 1000 }, ..config(dir.path()) };
    filled(&config, 300, 60_000).await;
    let (store, task) = Store::open(config.clone()).unwrap();
    for n in 0..290 {
        let write = Write { op: Op::Delete, ..put(&format!("/a/r//{n}"), "") };
        store.write(write).await.unwrap();
    }
    task.close().await;
    let before = fs::metadata(file(&config)).unwrap().len();
    let (store, task) = Store::open(config.clone()).unwrap();
    let after = fs::metadata(file(&config)).unwrap().len();
    assert!(after * 4 < before, "{before} → {after}");
    assert_eq!(store.status().objects, 10);
    store.write(put("/a/r//1", "x")).await.unwrap();
    task.close().await;
    assert_eq!(Store::open(config).unwrap().0.status().objects, 11);
}

#[tokio::test]
async fn one_batch_is_one_transaction() {
    let (store, _task) = on(&CrashDisk::default(), &Config::new(PathBuf::new(), volatile)).unwrap();
    let writes = (0..1000).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.write(put(&format!("/a/r//{n}"), "x")).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    let commits = store.status().commits;
    assert!(commits < 200, "{commits} transactions for 1000 writes");
}
