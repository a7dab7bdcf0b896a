//! Dead letters replayed or dismissed: some by their ids, or all that match.

use super::{jobs, list};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::items::history::{Unsent, unsent};
use crate::rpc::access::{failed_precondition, id, own_namespace};
use crate::rpc::page::count;
use crate::rpc::v1::summary::long;
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, JobId};
use postrider_core::key::Scope;
use postrider_core::ports::{DeadLetterFilter, Replayed, Window};
use postrider_engine::NewJob;
use postrider_proto::v1;

/// Most dead letters that a request names.
const MAX_IDS: usize = 100;

/// Most dead letters that a call dismisses, and how many of them in one commit.
const MAX_DISMISSED: usize = 1_000;
const SLICE: u32 = 100;

/// How many a second a job replays where the request does not say, and at the most.
const DEFAULT_RATE: u32 = 100;
const MAX_RATE: u32 = 10_000;

/// Which dead letters a request is about.
enum Asked<'r> {
    /// These.
    Ids(Vec<DeadLetterId>),
    /// All that match.
    Matching(&'r v1::DeadLetterFilter),
}

impl<'r> Asked<'r> {
    fn read(ids: &[String], filter: Option<&'r v1::DeadLetterFilter>) -> Result<Self, Problem> {
        match filter {
            Some(_) if !ids.is_empty() => Err(Problem::bad_request("dead_letter_ids and filter do not go together: send one of them")),
            Some(filter) => Ok(Asked::Matching(filter)),
            None if ids.is_empty() => Err(Problem::bad_request("dead_letter_ids or filter is required")),
            None if ids.len() > MAX_IDS => Err(Problem::bad_request(format!("dead_letter_ids: at most {MAX_IDS}; a filter takes more"))),
            None => {
                let mut read = Vec::with_capacity(ids.len());
                for text in ids {
                    let id = id(text, "dead_letter_ids", "dead letter", DeadLetterId::parse)?;
                    if !read.contains(&id) {
                        read.push(id);
                    }
                }
                Ok(Asked::Ids(read))
            }
        }
    }
}

/// Those of these dead letters that are open and exist for the caller, with the deliveries that ended.
async fn open(app: &App, access: &Access, ids: Vec<DeadLetterId>) -> Result<Vec<(DeadLetterId, Delivery)>, Problem> {
    app.engine.store().open_letters(ids, access.namespace.clone()).await.map_err(Problem::of_read)
}

/// The namespace in which a filter acts: that of the caller's key, or the one that it must name.
fn acts_in(access: &Access, sent: &v1::DeadLetterFilter) -> Result<Namespace, Problem> {
    match (&access.namespace, sent.namespace.as_str()) {
        (Some(own), "") => Ok(own.clone()),
        (None, "") => Err(Problem::bad_request("filter.namespace is required, for the API key sees several")),
        (_, named) => own_namespace(access, named),
    }
}

/// What a filter of something that the caller does not see acts on is nothing, and never everything.
fn unseen() -> Problem {
    Problem::not_found("there is no such namespace")
}

/// Counts dead letters, or has them replayed.
pub(super) async fn replay(
    app: &App,
    access: &Access,
    request: &v1::ReplayDeadLettersRequest,
) -> Result<v1::ReplayDeadLettersResponse, Problem> {
    access.allow(if request.dry_run { Scope::Read } else { Scope::Write })?;
    let rate = rate(request.rate_per_second)?;
    match Asked::read(&request.dead_letter_ids, request.filter.as_option())? {
        Asked::Ids(ids) => {
            let open = open(app, access, ids).await?;
            let matched = long(open.len());
            let (replayed, under_way) = if request.dry_run { (0, 0) } else { replayed(app, &open).await? };
            let (replayed, under_way) = (count(replayed), count(under_way));
            Ok(v1::ReplayDeadLettersResponse { matched, replayed, under_way, ..Default::default() })
        }
        Asked::Matching(sent) if request.dry_run => {
            let matched = matching(app, access, sent).await?;
            Ok(v1::ReplayDeadLettersResponse { matched: long(matched), ..Default::default() })
        }
        Asked::Matching(sent) => {
            let namespace = acts_in(access, sent)?;
            let filter = list::filter(access, sent)?.ok_or_else(unseen)?;
            let new = NewJob { id: JobId::new(app.engine.new_id()), namespace, filter, rate };
            let job = app.engine.start_job(new).await.map_err(jobs::refused)?;
            Ok(v1::ReplayDeadLettersResponse { matched: long(job.matched), job: jobs::shown(&job).into(), ..Default::default() })
        }
    }
}

async fn matching(app: &App, access: &Access, sent: &v1::DeadLetterFilter) -> Result<u64, Problem> {
    match list::filter(access, sent)? {
        Some(filter) => list::matching(app, filter).await,
        None => Ok(0),
    }
}

/// Makes the deliveries of these dead letters again, as far as they would be sent; answers how many, and how many were being made again already.
/// Where none would, why the first one is not.
async fn replayed(app: &App, open: &[(DeadLetterId, Delivery)]) -> Result<(usize, usize), Problem> {
    let (mut replayed, mut under_way, mut why) = (0, 0, None);
    for (_, delivery) in open {
        if let Some(unsent) = unsent(app, delivery) {
            why.get_or_insert(unsent);
            continue;
        }
        match app.engine.replay_delivery(delivery.id, false).await? {
            Replayed::Queued(_) | Replayed::Claimed(_) => replayed += 1,
            Replayed::NotResting(_) => under_way += 1,
            // Somebody else was faster.
            Replayed::NotFound | Replayed::AlreadyClosed(_) => {}
        }
    }
    match why {
        Some(why) if replayed + under_way == 0 => Err(refused(why)),
        _ => Ok((replayed, under_way)),
    }
}

fn refused(why: Unsent) -> Problem {
    failed_precondition(match why {
        Unsent::Gone => String::from("the subscription or the endpoint of this delivery is gone"),
        Unsent::Inactive => String::from("the subscription of this delivery is not active: activate it first"),
        Unsent::Paused => String::from("the endpoint of this delivery is paused: make it active first"),
        Unsent::Disabled(reason) => {
            format!("the endpoint of this delivery was disabled ({reason}): mend what that was for and make it active first")
        }
    })
}

fn rate(sent: i32) -> Result<u32, Problem> {
    match u32::try_from(sent) {
        Ok(0) => Ok(DEFAULT_RATE),
        Ok(rate) if rate <= MAX_RATE => Ok(rate),
        _ => Err(Problem::bad_request(format!("rate_per_second must be 1 to {MAX_RATE}, not {sent}"))),
    }
}

/// Counts dead letters, or closes them.
pub(super) async fn dismiss(
    app: &App,
    access: &Access,
    request: &v1::DismissDeadLettersRequest,
) -> Result<v1::DismissDeadLettersResponse, Problem> {
    access.allow(if request.dry_run { Scope::Read } else { Scope::Write })?;
    let asked = Asked::read(&request.dead_letter_ids, request.filter.as_option())?;
    match asked {
        Asked::Ids(ids) => {
            let open: Vec<DeadLetterId> = open(app, access, ids).await?.into_iter().map(|(id, _)| id).collect();
            if request.dry_run {
                return Ok(v1::DismissDeadLettersResponse { dismissed: 0, remaining: long(open.len()) });
            }
            Ok(v1::DismissDeadLettersResponse { dismissed: count(dismissed(app, open).await?), remaining: 0 })
        }
        Asked::Matching(sent) if request.dry_run => {
            Ok(v1::DismissDeadLettersResponse { dismissed: 0, remaining: long(matching(app, access, sent).await?) })
        }
        Asked::Matching(sent) => {
            let namespace = acts_in(access, sent)?;
            let filter = DeadLetterFilter { namespace: Some(namespace), ..list::filter(access, sent)?.ok_or_else(unseen)? };
            let dismissed = dismiss_matching(app, &filter).await?;
            Ok(v1::DismissDeadLettersResponse { dismissed: count(dismissed), remaining: long(list::matching(app, filter).await?) })
        }
    }
}

/// Closes dead letters in one commit; answers how many of them were open.
async fn dismissed(app: &App, ids: Vec<DeadLetterId>) -> Result<usize, Problem> {
    if ids.is_empty() {
        return Ok(0);
    }
    let were_open = app.engine.store().dismiss(ids, app.engine.now()).await?;
    Ok(were_open.into_iter().filter(|was_open| *was_open).count())
}

/// Closes those that match, the newest first, up to [`MAX_DISMISSED`]: what became a dead letter meanwhile stays for the next call.
async fn dismiss_matching(app: &App, filter: &DeadLetterFilter) -> Result<usize, Problem> {
    let (mut done, mut after) = (0, None);
    while done < MAX_DISMISSED {
        let window = Window { after, skip: 0, limit: SLICE };
        let page = app.engine.store().open_dead_letters(filter.clone(), window).await.map_err(Problem::of_read)?;
        done += dismissed(app, page.items.iter().map(|row| row.dead_letter.id).collect()).await?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_ids_or_a_filter() {
        let id = "0196c0de-0000-7000-8000-000000000000".to_owned();
        let filter = v1::DeadLetterFilter::default();
        let status = |ids: &[String], filter| Asked::read(ids, filter).map(drop).map_err(|problem| problem.status.as_u16());
        assert_eq!((status(&[], None), status(std::slice::from_ref(&id), Some(&filter))), (Err(400), Err(400)));
        assert_eq!((status(&[], Some(&filter)), status(&vec![id.clone(); MAX_IDS], None)), (Ok(()), Ok(())));
        assert_eq!((status(&vec![id.clone(); MAX_IDS + 1], None), status(&[String::from("7")], None)), (Err(400), Err(400)));
        let twice = Asked::read(&[id.clone(), id], None).expect("ids");
        assert!(matches!(twice, Asked::Ids(ids) if ids.len() == 1));
    }

    #[test]
    fn rates_have_a_range() {
        assert_eq!([0, 1, 10_000].map(rate), [Ok(100), Ok(1), Ok(10_000)]);
        assert_eq!([-1, 10_001, i32::MAX].map(|sent| rate(sent).map_err(|problem| problem.status.as_u16())), [Err(400); 3]);
    }
}
