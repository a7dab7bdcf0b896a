//! Upkeep: taking over what a dead engine left, timers, configuration changed by others, endpoints to disable.

use crate::dispatch::Settings;
use crate::edit::edit;
use crate::job::Job;
use crate::looks::broken_off;
use crate::retain::IN_USE;
use crate::retired;
use crate::route::Routes;
use crate::settle::Entry;
use crate::shared::Shared;
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::id::EndpointId;
use postrider_core::ports::{ClaimRequest, Claimed, ConfigChange, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Deliveries taken over in one piece.
const RESCUE: u32 = 512;

/// Deliveries given up in one piece: parked ones, and those that expired.
const GIVE_UP: u32 = 512;

/// Where their payloads sum up to this, in bytes, a piece takes no more.
const GIVE_UP_BYTES: u64 = 8 << 20;

/// How often it is looked for deliveries that have expired: times to live are in seconds.
const EXPIRY: Duration = Duration::from_secs(1);

/// Lanes that nobody used for this long are closed. Below the keep-alive time of common receivers' servers there is nothing to gain.
const LANE_IDLE: Duration = Duration::from_secs(30);

/// How often configuration changed by others (the command line, another node) is looked for.
const CONFIGURATION: Duration = Duration::from_secs(1);

/// The timer task looks at least this often.
const HORIZON: Duration = Duration::from_secs(1);

/// How long to wait when the store cannot be used.
const RETRY: Duration = Duration::from_secs(1);

/// How long to wait with upkeep that the store refused, unless it comes more often anyway.
pub(crate) const UPKEEP_RETRY: Duration = Duration::from_secs(30);

/// Takes over everything that the engine before this one had claimed, and learns what the store has waiting. Runs before anything is sent; where others
/// share the store, `cluster` does the same a piece at a time.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), StoreError> {
    loop {
        let rescued = shared.store.rescue(RESCUE).await?;
        if rescued.is_empty() {
            break;
        }
        for claimed in rescued {
            adopt(shared, claimed);
        }
    }
    for backlog in shared.store.backlog().await? {
        let due = shared.due_or_at_once(backlog.endpoint, backlog.first_due);
        shared.dispatcher.note_stored([backlog.endpoint], due);
    }
    Ok(())
}

/// Takes over what other engines had claimed that have ended since this one began. What is not this engine's goes to its own by way of the store.
pub(crate) async fn rescue(shared: &Arc<Shared>) -> Result<(), StoreError> {
    while !shared.is_stopping() {
        let rescued = shared.store.rescue(RESCUE).await?;
        if rescued.is_empty() {
            break;
        }
        for claimed in rescued {
            adopt(shared, claimed);
        }
        // One piece at a time is in memory.
        shared.settler.passed(shared.settler.mark()).await;
    }
    Ok(())
}

/// A delivery that was being sent when its engine died goes on at once; the others wait in the store until there is room.
fn adopt(shared: &Arc<Shared>, claimed: Claimed) {
    let open = claimed.open_attempt.clone();
    let job = Job::from(claimed);
    shared.dispatcher.adopt(&job);
    if job.stored == StateKind::Sending {
        shared.settler.push(Entry::interrupted(job, open, true, shared.now()));
    } else {
        shared.settler.push_back(vec![job]);
    }
}

/// Wakes whatever is due.
pub(crate) async fn timers(shared: Arc<Shared>) {
    loop {
        let next = shared.dispatcher.tick(&shared, HORIZON);
        // The clock may have been set back since.
        let wait = next.since(shared.now()).min(HORIZON);
        tokio::select! {
            biased;
            () = shared.dispatcher.timer.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Gives up what was parked for too long. Apart from [retention](crate::retain), which must go on when this cannot: it is what makes room on a full disk.
pub(crate) async fn give_up(shared: Arc<Shared>) {
    loop {
        let mut wait = shared.config.retention.every;
        for endpoint in shared.dispatcher.parked() {
            if let Err(error) = give_up_parked(&shared, endpoint).await {
                tracing::error!(%error, cause = error.cause, "deliveries to disabled endpoints cannot be given up for the moment");
                wait = wait.min(UPKEEP_RETRY);
            }
        }
        if !shared.goes_on_after(wait).await {
            return;
        }
    }
}

/// Deliveries whose endpoint stayed disabled for too long become dead letters.
async fn give_up_parked(shared: &Arc<Shared>, endpoint: EndpointId) -> Result<(), StoreError> {
    while is_parked_too_long(shared, endpoint) && !shared.is_stopping() {
        let due_by = shared.now().before(shared.config.retention.parked);
        let request = ClaimRequest { endpoint, due_by, limit: GIVE_UP, max_bytes: GIVE_UP_BYTES };
        let batches = shared.store.claim(vec![request]).await?;
        let jobs: Vec<Job> = batches.into_iter().flat_map(|b| b.deliveries).map(Job::from).collect();
        if jobs.is_empty() {
            break;
        }
        jobs.iter().for_each(|job| shared.dispatcher.adopt(job));
        // Somebody may have enabled it meanwhile, also through another engine.
        let looked = catch_up(shared).await;
        if looked.is_err() || !is_parked_too_long(shared, endpoint) {
            shared.settler.push_back(jobs);
            return looked;
        }
        shared.settler.extend(jobs.into_iter().map(|job| Entry::given_up(shared, job)));
        // One piece at a time is in memory.
        shared.settler.passed(shared.settler.mark()).await;
    }
    Ok(())
}

/// By how long it takes nothing, not by the age of its deliveries: they may be old for other reasons.
fn is_parked_too_long(shared: &Shared, endpoint: EndpointId) -> bool {
    let since = shared.routes.load().parked_since(endpoint);
    since.is_some_and(|at| at.after(shared.config.retention.parked) <= shared.now())
}

/// Ends deliveries that waited for longer than they were worth making, while nobody else looks at them: in the store for a paused endpoint
/// or behind others, in memory for their turn.
pub(crate) async fn expire(shared: Arc<Shared>) {
    loop {
        let mut wait = EXPIRY;
        if let Err(error) = expire_once(&shared).await {
            tracing::error!(%error, cause = error.cause, "deliveries that are past their time to live cannot be ended for the moment");
            wait = UPKEEP_RETRY;
        }
        if !shared.goes_on_after(wait).await {
            return;
        }
    }
}

async fn expire_once(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let in_memory = shared.dispatcher.expired(shared.now());
    shared.settler.extend(in_memory.into_iter().map(|job| Entry::expired(shared, job)));
    // They come on top of what may be held: no more at a time than a quarter of that.
    let limit = u32::try_from(shared.config.limits.held / 4).unwrap_or(GIVE_UP).clamp(1, GIVE_UP);
    while !shared.is_stopping() && shared.leads() && shared.store.next_expiry().await?.is_some_and(|at| at <= shared.now()) {
        let claimed = shared.store.claim_expired(shared.now(), limit, GIVE_UP_BYTES).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let jobs: Vec<Job> = claimed.into_iter().map(Job::from).collect();
        jobs.iter().for_each(|job| shared.dispatcher.adopt(job));
        shared.settler.extend(jobs.into_iter().map(|job| Entry::expired(shared, job)));
        // One piece at a time is in memory.
        shared.settler.passed(shared.settler.mark()).await;
    }
    Ok(())
}

/// Closes lanes that nobody uses.
pub(crate) async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LANE_IDLE / 4).await;
        let now = shared.now();
        shared.dispatcher.sweep(now.before(LANE_IDLE), now);
    }
}

/// Takes over configuration that others have changed.
pub(crate) async fn configuration(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.configured.notified() => {}
            () = tokio::time::sleep(CONFIGURATION) => {}
        }
        // What went wrong was logged.
        _ = see_changes(&shared).await;
    }
}

/// Makes sure that all configuration is known that was stored before this was called. To be called before anything is ended, left out or refused because
/// something is not configured: where several engines share a store, another one may have configured it a moment ago.
pub(crate) async fn catch_up(shared: &Arc<Shared>) -> Result<(), StoreError> {
    if shared.store.is_shared() { see_changes(shared).await } else { Ok(()) }
}

/// The same of all that was stored before so many looks had begun: what a later one found counts, and nobody looks for each of many deliveries.
pub(crate) async fn catch_up_since(shared: &Arc<Shared>, looks: u64) -> Result<(), StoreError> {
    match shared.looks.ended_since(looks).filter(|_| shared.store.is_shared()) {
        Some(looked) => looked,
        None => catch_up(shared).await,
    }
}

/// Takes over configuration that others changed before this was called. Of many callers at once, all but the first share one look.
pub(crate) async fn see_changes(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let looks = shared.looks.begun();
    // A change of this engine's own is in force before anybody can ask for its version.
    let editing = Arc::clone(&shared.editing).lock_owned().await;
    if let Some(looked) = shared.looks.over_since(looks) {
        return looked;
    }
    shared.looks.begin();
    let shared = Arc::clone(shared);
    // Others rely on a look that has begun, also where the one who began it goes away.
    let look = tokio::spawn(async move {
        let _editing = editing;
        let looked = reload_if_changed(&shared).await;
        if let Err(error) = &looked {
            tracing::warn!(%error, cause = error.cause, "the configuration cannot be read for the moment");
        }
        shared.looks.end(looked.clone());
        looked
    });
    look.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a look for changes of the configuration ended early");
        Err(broken_off())
    })
}

/// Takes over configuration that others changed. To be called under `editing`.
pub(crate) async fn reload_if_changed(shared: &Arc<Shared>) -> Result<(), StoreError> {
    if shared.store.configuration_version().await? == shared.routes.load().version {
        return Ok(());
    }
    reload(shared).await
}

/// Reads the configuration again and puts it in force. To be called under `editing`.
pub(crate) async fn reload(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let configuration = shared.store.configuration().await?;
    shared.config.keys.refresh();
    if configuration.endpoints.iter().any(Endpoint::is_erased) {
        shared.erased.notify_one();
    }
    let old = shared.routes.load_full();
    let new = Routes::new(configuration, &shared.config.keys.ring(), &shared.config.user_agent);
    let fewer = retired::without_idle(shared, &new, shared.now().before(IN_USE)).await.unwrap_or_else(|error| {
        // They are forgotten a while later: nothing waits for that.
        tracing::warn!(%error, cause = error.cause, "deleted bindings cannot be forgotten for the moment");
        None
    });
    let new = Arc::new(fewer.unwrap_or(new));
    shared.routes.store(Arc::clone(&new));
    let gone = old.endpoints().filter(|e| new.endpoint(e.id).is_none()).map(|e| e.id);
    let wanted = |routes: &Routes, id| (routes.rate_limit(id), routes.parked_since(id));
    let is_changed = |e: &&Arc<Endpoint>| old.endpoint(e.id) != Some(*e) || wanted(&old, e.id) != wanted(&new, e.id);
    let changed = new.endpoints().filter(is_changed).map(|e| e.id);
    for endpoint in gone.chain(changed).collect::<Vec<_>>() {
        announce(shared, endpoint);
    }
    Ok(())
}

/// Tells the dispatcher that an endpoint, or what its subscriptions want of it, changed; whoever changes them at run time does it under
/// `editing`.
pub(crate) fn announce(shared: &Arc<Shared>, id: EndpointId) {
    let routes = shared.routes.load();
    let endpoint = routes.endpoint(id);
    if endpoint.is_none() {
        // Its waiting deliveries end at once, whenever they were due.
        shared.dispatcher.expedite(id);
    }
    if let Some(reason) = routes.unreadable(id) {
        tracing::error!(endpoint = %id, reason, "a secret of an endpoint cannot be opened: its deliveries fail until the key is back");
    }
    if endpoint.is_none_or(|endpoint| endpoint.status != EndpointStatus::Active) {
        shared.forget_failures(id);
    }
    let settings =
        endpoint.map(|e| Settings { rate: routes.rate_limit(id), concurrency: e.concurrency, parked: routes.parked_since(id).is_some() });
    shared.dispatcher.configure(shared, id, settings.unwrap_or_default());
}

/// Disables endpoints whose receivers said that they want no more.
pub(crate) async fn disable(shared: Arc<Shared>) {
    loop {
        shared.disable.notified().await;
        let wanted = std::mem::take(&mut *shared.disabling.lock());
        for (id, reason) in wanted {
            while let Err(error) = disable_one(&shared, id, reason).await {
                tracing::error!(%error, cause = error.cause, endpoint = %id, "an endpoint cannot be disabled for the moment");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn disable_one(shared: &Arc<Shared>, id: EndpointId, reason: ErrorCode) -> Result<(), StoreError> {
    edit(shared, |routes| {
        let active = routes.endpoint(id).filter(|e| e.status == EndpointStatus::Active);
        let at = shared.now();
        let change = active.map(|e| {
            tracing::warn!(endpoint = %id, %reason, "an endpoint was disabled; its deliveries wait until it is enabled again");
            ConfigChange::Endpoint(Endpoint { status: EndpointStatus::Disabled { reason, at }, updated_at: at, ..Endpoint::clone(e) })
        });
        Ok::<_, StoreError>((change.into_iter().collect(), ()))
    })
    .await
}
