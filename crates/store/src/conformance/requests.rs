//! Requests with a key of the client's.

use super::{Harness, World};
use bytes::Bytes;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// A key is new once. Then its request is being done, and after that it has the answer; for another content it is taken.
pub async fn a_key_is_done_once<H: Harness>(w: &mut World<H>) {
    let request = request(w, "a");
    assert_eq!(begin(w, &request).await, first(&request));
    assert_eq!(again(w, &request).await, Begun::Running);
    let other = NewRequest { fingerprint: [2; 32], ..seeded(w, &request) };
    assert_eq!(begin(w, &other).await, Begun::Mismatch, "while it is being done");
    end(w, &request, Some(response())).await;
    w.make.advance_secs(60);
    assert_eq!(again(w, &request).await, Begun::Done(response()));
    assert_eq!(begin(w, &other).await, Begun::Mismatch, "when it was done");
    end(w, &request, Some(StoredResponse { status: 500, ..response() })).await;
    end(w, &request, None).await;
    assert_eq!(begin(w, &request).await, Begun::Done(response()), "an answer stays what it is");
}

/// Whatever an answer is made of comes back.
pub async fn an_answer_comes_back_whole<H: Harness>(w: &mut World<H>) {
    let headers = [("content-type", "application/json"), ("set-cookie", "a"), ("set-cookie", "\"b\" \u{e4}")];
    let large: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    for (n, body) in [Bytes::new(), Bytes::from(large)].into_iter().enumerate() {
        let headers = headers.iter().take(n * 3).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = StoredResponse { status: 204 + n as u16, headers, body };
        let request = request(w, &format!("key {n}"));
        begin(w, &request).await;
        end(w, &request, Some(response.clone())).await;
        assert_eq!(begin(w, &request).await, Begun::Done(response));
    }
}

/// Keys of different owners or scopes have nothing to do with each other, nor different keys of one.
pub async fn scopes_and_keys_are_apart<H: Harness>(w: &mut World<H>) {
    let a = request(w, "a");
    let keys = [
        ("me", "one", "a"),
        ("me", "one", "b"),
        ("me", "two", "a"),
        ("", "", ""),
        ("me", "one", "A"),
        ("you", "one", "a"),
        ("", "one", "a"),
    ];
    for (owner, scope, key) in keys {
        let key = RequestKey { owner: owner.to_owned(), scope: scope.to_owned(), key: key.to_owned() };
        let request = NewRequest { key, ..seeded(w, &a) };
        assert_eq!(begin(w, &request).await, first(&request), "{:?}", request.key);
        end(w, &request, Some(response())).await;
    }
}

/// What ended without an answer to keep is done again, with the seed that it had; what nobody began has no answer.
pub async fn what_has_no_answer_is_done_again<H: Harness>(w: &mut World<H>) {
    let request = request(w, "a");
    end(w, &request, Some(response())).await;
    assert_eq!(begin(w, &request).await, first(&request));
    for _ in 0..2 {
        end(w, &request, None).await;
        let other = NewRequest { fingerprint: [2; 32], ..seeded(w, &request) };
        assert_eq!(begin(w, &other).await, Begun::Mismatch);
        assert_eq!(again(w, &request).await, Begun::New { seed: request.seed, again: true });
        assert_eq!(again(w, &request).await, Begun::Running);
    }
    end(w, &request, Some(response())).await;
    assert_eq!(again(w, &request).await, Begun::Done(response()));
}

/// Of two that come at once one is new and the other finds it being done.
pub async fn of_two_at_once_one_is_new<H: Harness>(w: &mut World<H>) {
    for n in 0..20 {
        let (one, other) = (request(w, &format!("key {n}")), request(w, &format!("key {n}")));
        let (a, b) = tokio::join!(w.store().begin_request(one.clone()), w.store().begin_request(other.clone()));
        let answers = [a.expect("begin_request"), b.expect("begin_request")];
        assert!(answers == [first(&one), Begun::Running] || answers == [Begun::Running, first(&other)], "{answers:?}");
    }
}

/// An engine that got no answer asks again with the same seed: it is new to it still, and being done for everybody else.
pub async fn the_same_one_is_new_until_it_has_ended<H: Harness>(w: &mut World<H>) {
    let request = request(w, "a");
    for _ in 0..2 {
        assert_eq!(begin(w, &request).await, first(&request));
    }
    assert_eq!(again(w, &request).await, Begun::Running);
    w.make.advance(REQUEST_MEMORY);
    let later = seeded(w, &request);
    for _ in 0..2 {
        assert_eq!(begin(w, &later).await, first(&later), "also where it takes the place of one that was forgotten");
    }
    end(w, &later, Some(response())).await;
    assert_eq!(begin(w, &later).await, Begun::Done(response()));
    w.reopen().await;
    assert_eq!(begin(w, &later).await, Begun::Done(response()));
}

/// What a crash interrupted is done again with the seed that it had; what was answered stays answered.
pub async fn a_crash_leaves_it_to_be_done_again<H: Harness>(w: &mut World<H>) {
    let (running, done) = (request(w, "running"), request(w, "done"));
    begin(w, &running).await;
    begin(w, &done).await;
    end(w, &done, Some(response())).await;
    w.reopen().await;
    assert_eq!(begin(w, &done).await, Begun::Done(response()));
    end(w, &running, Some(response())).await;
    end(w, &running, None).await;
    let other = NewRequest { fingerprint: [2; 32], ..seeded(w, &running) };
    assert_eq!(begin(w, &other).await, Begun::Mismatch, "only the same request is done again");
    let again = seeded(w, &running);
    assert_eq!(begin(w, &again).await, Begun::New { seed: running.seed, again: true }, "this engine did not do it yet");
    assert_eq!(begin(w, &again).await, Begun::Running);
    w.reopen().await;
    assert_eq!(begin(w, &again).await, Begun::New { seed: running.seed, again: true });
    end(w, &running, Some(response())).await;
    assert_eq!(begin(w, &again).await, Begun::Done(response()));
}

/// After a day a key is new, whether or not retention came by, and whatever became of its request.
pub async fn a_day_later_a_key_is_new<H: Harness>(w: &mut World<H>) {
    let (done, running) = (request(w, "done"), request(w, "running"));
    begin(w, &done).await;
    begin(w, &running).await;
    end(w, &done, Some(response())).await;
    w.make.advance(REQUEST_MEMORY - MICROSECOND);
    assert_eq!(again(w, &done).await, Begun::Done(response()));
    assert_eq!(again(w, &running).await, Begun::Running);
    w.make.advance(MICROSECOND);
    for old in [&done, &running] {
        let new = NewRequest { fingerprint: [9; 32], ..seeded(w, old) };
        assert_eq!(begin(w, &new).await, first(&new));
        assert_eq!(again(w, &new).await, Begun::Running);
    }
    w.make.advance(REQUEST_MEMORY - MICROSECOND);
    let new = NewRequest { fingerprint: [9; 32], ..seeded(w, &done) };
    assert_eq!(begin(w, &new).await, Begun::Running, "a day from then on");
}

/// Retention removes keys by when they were first used.
pub async fn retention_takes_old_keys<H: Harness>(w: &mut World<H>) {
    for n in 0..25 {
        let request = request(w, &format!("key {n}"));
        begin(w, &request).await;
        if n % 2 == 0 {
            end(w, &request, Some(response())).await;
        }
    }
    let cutoff = w.make.advance_secs(1);
    let kept = request(w, "kept");
    begin(w, &kept).await;
    let request = PruneRequest { requests_before: cutoff, limit: 10, ..super::prune::before(Timestamp::MIN) };
    assert_eq!(w.prune(request).await, Pruned { requests: 25, ..Pruned::default() });
    assert_eq!(w.prune(request).await, Pruned::default());
    assert_eq!(again(w, &kept).await, Begun::Running);
    let again = self::request(w, "key 0");
    assert_eq!(begin(w, &again).await, first(&again));
}

/// Beyond the bound of an owner the oldest answers are forgotten, and what is being done is not.
pub async fn the_oldest_answers_make_room<H: Harness>(w: &mut World<H>) {
    let running = request(w, "running");
    begin(w, &running).await;
    let other = request(w, "other");
    let other = NewRequest { key: RequestKey { owner: "another API key".to_owned(), ..other.key }, ..other };
    begin(w, &other).await;
    end(w, &other, Some(response())).await;
    let large = StoredResponse { body: Bytes::from(vec![b'x'; LARGE]), ..response() };
    let mut requests = Vec::new();
    for n in 0..=MAX_ANSWER_BYTES as usize / LARGE {
        w.make.advance(MICROSECOND);
        let request = request(w, &format!("key {n}"));
        begin(w, &request).await;
        end(w, &request, Some(large.clone())).await;
        requests.push(request);
    }
    let last = requests.len() - 1;
    assert_eq!(again(w, &requests[last]).await, Begun::Done(large.clone()));
    assert_eq!(again(w, &requests[1]).await, Begun::Done(large), "the second oldest has its place still");
    assert_eq!((again(w, &running).await, again(w, &other).await), (Begun::Running, Begun::Done(response())));
    let oldest = &requests[0];
    assert_eq!(again(w, oldest).await, Begun::New { seed: oldest.seed, again: true }, "its answer is gone, but not what it was made from");
    end(w, oldest, Some(response())).await;
    assert_eq!(again(w, oldest).await, Begun::Done(response()));
}

/// A few of these make up what an owner may keep.
const LARGE: usize = MAX_ANSWER_BYTES as usize / 4 - 100;

const MICROSECOND: Duration = Duration::from_micros(1);

fn request<H: Harness>(w: &mut World<H>, key: &str) -> NewRequest {
    let key = RequestKey { owner: "an API key".to_owned(), scope: "POST /v1/delivery/destinations".to_owned(), key: key.to_owned() };
    NewRequest { key, fingerprint: [1; 32], seed: w.make.uuid(), at: w.make.now() }
}

/// The same that comes again, now.
fn seeded<H: Harness>(w: &mut World<H>, request: &NewRequest) -> NewRequest {
    NewRequest { seed: w.make.uuid(), at: w.make.now(), ..request.clone() }
}

fn first(request: &NewRequest) -> Begun {
    Begun::New { seed: request.seed, again: false }
}

fn response() -> StoredResponse {
    StoredResponse { status: 201, headers: vec![("location".to_owned(), "/there".to_owned())], body: Bytes::from_static(b"{\"id\":1}") }
}

async fn begin<H: Harness>(w: &World<H>, request: &NewRequest) -> Begun {
    w.store().begin_request(request.clone()).await.expect("begin_request")
}

async fn again<H: Harness>(w: &mut World<H>, request: &NewRequest) -> Begun {
    let request = seeded(w, request);
    begin(w, &request).await
}

async fn end<H: Harness>(w: &World<H>, request: &NewRequest, response: Option<StoredResponse>) {
    w.store().end_request(request.key.clone(), response).await.expect("end_request");
}
