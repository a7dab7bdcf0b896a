//! How long one small durable write takes on the server's disk at the pace of the run: no acknowledgement can come sooner than that.

use super::measure::Latency;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// Writes of a probe, and how long it may take.
const WRITES: f64 = 300.0;
const LONGEST: Duration = Duration::from_secs(3);
/// Bytes of a write: a page of the store.
const PAGE: [u8; 4_096] = [0x5a; 4_096];

/// Writes a page in `directory` again and again, this often per second, and each time waits for the disk. `None` where that cannot be done.
pub async fn probe(directory: &Path, per_second: f64) -> Option<Latency> {
    let path = directory.join("probe");
    let latencies = write(&path, per_second).await;
    // What is left goes with the directory.
    let _ = std::fs::remove_file(&path);
    Latency::of(latencies.ok()?.into_iter())
}

async fn write(path: &Path, per_second: f64) -> io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let mut once = || {
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&PAGE)?;
        file.sync_data()?;
        Ok::<_, io::Error>(began.elapsed())
    };
    // The first one makes the file.
    once()?;
    let writes = WRITES.min(per_second * LONGEST.as_secs_f64()).ceil() as usize;
    let mut grid = interval(Duration::from_secs_f64(1.0 / per_second));
    let mut latencies = Vec::with_capacity(writes);
    for _ in 0..writes {
        grid.tick().await;
        // This thread has nothing else to do meanwhile.
        latencies.push(once()?);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_writes_at_the_pace_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let latency = probe(directory.path(), 10.0).await.expect("a writable directory");
        assert!(latency.p50 > 0 && latency.p50 <= latency.max, "{latency:?}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
        assert_eq!(probe(&directory.path().join("absent"), 10.0).await, None);
    }
}
