//! What can be said about transactions without a database.

use super::*;

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

#[test]
fn lanes_of_nodes_that_are_alive_write_into_shards_of_their_own() {
    let of = |nodes: u32, lanes: usize| -> Vec<i16> {
        (0..nodes).flat_map(|place| (0..lanes).map(move |lane| shard_of_lane(place, lane, lanes))).collect()
    };
    let all: Vec<i16> = (0..32).collect();
    assert_eq!((of(8, 4), of(1, 32)), (all.clone(), all));
    assert_eq!(of(9, 4)[32..], [0, 1, 2, 3], "beyond that they share");
}

#[test]
fn what_is_under_way_is_counted() {
    let count = AtomicUsize::new(0);
    let (one, two) = (UnderWay::begin(&count), UnderWay::begin(&count));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    drop((one, two));
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
