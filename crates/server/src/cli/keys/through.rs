//! `postrider keys` through a running server.

use super::{Command, expiry};
use crate::cli::remote::table::{Cell, Column, Table};
use crate::cli::remote::text::{moment, timestamp};
use crate::cli::remote::{self, Connection, Exit, Failure, Output, Remote, clean};
use crate::cli::{Outcome, say};
use crate::clock::SystemClock;
use postrider_core::ports::Clock;
use postrider_proto::v1;

const COLUMNS: [Column; 7] = [
    Column::whole("ID"),
    Column::whole("PREFIX"),
    Column::whole("NAMESPACE"),
    Column::whole("SCOPES"),
    Column::whole("CREATED"),
    Column::whole("STATE"),
    Column::text("NAME", 8),
];

/// A text of this length is a key and not its first characters.
const WHOLE_KEY: usize = 40;

/// Does what the command says, with the server.
pub(super) fn run(connection: &Connection, command: Command) -> Outcome {
    let is_json = matches!(command, Command::List { json: true });
    remote::run_with(Remote::with(connection, None, Output::plain(is_json)), |server| async move {
        match command {
            Command::Create { namespace, scopes, expires, name } => {
                let request = v1::CreateKeyRequest {
                    name,
                    namespace: namespace.unwrap_or_default(),
                    scopes: scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect(),
                    expires_at: expires.map(|text| expiry(&text, SystemClock.now())).transpose()?.map(timestamp).into(),
                };
                create(&server, &request).await
            }
            Command::List { .. } => list(&server).await,
            Command::Revoke { wanted } => revoke(&server, &wanted).await,
        }
    })
}

async fn create(server: &Remote, request: &v1::CreateKeyRequest) -> Result<(), Failure> {
    if request.name.is_empty() {
        return Err(Failure::usage("say what to call the key with --name: through a server every key has a name"));
    }
    let made: v1::CreateKeyResponse = server.call("postrider.v1.AdminService/CreateKey", request).await?;
    let place = if made.key.namespace.is_empty() {
        String::from("all namespaces (master view)")
    } else {
        format!("namespace {}", clean(&made.key.namespace))
    };
    say(&format!("made a key for {place} with {}; id {}; it is not shown again:", made.key.scopes.join(","), made.key.key_id));
    server.out.line(&made.secret)
}

async fn all(server: &Remote) -> Result<Vec<v1::Key>, Failure> {
    let (mut keys, mut request) = (Vec::new(), v1::ListKeysRequest::default());
    loop {
        let page: v1::ListKeysResponse = server.call("postrider.v1.AdminService/ListKeys", &request).await?;
        keys.extend(page.keys);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    // The oldest first, as a list of the store has them.
    keys.reverse();
    Ok(keys)
}

async fn list(server: &Remote) -> Result<(), Failure> {
    let keys = all(server).await?;
    if server.out.is_json() {
        return server.out.json_document(&keys.iter().map(shown).collect::<Vec<_>>());
    }
    let mut table = Table::new(&COLUMNS);
    for key in &keys {
        let namespace = if key.namespace.is_empty() { "(all)" } else { key.namespace.as_str() };
        let created = server.out.time(key.created_at.as_option());
        table.push(vec![
            Cell::new(&key.key_id),
            Cell::new(&key.prefix),
            Cell::new(namespace),
            Cell::new(&key.scopes.join(",")),
            Cell::new(&created),
            Cell::new(state(key)),
            Cell::new(&key.name),
        ]);
    }
    let text = table.take(&server.out);
    server.out.print(&text)
}

fn state(key: &v1::Key) -> &'static str {
    let is_expired = moment(key.expires_at.as_option()).is_some_and(|at| at <= SystemClock.now());
    match (key.revoked_at.is_set(), is_expired) {
        (true, _) => "revoked",
        (false, true) => "expired",
        (false, false) => "active",
    }
}

/// A key in the form that a list of the store has.
fn shown(key: &v1::Key) -> serde_json::Value {
    let time = |at| moment(at).map(|at| at.rfc3339(0));
    serde_json::json!({
        "id": key.key_id,
        "prefix": key.prefix,
        "name": key.name,
        "namespace": Some(&key.namespace).filter(|namespace| !namespace.is_empty()),
        "scopes": key.scopes,
        "created_at": time(key.created_at.as_option()),
        "expires_at": time(key.expires_at.as_option()),
        "revoked_at": time(key.revoked_at.as_option()),
    })
}

async fn revoke(server: &Remote, wanted: &str) -> Result<(), Failure> {
    let keys = all(server).await?;
    // A whole key is recognised too, and the prefix of an unrevoked one only.
    let begins = |key: &v1::Key| !key.prefix.is_empty() && wanted.starts_with(&key.prefix) && !key.revoked_at.is_set();
    let is_whole = wanted.len() >= WHOLE_KEY;
    let is_meant = |key: &&v1::Key| key.key_id == wanted || (begins(key) && (is_whole || key.prefix == wanted));
    let mut meant = keys.iter().filter(is_meant);
    let key = match (meant.next(), meant.next()) {
        (Some(key), None) => key,
        (Some(_), Some(_)) => return Err(Failure::usage("several keys begin so: use the id, which postrider keys list shows")),
        (None, _) => return Err(Failure::new(Exit::NotFound, "there is no such key in force: postrider keys list shows them")),
    };
    let request = v1::RevokeKeyRequest { key_id: key.key_id.clone() };
    let _: v1::RevokeKeyResponse = server.call("postrider.v1.AdminService/RevokeKey", &request).await?;
    say(&format!("revoked key {}", key.key_id));
    Ok(())
}
