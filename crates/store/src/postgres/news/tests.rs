//! News without a database.

use super::*;

fn endpoints(n: u128) -> Vec<EndpointId> {
    (1..=n).map(|n| EndpointId::new(Uuid::from_u128(n))).collect()
}

fn deliveries(n: u128) -> Vec<(DeliveryId, EndpointId)> {
    endpoints(n).into_iter().map(|endpoint| (DeliveryId::new(Uuid::from_u128(7)), endpoint)).collect()
}

#[test]
fn news_are_read_as_they_were_told() {
    let plain = [News::Configuration, News::Members, News::Backlog, News::Work, News::Outbox, News::Missed];
    let of_a_line = || deliveries(DELIVERIES_OF_A_LINE as u128);
    let long = [News::Due(endpoints(ENDPOINTS_OF_A_LINE as u128)), News::Hasten(of_a_line()), News::CallOff(of_a_line())];
    for news in plain.into_iter().chain(long) {
        let told = lines(&news, i64::MAX);
        assert!(told.len() == 1 && told[0].len() < 8_000, "{} lines, the first of {} bytes", told.len(), told[0].len());
        assert_eq!(read(&told[0], 8), Some(news));
        assert_eq!(read(&told[0], i64::MAX), None, "what a node says itself is no news to it");
    }
    let many = endpoints(1_000);
    let told = lines(&News::Due(many.clone()), 7);
    let heard: Vec<EndpointId> = told
        .iter()
        .flat_map(|line| match read(line, 8) {
            Some(News::Due(endpoints)) => endpoints,
            other => panic!("{line}: {other:?}"),
        })
        .collect();
    assert_eq!((told.len(), heard), (5, many));
}

#[test]
fn applications_tell_too_and_what_is_not_understood_is_not_heard() {
    assert_eq!(read("1 0 outbox", 7), Some(News::Outbox));
    for line in ["", "1", "1 0", "2 0 outbox", "1 0 something-new x y", "1 0 due", "1 0 due x", "1 0 hasten", "1 0 calloff", "outbox"] {
        assert_eq!(read(line, 7), None, "{line:?}");
    }
}

#[test]
fn what_waits_is_bounded_and_there_once() {
    let mut waiting = Waiting::default();
    let all = endpoints(MOST_ENDPOINTS as u128);
    for news in [News::Work, News::Due(all[..9].to_vec()), News::Members, News::Work, News::Due(all[5..].to_vec())] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    assert_eq!(taken, [News::Work, News::Members, News::Due(all.clone())]);
    for news in [News::Work, News::Due(all.clone()), News::Due(vec![EndpointId::new(Uuid::nil())]), News::Members, News::Due(all)] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    assert_eq!(taken, [News::Work, News::Backlog, News::Members], "of too many endpoints none is named, nor of more that come");
    for news in [News::Due(endpoints(2)), News::Backlog, News::Due(endpoints(3)), News::Backlog] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    assert_eq!(taken, [News::Backlog]);
    for news in [News::Work, News::Backlog, News::Due(endpoints(1)), News::Missed, News::Backlog, News::Members] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    assert_eq!(taken, [News::Missed]);
    for news in [News::Missed, News::Hasten(deliveries(4_000)), News::Due(endpoints(1)), News::Hasten(deliveries(9_000))] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    let Some(News::Hasten(hastened)) = taken.last() else { panic!("{taken:?}") };
    assert_eq!((&taken[0], taken.len(), hastened.len() <= MOST_DELIVERIES), (&News::Missed, 2, true));
    assert!(hastened.starts_with(&deliveries(4_000)));
    for news in [News::CallOff(deliveries(9)), News::Hasten(deliveries(3)), News::Missed, News::CallOff(deliveries(9_000))] {
        waiting.put(news);
    }
    let taken: Vec<News> = std::iter::from_fn(|| waiting.take()).collect();
    let [News::Missed, News::CallOff(called_off), News::Hasten(_)] = &taken[..] else { panic!("{taken:?}") };
    assert!(called_off.len() <= MOST_DELIVERIES && called_off.starts_with(&deliveries(4_000)));
}

#[tokio::test]
async fn whoever_waits_is_told() {
    let wire = Arc::new(Wire::new(1));
    let waits = tokio::spawn({
        let wire = wire.clone();
        async move { [wire.next().await, wire.next().await] }
    });
    tokio::task::yield_now().await;
    wire.hear("1 2 members");
    wire.hear("1 1 work");
    wire.announce(News::Outbox);
    assert_eq!(waits.await.expect("news"), [News::Members, News::Outbox]);
}

#[test]
fn channels_are_names() {
    assert_eq!(channel("postrider"), "postrider_postrider");
    assert_eq!(channel(&"x".repeat(63)).len(), LONGEST_NAME);
}
