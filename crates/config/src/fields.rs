use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use strait_core::{Error, ErrorKind, Result, planted};
use toml::{Table, Value};

use crate::{
    Secret, check_url,
    document::{Places, join, scalar},
};

/// The fields of one table, to be read one by one. What is wrong gathers, each with its file and key path, and so does
/// what nobody read: [`finish`](Self::finish) reports all of it.
#[derive(Clone, Debug)]
pub struct Fields {
    table: Table,
    path: String,
    places: Arc<Places>,
    known: Vec<String>,
    problems: Vec<String>,
}

/// Where to start with what is stored already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest message there is.
    Earliest,
    /// After the newest message there is.
    Latest,
    /// At the first message stored at this time or later.
    Time(SystemTime),
}

impl Fields {
    pub(crate) fn new(table: Table, path: String, places: Arc<Places>) -> Self {
        Self { table, path, places, known: Vec::new(), problems: Vec::new() }
    }

    /// The key path of the table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Says that something is wrong with a field.
    pub fn problem(&mut self, name: &str, reason: impl std::fmt::Display) {
        let path = join(&self.path, name);
        self.problems.push(format!("{}: {path}: {reason}", self.places.file(&path)));
    }

    /// A sentence that names a field, for an error found when it is used.
    pub fn sentence(&self, name: &str, reason: impl std::fmt::Display) -> String {
        let path = join(&self.path, name);
        format!("{}: {path}: {reason}", self.places.file(&path))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.known.push(name.to_owned());
        self.table.remove(name)
    }

    fn wrong(&mut self, name: &str, wanted: &str, found: &Value) {
        let article = if found.type_str().starts_with(['a', 'i']) { "an" } else { "a" };
        self.problem(name, format_args!("expected {wanted}, found {article} {}", found.type_str()));
    }

    /// A value that is no text: a text that was a single variable is read as TOML.
    fn take_scalar(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name)?;
        match value {
            Value::String(text) if self.places.variables.contains(&join(&self.path, name)) => {
                if text.is_empty() {
                    None
                } else {
                    Some(scalar(&text).unwrap_or(Value::String(text)))
                }
            }
            value => Some(value),
        }
    }

    /// A text. An empty one is absent, so that `"${VAR:-}"` can mean nothing.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => (!text.is_empty()).then_some(text),
            other => {
                self.wrong(name, "a text", &other);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, name: &str) -> String {
        let before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == before {
            self.problem(name, "is missing");
        }
        text.unwrap_or_default()
    }

    /// A text that is never shown.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A whole number, at least 1.
    pub fn count(&mut self, name: &str) -> Option<usize> {
        match self.take_scalar(name)? {
            Value::Integer(number) if number >= 1 => usize::try_from(number).ok(),
            Value::Integer(_) => {
                self.problem(name, "must be at least 1");
                None
            }
            other => {
                self.wrong(name, "a positive whole number", &other);
                None
            }
        }
    }

    /// A number of bytes: `1048576`, or a text such as `"1MiB"`.
    pub fn bytes(&mut self, name: &str) -> Option<usize> {
        match self.take_scalar(name)? {
            Value::Integer(number) if number >= 1 => usize::try_from(number).ok(),
            Value::String(text) => {
                let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                let unit = match text[digits..].trim() {
                    "" | "B" => Some(1),
                    "KiB" => Some(1 << 10),
                    "MiB" => Some(1 << 20),
                    "GiB" => Some(1 << 30),
                    _ => None,
                };
                let number =
                    text[..digits].parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
                if number.is_none_or(|number| number == 0) {
                    self.problem(name, "expected bytes, such as 1048576 or \"1MiB\"");
                    return None;
                }
                number
            }
            other => {
                self.problem(
                    name,
                    format_args!("expected bytes, such as 1048576 or \"1MiB\", found {}", other.type_str()),
                );
                None
            }
        }
    }

    /// A duration: a text such as `"200ms"`.
    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        let value = self.take(name)?;
        let duration = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        if duration.is_none() {
            self.problem(name, "expected a duration, such as \"200ms\" or \"30s\"");
        }
        duration
    }

    /// How long a call may take: 100 ms to 60 s.
    pub fn timeout(&mut self, name: &str) -> Option<Duration> {
        let timeout = self.duration(name)?;
        if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(60) {
            self.problem(name, "must be 100ms to 60s");
        }
        Some(timeout)
    }

    /// The address of a service, as [`check_url`] has it.
    pub fn url(&mut self, name: &str, allow_insecure: bool) -> Option<String> {
        let url = self.text(name)?;
        if let Err(reason) = check_url(&url, allow_insecure) {
            self.problem(name, reason);
        }
        Some(url)
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take_scalar(name)? {
            Value::Boolean(flag) => Some(flag),
            other => {
                self.wrong(name, "true or false", &other);
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.problem(name, format_args!("expected one of {}", words.join(", ")));
        }
        found
    }

    /// Where to start: `"earliest"`, `"latest"`, or a time such as `"2026-01-31T12:00:00Z"`.
    pub fn start(&mut self, name: &str) -> Option<StartAt> {
        let text = self.text(name)?;
        match &*text {
            "earliest" => return Some(StartAt::Earliest),
            "latest" => return Some(StartAt::Latest),
            _ => {}
        }
        let time = humantime::parse_rfc3339(&text);
        if time.is_err() {
            self.problem(name, "must be \"earliest\", \"latest\", or a time such as 2026-01-31T12:00:00Z");
        }
        time.ok().map(StartAt::Time)
    }

    /// A table within this one; an empty one if it is absent.
    pub fn table(&mut self, name: &str) -> Self {
        let path = join(&self.path, name);
        let table = match self.take(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong(name, "a table", &other);
                Table::new()
            }
        };
        Self::new(table, path, Arc::clone(&self.places))
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The names of the fields that were not read yet.
    pub fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// Takes over the problems of a table within this one, and what nobody read there.
    pub fn absorb(&mut self, inner: Self) {
        self.problems.extend(inner.into_problems());
    }

    pub(crate) fn into_problems(mut self) -> Vec<String> {
        for name in self.names() {
            if planted!("unknown-key-accepted") {
                break;
            }
            let reason = match near(&name, self.known.iter().map(String::as_str)) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None => "unknown key".to_owned(),
            };
            self.problem(&name, reason);
        }
        self.problems
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with a line for each problem.
    pub fn finish(self) -> Result<()> {
        report(&self.into_problems())
    }
}

pub(crate) fn report(problems: &[String]) -> Result<()> {
    if problems.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::Config, problems.join("\n"))) }
}

/// The one of `names` that `name` was probably meant to be.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    names.filter(|other| distance(other) <= 1 + name.len() / 4).min_by_key(distance)
}
