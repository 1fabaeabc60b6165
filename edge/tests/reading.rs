//! Who asks for a page must read it.

mod support;

use std::time::{Duration, Instant};

use soundoff_common::web::paced::Pace;
use soundoff_edge::EdgeConfig;
use support::{PATIENCE, World, config, stand_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A client with little room, which asks for a large page.
async fn asks(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_too_slowly_is_cut_and_reading_a_little_puts_nothing_off() {
    let page_pace = Pace { bytes: 64 * 1024, within: Duration::from_millis(500) };
    let stand = stand_with(EdgeConfig { page_pace, ..config() }, World::default()).await;
    // 16 KiB each time: the kernel takes some for each, so silence is no reason to cut.
    for (bytes, pause) in [(0, 100), (16 * 1024, 200)] {
        let mut client = asks(stand.address).await;
        let begun = Instant::now();
        let mut buffer = vec![0; bytes];
        // A cut is a reset: what the kernel has still to send is dropped as well.
        while client.read_exact(&mut buffer).await.is_ok() && client.take_error().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE / 3, "{bytes} bytes each {pause} ms are still served");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    // Who reads a little faster than that gets all of it.
    let mut client = asks(stand.address).await;
    let mut left = 4 << 20;
    while left > 0 {
        let mut buffer = vec![0; 64 * 1024];
        left -= client.read(&mut buffer).await.unwrap().min(left);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
