//! `postrider profiles`: servers and keys under short names.

use super::client::Client;
use super::remote::profile::{Profile, Profiles, check_name};
use super::remote::table::{Cell, Column, Table};
use super::remote::{self, Failure, Output, Tone, View, input};
use super::{Outcome, say};
use clap::Subcommand;

const COLUMNS: [Column; 4] = [Column::whole("NAME"), Column::text("URL", 20), Column::whole("NAMESPACE"), Column::whole("KEY")];

/// Flags of `postrider profiles`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    view: View,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List profiles. Keys are not shown.
    List,
    /// Make a profile, or change what is given of one that is there. The first one is used from then on.
    Set(Set),
    /// Remove a profile with its key.
    Remove(Name),
    /// Say which profile is used where none is named.
    Use(Name),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider profiles set prod --url https://hooks.example.com --key - < key.txt
  postrider profiles set prod --namespace shop

Profiles are kept in $XDG_CONFIG_HOME/postrider/profiles.toml, or in ~/.config/postrider/profiles.toml, readable for you only.")]
struct Set {
    /// What to call it.
    #[arg(value_name = "NAME", value_parser = check_name)]
    name: String,
    /// Where the server is.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The API key: - reads it from the first line of stdin, @FILE from that of a file. It is taken from nowhere else.
    #[arg(long, value_name = "-|@FILE")]
    key: Option<String>,
    /// The namespace that is meant where none is named; an empty one is that of the key.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

/// The profile that is meant.
#[derive(Debug, clap::Args)]
struct Name {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs `postrider profiles`.
pub fn run(args: Args) -> Outcome {
    let done = match &args.command {
        Command::List => list(&Output::of(&args.view)),
        Command::Set(set) => put(set),
        Command::Remove(name) => remove(&name.name),
        Command::Use(name) => choose(&name.name),
    };
    Ok(remote::ended(done))
}

fn list(out: &Output) -> Result<(), Failure> {
    let all = Profiles::read()?;
    let mut table = Table::new(&COLUMNS);
    for (name, profile) in &all.profiles {
        let is_current = all.current.as_deref() == Some(name);
        if out.is_json() {
            let Profile { url, key, namespace } = profile;
            let shown =
                serde_json::json!({ "name": name, "url": url, "namespace": namespace, "hasKey": key.is_some(), "isCurrent": is_current });
            out.json_line(&shown)?;
            continue;
        }
        let shown = if is_current { format!("{name} *") } else { name.clone() };
        let key = if profile.key.is_some() { Cell::new("kept") } else { Cell::toned("none", Tone::Dim) };
        table.push(vec![shown.into(), profile.url.as_str().into(), profile.namespace.as_deref().unwrap_or("").into(), key]);
    }
    if table.waiting() > 0 {
        return out.print(&table.take(out));
    }
    if all.profiles.is_empty() {
        say("there are no profiles: postrider profiles set makes one");
    }
    Ok(())
}

fn put(set: &Set) -> Result<(), Failure> {
    let mut all = Profiles::read()?;
    let key = match set.key.as_deref() {
        None => None,
        Some(given) if given == "-" || given.starts_with('@') => Some(input::secret("--key", given)?),
        Some(_) => {
            return Err(Failure::usage("--key: a key on the command line can be seen by others and stays in the history; give - or @FILE"));
        }
    };
    let is_first = all.profiles.is_empty();
    let before = all.profiles.get(&set.name).cloned();
    let Some(url) = set.url.clone().or(before.as_ref().map(|profile| profile.url.clone())) else {
        return Err(Failure::usage(format!("there is no profile {} yet: say where its server is with --url", set.name)));
    };
    // Whether that is a URL at all is to be known now.
    Client::new(&url, None)?;
    let moved = before.as_ref().is_some_and(|profile| profile.url != url);
    let before = before.unwrap_or_default();
    // The key of another server is of no use to this one, and not for it to see.
    let key = key.or(before.key.filter(|_| !moved));
    if moved && key.is_none() {
        say("its key was for the server before and is forgotten: give another one with --key -");
    }
    let namespace = set.namespace.clone().or(before.namespace).filter(|namespace| !namespace.is_empty());
    all.profiles.insert(set.name.clone(), Profile { url, key, namespace });
    if is_first {
        all.current = Some(set.name.clone());
    }
    let path = all.write()?;
    let note = if is_first { ", which is used from now on" } else { "" };
    say(&format!("kept the profile {}{note} in {}", set.name, path.display()));
    Ok(())
}

fn remove(name: &str) -> Result<(), Failure> {
    let mut all = Profiles::read()?;
    all.named(name)?;
    all.profiles.remove(name);
    let was_current = all.current.as_deref() == Some(name);
    if was_current {
        all.current = None;
    }
    all.write()?;
    say(&format!("removed the profile {name}"));
    if was_current && !all.profiles.is_empty() {
        say("none is used now where none is named: postrider profiles use NAME");
    }
    Ok(())
}

fn choose(name: &str) -> Result<(), Failure> {
    let mut all = Profiles::read()?;
    all.named(name)?;
    all.current = Some(name.to_owned());
    all.write()?;
    say(&format!("the profile {name} is used from now on"));
    Ok(())
}
