//! `/v1/delivery/jobs`: dead letters replayed by a filter.

use super::{customer_id, error_code, page};
use crate::items::jobs::{DEFAULT_RATE, MAX_RATE};
use crate::openapi::operation::{Operation, answer, get, post};
use crate::openapi::schema::{Schema, always, boolean, integer, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use postrider_core::ports::JobError;

const ONE: &str = r#"{
  "id": "01a200f1-5555-7000-8000-000000000001",
  "type": "dlq_replay",
  "status": "running",
  "filter": {"binding_id": null, "destination_id": null, "error_code": "connector_5xx", "created_after": null, "created_before": null},
  "rate_per_second": 100,
  "matched": 1280,
  "replayed": 200,
  "skipped": 0,
  "failed": 0,
  "gone": 0,
  "error_code": null,
  "error_message": null,
  "created_at": "2026-01-05T18:40:31.000Z",
  "updated_at": "2026-01-05T18:40:33.000Z",
  "ended_at": null
}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Jobs", about: "Many dead letters made again, at a rate of their own. A job survives a restart." },
        schemas: vec![("Job", shown()), ("JobList", page("data", "Job")), ("NewReplay", wanted())],
        operations: operations(),
    }
}

fn shown() -> Schema {
    let filter = object()
        .field("binding_id", uuid().nullable())
        .field("destination_id", uuid().nullable())
        .field("error_code", error_code().nullable())
        .field("created_after", time().nullable())
        .field("created_before", time().nullable())
        .closed();
    object()
        .field("id", uuid())
        .optional("customer_id", customer_id())
        .field("type", always("dlq_replay"))
        .field("status", word(["running", "cancelled", "completed", "failed"]))
        .field("filter", filter)
        .field("rate_per_second", integer().at_least(1).nullable())
        .field(
            "matched",
            integer()
                .at_least(0)
                .about("Dead letters that the filter found when the job began. Of a completed job as many as the four counts together."),
        )
        .field("replayed", integer().at_least(0))
        .field(
            "skipped",
            integer().at_least(0).about("Left open: of bindings and destinations that are not active, or being replayed already."),
        )
        .field("failed", integer().at_least(0).about("Left open: the store failed with each of them."))
        .field("gone", integer().at_least(0).about("Replayed or dismissed by others, or removed, before the job came to them."))
        .field("error_code", word(JobError::ALL.iter().map(|error| error.as_str())).nullable().about("What went wrong last."))
        .field("error_message", string().nullable())
        .field("created_at", time())
        .field("updated_at", time())
        .field("ended_at", time().nullable())
        .closed()
}

fn wanted() -> Schema {
    let rate = integer().range(1..=MAX_RATE).nullable().default(DEFAULT_RATE);
    object()
        .optional("binding_id", uuid().nullable().about("Of this binding."))
        .optional("destination_id", uuid().nullable().about("To this destination."))
        .optional("error_code", error_code().nullable().about("Ended for this reason."))
        .optional("created_after", time().nullable().about("Ended at this time or later."))
        .optional("created_before", time().nullable().about("Ended before this time."))
        .optional("all", boolean().nullable().about("Must be `true` where no filter narrows what is replayed; goes with none."))
        .optional("dry_run", boolean().nullable().about("Only answers how many there are."))
        .optional("rate_per_second", rate.about("How many are replayed a second."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let counted = object().field("dry_run", always(true)).field("matched", integer().at_least(0)).closed();
    let replay = post("/v1/delivery/dlq/replay", "replayDeadLetters", "Replay dead letters by a filter")
        .about("Makes a job that replays what the filter finds. With `dry_run` nothing is replayed.")
        .tenant()
        .takes(named("NewReplay"), &[("failing receiver", r#"{"error_code": "connector_5xx", "rate_per_second": 100}"#)])
        .answers(answer(200, "How many there are (`dry_run`).").json(counted, r#"{"dry_run": true, "matched": 1280}"#))
        .answers(answer(202, "The job.").json(named("Job"), ONE).header("Location"));
    let list = get("/v1/delivery/jobs", "listJobs", "List jobs")
        .about("Jobs, newest first.")
        .of_customer()
        .pages()
        .reads()
        .answers(answer(200, "A page of jobs.").json(named("JobList"), &super::page_of(ONE)));
    let show = get("/v1/delivery/jobs/{id}", "getJob", "Get a job")
        .about("How far it is.")
        .id("id", "The job's UUID.")
        .reads()
        .answers(answer(200, "The job.").json(named("Job"), ONE));
    let turn = |operation: Operation, about: &'static str| {
        operation.about(about).id("id", "The job's UUID.").tenant().answers(answer(200, "The job as it is now.").json(named("Job"), ONE))
    };
    let cancel = turn(
        post("/v1/delivery/jobs/{id}/cancel", "cancelJob", "Cancel a job"),
        "It stops after the step that it is making; what it has replayed stays so. 409 where it is complete or has failed.",
    );
    let resume = turn(
        post("/v1/delivery/jobs/{id}/resume", "resumeJob", "Resume a job"),
        "A cancelled job goes on where it was stopped. 409 where it is complete or has failed, and where as many as may be are running.",
    );
    vec![replay, list, show, cancel, resume]
}
