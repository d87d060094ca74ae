//! Logs from a guest's chunks to a reader's lines.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

struct Fixture {
    _dir: tempfile::TempDir,
    logs: Logs,
    key: LogKey,
}

struct Run {
    stdout: mpsc::Sender<Box<Bytes>>,
    stderr: mpsc::Sender<Box<Bytes>>,
    task: JoinHandle<()>,
}

impl Run {
    async fn say(&self, text: &str) {
        self.stdout.send(Box::new(Bytes::copy_from_slice(text.as_bytes()))).await.expect("the writer runs");
    }

    async fn end(self) {
        drop((self.stdout, self.stderr));
        self.task.await.expect("no panic");
    }
}

impl Fixture {
    fn new(limits: Limits) -> Fixture {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = Logs::open(dir.path().join("logs"), limits).expect("opened");
        Fixture { _dir: dir, logs, key: LogKey::new("ns", "pod", "uid", "c") }
    }

    fn run(&self, run: u32) -> Run {
        let writer = self.logs.writer(&self.key, run).expect("opened");
        let (stdout, out) = mpsc::channel(4);
        let (stderr, err) = mpsc::channel(4);
        Run { stdout, stderr, task: tokio::spawn(writer.run(out, err)) }
    }

    async fn read(&self, options: ReadOptions) -> Result<String, ReadError> {
        let mut reader = self.logs.read(&self.key, options).await?;
        let mut text = Vec::new();
        while let Some(piece) = reader.next().await? {
            text.extend_from_slice(&piece);
        }
        Ok(String::from_utf8(text).expect("text"))
    }
}

#[tokio::test]
async fn lines_tails_and_limits() {
    let fixture = Fixture::new(Limits::default());
    let run = fixture.run(0);
    run.say("one\ntwo\nthr").await;
    run.say("ee\n").await;
    run.stderr.send(Box::new(Bytes::from_static(b"oops"))).await.expect("the writer runs");
    run.end().await;
    let whole = fixture.read(ReadOptions::default()).await.expect("there");
    assert_eq!(whole.lines().count(), 4);
    assert!(whole.starts_with("one\ntwo\n") && whole.contains("three\n") && whole.contains("oops\n"));
    for (tail, expected) in [(0, 0), (1, 1), (2, 2), (9, 4)] {
        let tail = ReadOptions { tail: Some(tail), ..Default::default() };
        assert_eq!(fixture.read(tail).await.expect("there").lines().count(), expected);
    }
    let limited = ReadOptions { limit: Some(5), ..Default::default() };
    assert_eq!(fixture.read(limited).await.expect("there"), "one\nt");
    let later = ReadOptions { since: Some(jiff::Timestamp::MAX), ..Default::default() };
    assert_eq!(fixture.read(later).await.expect("there"), "");
    let stamped = fixture.read(ReadOptions { timestamps: true, ..Default::default() }).await.expect("there");
    assert!(
        stamped.lines().all(|line| line.split(' ').next().is_some_and(|time| time.ends_with('Z'))),
        "{stamped}"
    );
    assert_eq!(fixture.logs.last_words(&fixture.key, 0, 2, 4), "ops\n");
}

#[tokio::test]
async fn the_previous_run_is_kept_and_older_ones_go() {
    let fixture = Fixture::new(Limits::default());
    assert!(matches!(fixture.read(ReadOptions::default()).await, Err(ReadError::NotStarted)));
    for number in 0..3 {
        let run = fixture.run(number);
        run.say(&format!("run {number}\n")).await;
        run.end().await;
        let previous = fixture.read(ReadOptions { previous: true, ..Default::default() }).await;
        match number {
            0 => assert!(matches!(previous, Err(ReadError::NoPrevious))),
            number => assert_eq!(previous.expect("there"), format!("run {}\n", number - 1)),
        }
    }
    assert_eq!(fixture.read(ReadOptions::default()).await.expect("there"), "run 2\n");
    assert_eq!(files(&fixture.logs.container(&fixture.key)).expect("listed").len(), 2);
    fixture.logs.remove(&fixture.key.pod);
    assert!(fixture.logs.pods().expect("listed").is_empty());
}

#[tokio::test]
async fn a_follower_sees_every_line_through_rotation() {
    let fixture = Fixture::new(Limits { bytes: 200, files: 50 });
    let run = fixture.run(0);
    run.say("line 0\n").await;
    let mut reader = fixture
        .logs
        .read(&fixture.key, ReadOptions { follow: true, ..Default::default() })
        .await
        .expect("there");
    let follower = tokio::spawn(async move {
        let mut text = Vec::new();
        while let Some(piece) = reader.next().await.expect("readable") {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).expect("text")
    });
    for number in 1..100 {
        run.say(&format!("line {number}\n")).await;
    }
    run.end().await;
    let expected: String = (0..100).map(|number| format!("line {number}\n")).collect();
    assert_eq!(follower.await.expect("no panic"), expected);
    assert_eq!(fixture.read(ReadOptions::default()).await.expect("there"), expected);
    let tail = ReadOptions { tail: Some(30), ..Default::default() };
    assert_eq!(fixture.read(tail).await.expect("there").lines().next(), Some("line 70"));
}

#[tokio::test]
async fn rotation_keeps_so_many_files() {
    let fixture = Fixture::new(Limits { bytes: 100, files: 3 });
    let run = fixture.run(0);
    for number in 0..50 {
        run.say(&format!("a line with number {number}\n")).await;
        // Each line a batch of its own.
        tokio::task::yield_now().await;
    }
    run.end().await;
    assert!(files(&fixture.logs.container(&fixture.key)).expect("listed").len() <= 3);
    assert!(fixture.read(ReadOptions::default()).await.expect("there").ends_with("number 49\n"));
}
