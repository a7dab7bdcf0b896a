//! `postrider keys`: works beside a running server, which takes a change over within about a second, and before the first start; with a server's
//! URL or a profile it works through that.

mod through;

use super::door::{Door, Place, Unchanged};
use super::remote::{self, Connection, Exit, Failure};
use super::{CommandError, Outcome, print, say};
use crate::clock::SystemClock;
use crate::config::value::Span;
use crate::{auth, random};
use clap::Subcommand;
use postrider_core::event::Namespace;
use postrider_core::id::{IdGen, KeyId};
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::{Clock, ConfigChange};
use postrider_core::time::Timestamp;
use serde::Serialize;

/// Flags of `postrider keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider keys create --namespace shop --scopes read,write --name shop-backend
  postrider keys list --url https://hooks.example.com
  postrider keys revoke pr_1a2b3c4d --profile prod

Works on the store, with or without a running server. With --url or --profile, or the variables of these, it works through the server, with a key
that has the scope admin.")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it, once, on stdout.
    Create {
        /// The namespace it works in; without one it is a master key, which sees all of them.
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
        /// What it may do, of read, write and admin.
        #[arg(long, value_name = "SCOPES", default_value = "read,write")]
        scopes: String,
        /// When it stops working: a time such as 2027-01-31T12:00:00Z, or a span from now such as 90d.
        #[arg(long, value_name = "TIME|SPAN")]
        expires: Option<String>,
        /// What to call it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
    },
    /// List the keys, revoked ones too. A key itself is never shown again.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key.
    Revoke {
        /// Its id, or its first characters as the list shows them.
        #[arg(value_name = "ID|PREFIX")]
        wanted: String,
    },
}

/// Runs `postrider keys`.
pub fn run(args: Args) -> Outcome {
    if args.connection.is_named() {
        if args.place.is_named() {
            let text = "a server and a store are named: leave away either --url and --profile or --data-dir, --database-url and --config, or \
                        the variables of these";
            return Ok(remote::ended(Err(Failure::usage(text))));
        }
        return through::run(&args.connection, args.command);
    }
    Ok(remote::ended(beside(args)))
}

/// Works on the store.
fn beside(args: Args) -> Result<(), Failure> {
    // Only a new key may make a new database: an empty list, or "there is no key", of the wrong place would mislead.
    let door = Door::open(&args.place.config()?, matches!(args.command, Command::Create { .. }))?;
    match args.command {
        Command::Create { namespace, scopes, expires, name } => {
            let expires = expires.as_deref().map(|text| expiry(text, SystemClock.now())).transpose()?;
            create(&door, namespace.as_deref(), &scopes, expires, &name)
        }
        Command::List { json } => list(&door, json),
        Command::Revoke { wanted } => revoke(&door, &wanted),
    }
}

/// When a key expires: it must be after `now`.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let at = Timestamp::parse_rfc3339(text).or_else(|| text.parse::<Span>().ok().map(|span| now.after(span.0)));
    let at =
        at.ok_or_else(|| Failure::usage(format!("--expires {text:?}: give a time such as 2027-01-31T12:00:00Z, or a span such as 90d")))?;
    if at > now { Ok(at) } else { Err(Failure::usage(format!("--expires {text:?} is not in the future"))) }
}

fn create(door: &Door, namespace: Option<&str>, scopes: &str, expires_at: Option<Timestamp>, name: &str) -> Result<(), Failure> {
    let namespace = namespace.map(Namespace::new).transpose().map_err(|e| Failure::usage(e.to_string()))?;
    let scopes = Scopes::parse(scopes).map_err(|word| Failure::usage(format!("{word:?} is no scope: choose of read, write and admin")))?;
    if scopes == Scopes::default() {
        return Err(Failure::usage("a key without a scope may do nothing: choose of read, write and admin"));
    }
    if name.len() > auth::MAX_KEY_NAME_BYTES || name.chars().any(char::is_control) || auth::is_reserved_name(name) {
        return Err(Failure::usage(format!(
            "a key's name is at most {} bytes without control characters, and neither {} nor {}, which the server's own have",
            auth::MAX_KEY_NAME_BYTES,
            auth::DEV_KEY_NAME,
            auth::BOOTSTRAP_KEY_NAME
        )));
    }
    let now = SystemClock.now();
    let secret = auth::new_secret();
    let id = KeyId::new(IdGen::new(random::seed()).next(now));
    let key = ApiKey { expires_at, ..auth::new_key(id, &secret, name, namespace, scopes, now) };
    let what = describe(&key);
    door.try_to_revise(|_| (vec![ConfigChange::Key(key)], ())).map_err(|unmade| match unmade {
        Unchanged::Refused(error) => error,
        // Nobody has its secret, and nobody is to get it: it may never work.
        Unchanged::Unknown(error) => CommandError(format!(
            "{error}. If it is stored it is key {id}, which is shown to nobody: postrider keys revoke {id} once the database is back, and make another \
             one"
        )),
    })?;
    say(&format!("made a key for {what} in {}; id {id}; it is not shown again:", door.place()));
    Ok(print(&format!("{secret}\n"))?)
}

fn describe(key: &ApiKey) -> String {
    let place = key.namespace.as_ref().map_or_else(|| String::from("all namespaces (master view)"), |n| format!("namespace {n}"));
    format!("{place} with {}", key.scopes.names().join(","))
}

#[derive(Serialize)]
struct Listed<'a> {
    id: KeyId,
    prefix: &'a str,
    name: &'a str,
    namespace: Option<&'a Namespace>,
    scopes: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

fn list(door: &Door, json: bool) -> Result<(), Failure> {
    let mut keys = door.configuration()?.keys;
    keys.sort_by_key(|k| k.id);
    if json {
        let listed = keys.iter().map(|k| Listed {
            id: k.id,
            prefix: &k.prefix,
            name: &k.name,
            namespace: k.namespace.as_ref(),
            scopes: k.scopes.names(),
            created_at: k.created_at.rfc3339(0),
            expires_at: k.expires_at.map(|at| at.rfc3339(0)),
            revoked_at: k.revoked_at.map(|at| at.rfc3339(0)),
        });
        let text = serde_json::to_string_pretty(&listed.collect::<Vec<_>>()).map_err(|e| CommandError::new("cannot write JSON", e))?;
        return Ok(print(&format!("{text}\n"))?);
    }
    let mut text =
        format!("{:<36}  {:<11}  {:<16}  {:<16}  {:<20}  {:<7}  NAME\n", "ID", "PREFIX", "NAMESPACE", "SCOPES", "CREATED", "STATE");
    for key in &keys {
        let namespace = key.namespace.as_ref().map_or("(all)", Namespace::as_str);
        let is_expired = key.expires_at.is_some_and(|at| at <= SystemClock.now());
        let state = match (key.revoked_at, is_expired) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) => "active",
        };
        let (scopes, created) = (key.scopes.names().join(","), key.created_at.rfc3339(0));
        text.push_str(&format!(
            "{:<36}  {:<11}  {namespace:<16}  {scopes:<16}  {created:<20}  {state:<7}  {}\n",
            key.id.to_string(),
            key.prefix,
            key.name
        ));
    }
    Ok(print(&text)?)
}

fn revoke(door: &Door, wanted: &str) -> Result<(), Failure> {
    let now = SystemClock.now();
    let revoking = door.revise(|configuration| match named(configuration.keys, wanted) {
        Ok(key) => (vec![ConfigChange::Key(ApiKey { revoked_at: Some(now), ..key.clone() })], Ok(key)),
        Err(refusal) => (Vec::new(), Err(refusal)),
    });
    let key = revoking??;
    say(&format!("revoked key {} for {}", key.id, describe(&key)));
    Ok(())
}

/// The one key that is meant, which is still in force.
fn named(keys: Vec<ApiKey>, wanted: &str) -> Result<ApiKey, Failure> {
    let found: Vec<ApiKey> = match KeyId::parse(wanted) {
        Some(id) => keys.into_iter().filter(|k| k.id == id).collect(),
        // A whole key is recognised too, and the prefix of an unrevoked one only.
        None => keys.into_iter().filter(|k| !wanted.is_empty() && (k.hash == auth::hash(wanted) || k.prefix == wanted)).collect(),
    };
    let is_unknown = found.is_empty();
    let mut live = found.into_iter().filter(|k| k.revoked_at.is_none());
    match (live.next(), live.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("several keys begin with {wanted:?}: use the id, which postrider keys list shows")))
        }
        (None, _) if is_unknown => Err(Failure::new(Exit::NotFound, format!("there is no key {wanted:?}: postrider keys list shows them"))),
        (None, _) => Err(Failure::new(Exit::Refused, format!("the key {wanted:?} was revoked already"))),
    }
}
