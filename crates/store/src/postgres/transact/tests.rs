//! What can be said about transactions without a database.

use super::*;
use crate::postgres::tx::FENCE;

fn lost() -> Error {
    Error::NoConnection("gone".to_owned())
}

#[tokio::test(start_paused = true)]
async fn tries_end_with_time_or_number() {
    let mut tries = Tries::of_work(Duration::from_secs(5));
    let (began, mut count) = (Instant::now(), 0);
    while tries.again(lost()).await.is_ok() {
        count += 1;
    }
    assert!(began.elapsed() > Duration::from_secs(4) && began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!((10..30).contains(&count), "{count}");
    let mut tries = Tries::of_read();
    assert!(tries.again(lost()).await.is_ok() && tries.again(lost()).await.is_ok() && tries.again(lost()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_better_is_not_tried_again() {
    assert!(Tries::of_work(Duration::from_secs(5)).again(Error::Lost).await.is_err());
}

/// See tests/pg/versions.rs for what it costs to look there.
#[test]
fn before_a_commit_it_is_looked_where_heartbeats_change_nothing() {
    assert_eq!(FENCE, "SELECT 1 / count(*) FROM living WHERE incarnation = $1");
}

#[test]
fn what_is_under_way_is_counted() {
    let count = AtomicUsize::new(0);
    let (one, two) = (UnderWay::begin(&count), UnderWay::begin(&count));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    drop((one, two));
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
