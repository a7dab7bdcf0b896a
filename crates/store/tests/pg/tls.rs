//! Encrypted connections: what each `sslmode` takes of a server and what it refuses, and servers that want certificates of clients.

use crate::own::Own;
use crate::{Database, SCHEMA, WAIT, number, pg, stored};
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOpenError, PgOptions, PgStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Who comes in by the network: only who is encrypted, ...
const SEALED: &str = "hostssl all all 127.0.0.1/32 scram-sha-256";
/// ... anybody, ...
const OPEN: &str = "host all all 127.0.0.1/32 scram-sha-256";
/// ... and only who has a certificate with the user's name as well.
const CERTIFIED: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full";

/// What is said of a certificate that nobody has signed who is trusted.
const UNKNOWN: &str = "UnknownIssuer";

/// How a store's connections came.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Encrypted,
    /// With a certificate of the client's, of this subject.
    Certified(&'static str),
}

/// What a mode comes to, with a file of roots where it has one: a way, or what the refusal says.
type Row<'a> = (&'a str, Option<&'a str>, Result<Way, &'a str>);

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate for this host or user, and its key.
    fn certify(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a signature");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server with a certificate, and who has signed that: also those of its clients.
struct Ground {
    server: Own,
    /// A connection past the network, which is not encrypted whatever the rules are.
    inside: Client,
    authority: Authority,
    /// The client's.
    files: TempDir,
    /// Its certificate is what the server's was signed with, ...
    ours: String,
    /// ... and this one's is not.
    strange: String,
}

impl Ground {
    async fn new(name: &str, rules: &str) -> Self {
        let (authority, stranger) = (Authority::named("the authority of this test"), Authority::named("a stranger"));
        let (certificate, key) = authority.certify(name);
        let root = authority.0.pem();
        let files = [("server.crt", certificate.as_str()), ("server.key", key.as_str()), ("clients.crt", root.as_str())];
        let settings = "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\nssl_ca_file = '../clients.crt'";
        let server = Own::start_with(&files, settings, rules).await;
        let (inside, files) = (pg::connect(&server.inside()).await, tempfile::tempdir().expect("a directory"));
        let (ours, strange) = (put(&files, "ours.pem", &root), put(&files, "strange.pem", &stranger.0.pem()));
        Ground { server, inside, authority, files, ours, strange }
    }

    /// The server's URL with this host in it, to which there is more to be said. Whatever that name means here, its only address is asked.
    fn url(&self, host: &str) -> String {
        format!("{}?hostaddr=127.0.0.1&", self.server.url().replace("127.0.0.1", host))
    }

    async fn assert_all(&self, host: &str, rows: &[Row<'_>]) {
        assert_all(&self.inside, &self.url(host), rows).await;
    }

    /// What is behind a URL so that the client shows this certificate.
    fn shown(&self, name: &str, (certificate, key): (String, String)) -> String {
        let certificate = put(&self.files, &format!("{name}.crt"), &certificate);
        let key = put(&self.files, &format!("{name}.key"), &key);
        format!("&sslcert={certificate}&sslkey={key}")
    }
}

/// Writes a file; answers its path.
fn put(files: &TempDir, name: &str, text: &str) -> String {
    let path = files.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// Opens a store at this URL and has it store an event; answers how its connections came, as the server sees them.
async fn open(inside: &Client, url: &str) -> Result<Way, PgOpenError> {
    let name = pg::unique("t");
    let store = Box::pin(PgStore::open(PgOptions::new(format!("{url}&application_name={name}")))).await?;
    // Ids follow from the seed: a number of this server's that nobody else has.
    let seed = number(inside, "SELECT pg_current_xact_id()::text::int8").await.unsigned_abs();
    stored(store.publish(vec![Fixtures::new(seed).event(1)]).await);
    let way = way(inside, &name).await;
    store.close().await;
    Ok(way)
}

/// How all connections of this name came.
async fn way(inside: &Client, name: &str) -> Way {
    let sql = "SELECT DISTINCT s.ssl AND s.version LIKE 'TLSv1._', s.client_dn FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
               WHERE a.application_name = $1";
    let rows = inside.query(sql, &[&name]).await.expect("a look");
    assert_eq!(rows.len(), 1, "all of them came in one way, and there are some");
    let (is_encrypted, subject): (bool, Option<&str>) = (rows[0].get(0), rows[0].get(1));
    match (is_encrypted, subject) {
        (false, None) => Way::Plain,
        (true, None) => Way::Encrypted,
        (true, Some("/CN=postgres")) => Way::Certified("postgres"),
        _ => panic!("encrypted: {is_encrypted}, with a certificate of {subject:?}"),
    }
}

/// Each mode comes to what it should.
async fn assert_all(inside: &Client, url: &str, rows: &[Row<'_>]) {
    for (mode, root, expected) in rows {
        let root = root.map_or_else(String::new, |root| format!("&sslrootcert={root}"));
        assert_comes_to(inside, &format!("{url}sslmode={mode}{root}"), expected).await;
    }
}

/// What is refused is refused for good, and it is said why.
async fn assert_comes_to(inside: &Client, url: &str, expected: &Result<Way, &str>) {
    let (credentials, wishes) = url.split_once('@').expect("a URL with a password");
    let (_, password) = credentials.rsplit_once(':').expect("a password");
    match (open(inside, url).await, expected) {
        (Ok(way), Ok(expected)) => assert_eq!(way, *expected, "{wishes}"),
        (Err(error), Err(why)) => {
            assert!(error.to_string().contains(*why), "{wishes}: {error}");
            assert!(!format!("{error} {error:?}").contains(password), "{wishes}");
            assert!(!error.may_pass(), "{wishes}: {error}");
        }
        (came_to, expected) => panic!("{wishes}: {came_to:?}, and not {expected:?}"),
    }
}

#[test]
fn modes_take_and_refuse_what_they_say() {
    block_on(async {
        let ground = Ground::new("localhost", SEALED).await;
        let (ours, strange) = (Some(ground.ours.as_str()), Some(ground.strange.as_str()));
        let rows = [
            ("disable", None, Err("no encryption")),
            ("allow", None, Ok(Way::Encrypted)),
            ("prefer", None, Ok(Way::Encrypted)),
            ("require", None, Ok(Way::Encrypted)),
            ("require", ours, Ok(Way::Encrypted)),
            ("verify-ca", ours, Ok(Way::Encrypted)),
            ("verify-full", ours, Ok(Way::Encrypted)),
            ("prefer", strange, Err(UNKNOWN)),
            ("require", strange, Err(UNKNOWN)),
            ("verify-ca", strange, Err(UNKNOWN)),
            ("verify-full", strange, Err(UNKNOWN)),
        ];
        ground.assert_all("localhost", &rows).await;
        let rows = [
            ("require", None, Ok(Way::Encrypted)),
            ("verify-ca", ours, Ok(Way::Encrypted)),
            ("verify-full", ours, Err("not valid for name \"127.0.0.1\"")),
        ];
        ground.assert_all("127.0.0.1", &rows).await;
    });
}

/// One that is encrypted is asked for first, and a certificate is good for another name unless that is to be checked.
#[test]
fn of_a_server_that_takes_both_modes_take_what_they_say() {
    block_on(async {
        let ground = Ground::new("elsewhere.test", OPEN).await;
        let (ours, strange) = (Some(ground.ours.as_str()), Some(ground.strange.as_str()));
        let rows = [
            ("disable", None, Ok(Way::Plain)),
            ("disable", strange, Ok(Way::Plain)),
            ("allow", None, Ok(Way::Encrypted)),
            ("prefer", None, Ok(Way::Encrypted)),
            ("require", None, Ok(Way::Encrypted)),
            ("require", ours, Ok(Way::Encrypted)),
            ("verify-ca", ours, Ok(Way::Encrypted)),
            ("verify-ca", strange, Err(UNKNOWN)),
            ("verify-full", ours, Err("not valid for name \"localhost\"")),
        ];
        ground.assert_all("localhost", &rows).await;
    });
}

#[test]
fn who_wants_encryption_does_not_come_to_a_server_that_has_none() {
    const NONE: &str = "server does not support TLS";
    block_on(async {
        let (database, files) = (Database::new("d").await, tempfile::tempdir().expect("a directory"));
        let inside = pg::connect(&database.url).await;
        let root = put(&files, "root.pem", &Authority::named("the authority of this test").0.pem());
        let (url, root) = (format!("{}?", database.url), Some(root.as_str()));
        let refused =
            [("require", None, Err(NONE)), ("require", root, Err(NONE)), ("verify-ca", root, Err(NONE)), ("verify-full", root, Err(NONE))];
        assert_all(&inside, &url, &refused).await;
        let schemas = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{SCHEMA}'");
        assert_eq!(number(&inside, &schemas).await, 0, "none of them has done anything there");
        let taken = [("disable", None, Ok(Way::Plain)), ("allow", None, Ok(Way::Plain)), ("prefer", None, Ok(Way::Plain))];
        assert_all(&inside, &url, &taken).await;
    });
}

#[test]
fn a_server_that_wants_certificates_takes_those_of_its_authority_for_the_user() {
    block_on(async {
        let ground = Ground::new("localhost", CERTIFIED).await;
        let strange = ground.shown("strange", Authority::named("another stranger").certify("postgres"));
        let url = format!("{}sslmode=verify-full&sslrootcert={}", ground.url("localhost"), ground.ours);
        let table = [
            (String::new(), Err("valid client certificate")),
            (strange.clone(), Err("UnknownCA")),
            (ground.shown("other", ground.authority.certify("somebody")), Err("authentication failed")),
            (ground.shown("own", ground.authority.certify("postgres")), Ok(Way::Certified("postgres"))),
        ];
        for (shown, expected) in table {
            assert_comes_to(&ground.inside, &format!("{url}{shown}"), &expected).await;
        }
        // It is no matter of whether somebody answers, and not of the password.
        let refused = open(&ground.inside, &format!("{url}{strange}")).await.expect_err("it is refused");
        assert!(matches!(refused, PgOpenError::Tls { .. }) && refused.to_string().contains("sslcert"), "{refused:?}");
    });
}

#[test]
fn after_a_crash_of_the_server_connections_are_encrypted_again() {
    block_on(async {
        let mut ground = Ground::new("localhost", SEALED).await;
        let url = format!("{}sslmode=verify-full&sslrootcert={}", ground.url("localhost"), ground.ours);
        // Nothing of it depends on how long the server takes to come back.
        let options = PgOptions { lease: WAIT, give_up: WAIT, ..PgOptions::new(url) };
        let store = PgStore::open(options).await.expect("the store opens");
        let mut make = Fixtures::new(1);
        stored(store.publish(vec![make.event(1)]).await);
        assert_eq!(way(&ground.inside, "postrider").await, Way::Encrypted);
        ground.server.crash().await;
        stored(store.publish(vec![make.event(1)]).await);
        let inside = pg::connect(&ground.server.inside()).await;
        assert_eq!(way(&inside, "postrider").await, Way::Encrypted);
        assert_eq!(number(&inside, &format!("SELECT count(*) FROM {SCHEMA}.events")).await, 2);
    });
}
