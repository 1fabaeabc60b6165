//! A disk that is full, fails or is slow, at any write and any sync of the queue log, the tables, the archive and the
//! blobs: what was accepted takes effect once, no answer is contradicted, and the process recovers or stops loudly.

#[path = "disks/faults.rs"]
mod faults;
#[path = "media/pictures.rs"]
#[expect(dead_code, reason = "one kind of picture is enough here")]
mod pictures;
#[path = "disks/run.rs"]
mod run;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use faults::Kind;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use run::Fault;
use serde_json::json;
use support::client::Client;
use support::{PATIENCE, Server, UNPACED, is_long, seed, tokens};

/// The files of each engine, by a part of their path, and how many of the first calls on them a short test draws from.
const ENGINES: [(&str, u64); 4] = [("/queues/", 60), ("/tables.redb", 60), ("/archive", 8), ("/blobs/", 12)];

/// Runs with one fault each. Short: one at a drawn point of each engine. Long: one at every point of each engine.
async fn each(kind: Kind, lasting: bool) {
    let mut random = StdRng::seed_from_u64(seed());
    let (mut runs, mut failed) = (0, 0);
    for (what, first) in ENGINES {
        let points = match is_long() {
            true => (1..=run::points(what).await).collect(),
            false => vec![random.random_range(1..=first)],
        };
        for at in points {
            let fault = Fault { kind, at, lasting, what };
            runs += 1;
            failed += u64::from(run::with(&fault).await);
        }
    }
    println!("{kind:?}, lasting: {lasting}: a fault in {failed} of {runs} runs");
    assert!(failed > 0, "nothing went wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_write_without_room_is_made_up_for() {
    each(Kind::NoRoom, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    each(Kind::NoRoom, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_stops_the_process_with_a_reason() {
    each(Kind::Broken, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_delays_and_changes_nothing() {
    each(Kind::Slow(if is_long() { 5_000 } else { 1_500 }), false).await;
}

/// A file system in memory; `None` where we may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(disk.0.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(disk),
            _ => {
                println!("SKIPPED: no file system can be mounted here");
                std::mem::forget(disk);
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        use std::io::Write as _;
        let path = self.0.path().join("filler");
        let mut filler = std::fs::File::options().append(true).create(true).open(path).unwrap();
        for size in [1 << 20, 1 << 12] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Posts until one is refused because of the disk; returns how many were not.
async fn post_until_full(client: &mut Client) -> usize {
    for n in 0.. {
        let id = client.submit("post.create", json!({ "text": "x".repeat(1_900) })).await;
        let first = client.until(|frame| frame["id"] == id && frame["op"] != "reply").await.unwrap();
        if first["op"] == "error" {
            let error = &first["error"];
            assert!(error["code"] == "overloaded" && error["retry"] == true, "{first}");
            assert!(error["message"].as_str().unwrap().contains("disk is full"), "{first}");
            return n;
        }
    }
    unreachable!("no disk is endless")
}

async fn posts_again(client: &mut Client) {
    let begun = Instant::now();
    loop {
        let id = client.submit("post.create", json!({ "text": "there is room" })).await;
        if client.outcome(&id).await.unwrap()["ok"] == true {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn server_on(data: &Path) -> Server {
    Server::start_in(data, &UNPACED, Vec::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_full_is_used_again_without_a_restart_and_one_that_is_full_is_read() {
    let Some(disk) = SmallDisk::mount(48) else { return };
    let mut server = server_on(&disk.data());
    let token = tokens(&server.address, &["anna"]).await["anna"].take();
    let mut client = Client::hello(&server.address, &token, None, None).await;
    let mut posted = 0;
    for round in 0..3 {
        disk.fill();
        posted += post_until_full(&mut client).await;
        client.call("post.list", json!({})).await;
        let (status, wrong) = server.internal("/readyz").await;
        assert!(status == 503 && wrong.contains("disk: the disk is full"), "{status} {wrong}");
        assert_eq!(server.internal("/healthz").await.0, 200);
        disk.make_room();
        let begun = Instant::now();
        posts_again(&mut client).await;
        println!("round {round}: recovered after {:?}", begun.elapsed());
        let (_, wrong) = server.internal("/readyz").await;
        assert!(!wrong.contains("disk"), "{wrong}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        posted += 1;
    }
    disk.fill();
    post_until_full(&mut client).await;
    for way in ["killed", "stopped"] {
        if way == "killed" {
            server.kill();
        } else {
            server.terminate();
            server.wait();
        }
        disk.fill();
        server.restart();
        client = Client::hello(&server.address, &token, None, None).await;
        client.call("post.list", json!({})).await;
        assert_eq!(client.refused("post.create", json!({ "text": "full" })).await, "overloaded", "{way}");
    }
    disk.make_room();
    posts_again(&mut client).await;
    let begun = Instant::now();
    while !server.data().join("ops.json").exists() {
        assert!(begun.elapsed() < PATIENCE, "commands never find it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.settled();
    let shown = client.call("profile.get", json!({})).await;
    assert!(shown["user"]["posts"].as_u64().unwrap() as usize > posted, "{posted}: {shown}");
}
