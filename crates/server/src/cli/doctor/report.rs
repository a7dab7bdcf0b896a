//! What was found, and how it is shown.

use serde::Serialize;

/// How wide the names of checks are shown.
const WIDTH: usize = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    Warning,
    Wrong,
}

/// What one check has found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What there is.
    pub(super) found: String,
    /// How to mend it; where it is good there is nothing to mend.
    pub(super) mend: Option<String>,
}

/// So many, with the words for one or for any other number.
pub(super) fn counted(count: u64, one: &str, others: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { others })
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn good(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Good, found: found.into(), mend: None });
    }

    pub(super) fn warn(&mut self, check: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warning, found: found.into(), mend: Some(mend.into()) });
    }

    pub(super) fn wrong(&mut self, check: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Wrong, found: found.into(), mend: Some(mend.into()) });
    }

    /// Good if `is_good`, else as bad as `verdict` says.
    pub(super) fn judge(
        &mut self,
        check: &'static str,
        (is_good, verdict): (bool, Verdict),
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (verdict, mend) = if is_good { (Verdict::Good, None) } else { (verdict, Some(mend.into())) };
        self.0.push(Finding { check, verdict, found: found.into(), mend });
    }

    /// Whether anything keeps a server from doing its work.
    pub(super) fn is_wrong(&self) -> bool {
        self.count(Verdict::Wrong) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// For programs.
    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            ok: bool,
            findings: &'a [Finding],
        }
        let text = serde_json::to_string_pretty(&Shape { ok: !self.is_wrong(), findings: &self.0 })?;
        Ok(text + "\n")
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Finding { check, verdict, found, mend } in &self.0 {
            let word = match verdict {
                Verdict::Good => "good",
                Verdict::Warning => "WARNING",
                Verdict::Wrong => "WRONG",
            };
            text.push_str(&format!("{word:<7}  {check:<WIDTH$}  {found}\n"));
            if let Some(mend) = mend {
                text.push_str(&format!("{:<7}  {:<WIDTH$}  -> {mend}\n", "", ""));
            }
        }
        let (good, warnings, wrong) = (self.count(Verdict::Good), self.count(Verdict::Warning), self.count(Verdict::Wrong));
        text + &format!("\n{good} good, {warnings} to look at, {wrong} wrong\n")
    }

    /// What these checks have found, for tests.
    #[cfg(test)]
    pub(super) fn of(&self, check: &str) -> Option<Verdict> {
        self.0.iter().filter(|finding| finding.check == check).map(|finding| finding.verdict).max_by_key(|verdict| *verdict as u8)
    }
}
