//! Why a store could not be opened.

use super::error::Error;
use super::migrate::MigrateError;
use tokio_postgres::error::SqlState;

/// Why a store could not be opened. The text says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum PgOpenError {
    /// What was given as the database's URL is none, or what it asks for cannot be done.
    #[error(
        "the URL of the database cannot be used: {0} (it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters in its parts \
         written as %XX)"
    )]
    Url(String),
    /// The schema's name cannot be one.
    #[error(
        "{0:?} cannot be the name of a schema: use lower-case letters, digits and underscores, 63 of them at the most, and no digit first"
    )]
    SchemaName(String),
    /// Nobody answers.
    #[error(
        "no connection to PostgreSQL at {at}: check that it runs, that host and port are right, and that no firewall is between ({cause})"
    )]
    Unreachable {
        /// Where it should be.
        at: String,
        /// What the operating system said.
        cause: String,
    },
    /// The server does not let this user in.
    #[error("PostgreSQL at {at} refused the user: check the user and the password in the URL, and the server's pg_hba.conf ({cause})")]
    Refused {
        /// Where it is.
        at: String,
        /// What it said.
        cause: String,
    },
    /// The server has no such database.
    #[error("PostgreSQL at {at} does not have the database: make it (CREATE DATABASE), or correct the URL ({cause})")]
    NoDatabase {
        /// Where it is.
        at: String,
        /// What it said.
        cause: String,
    },
    /// No connection that is encrypted as the URL asks for.
    #[error(
        "no encrypted connection to PostgreSQL at {at}: check sslmode, sslrootcert, sslcert and sslkey in the URL, and the server's \
         certificate ({cause})"
    )]
    Tls {
        /// Where it is.
        at: String,
        /// What was wrong.
        cause: String,
    },
    /// The server is too old.
    #[error("{0}")]
    OldServer(String),
    /// The database cannot hold every text.
    #[error("{0}")]
    Encoding(String),
    /// A later release has changed the schema.
    #[error("{0}")]
    Newer(String),
    /// An older release has made the schema, and this is no time to change it.
    #[error(
        "the schema {schema} is older than this release (version {found}, this one needs {known}): postrider migrate brings it up to date"
    )]
    Older {
        /// The schema's name.
        schema: String,
        /// How many steps it has taken.
        found: i64,
        /// How many are needed.
        known: i64,
    },
    /// There is nothing of ours in the database, as far as the user may see.
    #[error(
        "there is no postrider in the schema {schema} of the database at {at}, or the user may not see it: name the server's --database-url \
         and --database-schema (a server's first start makes the schema, and so does postrider migrate)"
    )]
    NoSchema {
        /// Where the database is.
        at: String,
        /// The schema's name.
        schema: String,
    },
    /// The user may not do what is needed.
    #[error("{0}")]
    Denied(String),
    /// It is starting, stopping or full at the moment, or was lost on the way.
    #[error("the database takes no connection at the moment, or has ended one: {0}")]
    Away(String),
    /// Another node has been bringing the schema up to date for longer than this one waits.
    #[error("{0}")]
    Busy(String),
    /// Anything else.
    #[error("cannot open the database: {0}")]
    Failed(String),
}

impl PgOpenError {
    /// What it means that this server could not be connected to. Mostly the driver says in a text alone which part failed.
    pub(super) fn from_connecting(at: &str, error: tokio_postgres::Error) -> Self {
        let (code, shown) = (error.code().cloned(), error.to_string());
        let (is_refusal, was_cut_off) = (is_refused_encryption(&error), was_cut_off(&error));
        let (at, cause) = (at.to_owned(), Error::from(error).to_string());
        match code {
            Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION | SqlState::INSUFFICIENT_PRIVILEGE) => {
                PgOpenError::Refused { at, cause }
            }
            Some(SqlState::INVALID_CATALOG_NAME) => PgOpenError::NoDatabase { at, cause },
            Some(code) if is_passing(&code) => PgOpenError::Away(cause),
            Some(_) => PgOpenError::Failed(cause),
            None if is_refusal || (shown.contains("TLS") && !was_cut_off) => PgOpenError::Tls { at, cause },
            None if shown.contains("authentication") || shown.contains("configuration") => PgOpenError::Refused { at, cause },
            None => PgOpenError::Unreachable { at, cause },
        }
    }

    /// Whether it may be otherwise in a while, without anybody who mends something here: the database is away, or busy with another node.
    pub fn may_pass(&self) -> bool {
        matches!(self, PgOpenError::Unreachable { .. } | PgOpenError::Away(_) | PgOpenError::Busy(_))
    }
}

/// Whether encryption was refused when it was thought to be there already: what the server says of a client's certificate comes with the
/// first answer, and looks like a connection that is lost.
fn is_refused_encryption(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Whether the connection ended on the way, as where the server is started again, and nobody has refused anything.
fn was_cut_off(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()))
}

/// Whether the server says so of itself, and nothing of who asks.
fn is_passing(code: &SqlState) -> bool {
    matches!(*code, SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::TOO_MANY_CONNECTIONS)
        || code.code().starts_with("08")
}

impl From<MigrateError> for PgOpenError {
    fn from(error: MigrateError) -> Self {
        let text = error.to_string();
        match error {
            MigrateError::OldServer { .. } => PgOpenError::OldServer(text),
            MigrateError::Encoding { .. } => PgOpenError::Encoding(text),
            MigrateError::Newer { .. } => PgOpenError::Newer(text),
            MigrateError::Denied { .. } => PgOpenError::Denied(text),
            MigrateError::Busy { .. } => PgOpenError::Busy(text),
            MigrateError::Failed(error) => error.into(),
        }
    }
}

impl From<Error> for PgOpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => PgOpenError::Denied(format!(
                "the user of the database may not do what a node does in its schema: it needs to own the schema and what is in it, or to \
                 inherit the rights of the role that does ({})",
                Error::from(error)
            )),
            error if error.is_transient() => PgOpenError::Away(error.to_string()),
            error => PgOpenError::Failed(error.to_string()),
        }
    }
}
