//! `postrider destinations create` and `update`.

use super::{Destination, NOUN};
use crate::cli::client::Asked;
use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Size;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Flags of `postrider destinations create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider destinations create https://shop.example.com/hooks --name shop --secret - < secret.txt
  pass show token | postrider destinations create https://shop.example.com/ --name shop --bearer -")]
pub struct Create {
    /// Where to send, http or https.
    #[arg(value_name = "URL")]
    target: String,
    /// What to call it.
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Make it paused.
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Flags of `postrider destinations update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider destinations update DESTINATION --to https://shop.example.com/new
  postrider destinations update 0197f3a2-5b1c-7d4e-8f90-123456789abc --without credentials,headers
  postrider destinations update 0197f3a2-5b1c-7d4e-8f90-123456789abc --active")]
pub struct Update {
    /// Id of the destination.
    #[arg(value_name = "ID")]
    id: String,
    /// Where to send from now on.
    #[arg(long = "to", value_name = "URL")]
    target: Option<String>,
    /// What to call it.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Send to it.
    #[arg(long, conflicts_with = "paused")]
    active: bool,
    /// Send nothing to it until it is active again; what comes for it waits.
    #[arg(long)]
    paused: bool,
    /// What to take away.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    without: Vec<Without>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Without {
    /// Every header.
    Headers,
    /// The credentials.
    Credentials,
    /// The signing secret: nothing is signed any more.
    Secret,
    /// The bound of bodies.
    PayloadCap,
}

/// What is the same for both.
#[derive(Debug, clap::Args)]
struct Settings {
    /// A header of every request; VALUE may be @FILE. May be given several times, and replaces those it has. Those whose names say that they are
    /// secrets (token, key, authorization and others) are stored encrypted and never shown again.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,
    /// Send Authorization: Bearer with this token: - reads it from stdin, @FILE from a file.
    #[arg(long, value_name = "TOKEN|@FILE|-", group = "credentials")]
    bearer: Option<String>,
    /// Send Authorization: Basic with this name and password, as NAME:PASSWORD: - reads them from stdin, @FILE from a file.
    #[arg(long, value_name = "NAME:PASSWORD|@FILE|-", group = "credentials")]
    basic: Option<String>,
    /// Send an API key in a header: - reads it from stdin, @FILE from a file.
    #[arg(long, value_name = "KEY|@FILE|-", group = "credentials")]
    api_key: Option<String>,
    /// The header of --api-key [default: X-API-Key].
    #[arg(long, value_name = "NAME", requires = "api_key")]
    api_key_header: Option<String>,
    /// The signing secret: - reads it from stdin, @FILE from a file. Without one nothing is signed.
    #[arg(long, value_name = "SECRET|@FILE|-")]
    secret: Option<String>,
    /// Largest body that is sent, such as 1MiB; what is larger fails for good.
    #[arg(long, value_name = "SIZE")]
    payload_cap: Option<Size>,
}

/// A request; what it leaves out stays, or has its default.
#[derive(Debug, Default, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Config::is_empty")]
    config: Config,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_cap_bytes: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
}

#[derive(Debug, Default, Serialize)]
struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
}

impl Config {
    fn is_empty(&self) -> bool {
        self.url.is_none() && self.headers.is_none()
    }
}

impl Settings {
    /// What is given of them, as the API has it.
    fn request(&self) -> Result<Request, Failure> {
        Ok(Request {
            config: Config { url: None, headers: (!self.headers.is_empty()).then(|| self.headers()).transpose()? },
            auth_config: self.credentials()?,
            signing_secret: self.secret.as_deref().map(|given| input::secret("--secret", given).map(Some)).transpose()?,
            payload_cap_bytes: self.payload_cap.map(|size| Some(size.0)),
            ..Request::default()
        })
    }

    fn headers(&self) -> Result<BTreeMap<String, String>, Failure> {
        let read = |(name, value): &(String, String)| -> Result<(String, String), Failure> {
            let whole = if value.starts_with('@') { input::secret("--header", value)? } else { value.clone() };
            Ok((name.clone(), whole))
        };
        self.headers.iter().map(read).collect()
    }

    fn credentials(&self) -> Result<Option<Value>, Failure> {
        if let Some(given) = &self.bearer {
            let token = input::secret("--bearer", given)?;
            return Ok(Some(json!({ "type": "bearer", "token": token })));
        }
        if let Some(given) = &self.basic {
            let both = input::secret("--basic", given)?;
            let (username, password) =
                both.split_once(':').ok_or_else(|| Failure::usage("--basic: give NAME:PASSWORD, with a colon between"))?;
            return Ok(Some(json!({ "type": "basic", "username": username, "password": password })));
        }
        let Some(given) = &self.api_key else { return Ok(None) };
        let mut config = json!({ "type": "api_key", "api_key": input::secret("--api-key", given)? });
        if let Some(header) = &self.api_key_header {
            config["header_name"] = json!(header);
        }
        Ok(Some(config))
    }
}

impl Update {
    fn request(self) -> Result<(String, Request), Failure> {
        let mut request = self.settings.request()?;
        for without in &self.without {
            let is_given = match without {
                Without::Headers => request.config.headers.replace(BTreeMap::new()).is_some(),
                Without::Credentials => request.auth_config.replace(json!({ "type": "none" })).is_some(),
                Without::Secret => request.signing_secret.replace(None).is_some(),
                Without::PayloadCap => request.payload_cap_bytes.replace(None).is_some(),
            };
            if is_given {
                return Err(Failure::usage("something is given and taken away with --without: leave one of the two"));
            }
        }
        request.config.url = self.target;
        request.name = self.name;
        request.is_active = if self.paused { Some(false) } else { self.active.then_some(true) };
        Ok((self.id, request))
    }
}

/// Makes a destination.
pub async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let mut request = args.settings.request()?;
    request.name = Some(args.name);
    request.kind = Some("webhook");
    request.config.url = Some(args.target);
    request.is_active = args.paused.then_some(false);
    server.only_own().await?;
    let answer = server.ask(Asked::new(Method::POST, NOUN.path).with_json(&request)?).await?;
    server.show(&answer, |_, made: &Destination| format!("{}\n", made.id))?;
    if !server.out.is_json() {
        say("it gets nothing yet: postrider bindings create says what it gets");
    }
    Ok(())
}

/// Changes a destination.
pub async fn update(server: &Remote, args: Update) -> Result<(), Failure> {
    let (id, request) = args.request()?;
    let asked = Asked::new(Method::PUT, NOUN.at(&id)?).with_json(&request)?;
    if serde_json::to_value(&request).is_ok_and(|written| written == json!({})) {
        return Err(Failure::usage("nothing is to be changed: give what, see --help"));
    }
    server.only_own().await?;
    let answer = server.ask(asked).await?;
    if server.out.is_json() {
        return server.out.json_text(answer.json()?);
    }
    say("changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn request_of(line: &str) -> Result<Value, String> {
        let line = Line::try_parse_from(std::iter::once("update").chain(line.split_whitespace())).map_err(|error| error.to_string())?;
        let (_, request) = line.update.request().map_err(|failure| failure.to_string())?;
        serde_json::to_value(&request).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_given_is_changed() {
        assert_eq!(request_of("id"), Ok(json!({})));
        let given = "id --to https://h/ --paused --bearer tok --payload-cap 1KiB -H X-A:b";
        let expected = json!({
            "config": {"url": "https://h/", "headers": {"X-A": "b"}},
            "auth_config": {"type": "bearer", "token": "tok"},
            "payload_cap_bytes": 1024,
            "is_active": false,
        });
        assert_eq!(request_of(given), Ok(expected));
        let taken = json!({
            "config": {"headers": {}}, "auth_config": {"type": "none"}, "signing_secret": null, "payload_cap_bytes": null,
        });
        assert_eq!(request_of("id --without headers,credentials,secret,payload-cap"), Ok(taken));
    }

    #[test]
    fn credentials_are_of_one_kind() {
        let of = |line: &str| request_of(line).map(|request| request["auth_config"].clone());
        assert_eq!(of("id --basic me:a:b"), Ok(json!({"type": "basic", "username": "me", "password": "a:b"})));
        assert_eq!(of("id --api-key k --api-key-header X-K"), Ok(json!({"type": "api_key", "api_key": "k", "header_name": "X-K"})));
        for bad in ["id --bearer a --basic b:c", "id --api-key-header X-K", "id --basic me", "id --bearer a --without credentials"] {
            assert!(request_of(bad).is_err(), "{bad}");
        }
    }
}
