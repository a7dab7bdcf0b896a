use super::*;
use crate::http::Route;
use std::collections::BTreeSet;

fn names(routes: impl IntoIterator<Item = Route>) -> BTreeSet<String> {
    routes.into_iter().map(|route| format!("{} {}", route.method, route.path)).collect()
}

/// Every value of every object in the document, with its name.
fn walk<'j>(json: &'j Json, seen: &mut impl FnMut(&'j str, &'j Json)) {
    match json {
        Json::Object(fields) => fields.iter().for_each(|(name, value)| {
            seen(name, value);
            walk(value, seen);
        }),
        Json::Array(values) => values.iter().for_each(|value| walk(value, seen)),
        Json::Leaf(_) => {}
    }
}

#[test]
fn what_is_documented_is_what_answers() {
    let documented = names(operations().into_iter().map(|Operation { method, path, .. }| Route { method, path }));
    let answered = names(crate::http::routes());
    let undocumented: Vec<_> = answered.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&answered).collect();
    assert!(undocumented.is_empty(), "add these to the noun's file in crates/server/src/openapi: {undocumented:#?}");
    assert!(gone.is_empty(), "nothing answers these: {gone:#?}");
    assert_eq!(operations().len(), documented.len(), "an operation is documented twice");
}

#[test]
fn the_committed_document_is_this_one() {
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json")).unwrap_or_default();
    let same = committed.lines().zip(text().lines()).take_while(|(old, new)| old == new).count();
    assert!(
        committed == text(),
        "openapi.json is not what the code makes, from line {} on; write it anew:\n\n    cargo run -p postrider-server -- openapi > openapi.json\n",
        same + 1
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &mut |name, value| {
        if name == "$ref" {
            used.extend(value.as_str().map(str::to_owned));
        }
    });
    let components = document.get("components").expect("components");
    let mut there = BTreeSet::new();
    for kind in ["schemas", "responses", "headers"] {
        let Some(Json::Object(fields)) = components.get(kind) else { panic!("no {kind}") };
        there.extend(fields.iter().map(|(name, _)| format!("#/components/{kind}/{name}")));
    }
    assert_eq!(used, there);
}

#[test]
fn operations_are_whole() {
    let all = operations();
    let ids: BTreeSet<_> = all.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
    for operation in all {
        let name = format!("{} {}", operation.method, operation.path);
        let in_path: BTreeSet<_> = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let described = operation.parameters.iter().filter(|p| p.place == "path").map(|p| p.name).collect();
        assert_eq!(in_path, described, "{name}: the parameters of its path");
        assert!(!operation.summary.is_empty() && !operation.about.is_empty() && !operation.tag.is_empty(), "{name}: say what it does");
        assert!(operation.answers.iter().any(|answer| answer.status < 400), "{name}: no success");
        let bodies = operation.answers.iter().filter_map(|answer| answer.content.as_ref()).chain(&operation.body);
        assert!(bodies.clone().all(|body| operation.id == "getOpenApi" || !body.examples.is_empty()), "{name}: give an example");
    }
}
