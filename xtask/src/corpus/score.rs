//! Who agrees with the kernel about what, counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::case::{Case, Mode};
use super::oracle::Word;
use super::pattern::first_unmet;
use super::runner::{Outcome, Said};

/// Agreed, of how many.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Count {
    pub(super) agreed: usize,
    pub(super) of: usize,
}

impl Count {
    fn add(&mut self, agreed: bool) {
        self.of += 1;
        self.agreed += usize::from(agreed);
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}/{}", self.agreed, self.of))
    }
}

/// The counts of one file, or of all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) privileged: Count,
    pub(super) unprivileged: Count,
    /// Of the privileged.
    pub(super) messages: Count,
    /// Of the privileged.
    pub(super) retvals: Count,
}

impl Counts {
    /// By their names, in the order of the columns.
    pub(super) fn named(&self) -> [(&'static str, Count); 4] {
        [
            ("privileged", self.privileged),
            ("unprivileged", self.unprivileged),
            ("messages", self.messages),
            ("retvals", self.retvals),
        ]
    }

    fn plus(&mut self, other: &Counts) {
        for (sum, one) in [
            (&mut self.privileged, other.privileged),
            (&mut self.unprivileged, other.unprivileged),
            (&mut self.messages, other.messages),
            (&mut self.retvals, other.retvals),
        ] {
            sum.agreed += one.agreed;
            sum.of += one.of;
        }
    }
}

/// Everything that was found out.
#[derive(Default)]
pub(super) struct Score {
    files: BTreeMap<String, Counts>,
    /// Case, what the kernel said.
    wrong_accepts: Vec<(String, String)>,
    /// Our message, cases.
    wrong_rejects: BTreeMap<String, Vec<String>>,
    /// The reason, cases.
    not_reached: BTreeMap<String, Vec<String>>,
    /// Case, what happened.
    failures: Vec<(String, String)>,
    /// Case, the first thing that the log does not hold, our message.
    wrong_messages: Vec<(String, String, String)>,
    /// Case, what was returned or went wrong.
    wrong_retvals: Vec<(String, String)>,
    walked: u64,
    seconds: f64,
    slowest: Vec<(f64, String, u32)>,
}

impl Score {
    /// Counts a case. `word`: what the kernel said; without, its annotation is believed.
    pub(super) fn add(&mut self, case: &Case, outcome: &Outcome, word: Option<&Word>) {
        let accepted = match word {
            Some(word) => match word.accepted {
                Some(accepted) => accepted,
                None => return,
            },
            None => case.accepted,
        };
        let name = case.name();
        let counts = self.files.entry(case.object.clone()).or_default();
        let verdicts = match case.mode {
            Mode::Privileged => &mut counts.privileged,
            Mode::Unprivileged => &mut counts.unprivileged,
        };
        let agreed = matches!(outcome, Outcome::Verdict(said) if said.accepted == accepted);
        verdicts.add(agreed);
        let privileged = case.mode == Mode::Privileged;
        let has_messages = !case.messages.is_empty() && privileged;
        if has_messages && word.is_none_or(|word| word.messages_match) {
            let unmet = match outcome {
                Outcome::Verdict(said) if agreed => {
                    let unmet = first_unmet(&said.log, &case.messages);
                    unmet.map(|pattern| (pattern.text.clone(), said.message.clone()))
                }
                _ => Some(Default::default()),
            };
            counts.messages.add(unmet.is_none());
            if let Some((pattern, message)) = unmet.filter(|_| agreed) {
                self.wrong_messages.push((name.clone(), pattern, message));
            }
        }
        if accepted && case.accepted && case.retval.is_some() && privileged {
            let returned = match outcome {
                Outcome::Verdict(Said { returned: Some(returned), .. }) => returned.clone(),
                _ => Err(String::new()),
            };
            counts.retvals.add(returned.is_ok());
            let why = returned.err().filter(|_| agreed);
            self.wrong_retvals.extend(why.map(|why| (name.clone(), why)));
        }
        self.note(name, outcome, accepted, word);
    }

    fn note(&mut self, name: String, outcome: &Outcome, accepted: bool, word: Option<&Word>) {
        match outcome {
            Outcome::Verdict(said) => {
                self.walked += u64::from(said.processed);
                self.seconds += said.seconds;
                self.slowest.push((said.seconds, name.clone(), said.processed));
                match (said.accepted, accepted) {
                    (true, false) => {
                        let why = word.map_or("", |word| word.last_line.as_str());
                        self.wrong_accepts.push((name, why.to_owned()));
                    }
                    (false, true) => self.wrong_rejects.entry(kind(said)).or_default().push(name),
                    _ => {}
                }
            }
            Outcome::NotReached(why) => {
                self.not_reached.entry(why.clone()).or_default().push(name);
            }
            Outcome::Panicked(why) => self.failures.push((name, why.replace('\n', " "))),
            Outcome::TookTooLong => self.failures.push((name, "no end in time".into())),
        }
    }

    /// The counts by file.
    pub(super) fn files(&self) -> &BTreeMap<String, Counts> {
        &self.files
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.files.values().for_each(|counts| total.plus(counts));
        total
    }

    /// The totals, one line each.
    pub(super) fn totals(&self) -> String {
        let total = self.total();
        let mut text = String::new();
        for (name, count) in total.named() {
            let _ = writeln!(text, "{name:<13} {count:>10}");
        }
        let _ = writeln!(
            text,
            "walked {} instructions in {:.1} s; {} wrong accepts, {} wrong rejects, {} not reached, \
             {} panics or without end",
            self.walked,
            self.seconds,
            self.wrong_accepts.len(),
            self.wrong_rejects.values().map(Vec::len).sum::<usize>(),
            self.not_reached.values().map(Vec::len).sum::<usize>(),
            self.failures.len()
        );
        text
    }

    /// A row for each file.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "| file | privileged | unprivileged | messages | retvals |\n|---|---:|---:|---:|---:|\n",
        );
        for (file, counts) in &self.files {
            let _ = write!(text, "| {file} |");
            for (_, count) in counts.named() {
                let shown = if count.of == 0 { String::new() } else { count.to_string() };
                let _ = write!(text, " {shown} |");
            }
            text.push('\n');
        }
        text
    }

    /// Everything that is wrong; of each group of cases so many.
    pub(super) fn wrong(&self, shown: usize) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "## Panics and no end: {}", self.failures.len());
        for (case, why) in &self.failures {
            let _ = writeln!(text, "{case}: {why}");
        }
        let _ = writeln!(text, "## Wrong accepts: {}", self.wrong_accepts.len());
        for (case, why) in &self.wrong_accepts {
            let _ = writeln!(text, "{case}: {why}");
        }
        groups(&mut text, "Wrong rejects", &self.wrong_rejects, shown);
        groups(&mut text, "Not reached", &self.not_reached, shown);
        let _ = writeln!(text, "## Messages: {}", self.wrong_messages.len());
        for (case, pattern, message) in &self.wrong_messages {
            let message = message.lines().next().unwrap_or_default();
            let _ = writeln!(text, "{case}: lacks '{pattern}' (refused: {message})");
        }
        let _ = writeln!(text, "## Return values: {}", self.wrong_retvals.len());
        for (case, why) in &self.wrong_retvals {
            let _ = writeln!(text, "{case}: {why}");
        }
        let mut slowest: Vec<_> = self.slowest.iter().collect();
        slowest.sort_by(|a, b| b.0.total_cmp(&a.0));
        let _ = writeln!(text, "## Slowest");
        for (seconds, case, walked) in slowest.iter().take(10) {
            let _ = writeln!(text, "{:8.1} ms {walked:>8} {case}", seconds * 1e3);
        }
        text
    }
}

/// The reasons that many cases have first.
fn groups(text: &mut String, title: &str, groups: &BTreeMap<String, Vec<String>>, shown: usize) {
    let count: usize = groups.values().map(Vec::len).sum();
    let _ = writeln!(text, "## {title}: {count}");
    let mut groups: Vec<_> = groups.iter().collect();
    groups.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    for (reason, cases) in groups {
        let some = cases.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(" ");
        let more = if cases.len() > shown { " ..." } else { "" };
        let _ = writeln!(text, "{:>4}  {reason}\n        {some}{more}", cases.len());
    }
}

/// Our message with its numbers left out, so that those of one kind are together.
fn kind(said: &Said) -> String {
    let mut kind = String::new();
    for char in said.message.lines().next().unwrap_or_default().chars() {
        match char {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            char => kind.push(char),
        }
    }
    kind
}
