//! What a call may see and change: its caller, the namespace it names, the ids in it.

use crate::auth::Access;
use crate::http::Problem;
use crate::http::json::clip;
use connectrpc::{ConnectError, RequestContext};
use http::StatusCode;
use postrider_core::event::Namespace;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::Timestamp;
use std::time::Duration;

/// Who calls; [`super::auth::admit`] has let it through.
pub(super) fn access(context: &RequestContext) -> Result<&Access, ConnectError> {
    // A method outside of that would be open to everybody: it is closed to everybody instead.
    context.extensions().get::<Access>().ok_or_else(|| ConnectError::unauthenticated("missing or invalid API key"))
}

/// The things that a request is about: those of the namespace that it names, as far as the caller sees them; without a name all that it sees.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// What is in this namespace.
    One(Namespace),
    /// Nothing: a namespace that the caller does not see.
    Nothing,
}

impl Scope {
    /// From the `namespace` of a request.
    pub(super) fn of(access: &Access, named: &str) -> Result<Self, Problem> {
        if named.is_empty() {
            return Ok(access.namespace.clone().map_or(Scope::All, Scope::One));
        }
        let named = namespace(named)?;
        Ok(if access.sees(&named) { Scope::One(named) } else { Scope::Nothing })
    }

    /// Whether things of this namespace are among them.
    pub(super) fn has(&self, namespace: &Namespace) -> bool {
        match self {
            Scope::All => true,
            Scope::One(own) => own == namespace,
            Scope::Nothing => false,
        }
    }

    /// What lists of the store are narrowed to, where `None` is everything; `None` where they have nothing.
    pub(super) fn narrowed(self) -> Option<Option<Namespace>> {
        match self {
            Scope::All => Some(None),
            Scope::One(namespace) => Some(Some(namespace)),
            Scope::Nothing => None,
        }
    }
}

/// The namespace in which a request makes something, which it must name.
pub(super) fn own_namespace(access: &Access, named: &str) -> Result<Namespace, Problem> {
    if named.is_empty() {
        return Err(Problem::bad_request("namespace is required"));
    }
    let named = namespace(named)?;
    if access.sees(&named) {
        return Ok(named);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", format!("the API key belongs to another namespace than {named}")))
}

fn namespace(named: &str) -> Result<Namespace, Problem> {
    Namespace::new(named).map_err(|rule| Problem::bad_request(format!("invalid namespace {:?}: {rule}", clip(named))))
}

/// An id of a request: `what` is its name in the contract, `noun` what it is of.
pub(super) fn id<T>(text: &str, what: &str, noun: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
    if text.is_empty() {
        return Err(Problem::bad_request(format!("{what} is required")));
    }
    parse(text).ok_or_else(|| Problem::bad_request(format!("invalid {noun} ID: {:?} is not a UUID", clip(text))))
}

/// What goes against the state in which something is.
pub(super) fn failed_precondition(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "failed_precondition", message)
}

/// A time as the contract has it.
pub(super) fn timestamp(at: Moment) -> Timestamp {
    let micros = at.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default() * 1_000;
    Timestamp::from_unix(micros.div_euclid(1_000_000), nanos)
}

/// A time of a request, in whole microseconds, and whether something was cut off for that: `what` is its name in the contract.
pub(super) fn moment(at: &Timestamp, what: &str) -> Result<(Moment, bool), Problem> {
    let nanos = u32::try_from(at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let micros = nanos.zip(at.seconds.checked_mul(1_000_000)).and_then(|(nanos, micros)| micros.checked_add(i64::from(nanos / 1_000)));
    let micros = micros.ok_or_else(|| Problem::bad_request(format!("{what} is no time")))?;
    Ok((Moment::from_micros(micros), at.nanos % 1_000 != 0))
}

/// A bound in time of a list that begins at an instant, or ends before it: in whole microseconds, as what it bounds has them.
pub(super) fn bound(at: Option<&Timestamp>, what: &str) -> Result<Option<Moment>, Problem> {
    let read = at.map(|at| moment(at, what)).transpose()?;
    // What was cut off is a part of a microsecond, and nothing lies between that and the next one.
    Ok(read.map(|(at, is_cut)| if is_cut { at.after(Duration::from_micros(1)) } else { at }))
}

/// The bounds in time of a list, from the first to before the second: what is made after the one and before the other of the contract.
pub(super) fn span(after: Option<&Timestamp>, before: Option<&Timestamp>) -> Result<(Option<Moment>, Option<Moment>), Problem> {
    let micro = Duration::from_micros(1);
    let after = after.map(|at| moment(at, "created_after")).transpose()?;
    let before = before.map(|at| moment(at, "created_before")).transpose()?;
    // After it, not at it: what is within the last microsecond of it was cut off.
    let from = after.map(|(at, _)| at.after(micro));
    Ok((from, before.map(|(at, is_cut)| if is_cut { at.after(micro) } else { at })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::key::Scopes;

    fn caller(namespace: Option<&str>) -> Access {
        Access { key: None, namespace: namespace.map(|n| Namespace::new(n).expect("a name")), scopes: Scopes::default() }
    }

    #[test]
    fn a_call_is_about_what_its_caller_sees() {
        let (own, other) = (Namespace::new("own").expect("a name"), Namespace::new("other").expect("a name"));
        let has = |caller: &Access, named: &str| Scope::of(caller, named).map(|scope| (scope.has(&own), scope.has(&other)));
        assert_eq!(has(&caller(Some("own")), ""), Ok((true, false)));
        assert_eq!(has(&caller(Some("own")), "own"), Ok((true, false)));
        assert_eq!(has(&caller(Some("own")), "other"), Ok((false, false)));
        assert_eq!(has(&caller(None), ""), Ok((true, true)));
        assert_eq!(has(&caller(None), "other"), Ok((false, true)));
        let narrowed = |caller: &Access, named: &str| Scope::of(caller, named).expect("a name").narrowed();
        assert_eq!((narrowed(&caller(None), ""), narrowed(&caller(Some("own")), "")), (Some(None), Some(Some(own.clone()))));
        assert_eq!(narrowed(&caller(Some("own")), "other"), None);
        assert_eq!(has(&caller(None), "a b").expect_err("no name").status, 400);
        let status = |caller: &Access, named: &str| own_namespace(caller, named).map_err(|problem| problem.status.as_u16());
        assert_eq!(status(&caller(Some("own")), "own"), Ok(own.clone()));
        assert_eq!(status(&caller(None), "own"), Ok(own));
        assert_eq!(status(&caller(Some("own")), "other"), Err(403));
        assert_eq!(status(&caller(Some("own")), ""), Err(400));
    }

    #[test]
    fn times_keep_their_microseconds() {
        for (micros, seconds, nanos) in [(0, 0, 0), (1_700_000_000_000_001, 1_700_000_000, 1_000), (-1, -1, 999_999_000)] {
            let shown = timestamp(Moment::from_micros(micros));
            assert_eq!((shown.seconds, shown.nanos), (seconds, nanos));
        }
    }

    #[test]
    fn bounds_in_time_are_exclusive() {
        let at = |nanos| Timestamp::from_unix(1, nanos);
        let micros = |from: Option<Moment>| from.map(Moment::as_micros);
        let bounds = |nanos| span(Some(&at(nanos)), Some(&at(nanos))).map(|(from, before)| (micros(from), micros(before)));
        assert_eq!((bounds(5_000), bounds(5_001)), (Ok((Some(1_000_006), Some(1_000_005))), Ok((Some(1_000_006), Some(1_000_006)))));
        assert_eq!(span(None, None), Ok((None, None)));
    }

    #[test]
    fn times_of_requests_are_cut_to_microseconds() {
        let read = |seconds, nanos| moment(&Timestamp::from_unix(seconds, nanos), "t").map(|(at, is_cut)| (at.as_micros(), is_cut));
        assert_eq!(
            (read(1, 5_000), read(1, 5_001), read(-1, 999_999_999)),
            (Ok((1_000_005, false)), Ok((1_000_005, true)), Ok((-1, true)))
        );
        let bound = |seconds, nanos| bound(Some(&Timestamp::from_unix(seconds, nanos)), "t").map(|at| at.map(Moment::as_micros));
        assert_eq!((bound(1, 5_000), bound(1, 5_001)), (Ok(Some(1_000_005)), Ok(Some(1_000_006))));
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            let sent = Timestamp { seconds, nanos, ..Timestamp::default() };
            assert_eq!(moment(&sent, "t").map_err(|problem| problem.message), Err(String::from("t is no time")));
        }
    }
}
