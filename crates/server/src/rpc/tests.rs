//! How long calls may take, and streams.

use super::*;
use bytes::Bytes;
use connectrpc::RequestContext;
use connectrpc::envelope::Envelope;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use postrider_proto::service::{Answer, LedgerService, Stream};
use postrider_proto::v1;
use tokio::time::{Instant, sleep};

/// Answers after an hour, or with a stream that says something each minute, for three minutes.
struct Slow;

async fn late<T>() -> Answer<T> {
    sleep(Duration::from_secs(3_600)).await;
    Err(ConnectError::not_found("nothing"))
}

impl LedgerService for Slow {
    async fn watch_deliveries(&self, _: RequestContext, _: v1::WatchDeliveriesRequest) -> Answer<Stream<v1::WatchDeliveriesResponse>> {
        Ok(Box::pin(stream::iter(1..=3).then(|passed| async move {
            sleep(Duration::from_secs(60)).await;
            Ok(v1::WatchDeliveriesResponse { passed, ..Default::default() })
        })))
    }

    async fn list_deliveries(&self, _: RequestContext, _: v1::ListDeliveriesRequest) -> Answer<v1::ListDeliveriesResponse> {
        late().await
    }

    async fn explain_delivery(&self, _: RequestContext, _: v1::ExplainDeliveryRequest) -> Answer<v1::ExplainDeliveryResponse> {
        late().await
    }

    async fn cancel_delivery(&self, _: RequestContext, _: v1::CancelDeliveryRequest) -> Answer<v1::CancelDeliveryResponse> {
        late().await
    }

    async fn retry_matching(&self, _: RequestContext, _: v1::RetryMatchingRequest) -> Answer<v1::RetryMatchingResponse> {
        late().await
    }

    async fn list_events(&self, _: RequestContext, _: v1::ListEventsRequest) -> Answer<v1::ListEventsResponse> {
        late().await
    }

    async fn explain_event(&self, _: RequestContext, _: v1::ExplainEventRequest) -> Answer<v1::ExplainEventResponse> {
        late().await
    }

    async fn find(&self, _: RequestContext, _: v1::FindRequest) -> Answer<v1::FindResponse> {
        late().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_half_a_minute_and_a_stream_that_has_begun_as_long_as_it_likes() {
    let service = bounded(Services::default().with_ledger_service(Arc::new(Slow)));
    let ask = |method: &str, media: &str, timeout: &str, body: Bytes| {
        let request = Request::post(format!("/postrider.v1.LedgerService/{method}")).header(CONTENT_TYPE, media);
        call(service.clone(), request.header("connect-timeout-ms", timeout).body(Full::new(body)).expect("a request"))
    };
    let begun = Instant::now();
    let answer = ask("ListDeliveries", "application/json", "3000000", Bytes::from_static(b"{}")).await;
    assert_eq!((answer.status(), answer.extensions().get::<GoesOn>().is_some()), (StatusCode::GATEWAY_TIMEOUT, false));
    let elapsed = begun.elapsed();
    assert!(elapsed >= LONGEST_CALL && elapsed < 2 * LONGEST_CALL, "{elapsed:?}");
    let begun = Instant::now();
    let request = Envelope::data(Bytes::from_static(b"{}")).encode();
    let answer = ask("WatchDeliveries", "application/connect+json", "5000", request).await;
    assert_eq!((answer.status(), answer.headers()[UNBUFFERED].as_bytes()), (StatusCode::OK, &b"no"[..]));
    assert!(answer.extensions().get::<GoesOn>().is_some());
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let message = |passed: u8| Envelope::data(Bytes::from(format!(r#"{{"passed":"{passed}"}}"#))).encode();
    let expected = [message(1), message(2), message(3), Envelope::end_stream(Bytes::from_static(b"{}")).encode()].concat();
    assert_eq!(body, expected);
    assert!(begun.elapsed() >= Duration::from_secs(180), "{:?}", begun.elapsed());
}
