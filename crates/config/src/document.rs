use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use toml::{Table, Value};

use crate::{
    expand::{Environment, expand},
    fields::Fields,
};

/// The files, merged: later ones win by key. It knows which file each key came from.
#[derive(Clone, Default)]
pub(crate) struct Document {
    root: Table,
    places: Arc<Places>,
}

/// Where values came from, by key path.
#[derive(Clone, Default)]
pub(crate) struct Places {
    files: BTreeMap<String, String>,
    /// What was a single variable: read as a number where a number is wanted.
    pub(crate) variables: BTreeSet<String>,
    /// The values that hold what a variable or a file holds.
    pub(crate) replaced: BTreeSet<String>,
}

impl Places {
    /// The file that a key came from, or that the nearest table around it came from.
    pub(crate) fn file(&self, path: &str) -> &str {
        let mut path = path;
        loop {
            if let Some(file) = self.files.get(path) {
                return file;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return self.files.get("").map_or("configuration", String::as_str),
            }
        }
    }
}

impl Document {
    /// Merges a file.
    pub(crate) fn add_file(&mut self, path: &Path, problems: &mut Vec<String>) {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => self.add_text(&name, &text, problems),
            Err(error) => problems.push(format!("{name}: cannot be read: {error}")),
        }
    }

    /// Merges the text of a file.
    pub(crate) fn add_text(&mut self, name: &str, text: &str, problems: &mut Vec<String>) {
        match text.parse::<Table>() {
            Ok(table) => self.merge(name, table),
            // The error's own text quotes the line, which may hold a secret.
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
                problems.push(format!("{name}: line {line}: is not TOML: {}", error.message()));
            }
        }
    }

    /// Sets single values, as `a.b.c=value; d=value` says.
    pub(crate) fn add_settings(&mut self, settings: &str, problems: &mut Vec<String>) {
        for setting in settings.split([';', '\n']).map(str::trim).filter(|setting| !setting.is_empty()) {
            let Some((path, value)) = setting.split_once('=') else {
                problems.push("STRAIT_SET: a setting has no \"=\"".to_owned());
                continue;
            };
            let (path, value) = (path.trim(), value.trim());
            let value = scalar(value).unwrap_or_else(|| Value::String(value.to_owned()));
            let mut keys = path.rsplit('.');
            let last = keys.next().unwrap_or_default().to_owned();
            if path.split('.').any(str::is_empty) {
                problems.push(format!("STRAIT_SET: {path:?} is no key path"));
                continue;
            }
            let mut table = Table::from_iter([(last, value)]);
            for key in keys {
                table = Table::from_iter([(key.to_owned(), Value::Table(table))]);
            }
            self.merge("STRAIT_SET", table);
        }
    }

    fn merge(&mut self, name: &str, table: Table) {
        let places = Arc::make_mut(&mut self.places);
        places.files.entry(String::new()).or_insert_with(|| name.to_owned());
        merge(&mut self.root, table, "", name, &mut places.files);
    }

    /// Replaces the variables.
    pub(crate) fn expand(&mut self, environment: &Environment, problems: &mut Vec<String>) {
        let places = Arc::make_mut(&mut self.places);
        for (key, value) in &mut self.root {
            expand_value(value, key.clone(), environment, places, problems);
        }
    }

    /// The whole of it, to be read.
    pub(crate) fn fields(&self) -> Fields {
        Fields::new(self.root.clone(), String::new(), Arc::clone(&self.places))
    }
}

/// A TOML scalar, if `text` is one.
pub(crate) fn scalar(text: &str) -> Option<Value> {
    format!("v = {text}").parse::<Table>().ok()?.remove("v").filter(|value| !value.is_table() && !value.is_array())
}

/// The path of a key in the table at `path`; without a key, that of the table.
pub(crate) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

fn merge(into: &mut Table, from: Table, path: &str, file: &str, files: &mut BTreeMap<String, String>) {
    for (key, value) in from {
        let path = join(path, &key);
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new, &path, file, files),
            (_, value) => {
                note(&value, &path, file, files);
                into.insert(key, value);
            }
        }
    }
}

fn note(value: &Value, path: &str, file: &str, files: &mut BTreeMap<String, String>) {
    files.insert(path.to_owned(), file.to_owned());
    if let Value::Table(table) = value {
        for (key, value) in table {
            note(value, &join(path, key), file, files);
        }
    }
}

fn expand_value(
    value: &mut Value,
    path: String,
    environment: &Environment,
    places: &mut Places,
    problems: &mut Vec<String>,
) {
    match value {
        Value::String(text) => match expand(text, environment) {
            Ok((expanded, whole)) => {
                if whole {
                    places.variables.insert(path);
                }
                if *text != expanded {
                    places.replaced.insert(expanded.clone());
                }
                *text = expanded;
            }
            Err(reason) => problems.push(format!("{}: {path}: {reason}", places.file(&path))),
        },
        Value::Table(table) => {
            for (key, value) in table {
                expand_value(value, join(&path, key), environment, places, problems);
            }
        }
        Value::Array(list) => {
            for value in list {
                expand_value(value, path.clone(), environment, places, problems);
            }
        }
        _ => {}
    }
}
