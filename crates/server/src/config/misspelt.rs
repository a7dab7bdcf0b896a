//! Variables that were probably meant as settings.

use super::file::{distance, nearest};
use super::{BOOTSTRAP_KEY, Flags, SECRETS_KEY};
use clap::Args as _;

/// Names of the environment that look like a setting misspelt: what is there, and what was probably meant.
///
/// Others that begin with `POSTRIDER_` are left alone, for container platforms set some of their own.
pub fn misspelt_variables(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    // What is read without being a flag of `serve`.
    const OTHERS: [&str; 6] = [BOOTSTRAP_KEY, SECRETS_KEY, "POSTRIDER_API_KEY", "POSTRIDER_URL", "POSTRIDER_KEY", "POSTRIDER_PROFILE"];
    let flags = Flags::augment_args(clap::Command::new("serve"));
    let of_flags: Vec<String> = flags.get_arguments().filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned())).collect();
    let known: Vec<&str> = of_flags.iter().map(String::as_str).chain(OTHERS).collect();
    let suspicious = names.filter(|n| n.starts_with("POSTRIDER_") && !known.contains(&n.as_str()));
    suspicious
        .filter_map(|name| {
            let near = nearest(&name, &known);
            (distance(&name, near) <= 2).then(|| (name, near.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_look_misspelt_are_named_with_what_was_meant() {
        let names =
            ["POSTRIDER_LISTN", "POSTRIDER_BOOTSTRAP_KEYS", "POSTRIDER_LISTEN", "POSTRIDER_API_KEY", "POSTRIDER_SERVICE_HOST", "PATH"];
        let found = misspelt_variables(names.into_iter().map(String::from));
        let expected = [("POSTRIDER_LISTN", "POSTRIDER_LISTEN"), ("POSTRIDER_BOOTSTRAP_KEYS", BOOTSTRAP_KEY)];
        assert_eq!(found, expected.map(|(name, meant)| (String::from(name), String::from(meant))));
    }
}
