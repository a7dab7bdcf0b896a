//! Bulk replays, a piece at a time.

use super::{Harness, Route, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::StateKind;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// Every field comes back, and the filter is of the job's own tenant.
pub async fn gives_back_what_was_put<H: Harness>(w: &mut World<H>) {
    let now = w.make.now();
    let place = DeadLetterPlace { failed_at: now, id: DeadLetterId::new(w.make.uuid()) };
    let filter = DeadLetterFilter {
        namespace: None,
        subscription: Some(SubscriptionId::new(w.make.uuid())),
        endpoint: Some(EndpointId::new(w.make.uuid())),
        code: Some(ErrorCode::TlsError),
        failed_from: Some(now),
        failed_before: Some(w.make.advance_secs(5)),
    };
    let plain = job(w);
    let full = Job { filter, cursor: Some(place), matched: 17, replayed: 3, skipped: 2, rate: Some(u32::MAX), ..job(w) };
    let full = Job { failed: 5, gone: 4, error: Some(JobError::LetterFailed), ..full };
    let foreign = DeadLetterFilter { namespace: Some(named("other")), ..full.filter.clone() };
    let ended = Job { filter: foreign, namespace: named("third"), ..job(w) }.in_state(JobState::Completed, w.make.now());
    for job in [plain, full, ended] {
        put(w, &job).await;
        let found = find(w, job.id).await;
        assert_eq!(found.filter.namespace.as_ref(), Some(&job.namespace));
        assert_eq!(found, job.narrowed());
    }
    let unknown = JobId::new(w.make.uuid());
    assert!(w.store().job(unknown).await.expect("job").is_none());
}

/// A job that is made twice is made once: the second one changes nothing of what the first has come to.
pub async fn what_is_put_again_stays<H: Harness>(w: &mut World<H>) {
    let job = job(w);
    put(w, &job).await;
    let moved = done(next(w, &job, &[]).await).1;
    put(w, &job).await;
    assert_eq!(find(w, job.id).await, moved);
}

/// Jobs come newest first, of one tenant or of all, in pieces, and those that go on come oldest first.
pub async fn come_newest_first<H: Harness>(w: &mut World<H>) {
    let mut ids = Vec::new();
    for n in 0..5 {
        let job = Job { namespace: named(if n % 2 == 0 { "default" } else { "other" }), ..job(w) };
        put(w, &job).await;
        ids.push(job.id);
    }
    let listed = async |w: &World<H>, of: Option<&str>, window| {
        let found = w.store().jobs(of.map(named), window).await.expect("jobs");
        (found.page.items.iter().map(|job| job.id).collect::<Vec<_>>(), found.page.next, found.total)
    };
    let newest = |picks: &[usize]| picks.iter().map(|n| ids[*n]).collect::<Vec<_>>();
    let first = Window::first(2);
    assert_eq!(listed(w, None, first).await, (newest(&[4, 3]), Some(ids[3]), 5));
    assert_eq!(listed(w, None, Window { after: Some(ids[3]), ..first }).await, (newest(&[2, 1]), Some(ids[1]), 5));
    assert_eq!(listed(w, None, Window { after: Some(ids[1]), ..first }).await, (newest(&[0]), None, 5));
    assert_eq!(listed(w, None, Window { skip: 3, ..first }).await, (newest(&[1, 0]), None, 5));
    assert_eq!(listed(w, Some("default"), first).await, (newest(&[4, 2]), Some(ids[2]), 3));
    assert_eq!(listed(w, Some("other"), Window::first(u32::MAX)).await, (newest(&[3, 1]), None, 2));
    assert_eq!(listed(w, Some("nobody"), first).await, (Vec::new(), None, 0));
    for id in [ids[0], ids[3]] {
        assert!(set(w, id, JobState::Running, JobState::Cancelled).await);
    }
    let running: Vec<JobId> = w.store().running_jobs().await.expect("running_jobs").iter().map(|job| job.id).collect();
    assert_eq!(running, newest(&[1, 2, 4]));
    assert_eq!(listed(w, Some("default"), Window::first(10)).await.2, 3, "whatever their state");
}

/// A piece makes its replays and moves the cursor and the counts. What is under way already is left as it is, open or not; what others had
/// dealt with is counted apart, and what a completed job did not even see, too.
pub async fn a_piece_makes_its_replays<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let letters = dead_letters(w, route, 6).await;
    w.store().dismiss(vec![letters[1].1], w.make.now()).await.expect("dismiss");
    w.replay(ReplayTarget::Delivery(letters[2].0), true).await;
    assert!(w.replay_keeping(letters[3].0).await.delivery().is_some());
    let mut job = Job { matched: 10, ..job(w) };
    put(w, &job).await;
    let at = w.make.advance_secs(1);
    let unknown = DeadLetterId::new(w.make.uuid());
    let first = vec![letters[0].1, letters[1].1, letters[2].1, letters[3].1, unknown, letters[4].1];
    let step = JobStep { letters: first, skipped: 2, ..piece(w, &job, &[]) };
    let (answers, after) = done(advance(w, step.clone()).await);
    use Replayed::{AlreadyClosed, NotFound, NotResting, Queued};
    let retried = letters[2].0;
    let [Queued(again), AlreadyClosed(None), AlreadyClosed(Some(as_it)), NotResting(StateKind::Pending), NotFound, Queued(_)] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!((*as_it, *again), (retried, Requeued { delivery: letters[0].0, endpoint: route.endpoint, due_at: at }));
    job = Job { cursor: step.to_cursor, replayed: 2, skipped: 3, gone: 3, updated_at: at, ..job.narrowed() };
    assert_eq!((&after, &find(w, job.id).await), (&job, &job));
    for (n, expected) in [(0, StateKind::Pending), (4, StateKind::Pending), (5, StateKind::Failed)] {
        assert_eq!(w.state(letters[n].0).await.kind(), expected);
    }
    assert_eq!(status(w, letters[0].1).await, DeadLetterStatus::Retried(letters[0].0));
    assert_eq!(status(w, letters[3].1).await, DeadLetterStatus::Open, "how that replay ends decides about it");
    assert_eq!(w.claim(route.endpoint, at).await.deliveries.len(), 2, "they wait for whoever claims them");
    // The next one goes on from there, and the last one completes it.
    let last = JobStep { completed: true, ..piece(w, &job, &letters[5..]) };
    let after = done(advance(w, last.clone()).await).1;
    let expected = Job { cursor: last.to_cursor, replayed: 3, gone: 4, ..job }.in_state(JobState::Completed, at);
    assert_eq!((&after, &find(w, expected.id).await), (&expected, &expected));
}

/// A dead letter that is given up is counted with its reason, and left as it is. More than had matched are counted as well.
pub async fn what_is_given_up_is_counted<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let letters = dead_letters(w, route, 1).await;
    let job = Job { matched: 1, ..job(w) };
    put(w, &job).await;
    let step = piece(w, &job, &[]);
    let after = done(advance(w, JobStep { failed: Some(JobError::LetterFailed), ..step }).await).1;
    assert_eq!((after.failed, after.error, after.state), (1, Some(JobError::LetterFailed), JobState::Running));
    assert_eq!(status(w, letters[0].1).await, DeadLetterStatus::Open);
    let last = JobStep { completed: true, ..piece(w, &after, &letters) };
    let ended = done(advance(w, last).await).1;
    assert_eq!((ended.matched, ended.replayed, ended.failed, ended.gone), (2, 1, 1, 0));
    assert_eq!((ended.error, &find(w, job.id).await), (Some(JobError::LetterFailed), &ended));
}

/// Of two who carry a job on from one place, one does: nothing of the other's piece is stored.
pub async fn a_piece_from_another_place_is_fenced<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let letters = dead_letters(w, route, 2).await;
    let job = job(w);
    put(w, &job).await;
    let mut both = Vec::new();
    for letter in &letters {
        both.push(piece(w, &job, std::slice::from_ref(letter)));
    }
    let (a, b) = tokio::join!(w.store().advance_job(both[0].clone()), w.store().advance_job(both[1].clone()));
    let is_done = [a, b].map(|answer| matches!(answer.expect("advance_job"), Advanced::Done(..)));
    assert!(is_done[0] != is_done[1], "{is_done:?}");
    let winner = usize::from(is_done[1]);
    assert_eq!(w.state(letters[winner].0).await.kind(), StateKind::Pending);
    assert_eq!(status(w, letters[1 - winner].1).await, DeadLetterStatus::Open);
    let after = find(w, job.id).await;
    assert_eq!((after.cursor, after.replayed), (both[winner].to_cursor, 1));
    let unknown = JobStep { id: JobId::new(w.make.uuid()), ..piece(w, &after, &[]) };
    assert!(matches!(advance(w, unknown).await, Advanced::Fenced));
    assert_eq!(find(w, job.id).await, after);
}

/// A job that is cancelled stands still, and goes on at its cursor when it is resumed. What is completed stays that.
pub async fn is_cancelled_and_resumed<H: Harness>(w: &mut World<H>) {
    use JobState::{Cancelled, Completed, Running};
    let route = w.make.route();
    let letters = dead_letters(w, route, 1).await;
    let job = job(w);
    put(w, &job).await;
    let before = done(next(w, &job, &[]).await).1;
    let next = piece(w, &before, &letters);
    for (from, to) in [(Running, Running), (Running, Completed), (Cancelled, Running), (Completed, Running)] {
        assert!(!set(w, job.id, from, to).await, "{from:?} to {to:?}");
    }
    assert_eq!(find(w, job.id).await, before);
    let at = w.make.advance_secs(1);
    assert!(set(w, job.id, Running, Cancelled).await);
    assert_eq!(find(w, job.id).await, before.clone().in_state(Cancelled, at));
    assert!(!set(w, job.id, Running, Cancelled).await, "once");
    assert!(matches!(advance(w, next.clone()).await, Advanced::Fenced));
    assert_eq!(status(w, letters[0].1).await, DeadLetterStatus::Open);
    w.make.advance_secs(1);
    assert!(set(w, job.id, Cancelled, Running).await);
    assert_eq!(find(w, job.id).await.ended_at, None);
    let (answers, _) = done(advance(w, JobStep { completed: true, ..next }).await);
    assert!(matches!(answers[..], [Replayed::Queued(_)]));
    for (from, to) in [(Completed, Running), (Completed, Cancelled), (Running, Cancelled), (Cancelled, Running)] {
        assert!(!set(w, job.id, from, to).await, "{from:?} to {to:?}");
    }
    let unknown = JobId::new(w.make.uuid());
    assert!(!set(w, unknown, Running, Cancelled).await);
}

/// A job that has failed stays that: nobody carries it on, resumes or cancels it.
pub async fn fails_for_good<H: Harness>(w: &mut World<H>) {
    use JobState::{Cancelled, Failed, Running};
    let (job, stopped) = (job(w), job(w));
    put(w, &job).await;
    put(w, &stopped).await;
    assert!(set(w, stopped.id, Running, Cancelled).await);
    let at = w.make.advance_secs(1);
    let fail = async |w: &World<H>, id| w.store().fail_job(id, JobError::ListFailed, at).await.expect("fail_job");
    let unknown = JobId::new(w.make.uuid());
    assert_eq!((fail(w, job.id).await, fail(w, stopped.id).await, fail(w, unknown).await), (true, false, false));
    w.reopen().await;
    let failed = Job { error: Some(JobError::ListFailed), ..job.narrowed().in_state(Failed, at) };
    assert_eq!((find(w, failed.id).await, fail(w, failed.id).await), (failed.clone(), false));
    let step = piece(w, &failed, &[]);
    assert!(matches!(advance(w, step).await, Advanced::Fenced));
    for (from, to) in [(Failed, Running), (Failed, Cancelled), (Running, Cancelled)] {
        assert!(!set(w, failed.id, from, to).await, "{from:?} to {to:?}");
    }
    assert!(w.store().running_jobs().await.expect("running_jobs").is_empty());
    w.make.advance_secs(1);
    let request = PruneRequest { closed_before: w.make.now(), ..super::prune::before(Timestamp::MIN) };
    assert_eq!(w.prune(request).await.closed, 2);
}

/// A job goes on after a crash where it was: cursor, counts and replays are of one moment.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let letters = dead_letters(w, route, 2).await;
    let (job, stopped) = (job(w), job(w));
    put(w, &job).await;
    put(w, &stopped).await;
    set(w, stopped.id, JobState::Running, JobState::Cancelled).await;
    let after = done(next(w, &job, &letters[..1]).await).1;
    let (stopped, state) = (find(w, stopped.id).await, w.state(letters[0].0).await);
    w.reopen().await;
    let running = w.store().running_jobs().await.expect("running_jobs");
    assert_eq!(running.as_slice(), std::slice::from_ref(&after));
    assert_eq!((find(w, stopped.id).await, w.state(letters[0].0).await), (stopped, state));
    assert_eq!(status(w, letters[1].1).await, DeadLetterStatus::Open);
    let (answers, after) = done(next(w, &after, &letters[1..]).await);
    assert!(matches!(answers[..], [Replayed::Queued(_)]));
    assert_eq!((after.replayed, w.store().running_jobs().await.expect("running_jobs").len()), (2, 1));
}

/// Jobs that ended go with what else was closed, those that go on stay however old they are.
pub async fn ended_ones_go_with_their_age<H: Harness>(w: &mut World<H>) {
    let mut jobs = Vec::new();
    for _ in 0..14 {
        let job = job(w);
        put(w, &job).await;
        jobs.push(job);
    }
    let (running, last) = (jobs[12].clone(), jobs[13].clone());
    for job in &jobs[..6] {
        set(w, job.id, JobState::Running, JobState::Cancelled).await;
    }
    for job in &jobs[6..12] {
        let step = piece(w, job, &[]);
        advance(w, JobStep { completed: true, ..step }).await;
    }
    let cutoff = w.make.advance_secs(1);
    set(w, last.id, JobState::Running, JobState::Cancelled).await;
    let request = PruneRequest { closed_before: cutoff, limit: 5, ..super::prune::before(Timestamp::MIN) };
    assert_eq!(w.prune(request).await, Pruned { closed: 12, ..Pruned::default() });
    assert_eq!(w.prune(request).await, Pruned::default());
    let left = w.store().jobs(None, Window::first(20)).await.expect("jobs");
    assert_eq!(left.page.items.iter().map(|job| job.id).collect::<Vec<_>>(), [last.id, running.id]);
    assert_eq!(left.total, 2);
}

fn named(name: &str) -> Namespace {
    Namespace::new(name).expect("a name by the rule")
}

/// A job that has just been made, over everything of its tenant.
pub(super) fn job<H: Harness>(w: &mut World<H>) -> Job {
    let now = w.make.now();
    Job {
        id: JobId::new(w.make.uuid()),
        namespace: Namespace::default_namespace(),
        filter: DeadLetterFilter::default(),
        state: JobState::Running,
        cursor: None,
        matched: 0,
        replayed: 0,
        skipped: 0,
        failed: 0,
        gone: 0,
        error: None,
        rate: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
    }
}

/// The next piece of a job, with these dead letters; it ends at a place of its own.
fn piece<H: Harness>(w: &mut World<H>, job: &Job, of: &[(DeliveryId, DeadLetterId)]) -> JobStep {
    let at = w.make.now();
    let to_cursor = Some(DeadLetterPlace { failed_at: at, id: DeadLetterId::new(w.make.uuid()) });
    let letters = of.iter().map(|(_, letter)| *letter).collect();
    JobStep { id: job.id, from_cursor: job.cursor, letters, skipped: 0, failed: None, to_cursor, completed: false, at }
}

/// Deliveries of a route that ended in failure, with their dead letters.
async fn dead_letters<H: Harness>(w: &mut World<H>, route: Route, n: usize) -> Vec<(DeliveryId, DeadLetterId)> {
    let mut letters = Vec::new();
    for _ in 0..n {
        let id = w.claimed(route).await;
        letters.push((id, w.fail(id).await));
    }
    letters
}

async fn put<H: Harness>(w: &World<H>, job: &Job) {
    w.store().put_job(job.clone()).await.expect("put_job");
}

async fn find<H: Harness>(w: &World<H>, id: JobId) -> Job {
    w.store().job(id).await.expect("job").expect("it is there")
}

async fn set<H: Harness>(w: &World<H>, id: JobId, from: JobState, to: JobState) -> bool {
    w.store().set_job_state(id, from, to, w.make.now()).await.expect("set_job_state")
}

async fn advance<H: Harness>(w: &World<H>, step: JobStep) -> Advanced {
    w.store().advance_job(step).await.expect("advance_job")
}

/// Makes these deliveries again as the next piece of a job.
async fn next<H: Harness>(w: &mut World<H>, job: &Job, of: &[(DeliveryId, DeadLetterId)]) -> Advanced {
    let step = piece(w, job, of);
    advance(w, step).await
}

fn done(advanced: Advanced) -> (Vec<Replayed>, Job) {
    match advanced {
        Advanced::Done(answers, job) => (answers, *job),
        Advanced::Fenced => panic!("the piece comes next"),
    }
}

async fn status<H: Harness>(w: &World<H>, id: DeadLetterId) -> DeadLetterStatus {
    w.store().dead_letter(id).await.expect("dead_letter").expect("it is there").dead_letter.status
}
