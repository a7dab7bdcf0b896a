//! The way of commands to what is configured, beside running servers and before the first one.

use super::{CommandError, runtime};
use crate::config::{Config, DatabaseUrl, Flags};
use postrider_core::ports::{ConfigChange, Configuration, StoreError, StoreErrorKind};
use postrider_core::seal::Sealed;
use postrider_store::{PgAdmin, SqliteAdmin};
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// The variable of `--data-dir`.
const DATA_DIR: &str = "POSTRIDER_DATA_DIR";

/// The flags that say where a server has its store.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The server's data directory [default: what the configuration file says, else ./postrider-data].
    #[arg(long, global = true, env = DATA_DIR, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's database, if it is not in the data directory [default: what the configuration file says].
    #[arg(long, global = true, env = "POSTRIDER_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<DatabaseUrl>,
    /// Its schema [default: what the configuration file says, else postrider].
    #[arg(long, global = true, env = "POSTRIDER_DATABASE_SCHEMA", value_name = "NAME")]
    database_schema: Option<String>,
    /// The server's configuration file, if it is not ./postrider.toml.
    #[arg(long, global = true, env = "POSTRIDER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// Whether a place was named, and not just assumed.
    pub(super) fn is_named(&self) -> bool {
        self.data_dir.is_some() || self.database_url.is_some() || self.config.is_some()
    }

    /// The server's configuration, as far as it says where the store is. A directory that is named on the command line is meant: it is not passed
    /// over because a variable or the file names a database.
    pub(super) fn config(self) -> Result<Config, CommandError> {
        let directory = self.data_dir.clone().filter(|directory| std::env::var_os(DATA_DIR).is_none_or(|variable| *directory != *variable));
        let config = self.whole_config()?;
        match directory {
            Some(directory) if config.database_url.is_some() => Err(CommandError(format!(
                "--data-dir {} has no say where a database is set (--database-url, POSTRIDER_DATABASE_URL or the configuration file): name one of \
                 the two",
                directory.display()
            ))),
            _ => Ok(config),
        }
    }

    /// The same where the data directory has a say beside a database.
    pub(super) fn whole_config(self) -> Result<Config, CommandError> {
        let Place { data_dir, database_url, database_schema, config } = self;
        let flags = Flags { data_dir, database_url, database_schema, config, ..Flags::default() };
        let config = Config::read(flags).map_err(CommandError)?;
        config.check_place().map_err(CommandError)?;
        Ok(config)
    }
}

/// What is configured, to be read and changed.
#[derive(Debug)]
pub(super) struct Door {
    way: Way,
    place: String,
}

#[derive(Debug)]
enum Way {
    Sqlite(Box<SqliteAdmin>),
    Postgres(Box<PgAdmin>, Box<Runtime>),
}

/// Why a change was not seen to be made.
pub(super) enum Unchanged {
    /// It is not.
    Refused(CommandError),
    /// Nobody knows.
    Unknown(CommandError),
}

/// What is said where there is no embedded database.
pub(super) fn no_database(config: &Config) -> CommandError {
    CommandError(format!("there is no database in {}: name the server's --data-dir", config.data_dir.display()))
}

impl Door {
    /// Opens it; with `make` a store that is not there is made.
    pub(super) fn open(config: &Config, make: bool) -> Result<Self, CommandError> {
        let Some(options) = config.database() else {
            if !make && !SqliteAdmin::is_there(&config.data_dir) {
                return Err(no_database(config));
            }
            let admin = SqliteAdmin::open(&config.data_dir).map_err(|e| CommandError(e.to_string()))?;
            return Ok(Door { way: Way::Sqlite(Box::new(admin)), place: format!("the database in {}", config.place()) });
        };
        let runtime = runtime()?;
        let admin = runtime.block_on(Box::pin(PgAdmin::open(options, make))).map_err(|e| CommandError(e.to_string()))?;
        Ok(Door { way: Way::Postgres(Box::new(admin), Box::new(runtime)), place: format!("the database at {}", config.place()) })
    }

    /// Where it leads to, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whether nodes share what is behind it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.way, Way::Postgres(..))
    }

    /// What says which keys of secrets the nodes behind it have, once there was one.
    pub(super) fn key_check(&self) -> Result<Option<Sealed>, CommandError> {
        match &self.way {
            Way::Sqlite(_) => Ok(None),
            Way::Postgres(admin, runtime) => runtime.block_on(admin.key_check()).map_err(|e| failed(&e)),
        }
    }

    /// Puts another one there, if it is still this one; answers whether it is there.
    pub(super) fn put_key_check(&self, before: Option<&Sealed>, after: &Sealed) -> Result<bool, CommandError> {
        match &self.way {
            Way::Sqlite(_) => Ok(true),
            Way::Postgres(admin, runtime) => runtime.block_on(admin.put_key_check(before, after)).map_err(|e| failed(&e)),
        }
    }

    /// Everything that is configured.
    pub(super) fn configuration(&self) -> Result<Configuration, CommandError> {
        let read = match &self.way {
            Way::Sqlite(admin) => admin.configuration(),
            Way::Postgres(admin, runtime) => runtime.block_on(admin.configuration()),
        };
        read.map_err(|e| failed(&e))
    }

    /// Changes the configuration by what it is at that moment, whole or not at all. `f` answers what to put, and something for the caller.
    pub(super) fn revise<T>(&self, f: impl FnOnce(Configuration) -> (Vec<ConfigChange>, T)) -> Result<T, CommandError> {
        self.try_to_revise(f).map_err(|unchanged| match unchanged {
            Unchanged::Refused(error) => error,
            Unchanged::Unknown(error) => CommandError(format!("{error}. Do the same once more when the database is back")),
        })
    }

    /// The same for those to whom it makes a difference that nobody knows whether it is changed.
    pub(super) fn try_to_revise<T>(&self, f: impl FnOnce(Configuration) -> (Vec<ConfigChange>, T)) -> Result<T, Unchanged> {
        let revised = match &self.way {
            Way::Sqlite(admin) => admin.revise(f),
            Way::Postgres(admin, runtime) => runtime.block_on(admin.revise(f)),
        };
        revised.map_err(|e| match e.kind {
            StoreErrorKind::Unknown => Unchanged::Unknown(failed(&e)),
            _ => Unchanged::Refused(failed(&e)),
        })
    }
}

fn failed(error: &StoreError) -> CommandError {
    CommandError::new(error, &error.cause)
}
