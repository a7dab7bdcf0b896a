//! What is wrong with a value that somebody gave, and where in it.

use std::borrow::Cow;

/// A part of a value that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Invalid {
    /// Where, as an API names it: `rules[1].target`. Empty for the value as a whole.
    pub path: String,
    /// The rule, for people.
    pub message: Cow<'static, str>,
}

impl Invalid {
    /// A fault at a path.
    pub fn new(path: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Invalid { path: path.into(), message: message.into() }
    }

    /// The same fault of a part of something larger: `under("field_map")` makes `field_map.rules[1].target`.
    pub fn under(mut self, parent: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{separator}{}", self.path);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_from_the_inside() {
        let fault = Invalid::new("target", "must not be empty").under("rules[1]").under("field_map");
        assert_eq!(fault.to_string(), "field_map.rules[1].target: must not be empty");
        assert_eq!(Invalid::new("", "x").under("match").path, "match");
        assert_eq!(Invalid::new("[0]", "x").under("drop").path, "drop[0]");
    }
}
