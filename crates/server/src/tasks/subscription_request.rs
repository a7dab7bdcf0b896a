//! What a client says about a subscription, checked.

use super::subscriptions::MASK;
use crate::config::value::Secret;
use crate::http::json::{Field, Fields, clip};
use crate::http::{Problem, target};
use postrider_core::filter::TypePattern;
use postrider_core::guard::Guard;
use postrider_core::sign::SigningKey;

/// Most event types of one subscription.
const MAX_EVENT_TYPES: usize = 100;

/// Longest secret, in bytes.
pub(crate) const MAX_SECRET_BYTES: usize = 1_024;

const FIELDS: [&str; 3] = ["target_url", "secret", "event_types"];

/// The fields of `POST` and `PUT`.
#[derive(Debug)]
pub(super) struct Request {
    /// Checked, in the spelling in which it is kept.
    pub(super) target_url: Field<String>,
    /// A usable secret; an empty one means none.
    pub(super) secret: Field<Secret>,
    /// The event types; an empty list means all.
    pub(super) patterns: Field<Vec<TypePattern>>,
}

impl Request {
    pub(super) fn parse(body: &[u8], guard: &Guard) -> Result<Self, Problem> {
        let fields = Fields::parse(body, &FIELDS)?;
        Ok(Request {
            target_url: match fields.text("target_url")? {
                Field::Value(url) => Field::Value(target_url(&url, guard)?),
                Field::Null => return Err(Problem::bad_request("the field \"target_url\" must not be null: a subscription needs a URL")),
                Field::Absent => Field::Absent,
            },
            secret: match fields.text("secret")? {
                Field::Value(secret) if secret.is_empty() => Field::Null,
                Field::Value(secret) => Field::Value(check_secret(Secret::new(secret))?),
                Field::Null => Field::Null,
                Field::Absent => Field::Absent,
            },
            patterns: match fields.text_or_list("event_types")? {
                Field::Value(texts) => Field::Value(patterns(&texts)?),
                Field::Null => Field::Null,
                Field::Absent => Field::Absent,
            },
        })
    }
}

fn target_url(url: &str, guard: &Guard) -> Result<String, Problem> {
    target::check(url, guard).map_err(|e| Problem::bad_request(format!("target_url: {e}")))
}

fn check_secret(secret: Secret) -> Result<Secret, Problem> {
    if secret.reveal().len() > MAX_SECRET_BYTES {
        return Err(Problem::bad_request(format!("secret: at most {MAX_SECRET_BYTES} bytes")));
    }
    // Whoever changes what GET shows and sends it back does not mean to set this.
    if secret.reveal() == MASK {
        return Err(Problem::bad_request("secret: this is the mask that GET shows; leave the field away to keep the secret"));
    }
    match SigningKey::new(secret.reveal()) {
        Ok(_) => Ok(secret),
        Err(error) => Err(Problem::bad_request(format!("secret: {error}"))),
    }
}

fn patterns(texts: &[String]) -> Result<Vec<TypePattern>, Problem> {
    let mut patterns = Vec::new();
    for name in texts.iter().flat_map(|t| t.split(',')).map(str::trim).filter(|n| !n.is_empty()) {
        let pattern = TypePattern::parse(name).map_err(|e| Problem::bad_request(format!("event_types: {:?}: {e}", clip(name))))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    if patterns.len() > MAX_EVENT_TYPES {
        return Err(Problem::bad_request(format!("event_types: at most {MAX_EVENT_TYPES}")));
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Request, Problem> {
        Request::parse(body.as_bytes(), &Guard::default())
    }

    fn url_kept(url: &str) -> String {
        let body = serde_json::json!({ "target_url": url }).to_string();
        parse(&body).expect(url).target_url.value().expect("a url")
    }

    #[test]
    fn the_clients_spelling_is_kept_where_it_is_safe() {
        assert_eq!(url_kept("https://example.com"), "https://example.com");
        assert_eq!(url_kept("https://example.com/a?b=c%20d"), "https://example.com/a?b=c%20d");
        assert_eq!(url_kept("https://EXAMPLE.com/a"), "https://example.com/a");
        assert_eq!(url_kept("https://b\u{fc}cher.example/"), "https://xn--bcher-kva.example/");
        assert_eq!(url_kept("https://134744072/"), "https://8.8.8.8/");
    }

    #[test]
    fn event_types_come_as_text_or_list() {
        let names = |body: &str| parse(body).map(|r| r.patterns.value().map(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(names(r#"{"event_types": " a.b , c.*,,a.b"}"#), Ok(Some(vec![String::from("a.b"), String::from("c.*")])));
        assert_eq!(names(r#"{"event_types": ["x", "y,z"]}"#), Ok(Some(vec![String::from("x"), String::from("y"), String::from("z")])));
        assert_eq!(names(r#"{"event_types": ""}"#), Ok(Some(vec![])));
        assert_eq!(names(r#"{"event_types": null}"#), Ok(None));
        assert!(names(r#"{"event_types": "a b"}"#).is_err());
        assert!(names(r#"{"event_types": 3}"#).is_err());
    }

    #[test]
    fn secrets_must_be_usable() {
        assert_eq!(parse(r#"{"secret": ""}"#).map(|r| r.secret), Ok(Field::Null));
        assert_eq!(parse(r#"{"secret": "s"}"#).map(|r| r.secret), Ok(Field::Value(Secret::new("s"))));
        assert!(parse(r#"{"secret": "whsec_!!!"}"#).is_err());
        assert!(parse(&format!(r#"{{"secret": "{}"}}"#, "x".repeat(1_025))).is_err());
    }

    #[test]
    fn a_url_cannot_be_cleared_and_must_be_allowed() {
        assert!(parse(r#"{"target_url": null}"#).is_err());
        let refused = parse(r#"{"target_url": "https://127.0.0.1/"}"#).expect_err("blocked");
        assert!(refused.message.contains("--allow-network"), "{}", refused.message);
    }
}
