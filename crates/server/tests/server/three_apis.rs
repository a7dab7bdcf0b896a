//! A delivery that was made over one API, read over the two others: the same ids, and the same story.

use crate::common::items::Api;
use crate::common::receiver::Received;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server};
use serde_json::{Value, json};

const TYPE: &str = "order.created";

/// How a delivery stands, in words that all three have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Delivered,
    WaitsForRetry,
    Failed,
}

/// What each of the APIs tells of an attempt.
#[derive(Debug, PartialEq)]
struct Attempt {
    id: String,
    succeeded: bool,
    http_status: u64,
    error: Option<String>,
    /// To the second: `2025-05-12T12:00:00`.
    began: String,
}

/// What each of the APIs tells of a delivery and its event.
#[derive(Debug, PartialEq)]
struct Story {
    event_type: String,
    payload: Value,
    stands: Stands,
    attempts: Vec<Attempt>,
}

/// What a receiver is told in `X-Postrider-Delivery-Id`.
#[derive(Clone, Copy)]
enum Told {
    Delivery,
    /// The Items API knows attempts and no deliveries.
    Item,
}

/// A delivery, by the ids that all three know it by.
struct Made {
    subscription: String,
    endpoint: String,
    delivery: String,
    event: String,
    told: Told,
}

impl Made {
    /// The ids of a delivery as its receiver is told them.
    fn of(subscription: String, endpoint: String, request: &Received) -> Self {
        let header = |name: &str| request.headers[name].clone();
        let (delivery, event) = (header("x-postrider-delivery-id"), header("x-postrider-event-id"));
        Made { subscription, endpoint, delivery, event, told: Told::Delivery }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A text, where there is one that is not empty.
fn said(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn to_the_second(value: &Value) -> String {
    text(value).chars().take("2025-05-12T12:00:00".len()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// As the Tasks API tells it.
fn over_tasks(server: &Server, made: &Made) -> Story {
    let shown = server.get(&format!("/deliveries/{}", made.delivery)).json();
    let (task, logs) = (&shown["task"], list(&shown["logs"]));
    assert_eq!((&task["id"], &task["subscription_id"]), (&json!(made.delivery), &json!(made.subscription)));
    let listed = server.get(&format!("/subscriptions/{}/deliveries", made.subscription)).json();
    let ids = |logs: &[Value]| logs.iter().map(|log| text(&log["id"])).collect::<Vec<_>>();
    let newest_first: Vec<_> = ids(logs).into_iter().rev().collect();
    assert_eq!(ids(list(&listed)), newest_first);
    let attempts = logs.iter().enumerate().map(|(n, log)| {
        assert_eq!((&log["delivery_task_id"], &log["attempt_number"]), (&json!(made.delivery), &json!(n + 1)));
        Attempt {
            id: text(&log["id"]),
            succeeded: log["outcome"] == "success",
            http_status: log["http_status"].as_u64().unwrap_or_default(),
            error: said(&log["error_details"]),
            began: to_the_second(&log["timestamp"]),
        }
    });
    Story {
        event_type: text(&task["event_type"]),
        payload: serde_json::from_str(&text(&task["payload"])).expect("JSON"),
        stands: match text(&task["status"]).as_str() {
            "delivered" => Stands::Delivered,
            "pending" => Stands::WaitsForRetry,
            "failed" => Stands::Failed,
            other => panic!("the task is {other}"),
        },
        attempts: attempts.collect(),
    }
}

/// As the RPC API tells it.
fn over_rpc(rpc: &Rpc<'_>, made: &Made) -> Story {
    let delivery = rpc.ask("DeliveryService/GetDeliveryStatus", &json!({"delivery_id": made.delivery}))["delivery"].clone();
    let ids = [("deliveryId", &made.delivery), ("webhookId", &made.endpoint), ("eventId", &made.event)];
    assert_eq!(ids.map(|(name, _)| &delivery[name]), ids.map(|(_, id)| json!(id)).each_ref());
    let listed = rpc.ask("DeliveryService/ListDeliveries", &json!({"namespace": "default", "subscription_id": made.subscription}));
    let listed: Vec<_> = list(&listed["deliveries"]).iter().map(|delivery| text(&delivery["deliveryId"])).collect();
    assert_eq!(listed, [made.delivery.as_str()]);
    let event = rpc.ask("EventService/GetEventRecord", &json!({"event_id": made.event}))["event"].clone();
    let answer = rpc.ask("DeliveryService/GetDeliveryAttempts", &json!({"delivery_id": made.delivery}));
    let attempts = list(&answer["attempts"]).iter().map(|attempt| {
        assert_eq!((&attempt["deliveryId"], &attempt["webhookId"]), (&json!(made.delivery), &json!(made.endpoint)));
        Attempt {
            id: text(&attempt["attemptId"]),
            succeeded: attempt["success"] == true,
            http_status: attempt["responseCode"].as_u64().unwrap_or_default(),
            error: said(&attempt["errorMessage"]),
            began: to_the_second(&attempt["timestamp"]),
        }
    });
    Story {
        event_type: text(&event["eventName"]),
        payload: event["payload"].clone(),
        stands: match text(&delivery["status"]).as_str() {
            "DELIVERY_SUCCESS" => Stands::Delivered,
            "DELIVERY_RETRYING" => Stands::WaitsForRetry,
            "DELIVERY_FAILED" => Stands::Failed,
            other => panic!("the delivery is {other}"),
        },
        attempts: attempts.collect(),
    }
}

/// As the Items API tells it: a delivery is what its items have in common.
fn over_items(api: &Api<'_>, made: &Made, request: &Received) -> Story {
    let binding = api.get(&format!("/v1/delivery/bindings/{}", made.subscription)).json();
    assert_eq!(binding["destination_id"], json!(made.endpoint));
    let listed = api.get(&format!("/v1/delivery/items?binding_id={}", made.subscription)).json();
    let items: Vec<&Value> = list(&listed["items"]).iter().rev().collect();
    let event = api.get(&format!("/v1/delivery/events/{}", text(&items[0]["event_id"]))).json();
    assert_eq!(event["uuid"], json!(made.event));
    let attempts = items.iter().enumerate().map(|(n, item)| {
        assert_eq!((&item["binding_id"], &item["attempt"]), (&json!(made.subscription), &json!(n + 1)));
        assert_eq!((&item["event_id"], &item["idempotency_key"]), (&event["id"], &json!(request.headers["idempotency-key"])));
        Attempt {
            id: text(&item["id"]),
            succeeded: item["status"] == "succeeded",
            http_status: item["http_status"].as_u64().unwrap_or_default(),
            error: said(&item["error_message"]),
            began: to_the_second(&item["created_at"]),
        }
    });
    let attempts: Vec<_> = attempts.collect();
    let letters = api.get(&format!("/v1/delivery/dlq?binding_id={}", made.subscription)).json();
    let stands = match (letters["total"].as_u64(), attempts.last()) {
        (Some(1), _) => Stands::Failed,
        (_, Some(Attempt { succeeded: true, .. })) => Stands::Delivered,
        _ => Stands::WaitsForRetry,
    };
    Story { event_type: text(&event["event_type"]), payload: event["payload"].clone(), stands, attempts }
}

/// Makes sure that all three tell the same of a delivery, once so many attempts of it have ended; answers that.
fn told(server: &Server, made: &Made, request: &Received, attempts: usize) -> Story {
    // An attempt and what it makes of its delivery are stored together.
    server.task_when(&made.delivery, |shown| list(&shown["logs"]).len() == attempts && shown["task"]["status"] != "processing");
    let story = over_tasks(server, made);
    assert_eq!(over_rpc(&Rpc::of(server), made), story);
    assert_eq!(over_items(&Api::of(server), made, request), story);
    let id = match made.told {
        Told::Delivery => &made.delivery,
        Told::Item => &story.attempts[attempts - 1].id,
    };
    assert_eq!(request.headers["x-postrider-delivery-id"], *id);
    story
}

/// A receiver that fails once, and then does not.
fn failing_once() -> Receiver {
    Receiver::scripted(|n| Reply::Status(if n == 0 { 500 } else { 200 }))
}

/// Follows a delivery whose first attempt fails: how it stands then, and that a retry over the RPC API mends it for all three.
fn followed(server: &Server, made: &Made, receiver: &Receiver, after_failure: Stands) {
    let request = receiver.wait_for(1).remove(0);
    let story = told(server, made, &request, 1);
    assert_eq!((story.event_type.as_str(), &story.payload, story.stands), (TYPE, &json!({"id": 7}), after_failure));
    assert_eq!((story.attempts[0].succeeded, story.attempts[0].http_status), (false, 500));
    assert!(story.attempts[0].error.is_some(), "{story:?}");
    let retried = Rpc::of(server).ask("DeliveryService/RetryDelivery", &json!({"namespace": "default", "delivery_id": made.delivery}));
    assert_eq!(retried, json!({"retriedCount": 1, "deliveryIds": [made.delivery]}));
    let again = receiver.wait_for(2).remove(1);
    let mended = told(server, made, &again, 2);
    assert_eq!((mended.stands, &mended.attempts[0]), (Stands::Delivered, &story.attempts[0]));
    assert_eq!((mended.attempts[1].succeeded, mended.attempts[1].http_status, &mended.attempts[1].error), (true, 200, &None));
}

#[test]
fn made_over_the_tasks_api() {
    let server = Server::dev(&[]);
    let receiver = failing_once();
    let subscription = server.subscribe_to(&receiver.url);
    let headers = [("content-type", "application/json"), ("x-event-type", TYPE)];
    let accepted = server.call("POST", &format!("/ingest/{subscription}"), &headers, br#"{"id":7}"#);
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let binding = Api::of(&server).get(&format!("/v1/delivery/bindings/{subscription}")).json();
    let made = Made::of(subscription, text(&binding["destination_id"]), &receiver.wait_for(1)[0]);
    let accepted = accepted.json();
    assert_eq!((&accepted["delivery_task_id"], &accepted["event_id"]), (&json!(made.delivery), &json!(made.event)));
    followed(&server, &made, &receiver, Stands::WaitsForRetry);
}

#[test]
fn made_over_the_rpc_api() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), failing_once());
    let (webhook, _) = rpc.register(&receiver.url, json!({"events": [TYPE], "http_config": {"max_retries": 0}}));
    let pushed = rpc.ask("EventService/PushEvent", &json!({"namespace": "default", "event": TYPE, "payload": {"id": 7}}));
    let listed = rpc.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "default", "webhook_id": webhook}));
    let subscription = text(&listed["subscriptions"][0]["subscriptionId"]);
    let made = Made::of(subscription, webhook.clone(), &receiver.wait_for(1)[0]);
    assert_eq!(pushed["eventId"], json!(made.event));
    assert_eq!(receiver.wait_for(1)[0].headers["x-sparrow-webhook-id"], webhook);
    followed(&server, &made, &receiver, Stands::Failed);
}

#[test]
fn made_over_the_items_api() {
    let server = Server::dev(&[]);
    let (api, receiver) = (Api::of(&server), failing_once());
    let binding = api.bound(&receiver.url, TYPE, json!({"delivery_policy": {"max_attempts": 1}}));
    let destination = text(&api.get(&format!("/v1/delivery/bindings/{binding}")).json()["destination_id"]);
    let event = api.publish(TYPE, &json!({"id": 7}));
    assert_eq!(receiver.wait_for(1)[0].headers["x-postrider-event-id"], event, "the number that this API has for it");
    let uuid = text(&api.get(&format!("/v1/delivery/events/{event}")).json()["uuid"]);
    let listed = Rpc::of(&server).ask("DeliveryService/ListDeliveries", &json!({"namespace": "default", "event_id": uuid}));
    let delivery = text(&listed["deliveries"][0]["deliveryId"]);
    let made = Made { subscription: binding, endpoint: destination, delivery, event: uuid, told: Told::Item };
    followed(&server, &made, &receiver, Stands::Failed);
}
