use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> TypePattern {
    TypePattern::parse(text).expect(text)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn what_patterns_match() {
    let cases = [
        ("*", "order.created", true),
        ("*", "", true),
        ("order.*", "order.created", true),
        ("order.*", "order.created.twice", true),
        ("order.*", "order", false),
        ("order.*", "order.", false),
        ("order.*", "orders.created", false),
        ("order.*", "Order.created", false),
        ("order.*", "", false),
        ("a.b.*", "a.b.c", true),
        ("a.b.*", "a.c", false),
        ("order.created", "order.created", true),
        ("order.created", "order.created.x", false),
        ("order.created", "ORDER.CREATED", false),
        ("order", "", false),
    ];
    for (text, event_type, expected) in cases {
        assert_eq!(pattern(text).matches(event_type), expected, "{text} on {event_type:?}");
    }
}

#[test]
fn only_a_pattern_without_wildcard_is_exact() {
    assert_eq!(pattern("order.created").as_exact(), Some("order.created"));
    assert_eq!(pattern("order.*").as_exact(), None);
    assert_eq!(pattern("*").as_exact(), None);
}

#[test]
fn other_wildcards_are_refused_with_advice() {
    for bad in ["**", "*.*", "*.created", "ord*", "order.*.created", "order.**", "*order"] {
        let error = TypePattern::parse(bad).expect_err(bad).to_string();
        assert!(error.contains("as in order.*"), "{bad}: {error}");
    }
    for bad in ["", ".*", "a b", "ü.*", "a\n", &"x".repeat(256), &format!("{}.*", "x".repeat(254))] {
        let error = TypePattern::parse(bad).expect_err(bad).to_string();
        assert!(error.contains("255"), "{bad}: {error}");
    }
    assert!(TypePattern::parse(&"x".repeat(255)).is_ok());
    assert!(TypePattern::parse(&format!("{}.*", "x".repeat(253))).is_ok());
}

#[test]
fn patterns_are_their_text_in_json() {
    let list: Vec<TypePattern> = serde_json::from_str(r#"["*","order.*","order.created"]"#).expect("patterns");
    assert_eq!(serde_json::to_string(&list).expect("json"), r#"["*","order.*","order.created"]"#);
    assert!(serde_json::from_str::<TypePattern>(r#""*.x""#).is_err());
}

#[test]
fn a_filter_wants_its_labels_and_ignores_others() {
    let filter = LabelFilter(labels(&[("region", "eu"), ("tier", "gold")]));
    assert!(filter.matches(&labels(&[("region", "eu"), ("tier", "gold"), ("more", "")])));
    assert!(!filter.matches(&labels(&[("region", "eu")])));
    assert!(!filter.matches(&labels(&[("region", "EU"), ("tier", "gold")])));
    assert!(LabelFilter::default().matches(&labels(&[])));
    assert_eq!(serde_json::to_string(&filter).expect("json"), r#"{"region":"eu","tier":"gold"}"#);
}

#[test]
fn labels_have_limits() {
    let many = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect::<BTreeMap<_, _>>();
    assert!(check_labels(&many(20)).is_ok());
    assert!(check_labels(&many(21)).is_err());
    let (key, value) = ("k".repeat(64), "v".repeat(256));
    assert!(check_labels(&labels(&[(&key, &value), ("A.b_c-9", "größer als")])).is_ok());
    for (bad, why) in [(("", "v"), "empty"), (("a b", "v"), "space"), (("ü", "v"), "letter"), ((&*format!("{key}k"), "v"), "long key")] {
        assert!(check_labels(&labels(&[bad])).is_err(), "{why}");
    }
    for bad in [&*format!("{value}v"), "a\0", "a\nb", &"ü".repeat(129)] {
        assert!(check_labels(&labels(&[("k", bad)])).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn printing_undoes_parsing(text in "[a-c.*]{0,8}") {
        if let Ok(pattern) = TypePattern::parse(&text) {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_prefix_pattern_is_a_prefix(prefix in "[a-c]{1,3}(\\.[a-c]{1,3}){0,2}", event_type in "[a-c.]{0,8}") {
        let below = format!("{prefix}.");
        let expected = event_type.strip_prefix(&below).is_some_and(|rest| !rest.is_empty());
        prop_assert_eq!(pattern(&format!("{prefix}.*")).matches(&event_type), expected);
        prop_assert_eq!(pattern(&prefix).matches(&event_type), prefix == event_type);
    }

    #[test]
    fn no_text_panics(text: String, event_type: String) {
        if let Ok(pattern) = TypePattern::parse(&text) {
            pattern.matches(&event_type);
        }
    }
}
