//! What a destination is made of, as a request says it (contract, section 9.1).

use crate::config::value::Secret;
use crate::http::json::Field;
use crate::http::{Problem, Reader};
use postrider_core::auth::{Auth, DEFAULT_API_KEY_HEADER, Seal};
use postrider_core::catalog::WEBHOOK;
use postrider_core::endpoint::{MAX_HEADERS, PAYLOAD_CAPS, check_header};
use postrider_core::guard::Guard;
use postrider_core::seal::Sealed;
use postrider_core::sign::SigningKey;
use std::collections::BTreeMap;

const FIELDS: [&str; 7] = ["name", "type", "config", "auth_config", "signing_secret", "payload_cap_bytes", "is_active"];

/// Longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// Longest signing secret, in bytes.
pub(crate) const MAX_SECRET_BYTES: usize = 1_024;

/// What a value is shown as that nobody gets to see.
pub(super) const MASK: &str = "********";

/// Names of headers whose values are secrets: sealed at rest and masked when shown.
const SENSITIVE: [&str; 11] = ["auth", "cookie", "token", "secret", "pass", "key", "credential", "signature", "session", "jwt", "access"];

/// What a request says; what it leaves out is `Absent`.
#[derive(Debug)]
pub(super) struct Wanted {
    pub name: Option<String>,
    pub url: Option<String>,
    pub headers: Option<Vec<Header>>,
    pub auth: Option<Auth>,
    pub secret: Field<Secret>,
    pub payload_cap: Field<u32>,
    pub is_active: Option<bool>,
}

/// An extra header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Anybody may see its value.
    Plain(String, String),
    /// Nobody may.
    Secret(String, Sealed),
    /// Its value is the mask that was shown: it stays as it is.
    Kept(String),
}

/// What to check against, and how to seal.
pub(super) struct Means<'m> {
    pub guard: &'m Guard,
    pub seal: Seal<'m>,
    /// The credentials that hold where the request names none.
    pub auth: &'m Auth,
}

impl Wanted {
    /// Reads a request. With `is_new`, what a destination cannot do without must be there.
    pub(super) fn parse(body: &[u8], is_new: bool, means: &mut Means<'_>) -> Result<Self, Problem> {
        let reader = Reader::open(body, &FIELDS)?;
        let name = set(&reader, "name", is_new, reader.text("name", 1..=MAX_NAME_BYTES));
        kind(&reader, is_new);
        let auth = auth(&reader, means.seal);
        let config = set(&reader, "config", is_new, reader.object("config", &["url", "headers"]));
        let url = config.as_ref().and_then(|config| url(config, is_new, means.guard));
        let effective = auth.as_ref().unwrap_or(means.auth);
        let headers = config.as_ref().and_then(|config| headers(config, effective, means.seal));
        let secret = match reader.read("signing_secret", "a string", |secret: &String| check_secret(secret)) {
            Field::Value(secret) => Field::Value(Secret::new(secret)),
            Field::Null => Field::Null,
            Field::Absent => Field::Absent,
        };
        let (least, most) = PAYLOAD_CAPS;
        let payload_cap = match reader.number("payload_cap_bytes", u64::from(least)..=u64::from(most)) {
            Field::Value(cap) => u32::try_from(cap).map_or(Field::Absent, Field::Value),
            Field::Null => Field::Null,
            Field::Absent => Field::Absent,
        };
        let is_active = set(&reader, "is_active", false, reader.flag("is_active"));
        reader.finish()?;
        Ok(Wanted { name, url, headers, auth, secret, payload_cap, is_active })
    }
}

/// A field that may be left out of an update, and never be `null`.
pub(super) fn set<T>(reader: &Reader<'_>, name: &str, is_required: bool, field: Field<T>) -> Option<T> {
    match field {
        Field::Value(value) => Some(value),
        Field::Null => {
            reader.fail(name, "must not be null");
            None
        }
        Field::Absent => {
            if is_required && !reader.is_bad(name) {
                reader.fail(name, "is required");
            }
            None
        }
    }
}

/// The type of a destination is given once, and `webhook` is the only one.
fn kind(reader: &Reader<'_>, is_new: bool) {
    let rule =
        |kind: &String| if kind == WEBHOOK { Ok(()) } else { Err(String::from("must be \"webhook\": this server has no other connector")) };
    match (is_new, reader.read("type", "a string", rule)) {
        (true, field) => _ = set(reader, "type", true, field),
        (false, Field::Absent) => {}
        (false, _) => reader.fail("type", "cannot be changed: leave it out"),
    }
}

fn url(config: &Reader<'_>, is_new: bool, guard: &Guard) -> Option<String> {
    let text = set(config, "url", is_new, config.read("url", "a string", |_: &String| Ok(())))?;
    match crate::http::target::check(&text, guard) {
        Ok(url) => Some(url),
        Err(error) => {
            config.fail("url", error.to_string());
            None
        }
    }
}

fn headers(config: &Reader<'_>, auth: &Auth, seal: Seal<'_>) -> Option<Vec<Header>> {
    let rule = |headers: &BTreeMap<String, String>| {
        if headers.len() > MAX_HEADERS { Err(format!("must have at most {MAX_HEADERS} entries")) } else { Ok(()) }
    };
    let given = match config.texts("headers", rule) {
        Field::Value(given) => given,
        Field::Null => return Some(Vec::new()),
        Field::Absent => return None,
    };
    let mut headers: Vec<Header> = Vec::with_capacity(given.len());
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if let Err(rule) = check_header(&name, &value, auth) {
            config.fail(&format!("headers.{}", crate::http::json::clip(&name)), rule.to_string());
            continue;
        }
        if names.contains(&lower) {
            config.fail(&format!("headers.{name}"), "is there twice: the names of headers differ in more than upper and lower case");
            continue;
        }
        headers.push(match SENSITIVE.iter().any(|word| lower.contains(word)) {
            true if value == MASK => Header::Kept(name),
            true => Header::Secret(name, seal(value.as_bytes())),
            false => Header::Plain(name, value),
        });
        names.push(lower);
    }
    Some(headers)
}

fn auth(reader: &Reader<'_>, seal: Seal<'_>) -> Option<Auth> {
    const PATH: &str = "auth_config";
    const ALL: [&str; 6] = ["type", "token", "username", "password", "api_key", "header_name"];
    let config = match reader.object(PATH, &ALL) {
        Field::Absent => return None,
        Field::Null => return Some(Auth::None),
        Field::Value(config) => config,
    };
    let text = |name: &str| config.read(name, "a string", |_: &String| Ok(()));
    let kind = config.required("type", text("type"))?;
    let known: &[&str] = match kind.as_str() {
        "none" => &["type"],
        "bearer" => &["type", "token"],
        "basic" => &["type", "username", "password"],
        "api_key" => &["type", "api_key", "header_name"],
        _ => {
            config.fail("type", "must be \"none\", \"bearer\", \"basic\" or \"api_key\"");
            return None;
        }
    };
    for name in ALL.iter().filter(|name| !known.contains(name) && !matches!(config.raw(name), Field::Absent)) {
        config.fail(name, format!("has no meaning with the type {kind:?}: leave it out"));
    }
    let made = match kind.as_str() {
        "bearer" => Auth::bearer(&config.required("token", text("token"))?, seal),
        "basic" => {
            let (username, password) = (config.required("username", text("username")), config.required("password", text("password")));
            Auth::basic(&username?, &password?, seal)
        }
        "api_key" => {
            let header = text("header_name").value().unwrap_or_else(|| String::from(DEFAULT_API_KEY_HEADER));
            Auth::api_key(&header, &config.required("api_key", text("api_key"))?, seal)
        }
        _ => Ok(Auth::None),
    };
    made.map_err(|fault| config.fail(&fault.path, fault.message)).ok()
}

fn check_secret(secret: &str) -> Result<(), String> {
    if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
        return Err(format!("must have 1 to {MAX_SECRET_BYTES} bytes; null takes the secret away"));
    }
    if secret == MASK {
        return Err(String::from("is the mask that is shown for secrets; leave it out to keep the secret"));
    }
    SigningKey::new(secret).map(drop).map_err(|e| e.to_string())
}
