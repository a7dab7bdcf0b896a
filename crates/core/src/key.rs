//! API keys: what a caller may do, and where.

use crate::event::Namespace;
use crate::id::KeyId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An API key as it is stored: a hash, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id, for listing and revoking.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// The first characters of the secret, to recognise it by.
    pub prefix: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub hash: String,
    /// The namespace it works in; without one it is an organization-wide (master view) key.
    pub namespace: Option<Namespace>,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing any more; `None` is never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it opens anything at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether nothing needs to know of it any more some time after it was revoked. Keys that opened everything are remembered for ever:
    /// a secret that leaked must not be taken as the bootstrap key again.
    pub fn may_be_forgotten(&self) -> bool {
        self.revoked_at.is_some() && !(self.namespace.is_none() && self.scopes.admin)
    }
}

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// List and get.
    pub read: bool,
    /// Publish, create, update, delete, retry.
    pub write: bool,
    /// Manage keys and nodes.
    pub admin: bool,
}

/// One scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See [`Scopes::read`].
    Read,
    /// See [`Scopes::write`].
    Write,
    /// See [`Scopes::admin`].
    Admin,
}

impl Scope {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

impl Scopes {
    /// Reads a comma-separated list; the error names the first word that is no scope.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Scopes::default();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match word {
                "read" => scopes.read = true,
                "write" => scopes.write = true,
                "admin" => scopes.admin = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(scopes)
    }

    /// Whether this includes `scope`; `admin` includes everything.
    pub fn include(&self, scope: Scope) -> bool {
        self.admin
            || match scope {
                Scope::Read => self.read,
                Scope::Write => self.write,
                Scope::Admin => false,
            }
    }

    /// The names, for showing.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [(self.read, "read"), (self.write, "write"), (self.admin, "admin")];
        all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_and_include() {
        let s = Scopes::parse("read, write").expect("scopes");
        assert!(s.include(Scope::Read) && s.include(Scope::Write) && !s.include(Scope::Admin));
        assert_eq!(s.names(), ["read", "write"]);
        assert!(Scopes::parse("admin").expect("scopes").include(Scope::Write));
        assert_eq!(Scopes::parse("read,rite"), Err("rite".to_owned()));
    }
}
