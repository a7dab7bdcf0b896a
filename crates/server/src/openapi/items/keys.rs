//! `/v1/keys`: API keys.

use super::{PLAIN, namespace, page};
use crate::auth::MAX_KEY_NAME_BYTES;
use crate::openapi::operation::{Operation, answer, delete, get, post};
use crate::openapi::schema::{Schema, array, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use postrider_core::key::Scope;

const ONE: &str = r#"{
  "id": "01a200f1-0000-7000-8000-0000000000aa",
  "name": "billing service",
  "prefix": "pr_4fQ0mZr1",
  "namespace": "shop",
  "scopes": ["read", "write"],
  "created_at": "2026-01-05T07:00:00.000Z",
  "expires_at": null,
  "revoked_at": null
}"#;

const MADE: &str = r#"{
  "id": "01a200f1-0000-7000-8000-0000000000aa",
  "name": "billing service",
  "prefix": "pr_4fQ0mZr1",
  "namespace": "shop",
  "scopes": ["read", "write"],
  "created_at": "2026-01-05T07:00:00.000Z",
  "expires_at": null,
  "revoked_at": null,
  "key": "pr_4fQ0mZr1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag {
            name: "API keys",
            about: "For keys with the scope `admin`. One of a namespace manages the keys of that namespace, one without manages all.",
        },
        schemas: vec![
            ("ApiKey", shown(false)),
            ("ApiKeyMade", shown(true)),
            ("ApiKeyList", page("data", "ApiKey")),
            ("NewApiKey", wanted()),
        ],
        operations: operations(),
    }
}

fn scopes() -> Schema {
    array(word(["read", "write", "admin"]))
}

fn shown(with_key: bool) -> Schema {
    let schema = object()
        .field("id", uuid())
        .field("name", string())
        .field("prefix", string().about("The first characters of the key, to recognise it by."))
        .field("namespace", namespace().nullable().about("Where it works; null sees every namespace and changes nothing (master view)."))
        .field("scopes", scopes())
        .field("created_at", time())
        .field("expires_at", time().nullable())
        .field("revoked_at", time().nullable());
    if with_key { schema.field("key", string().about("The key itself, shown this once.")).closed() } else { schema.closed() }
}

fn wanted() -> Schema {
    object()
        .optional(
            "name",
            string()
                .length(0..=MAX_KEY_NAME_BYTES)
                .pattern(PLAIN)
                .nullable()
                .about("For people. `dev` and `bootstrap` are the server's own."),
        )
        .optional(
            "namespace",
            namespace().nullable().about("By default that of your own key; `null` for a master key, which only a master key can make."),
        )
        .optional("scopes", scopes().items(1..=3).nullable().about("By default `read` and `write`."))
        .optional("expires_at", time().nullable().about("In the future; never by default."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/keys", "listKeys", "List API keys")
        .about("Keys, newest first, revoked ones too; never the keys themselves.")
        .scope(Scope::Admin)
        .pages()
        .answers(answer(200, "A page of keys.").json(named("ApiKeyList"), &super::page_of(ONE)));
    let create = post("/v1/keys", "createKey", "Create an API key")
        .about("The answer shows the key, for the only time: only its hash is stored.")
        .scope(Scope::Admin)
        .takes(named("NewApiKey"), &[("service", r#"{"name": "billing service", "namespace": "shop", "scopes": ["read", "write"]}"#)])
        .writes()
        .answers(answer(201, "The key.").json(named("ApiKeyMade"), MADE).header("Location").header("Cache-Control"));
    let show = get("/v1/keys/{id}", "getKey", "Get an API key")
        .about("One key; never the key itself.")
        .scope(Scope::Admin)
        .id("id", "The key's UUID.")
        .answers(answer(200, "The key.").json(named("ApiKey"), ONE));
    let revoke = delete("/v1/keys/{id}", "revokeKey", "Revoke an API key")
        .about("It opens nothing from now on. It stays in the list, with the time.")
        .scope(Scope::Admin)
        .id("id", "The key's UUID.")
        .writes()
        .answers(
            answer(200, "It is revoked.").json(named("Deleted"), r#"{"deleted": true, "id": "01a200f1-0000-7000-8000-0000000000aa"}"#),
        );
    vec![list, create, show, revoke]
}
