//! Polls a connection beside what it works for, under one deadline and with one timer per lane.

use crate::h1::H1;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all exchanges of a lane. It is left armed where it is while deadlines only move on, and looks at the real deadline when it
/// fires: a busy lane touches the timer wheel once per timeout and not once per exchange.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// Waits for `work`, polling its HTTP/1.1 `connection` where it has one; `None` once the deadline has passed.
pub(crate) async fn until<F: Future>(
    connection: Option<&mut H1>,
    alarm: &mut Alarm,
    deadline: Instant,
    work: Pin<&mut F>,
) -> Option<F::Output> {
    let mut connection = connection;
    let mut work = work;
    poll_fn(move |cx| {
        let done = match &mut connection {
            Some(connection) => poll_both(connection, work.as_mut(), cx),
            None => work.as_mut().poll(cx),
        };
        if let Poll::Ready(output) = done {
            return Poll::Ready(Some(output));
        }
        if !tokio::task::coop::has_budget_remaining() {
            // The budget may have run out under the quiet waker, and the alarm would not look at its clock without budget:
            // a receiver that floods us would never be cut.
            if Instant::now() >= deadline {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        alarm.poll(cx, deadline).map(|()| None)
    })
    .await
}

/// All that `work` waits for is done by the connection, which is polled here with the task's waker. So `work` gets a waker that does
/// nothing: otherwise each answer would wake the task that is just taking it.
fn poll_both<F: Future>(connection: &mut H1, mut work: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let mut quiet = Context::from_waker(Waker::noop());
    if let Poll::Ready(output) = work.as_mut().poll(&mut quiet) {
        return Poll::Ready(output);
    }
    connection.poll(cx);
    work.poll(&mut quiet)
}
