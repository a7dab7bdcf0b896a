//! Roles of applications: the right to publish through the database, and no other.

use super::admin::PgAdmin;
use super::error::Error;
use super::migrate;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::pool::{Server, Use};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The longest name that PostgreSQL does not cut, in bytes.
const LONGEST_ROLE: usize = 63;

/// Who owns what Postrider has made in a schema `n`. Others may own things in it too, and functions of the same name.
macro_rules! owner {
    () => {
        "(SELECT c.relowner FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'outbox')"
    };
}

/// The functions that publish.
macro_rules! publishing {
    () => {
        concat!(
            "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $2::text AND p.proname = 'publish' AND p.proowner = ",
            owner!()
        )
    };
}

/// What a role needs that publishes.
const GRANTS: &str = concat!(
    "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', $2::text, $1::text) \
     UNION ALL SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, $1::text) ",
    publishing!()
);

/// Whether it has that: one who may not grant something is only warned.
const HAS_ALL: &str = concat!(
    "SELECT has_schema_privilege($1::text::name, $2::text, 'USAGE') AND bool_and(has_function_privilege($1::text::name, p.oid, 'EXECUTE')) ",
    publishing!()
);

/// Who may create things in a schema besides its owner, who owns what is in it (or is about to, where there is nothing), and superusers. A name in the
/// function that runs with its owner's rights, and that somebody else has made there, would run with these rights too.
pub(super) const OTHER_CREATORS: &str = concat!(
    "SELECT DISTINCT coalesce(format('%I', g.rolname), 'PUBLIC') \
     FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee \
     WHERE n.nspname = $1::text AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND NOT coalesce(g.rolsuper, false) \
     AND a.grantee <> coalesce(",
    owner!(),
    ", (SELECT u.oid FROM pg_roles u WHERE u.rolname = current_user)) ORDER BY 1"
);

/// Refuses a schema in which others may create things. One that is not there has none.
pub(super) async fn check_closed(client: &Client, schema: &str) -> Result<(), PgOpenError> {
    let found =
        client.query(OTHER_CREATORS, &[&schema]).await.and_then(|rows| rows.iter().map(|row| row.try_get::<_, String>(0)).collect());
    let others: Vec<String> = found.map_err(Error::from)?;
    if others.is_empty() {
        return Ok(());
    }
    let others = others.join(", ");
    Err(PgOpenError::Denied(format!(
        "others than the owner of the schema {schema} may create things in it ({others}), which could be run with the owner's rights when somebody \
         publishes: REVOKE CREATE ON SCHEMA {schema} FROM {others}, or name another schema"
    )))
}

/// The same for a node that starts. A schema that is in use already is used on, and warned of.
pub(super) async fn check_or_warn(client: &Client, schema: &str) -> Result<(), PgOpenError> {
    let Err(error) = check_closed(client, schema).await else { return Ok(()) };
    if !matches!(error, PgOpenError::Denied(_)) || migrate::version(client, schema).await? == 0 {
        return Err(error);
    }
    tracing::warn!("{error}");
    Ok(())
}

impl PgAdmin {
    /// Lets a role publish, which is all that it gets, and makes it first if it is not there: without a login, for others to be members of it.
    /// Answers whether it was made.
    pub async fn grant_publishing(options: &PgOptions, role: &str) -> Result<bool, PgOpenError> {
        options.check()?;
        if role.is_empty() || role.len() > LONGEST_ROLE || role.contains('\0') {
            return Err(PgOpenError::Denied(format!("{role:?} cannot be the name of a role: it has 1 to {LONGEST_ROLE} bytes")));
        }
        let server = Server::new(options)?;
        let client = server.connect(Use::Migrate, options).await?;
        check_closed(&client, &options.schema).await?;
        let is_new = make(&client, role).await?;
        grant(&client, &options.schema, role).await.map_err(|error| failed(&error))?;
        let has_all = client.query_one(HAS_ALL, &[&role, &options.schema]).await.and_then(|row| row.try_get::<_, Option<bool>>(0));
        if has_all.map_err(|error| failed(&error))? == Some(true) {
            return Ok(is_new);
        }
        Err(PgOpenError::Denied(format!(
            "the role {role} may not publish, for the user of the database cannot grant it: run this as the owner of the schema {}",
            options.schema
        )))
    }
}

/// Makes the role unless it is there.
async fn make(client: &Client, role: &str) -> Result<bool, PgOpenError> {
    let sql = "SELECT format('CREATE ROLE %I NOLOGIN', $1::text) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text)";
    let Some(row) = client.query_opt(sql, &[&role]).await.map_err(|error| failed(&error))? else { return Ok(false) };
    let create: String = row.try_get(0).map_err(|error| failed(&error))?;
    match client.batch_execute(&create).await {
        Ok(()) => Ok(true),
        // Somebody else was faster.
        Err(error) if matches!(error.code(), Some(&SqlState::DUPLICATE_OBJECT | &SqlState::UNIQUE_VIOLATION)) => Ok(false),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(PgOpenError::Denied(format!(
            "there is no role {role}, and the user of the database may not make roles: let an administrator run {create}, then run this again, and let \
             the administrator GRANT it to the roles that applications log in with"
        ))),
        Err(error) => Err(failed(&error)),
    }
}

async fn grant(client: &Client, schema: &str, role: &str) -> Result<(), tokio_postgres::Error> {
    for row in client.query(GRANTS, &[&role, &schema]).await? {
        client.batch_execute(row.try_get(0)?).await?;
    }
    Ok(())
}

/// The driver's text leaves out what the server said.
fn failed(error: &tokio_postgres::Error) -> PgOpenError {
    let said = error.as_db_error().map_or_else(|| error.to_string(), |said| format!("{} ({})", said.message(), said.code().code()));
    PgOpenError::Denied(format!("the role could not be given the right to publish: {said}"))
}
