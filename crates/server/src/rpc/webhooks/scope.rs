//! What of a request's fields counts.

use crate::http::Problem;
use crate::http::json::clip;
use postrider_proto::Mask;

/// What a mask can name besides the fields of `http_config`.
const FIELDS: [&str; 9] =
    ["url", "active", "description", "events", "headers", "secret_headers", "http_config", "signature_type", "timeout"];

/// What a mask can name below `http_config`.
const HTTP_FIELDS: [&str; 11] = [
    "max_retries",
    "retry_backoff_seconds",
    "capture_response_body",
    "follow_redirects",
    "verify_ssl",
    "request_timeout_seconds",
    "expected_status_codes",
    "webhook_secret",
    "user_agent",
    "content_type",
    "rate_limit_rps",
];

/// What is wanted of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rpc) enum Want<T> {
    /// That it stays.
    Keep,
    /// What a webhook has of which nothing is said.
    Default,
    /// This.
    Set(T),
}

impl<T> Want<T> {
    /// Checks or converts what is sent.
    pub(in crate::rpc) fn read<U>(self, check: impl FnOnce(T) -> Result<U, Problem>) -> Result<Want<U>, Problem> {
        Ok(match self {
            Want::Keep => Want::Keep,
            Want::Default => Want::Default,
            Want::Set(sent) => Want::Set(check(sent)?),
        })
    }

    /// The value from now on, where it is another one than before.
    pub(in crate::rpc) fn or(self, default: impl FnOnce() -> T) -> Option<T> {
        match self {
            Want::Keep => None,
            Want::Default => Some(default()),
            Want::Set(value) => Some(value),
        }
    }

    /// Whether it stays.
    pub(in crate::rpc) fn keeps(&self) -> bool {
        matches!(self, Want::Keep)
    }
}

/// Which fields of a request count.
#[derive(Clone, Copy, Debug)]
pub(in crate::rpc) enum Counts<'m> {
    /// All of them, and those that are not sent take their defaults: a registration.
    All,
    /// Those that are sent: an update without a mask.
    Sent,
    /// Those that the mask names; if they are not sent, with their defaults.
    Named(&'m Mask),
}

impl<'m> Counts<'m> {
    /// Of an update. Every path of its mask must be one.
    pub(in crate::rpc) fn of_update(mask: &'m Mask) -> Result<Self, Problem> {
        let is_known =
            |path: &str| FIELDS.contains(&path) || path.strip_prefix("http_config.").is_some_and(|field| HTTP_FIELDS.contains(&field));
        if let Some(path) = mask.paths.iter().find(|path| !is_known(path)) {
            let (fields, below) = (FIELDS.join(", "), HTTP_FIELDS.join(", "));
            let message = format!("update_mask: unknown path {:?}; known: {fields}, and below http_config {below}", clip(path));
            return Err(Problem::bad_request(message));
        }
        Ok(if mask.is_empty() { Counts::Sent } else { Counts::Named(mask) })
    }

    /// What is wanted of a field.
    pub(in crate::rpc) fn of<T>(self, path: &str, sent: Option<T>) -> Want<T> {
        match (self, sent) {
            (Counts::Named(mask), _) if !mask.names(path) => Want::Keep,
            (_, Some(sent)) => Want::Set(sent),
            (Counts::Sent, None) => Want::Keep,
            (Counts::All | Counts::Named(_), None) => Want::Default,
        }
    }

    /// What is wanted of a field of `http_config`. Where the mask names all of it, those count that are sent in it; only where none of it is
    /// sent all are meant.
    pub(in crate::rpc) fn of_http<T>(self, field: &str, sent: Option<T>, is_config_sent: bool) -> Want<T> {
        let Counts::Named(mask) = self else { return self.of(field, sent) };
        let path = format!("http_config.{field}");
        if mask.names("http_config") && !mask.names(&path) {
            return match sent {
                Some(sent) => Want::Set(sent),
                None if is_config_sent => Want::Keep,
                None => Want::Default,
            };
        }
        self.of(&path, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Mask {
        Mask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    #[test]
    fn what_counts_follows_from_the_mask() {
        let (url, http, below) = (mask(&["url"]), mask(&["http_config"]), mask(&["http_config.max_retries"]));
        let none = mask(&[]);
        let named = |mask| Counts::of_update(mask).expect("a right mask");
        assert_eq!((Counts::All.of("url", None::<u8>), Counts::All.of("url", Some(1))), (Want::Default, Want::Set(1)));
        assert_eq!((named(&none).of("url", None::<u8>), named(&none).of("url", Some(1))), (Want::Keep, Want::Set(1)));
        assert_eq!((named(&url).of("url", None::<u8>), named(&url).of("url", Some(1))), (Want::Default, Want::Set(1)));
        assert_eq!((named(&http).of("url", None::<u8>), named(&http).of("url", Some(1))), (Want::Keep, Want::Keep));
        let retries = |counts: Counts<'_>, sent: Option<u8>, is_config_sent| counts.of_http("max_retries", sent, is_config_sent);
        assert_eq!((retries(Counts::All, None, false), retries(named(&none), None, true)), (Want::Default, Want::Keep));
        assert_eq!((retries(named(&http), Some(1), true), retries(named(&http), None, true)), (Want::Set(1), Want::Keep));
        assert_eq!(retries(named(&http), None, false), Want::Default);
        assert_eq!((retries(named(&below), Some(1), true), retries(named(&below), None, true)), (Want::Set(1), Want::Default));
        assert_eq!(named(&below).of_http("user_agent", Some(1), true), Want::Keep);
    }

    #[test]
    fn every_path_of_a_mask_must_be_one() {
        for path in ["id", "http_config.", "http_config.url", "webhook_secret", "http_config.max_retries.x"] {
            let refused = Counts::of_update(&mask(&["url", path])).map(drop).expect_err("no path");
            assert!(refused.status == 400 && refused.message.contains(&format!("{path:?}")), "{}", refused.message);
        }
    }
}
