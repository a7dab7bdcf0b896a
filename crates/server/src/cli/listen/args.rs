//! The flags of `postrider listen` and what they mean.

use crate::cli::CommandError;
use crate::cli::remote::input;
use crate::config::value::Span;
use crate::receiver::{Behaviour, Fault, Faults, Forward, Verifier};
use http::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;

/// The flags of `postrider listen`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Serve this path only and answer 404 elsewhere [default: every path].
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub path: Option<String>,
    /// Check signatures with this secret: - reads it from the first line of stdin, @FILE from that of a file. May be given several times, one has to
    /// fit. A secret that is given as it is can be seen by other users of this machine, and stays in the history of the shell.
    #[arg(long = "secret", env = "POSTRIDER_LISTEN_SECRET", hide_env_values = true, value_name = "SECRET|@FILE|-")]
    pub secrets: Vec<String>,
    /// Check Ed25519 signatures (v1a) with this public key of 64 hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    pub ed25519_public_key: Option<[u8; 32]>,
    /// The status to answer with.
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = status)]
    pub answer: StatusCode,
    /// The body to answer with.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub body: String,
    /// Send Retry-After with every answer that is not a 2xx.
    #[arg(long, value_name = "SECONDS")]
    pub retry_after: Option<u32>,
    /// Wait so long before each answer.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub delay: Span,
    /// Fail the first N requests.
    #[arg(long, value_name = "N", group = "faults")]
    pub fail_first: Option<u64>,
    /// Fail each N-th request.
    #[arg(long, value_name = "N", group = "faults", value_parser = clap::value_parser!(u64).range(1..))]
    pub fail_every: Option<u64>,
    /// Fail this share of the requests, 0 to 1.
    #[arg(long, value_name = "SHARE", group = "faults", value_parser = share)]
    pub fail_rate: Option<f64>,
    /// Where the random sequence of --fail-rate starts; the same seed fails the same requests [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The status of a request that a --fail flag names.
    #[arg(long, value_name = "STATUS", default_value = "500", value_parser = status, requires = "faults", conflicts_with_all = ["stall", "reset"])]
    pub fail_status: StatusCode,
    /// Never answer: every request, or only those that a --fail flag names.
    #[arg(long, conflicts_with = "reset")]
    pub stall: bool,
    /// Reset the connection after reading the request: every request, or only those that a --fail flag names.
    #[arg(long)]
    pub reset: bool,
    /// Pass each request on to this URL, with its headers and its body, and its answer back to the sender. Where the URL has a path, all go there;
    /// otherwise each keeps its own.
    #[arg(long, value_name = "URL", conflicts_with_all = ["answer", "body", "retry_after", "delay", "faults", "seed", "fail_status", "stall", "reset"])]
    pub forward: Option<String>,
    /// Exit after N requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print one JSON object per request.
    #[arg(long)]
    pub json: bool,
    /// Print whole bodies; otherwise those over 2 KiB are cut (JSON output never cuts).
    #[arg(long)]
    pub full: bool,
    /// Say nothing on stderr: neither the address nor the summary.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Args {
    /// What to answer, if the flags fit each other.
    pub fn behaviour(&self) -> Result<Behaviour, CommandError> {
        let fault = match (self.stall, self.reset) {
            (true, _) => Fault::Stall,
            (false, true) => Fault::Reset,
            (false, false) => Fault::Status(self.fail_status),
        };
        let named = self.fail_first.map(Faults::First).or(self.fail_every.map(Faults::Every)).or(self.fail_rate.map(Faults::Rate));
        let otherwise = if self.stall || self.reset { Faults::Always } else { Faults::Never };
        // clap waives `requires` for a flag that another one excludes, as --fail-first does --fail-rate.
        if self.seed.is_some() && self.fail_rate.is_none() {
            return Err(CommandError(String::from("--seed is for --fail-rate: nothing else is random")));
        }
        let only_succeeds = self.answer.is_success()
            && (named.is_none() || !matches!(fault, Fault::Status(status) if !status.is_success()))
            && self.path.is_none();
        if self.retry_after.is_some() && only_succeeds {
            let text = "--retry-after goes with answers that are not a 2xx, and there are none: add a --fail flag, or --answer 503";
            return Err(CommandError(String::from(text)));
        }
        Ok(Behaviour {
            answer: self.answer,
            body: self.body.clone().into(),
            retry_after: self.retry_after,
            delay: self.delay.0,
            faults: named.unwrap_or(otherwise),
            fault,
            seed: self.seed.unwrap_or(1),
        })
    }

    /// Who answers in its place, if anybody.
    pub fn forward(&self) -> Result<Option<Arc<Forward>>, CommandError> {
        let made = self.forward.as_deref().map(Forward::new).transpose();
        Ok(made.map_err(|error| CommandError::new("--forward", error))?.map(Arc::new))
    }

    /// What to check signatures with.
    pub fn verifier(&self) -> Result<Verifier, CommandError> {
        let secrets = self.secrets.iter().filter(|given| !given.is_empty()).map(|given| secret(given));
        let secrets = secrets.collect::<Result<Vec<String>, CommandError>>()?;
        Verifier::new(&secrets, self.ed25519_public_key).map_err(|error| CommandError::new("--secret", error))
    }
}

/// A secret from where the flag says.
fn secret(given: &str) -> Result<String, CommandError> {
    if given == "-" || given.starts_with('@') {
        return input::secret("--secret", given).map_err(|failure| CommandError(failure.to_string()));
    }
    Ok(given.to_owned())
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(['?', '#']) {
        Ok(text.to_string())
    } else {
        Err(String::from("a path begins with / and has no query"))
    }
}

fn public_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = postrider_core::hex::decode(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| String::from("a public key is 64 hexadecimal digits"))
}

fn status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    code.and_then(|code: u16| StatusCode::from_u16(code).ok()).ok_or_else(|| String::from("a status is a number from 200 to 599"))
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| String::from("a share is a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("listen").chain(line.split_whitespace())).map(|line| line.args)
    }

    fn behaviour(line: &str) -> Behaviour {
        parse(line).expect("flags that are accepted").behaviour().expect("flags that fit each other")
    }

    #[test]
    fn without_flags_every_request_is_answered_200() {
        let args = parse("").expect("no flags");
        assert_eq!(args.listen.to_string(), "127.0.0.1:9000");
        let plain = args.behaviour().expect("no flags");
        assert_eq!((plain.answer, plain.faults, plain.delay), (StatusCode::OK, Faults::Never, Duration::ZERO));
    }

    #[test]
    fn failing_flags_name_the_requests_and_the_fault() {
        let failing = behaviour("--fail-first 2 --fail-status 503 --retry-after 5 --delay 250ms");
        assert_eq!((failing.faults, failing.fault), (Faults::First(2), Fault::Status(StatusCode::SERVICE_UNAVAILABLE)));
        assert_eq!((failing.retry_after, failing.delay), (Some(5), Duration::from_millis(250)));
        assert_eq!(behaviour("--stall").faults, Faults::Always);
        assert_eq!((behaviour("--reset --fail-every 3").faults, behaviour("--reset").fault), (Faults::Every(3), Fault::Reset));
        assert_eq!(behaviour("--fail-rate 0.25 --stall").fault, Fault::Stall);
        assert_eq!(behaviour("--answer 410").answer, StatusCode::GONE);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--fail-first 1 --fail-every 2",
            "--stall --reset",
            "--fail-rate 1.5",
            "--fail-rate nan",
            "--fail-every 0",
            "--answer 99",
            "--answer 101",
            "--path hooks",
            "--ed25519-public-key abc",
            "--listen 9000",
            "--count 0",
            "--fail-status 503",
            "--fail-status 503 --fail-first 1 --stall",
            "--fail-status 503 --fail-first 1 --reset",
            "--forward http://h --answer 503",
            "--forward http://h --fail-first 1",
            "--forward http://h --stall",
        ] {
            parse(line).expect_err(line);
        }
    }

    #[test]
    fn secrets_come_from_files_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=\nmore\n").expect("a file");
        assert_eq!(secret(&format!("@{}", file.display())).expect("a secret"), "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=");
        assert_eq!(secret("as it is").expect("a secret"), "as it is");
        assert!(secret("@/nowhere/at/all").expect_err("no file").to_string().contains("/nowhere/at/all"));
        // A variable that is there and empty names no secret.
        parse("--secret=").expect("flags that are accepted").verifier().expect("nothing to check with");
    }

    #[test]
    fn a_seed_without_chance_is_refused() {
        for line in ["--seed 7", "--seed 7 --fail-first 1", "--seed 7 --stall"] {
            let error = parse(line).expect("flags that are accepted").behaviour().expect_err(line).to_string();
            assert!(error.contains("--fail-rate"), "{error}");
        }
        assert_eq!(behaviour("--seed 7 --fail-rate 0.5 --fail-status 503").seed, 7);
        assert_eq!(behaviour("--fail-rate 0.5").seed, 1);
    }

    #[test]
    fn a_retry_after_that_nobody_would_get_is_refused() {
        for line in ["", "--answer 204", "--stall", "--reset --fail-first 1", "--fail-first 1 --fail-status 202"] {
            let args = parse(&format!("--retry-after 5 {line}")).expect("flags that are accepted");
            let error = args.behaviour().expect_err(line).to_string();
            assert!(error.contains("--retry-after"), "{error}");
        }
        // Another path than the served one is answered 404.
        for line in ["--answer 503", "--fail-first 1", "--path /hooks"] {
            assert_eq!(behaviour(&format!("--retry-after 5 {line}")).retry_after, Some(5));
        }
    }

    #[test]
    fn whom_to_pass_on_to_must_be_a_url() {
        let error = parse("--forward localhost:3000").expect("flags").forward().expect_err("no URL").to_string();
        assert!(error.contains("--forward") && error.contains("http://"), "{error}");
        assert!(parse("--forward http://localhost:3000").expect("flags").forward().expect("a URL").is_some());
    }

    #[test]
    fn a_bad_secret_is_explained_without_showing_it() {
        let error = parse("--secret whsec_!!").expect("flags").verifier().expect_err("no base64").to_string();
        assert!(error.contains("--secret") && error.contains("base64") && !error.contains("!!"), "{error}");
        let hex = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
        parse(&format!("--secret whsec_AAEC --secret plain --ed25519-public-key {hex}")).expect("flags").verifier().expect("keys");
    }
}
