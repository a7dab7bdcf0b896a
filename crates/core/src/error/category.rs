//! The classes of outcomes.

use std::fmt;

macro_rules! categories {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The class of an attempt's outcome, as the RPC API names it: coarser than codes and fewer, for counting and for lists.
        /// The texts and their number are that contract's (`error_category`) and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Category { $($(#[$doc])* $name,)* }

        impl Category {
            /// Every category.
            pub const ALL: &'static [Category] = &[$(Category::$name,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Category::$name => $text,)* }
            }
        }
    };
}

categories! {
    /// The receiver took it.
    Success = "success";
    /// The receiver answered 4xx.
    ClientError = "client_error";
    /// The receiver answered 5xx.
    ServerError = "server_error";
    /// The deadline passed.
    Timeout = "timeout";
    /// Nothing listens there.
    ConnectionRefused = "connection_refused";
    /// The connection broke or the network was unreachable.
    NetworkError = "network_error";
    /// The name did not resolve.
    DnsError = "dns_error";
    /// The TLS handshake failed.
    TlsError = "tls_error";
    /// Everything else, deliveries that ended without an attempt among it.
    Unknown = "unknown";
}

impl Category {
    /// Reads a stable text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
