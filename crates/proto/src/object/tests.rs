//! Pieces of objects: what they come to, and how much work they are, counted in bytes that are turned into the other form.

use super::*;
use std::cell::Cell;

thread_local! {
    static TURNED: Cell<usize> = const { Cell::new(0) };
}

/// So many bytes are turned from one form into the other.
pub(super) fn count(bytes: usize) {
    TURNED.with(|turned| turned.set(turned.get() + bytes));
}

/// What `work` answers, and how many bytes it turns.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    TURNED.with(|turned| turned.set(0));
    let made = work();
    (made, TURNED.with(Cell::get))
}

fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).expect("an object")
}

fn merged(pieces: &[Vec<u8>]) -> Object {
    let mut all = Object::default();
    for piece in pieces {
        all.merge_from_slice(piece).expect("a struct");
    }
    all
}

#[test]
fn pieces_are_one_object() {
    let pieces = [r#"{"a":1,"b":{"x":1}}"#, "{}", r#"{"b":{"y":2},"c":[3]}"#, r#"{"a":null}"#].map(|json| object(json).encode_to_vec());
    let all = merged(&pieces);
    let expected = r#"{"a":null,"b":{"y":2},"c":[3]}"#;
    assert_eq!((&all.json()[..], all.is_empty()), (expected.as_bytes(), false));
    assert_eq!(all, object(expected));
    assert_eq!(Object::decode_from_slice(&all.encode_to_vec()).expect("a struct"), all);
    assert_eq!(serde_json::to_string(&all).expect("JSON"), expected);
    assert_eq!(all.into_json(), expected);
    assert!(merged(&[Vec::new(), Vec::new()]).is_empty());
    let mut both = object(r#"{"a" : 1}"#);
    both.merge_from_slice(&pieces[3]).expect("a struct");
    assert_eq!(both.into_json(), r#"{"a":null}"#);
}

#[test]
fn a_wrong_piece_is_refused_when_it_comes() {
    let mut all = merged(&[object(r#"{"a":1}"#).encode_to_vec(), object(r#"{"b":1}"#).encode_to_vec()]);
    assert!(all.merge_from_slice(&[0x0a, 0x05, 0x01]).is_err());
    assert_eq!(all.into_json(), r#"{"a":1,"b":1}"#);
}

#[test]
fn many_pieces_are_as_much_work_as_they_are_long() {
    let large = object(&format!(r#"{{"large":"{}"}}"#, "x".repeat(10_000))).encode_to_vec();
    for small in [object("{}"), object(r#"{"a":1}"#)] {
        let mut pieces = vec![small.encode_to_vec(); 2_000];
        pieces.insert(0, large.clone());
        let length: usize = pieces.iter().map(Vec::len).sum();
        let (all, turned) = counted(|| merged(&pieces));
        assert!(turned <= length + 2 * large.len(), "{turned} of {length}");
        let (_, turned) = counted(|| (all.json().len(), all.json().len(), all.encode_to_vec()));
        assert!(turned <= length, "{turned} of {length}");
    }
}
