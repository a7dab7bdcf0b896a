use super::*;

async fn urgent(queue: &Queue, weight: usize) -> Answer<Vec<Sliced>> {
    queue.submit(weight, None, |reply| Work::FanOut(Vec::new(), reply)).await
}

async fn patient(queue: &Queue, lane: usize, weight: usize) -> Answer<Vec<Settled>> {
    queue.submit(weight, Some(lane), |reply| Work::Settle(Arc::from([]), reply)).await
}

/// Polls once, so that the work is in the queue when this returns.
async fn queued<F: std::future::Future>(future: &mut std::pin::Pin<Box<F>>) {
    let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(pending, "nobody has answered yet");
}

fn answer(group: Vec<Entry>) {
    for entry in group {
        match entry.work {
            Work::Publish(_, reply) => drop(reply.send(Ok(Vec::new()))),
            Work::FanOut(_, reply) => drop(reply.send(Ok(Vec::new()))),
            Work::Settle(_, reply) => drop(reply.send(Ok(Vec::new()))),
        }
    }
}

fn doing(queue: &Queue) -> Vec<Doing> {
    queue.waiting.lock().lanes.iter().map(|lane| lane.doing).collect()
}

async fn taken(queue: &Queue, lane: usize) -> Vec<Entry> {
    queue.take(lane).await.expect("a group")
}

/// Whether a lane finds nothing for a while.
async fn is_left_alone(queue: &Queue, lane: usize) -> bool {
    tokio::time::timeout(Duration::from_secs(1), queue.take(lane)).await.is_err()
}

#[tokio::test]
async fn what_is_urgent_gathers_until_a_lane_looks() {
    let queue = Queue::new(2);
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(urgent(&queue, 1))).collect();
    for call in &mut calls {
        queued(call).await;
    }
    assert_eq!(doing(&queue), [Doing::Called, Doing::Nothing]);
    let group = taken(&queue, 0).await;
    assert_eq!(group.len(), 10);
    let mut late = Box::pin(urgent(&queue, 10));
    queued(&mut late).await;
    assert_eq!(doing(&queue), [Doing::Writing, Doing::Called], "it does not wait for the first group");
    answer(group);
    answer(taken(&queue, 1).await);
    for call in calls {
        assert_eq!(call.await, Ok(Vec::new()));
    }
    assert_eq!(late.await, Ok(Vec::new()));
}

/// A group of ten is being written by the first of two lanes.
async fn written_by_one(queue: &Queue) -> Vec<Entry> {
    let mut first = Box::pin(urgent(queue, 10));
    queued(&mut first).await;
    taken(queue, 0).await
}

#[tokio::test(start_paused = true)]
async fn less_than_is_being_written_waits_for_the_lane_that_writes() {
    let queue = Queue::new(2);
    let first = written_by_one(&queue).await;
    let mut late = Box::pin(urgent(&queue, 9));
    queued(&mut late).await;
    let began = Instant::now();
    tokio::select! {
        biased;
        _ = queue.take(1) => panic!("it is held"),
        () = tokio::time::sleep(HELD - Duration::from_millis(2)) => answer(first),
    }
    answer(taken(&queue, 0).await);
    assert_eq!(late.await, Ok(Vec::new()));
    assert!(began.elapsed() < HELD, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_goes_once_there_is_as_much_of_it_as_is_being_written() {
    let queue = Queue::new(2);
    let first = written_by_one(&queue).await;
    let (mut second, mut third) = (Box::pin(urgent(&queue, 9)), Box::pin(urgent(&queue, 1)));
    queued(&mut second).await;
    let began = Instant::now();
    let group = tokio::join!(biased; taken(&queue, 1), queued(&mut third)).0;
    assert_eq!((group.len(), began.elapsed()), (2, Duration::ZERO));
    answer(first);
    answer(group);
    assert_eq!((second.await, third.await), (Ok(Vec::new()), Ok(Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_for_long() {
    let queue = Queue::new(2);
    let slow = written_by_one(&queue).await;
    let mut late = Box::pin(urgent(&queue, 1));
    queued(&mut late).await;
    let began = Instant::now();
    answer(taken(&queue, 1).await);
    assert_eq!(late.await, Ok(Vec::new()));
    assert!(began.elapsed() >= HELD && began.elapsed() < HELD * 2, "{:?}", began.elapsed());
    answer(slow);
}

/// A lane that lingers for what is held does not keep what is patient waiting for as long as that.
#[tokio::test(start_paused = true)]
async fn patient_work_waits_no_longer_for_what_is_held() {
    let queue = Queue::new(2);
    let first = written_by_one(&queue).await;
    let (mut held, mut call) = (Box::pin(urgent(&queue, 1)), Box::pin(patient(&queue, 1, 1)));
    queued(&mut held).await;
    let comes = async {
        tokio::time::sleep(Duration::from_micros(100)).await;
        queued(&mut call).await;
        Instant::now()
    };
    let (group, came) = tokio::join!(biased; taken(&queue, 1), comes);
    // A clock of milliseconds.
    assert!(came.elapsed() <= LINGER + Duration::from_millis(1), "{:?}", came.elapsed());
    assert_eq!(group.len(), 2);
    answer(first);
    answer(group);
    assert_eq!((held.await, call.await), (Ok(Vec::new()), Ok(Vec::new())));
}

/// Somebody keeps a lane waiting: only the first of what comes meanwhile pays for it.
#[tokio::test(start_paused = true)]
async fn nothing_is_held_for_a_lane_that_is_stuck() {
    let queue = Queue::new(2);
    let stuck = written_by_one(&queue).await;
    tokio::time::sleep(HELD).await;
    let mut late = Box::pin(urgent(&queue, 1));
    queued(&mut late).await;
    let began = Instant::now();
    answer(taken(&queue, 1).await);
    assert_eq!((late.await, began.elapsed()), (Ok(Vec::new()), Duration::ZERO));
    answer(stuck);
}

#[tokio::test]
async fn while_all_lanes_write_everything_gathers_for_the_first_free_one() {
    let queue = Queue::new(1);
    let mut first = Box::pin(urgent(&queue, 1));
    queued(&mut first).await;
    let group = taken(&queue, 0).await;
    let (mut second, mut third) = (Box::pin(urgent(&queue, 1)), Box::pin(patient(&queue, 0, 1)));
    queued(&mut second).await;
    queued(&mut third).await;
    answer(group);
    let group = taken(&queue, 0).await;
    assert_eq!(group.len(), 2, "what is patient rides with what is urgent");
    answer(group);
    assert_eq!((first.await, second.await, third.await), (Ok(Vec::new()), Ok(Vec::new()), Ok(Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn patient_work_goes_by_itself_after_the_linger_and_on_its_own_lane() {
    let queue = Queue::new(2);
    let mut call = Box::pin(patient(&queue, 1, 1));
    queued(&mut call).await;
    assert!(is_left_alone(&queue, 0).await);
    let began = Instant::now();
    let group = taken(&queue, 1).await;
    assert!(began.elapsed() >= LINGER && began.elapsed() < LINGER * 3, "{:?}", began.elapsed());
    answer(group);
    assert_eq!(call.await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_groups_worth_of_patient_work_does_not_linger() {
    let queue = Queue::new(1);
    let mut call = Box::pin(patient(&queue, 0, MAX_GROUP as usize));
    queued(&mut call).await;
    let began = Instant::now();
    answer(taken(&queue, 0).await);
    assert_eq!((began.elapsed(), call.await), (Duration::ZERO, Ok(Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_for_a_group_is_another_lanes() {
    let queue = Queue::new(2);
    let mut calls: Vec<_> = [MAX_GROUP as usize, 1, 1].into_iter().map(|weight| Box::pin(urgent(&queue, weight))).collect();
    for call in &mut calls {
        queued(call).await;
    }
    let large = taken(&queue, 0).await;
    assert_eq!((large.len(), doing(&queue)), (1, vec![Doing::Writing, Doing::Called]));
    let small = taken(&queue, 1).await;
    assert_eq!(small.len(), 2);
    answer(large);
    answer(small);
    for call in calls {
        assert_eq!(call.await, Ok(Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_room() {
    let queue = Queue::new(1);
    let mut first = Box::pin(urgent(&queue, MAX_WAITING as usize * 2));
    queued(&mut first).await;
    let mut second = Box::pin(urgent(&queue, 1));
    queued(&mut second).await;
    let group = taken(&queue, 0).await;
    assert_eq!(group.len(), 1, "the second one was not in the queue");
    answer(group);
    assert_eq!(first.await, Ok(Vec::new()));
    queued(&mut second).await;
    answer(taken(&queue, 0).await);
    assert_eq!(second.await, Ok(Vec::new()));
}

#[tokio::test]
async fn closing_lets_waiting_work_finish_and_refuses_new_work() {
    let queue = Queue::new(2);
    let (mut first, mut second) = (Box::pin(urgent(&queue, 1)), Box::pin(patient(&queue, 1, 1)));
    queued(&mut first).await;
    queued(&mut second).await;
    queue.close();
    assert_eq!(urgent(&queue, 1).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
    answer(taken(&queue, 0).await);
    answer(taken(&queue, 1).await);
    assert_eq!((first.await, second.await), (Ok(Vec::new()), Ok(Vec::new())));
    assert!(queue.take(0).await.is_none() && queue.take(1).await.is_none());
}

#[tokio::test]
async fn nobody_hangs_when_a_lane_is_gone() {
    let queue = Queue::new(1);
    let (mut waiting, mut lost) = (Box::pin(patient(&queue, 0, 1)), Box::pin(urgent(&queue, 1)));
    queued(&mut lost).await;
    drop(taken(&queue, 0).await);
    queued(&mut waiting).await;
    queue.abandon();
    assert_eq!(lost.await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
    assert_eq!(waiting.await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
}
