use std::{
    fmt,
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
#[derive(Clone)]
pub struct Fields {
    table: Table,
    path: String,
    places: Arc<Places>,
    /// What was asked for.
    known: Vec<Field>,
    /// What others call a field, and what it is called here.
    called: Vec<(&'static str, &'static str)>,
    problems: Vec<String>,
}

/// A field that a table may have, as the code that reads the table asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Its name; `retry.first` is the field `first` of the table `retry`.
    pub name: String,
    /// Its type, in words: `text`, `duration`, `"fail" or "skip"`.
    pub kind: String,
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

/// The longest duration. Every clock can count that far.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A limit that only mistakes reach.
const FAR: usize = u32::MAX as usize;

/// The longest text that an error shows of what it found.
const LONGEST_SHOWN: usize = 40;

/// Shows names alone: a value may be a secret.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("path", &self.path).field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Fields {
    pub(crate) fn new(table: Table, path: String, places: Arc<Places>) -> Self {
        Self { table, path, places, known: Vec::new(), called: Vec::new(), problems: Vec::new() }
    }

    /// The table that all others are in, to say something of.
    pub(crate) fn root(&self) -> Self {
        Self::new(Table::new(), String::new(), Arc::clone(&self.places))
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

    /// What was asked for so far, each field once, in the order of the first look.
    pub fn known(&self) -> &[Field] {
        &self.known
    }

    /// Says that there is such a field, which is read only beside some values of others. What is said of it first counts.
    pub fn expect(&mut self, name: &str, kind: &str) {
        if !self.known.iter().any(|field| field.name == name) {
            self.known.push(Field { name: name.to_owned(), kind: kind.to_owned() });
        }
    }

    fn take(&mut self, name: &str, kind: &str) -> Option<Value> {
        self.expect(name, kind);
        self.table.remove(name)
    }

    fn wrong(&mut self, name: &str, wanted: &str, found: &Value) {
        let found = self.found(name, found);
        self.problem(name, format_args!("expected {wanted}, found {found}"));
    }

    /// Whether a value came from a variable or a file, somewhere, so that it is not to be shown.
    pub(crate) fn hides(&self, value: &str) -> bool {
        self.places.replaced.contains(value)
    }

    /// What was found, for a sentence: a number, a truth value or a short text as it is written there, of all else the type.
    /// What a variable or a file holds is never shown.
    fn found(&self, name: &str, found: &Value) -> String {
        match found {
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if !self.is_variable(name) => format!("{found}"),
            Value::String(text) if self.shows(name, text) => format!("{text:?}"),
            _ => type_of(found).to_owned(),
        }
    }

    /// Whether a text may be shown: it is short, and no variable or file has a part in it.
    fn shows(&self, name: &str, text: &str) -> bool {
        text.len() <= LONGEST_SHOWN && !self.is_variable(name) && !self.hides(text)
    }

    /// Says that a field is called `ours` here and `theirs` elsewhere, so that who writes the one is told the other.
    pub fn called_elsewhere(&mut self, theirs: &'static str, ours: &'static str) {
        self.called.push((theirs, ours));
    }

    /// A value that is no text: a text that was a single variable is read as TOML.
    fn take_scalar(&mut self, name: &str, kind: &str) -> Option<Value> {
        let value = self.take(name, kind)?;
        match value {
            Value::String(text) if self.is_variable(name) => {
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
        match self.take(name, "text")? {
            Value::String(text) => (!text.is_empty()).then_some(text),
            other => {
                self.wrong(name, "a text", &other);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, name: &str) -> String {
        let (before, is_there) = (self.problems.len(), self.has(name));
        let text = self.text(name);
        if text.is_none() && self.problems.len() == before {
            self.problem(name, if is_there { "is empty" } else { "is missing" });
        }
        text.unwrap_or_default()
    }

    /// A text that is never shown, and neither is a value that is no text.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        match self.take(name, "secret")? {
            Value::String(text) => (!text.is_empty()).then(|| Secret::new(text)),
            other => {
                self.problem(name, format_args!("expected a text, in quotes; found {}", type_of(&other)));
                None
            }
        }
    }

    /// A whole number, at least 1.
    pub fn count(&mut self, name: &str) -> Option<usize> {
        self.count_up_to(name, usize::MAX)
    }

    /// A whole number from 1 to `most`.
    pub fn count_up_to(&mut self, name: &str, most: usize) -> Option<usize> {
        let value = self.take_scalar(name, "number")?;
        if let Value::Integer(number) = value {
            return self.within(name, number.into(), most);
        }
        self.wrong(name, "a positive whole number", &value);
        None
    }

    fn within(&mut self, name: &str, number: i128, most: usize) -> Option<usize> {
        let fits = usize::try_from(number).ok().filter(|number| (1..=most).contains(number));
        if fits.is_none() {
            // Of a limit that nobody comes near, only those who go beyond it want to hear.
            let range = if number < 1 && most >= FAR { "at least 1".to_owned() } else { format!("1 to {most}") };
            self.out_of_range(name, &format!("must be {range}"), number);
        }
        fits
    }

    /// Says what a value must be, and what it is, unless a variable holds it.
    pub fn out_of_range(&mut self, name: &str, rule: &str, found: impl fmt::Display) {
        if self.is_variable(name) {
            self.problem(name, rule);
        } else {
            self.problem(name, format_args!("{rule}, found {found}"));
        }
    }

    /// What another field is that a rule compares with, as the end of a sentence; nothing, if a variable holds it.
    pub(crate) fn which_is(&self, name: &str, value: impl fmt::Display) -> String {
        if self.is_variable(name) { String::new() } else { format!(", which is {value}") }
    }

    /// Whether it was a single variable, whose value is not shown.
    fn is_variable(&self, name: &str) -> bool {
        self.places.variables.contains(&join(&self.path, name))
    }

    /// A number of bytes: `1048576`, or a text such as `"1MiB"`.
    pub fn bytes(&mut self, name: &str) -> Option<usize> {
        self.bytes_up_to(name, usize::MAX)
    }

    /// A number of bytes from 1 to `most`.
    pub fn bytes_up_to(&mut self, name: &str, most: usize) -> Option<usize> {
        match self.take_scalar(name, "bytes")? {
            Value::Integer(number) => self.within(name, number.into(), most),
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
                let Some(number) = number else {
                    self.wrong(name, "bytes, such as 1048576 or \"1MiB\"", &Value::String(text));
                    return None;
                };
                self.within(name, i128::try_from(number).unwrap_or(i128::MAX), most)
            }
            other => {
                self.wrong(name, "bytes, such as 1048576 or \"1MiB\"", &other);
                None
            }
        }
    }

    /// A duration: a text such as `"200ms"`, a year at most.
    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        let value = self.take(name, "duration")?;
        let duration = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        let wanted = "a duration, such as \"200ms\" or \"30s\"";
        match (duration, value.as_integer()) {
            (Some(duration), _) if duration > LONGEST => self.problem(name, "must be at most 365 days"),
            (Some(_), _) => {}
            (None, Some(number)) => {
                self.problem(name, format_args!("expected {wanted}, found {number}; is \"{number}s\" meant?"));
            }
            (None, None) => self.wrong(name, wanted, &value),
        }
        duration.filter(|duration| *duration <= LONGEST)
    }

    /// How long a call may take: 100 ms to 60 s.
    pub fn timeout(&mut self, name: &str) -> Option<Duration> {
        let timeout = self.duration(name)?;
        if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(60) {
            self.out_of_range(name, "must be 100ms to 60s", humantime::format_duration(timeout));
        }
        Some(timeout)
    }

    /// The address of a service, as [`check_url`] has it.
    pub fn url(&mut self, name: &str, allow_insecure: bool) -> Option<String> {
        self.expect(name, "URL");
        let url = self.text(name)?;
        if let Err(reason) = check_url(&url, allow_insecure) {
            self.problem(name, reason);
        }
        Some(url)
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take_scalar(name, "true or false")? {
            Value::Boolean(flag) => Some(flag),
            other => {
                self.wrong(name, "true or false", &other);
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.expect(name, &words.join(" or "));
        let text = self.text(name)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong(name, &format!("one of {}", words.join(", ")), &Value::String(text));
        }
        found
    }

    /// Where to start: `"earliest"`, `"latest"`, or a time such as `"2026-01-31T12:00:00Z"`.
    pub fn start(&mut self, name: &str) -> Option<StartAt> {
        self.expect(name, "start");
        let text = self.text(name)?;
        match &*text {
            "earliest" => return Some(StartAt::Earliest),
            "latest" => return Some(StartAt::Latest),
            _ => {}
        }
        let time = humantime::parse_rfc3339(&text);
        if time.is_err() {
            let wanted = "\"earliest\", \"latest\", or a time such as 2026-01-31T12:00:00Z";
            self.wrong(name, wanted, &Value::String(text));
        }
        time.ok().map(StartAt::Time)
    }

    /// A table within this one; an empty one if it is absent.
    pub fn table(&mut self, name: &str) -> Self {
        let path = join(&self.path, name);
        let table = match self.take(name, "table") {
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
        let of = inner.path.rsplit('.').next().unwrap_or_default();
        for Field { name, kind } in &inner.known {
            self.expect(&join(of, name), kind);
        }
        self.problems.extend(inner.into_problems());
    }

    pub(crate) fn into_problems(mut self) -> Vec<String> {
        for name in self.names() {
            if planted!("unknown-key-accepted") {
                break;
            }
            if self.known.iter().any(|field| field.name == name) {
                self.problem(&name, "does not go with the other settings of its table");
                continue;
            }
            let called = self.called.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
            let meant = called.or_else(|| near(&name, self.known.iter().map(|field| field.name.as_str())));
            let reason = match meant {
                Some(meant) => format!("unknown key; did you mean {meant}?"),
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

/// A value's type, as the documentation calls it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
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
