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
