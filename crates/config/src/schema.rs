use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use strait_core::Ordering;
use strait_runtime::{AfterFailure, Backoff, Oversize, Retry, SenderSettings};

use crate::{
    document::Document,
    fields::{Field, Fields, near},
    provider::Registry,
};

/// What the files say, read and checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) connections: BTreeMap<String, Link>,
    pub(crate) senders: BTreeMap<String, SenderTable>,
    pub(crate) receivers: BTreeMap<String, ReceiverTable>,
    /// Tables of providers that are not compiled in.
    pub(crate) left_alone: Vec<String>,
    /// How long opening a channel may be tried.
    pub(crate) open_within: Duration,
    /// The fields at the top.
    pub(crate) root: Vec<Field>,
}

/// A connection: which provider, and its table.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) provider: String,
    pub(crate) fields: Fields,
}

#[derive(Clone, Debug)]
pub(crate) struct SenderTable {
    pub(crate) connection: String,
    pub(crate) on: Fields,
    pub(crate) fields: Fields,
    pub(crate) settings: SenderSettings,
}

#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) connection: String,
    pub(crate) on: Fields,
    pub(crate) fields: Fields,
    pub(crate) ordering: Ordering,
    pub(crate) in_flight: usize,
    pub(crate) buffer: usize,
    pub(crate) prefetch: Option<usize>,
    pub(crate) buffer_bytes: usize,
    pub(crate) retry: Retry,
    pub(crate) dead_letter: String,
    pub(crate) oversize: Oversize,
    pub(crate) drain: Duration,
}

/// Reads everything, and gathers what is wrong.
pub(crate) fn read(document: &Document, registry: &Registry, problems: &mut Vec<String>) -> Schema {
    let mut root = document.fields();
    let mut schema = Schema::default();
    let default = root.required("provider");
    schema.open_within = root.duration("open_within").unwrap_or_default();
    let mut connections = root.table("connections");
    for name in connections.names() {
        let mut fields = connections.table(&name);
        let provider = fields.text("type").unwrap_or_else(|| name.clone());
        schema.connections.insert(name.clone(), Link { provider, fields });
    }
    problems.extend(connections.into_problems());
    check_connections(&mut schema, registry, problems);

    let mut reader = Reader { schema, registry, default, unknown: BTreeSet::new(), problems };
    let mut senders = root.table("senders");
    for name in senders.names() {
        let fields = senders.table(&name);
        reader.sender(name, fields);
    }
    let mut receivers = root.table("receivers");
    for name in receivers.names() {
        let fields = receivers.table(&name);
        reader.receiver(name, fields);
    }
    let mut schema = reader.schema;
    schema.root = root.known().to_vec();
    problems.extend(senders.into_problems());
    problems.extend(receivers.into_problems());
    check_dead_letters(&schema, problems);
    problems.extend(root.into_problems());
    schema
}

fn check_connections(schema: &mut Schema, registry: &Registry, problems: &mut Vec<String>) {
    for link in schema.connections.values() {
        let mut fields = link.fields.clone();
        if let Some(provider) = registry.get(&link.provider) {
            provider.check_connection(&mut fields);
            problems.extend(fields.into_problems());
        } else if registry.missing(&link.provider).is_some() {
            schema.left_alone.push(fields.path().to_owned());
        } else {
            problems.push(fields.sentence("type", unknown(&fields, &link.provider, "provider", registry.names())));
        }
    }
}

/// That a name in `fields` names nothing. What a variable holds is not shown.
fn unknown<'a>(fields: &Fields, name: &str, what: &str, names: impl Iterator<Item = &'a str>) -> String {
    if fields.hides(name) {
        return format!("its variable names no {what}");
    }
    let names: BTreeSet<_> = names.collect();
    let hint = match near(name, names.iter().copied()) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if names.is_empty() => "; there is none".to_owned(),
        None => format!("; there are {}", names.into_iter().collect::<Vec<_>>().join(", ")),
    };
    format!("no {what} is called {name:?}{hint}")
}

fn check_dead_letters(schema: &Schema, problems: &mut Vec<String>) {
    for receiver in schema.receivers.values() {
        let name = receiver.dead_letter.as_str();
        if !matches!(name, "" | "discard" | "block") && !schema.senders.contains_key(name) {
            let reason = unknown(&receiver.fields, name, "sender", schema.senders.keys().map(String::as_str));
            problems.push(receiver.fields.sentence("dead_letter", reason));
        }
    }
}

struct Reader<'a> {
    schema: Schema,
    registry: &'a Registry,
    default: String,
    /// The providers that do not exist and were told.
    unknown: BTreeSet<String>,
    problems: &'a mut Vec<String>,
}

/// Most handlers at once: each is a loop of its own.
const HANDLERS: usize = 100_000;
/// Most messages held, and requests under way: as many as can be told apart.
const MESSAGES: usize = u32::MAX as usize;

#[derive(Clone, Copy)]
enum Direction {
    Out,
    In,
}

impl Reader<'_> {
    fn sender(&mut self, name: String, mut fields: Fields) {
        let (connection, on) = self.on(&mut fields, Direction::Out);
        let mut settings = SenderSettings::default();
        settings.name = name.as_str().into();
        let set = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        set(&mut settings.buffer_bytes, fields.bytes_up_to("buffer_bytes", SenderSettings::LARGEST_BUFFER));
        set(&mut settings.requests, fields.count_up_to("requests", MESSAGES));
        settings.linger = fields.duration("linger").unwrap_or(settings.linger);
        settings.deadline = fields.duration("deadline").unwrap_or(settings.deadline);
        let choices = [("continue", AfterFailure::Continue), ("pause", AfterFailure::Pause)];
        settings.after_failure = fields.choice("after_failure", &choices).unwrap_or_default();
        if settings.deadline.is_zero() {
            fields.problem("deadline", "must be longer than nothing");
        } else if settings.linger >= settings.deadline {
            let deadline = fields.which_is("deadline", humantime::format_duration(settings.deadline));
            fields.problem("linger", format_args!("must be shorter than deadline{deadline}"));
        }
        if matches!(name.as_str(), "discard" | "block") {
            self.problems.push(fields.sentence("", "is a word of dead_letter, and cannot name a sender"));
        }
        self.problems.extend(fields.clone().into_problems());
        self.schema.senders.insert(name, SenderTable { connection, on, fields, settings });
    }

    fn receiver(&mut self, name: String, mut fields: Fields) {
        let (connection, on) = self.on(&mut fields, Direction::In);
        let ordering =
            fields.choice("ordering", &[("none", Ordering::None), ("key", Ordering::Key)]).unwrap_or_default();
        let in_flight = fields.count_up_to("in_flight", HANDLERS).unwrap_or(64);
        let buffer = fields.count_up_to("buffer", MESSAGES).unwrap_or(in_flight.max(1024));
        if buffer < in_flight {
            let rule = format!("must be at least in_flight{}", fields.which_is("in_flight", in_flight));
            fields.out_of_range("buffer", &rule, buffer);
        }
        let prefetch = fields.count_up_to("prefetch", MESSAGES);
        let buffer_bytes = fields.bytes("buffer_bytes").unwrap_or(64 << 20);
        let mut retry = fields.table("retry");
        let defaults = Retry::default();
        let attempts = retry.count_up_to("attempts", u32::MAX as usize);
        let attempts = attempts.map_or(defaults.attempts, |count| u32::try_from(count).unwrap_or(u32::MAX));
        let first = retry.duration("first").unwrap_or(defaults.backoff.first);
        let longest = retry.duration("longest").unwrap_or(defaults.backoff.longest.max(first));
        if first > longest {
            let longest = retry.which_is("longest", humantime::format_duration(longest));
            let rule = format!("must not be longer than longest{longest}");
            retry.out_of_range("first", &rule, humantime::format_duration(first));
        }
        fields.absorb(retry);
        if !fields.has("dead_letter") {
            fields.problem("dead_letter", "is missing: name a sender, or say \"discard\" or \"block\"");
        }
        let dead_letter = fields.text("dead_letter").unwrap_or_default();
        let choices = [("refuse", Oversize::Refuse), ("truncate", Oversize::Truncate)];
        let oversize = fields.choice("oversize", &choices).unwrap_or_default();
        let drain = fields.duration("drain").unwrap_or(Duration::from_secs(30));
        let retry = Retry::new(attempts, Backoff::new(first, longest));
        self.problems.extend(fields.clone().into_problems());
        let table = ReceiverTable {
            connection,
            on,
            fields,
            ordering,
            in_flight,
            buffer,
            prefetch,
            buffer_bytes,
            retry,
            dead_letter,
            oversize,
            drain,
        };
        self.schema.receivers.insert(name, table);
    }

    /// Which connection a channel is on, and its table there. All its tables are checked, the unused too.
    fn on(&mut self, fields: &mut Fields, direction: Direction) -> (String, Fields) {
        let own = fields.text("provider");
        let is_default = own.is_none();
        let connection = own.unwrap_or_else(|| self.default.clone());
        let mut on = fields.table("on");
        let mut tables = BTreeMap::new();
        // A table under a wrong name is one mistake, and may be the one that is missing.
        let mut all_known = true;
        for name in on.names() {
            let table = on.table(&name);
            all_known &= self.check(&name, &table, direction);
            tables.insert(name, table);
        }
        self.problems.extend(on.into_problems());
        let provider = self.provider_of(&connection);
        let found = tables.remove(&connection).or_else(|| tables.remove(&provider));
        if self.registry.get(&provider).is_none() {
            let reason = if let Some(how) = self.registry.missing(&provider) {
                format!("the provider {provider:?} is not compiled in: {how}")
            } else {
                let names = self.schema.connections.keys().map(String::as_str).chain(self.registry.names());
                unknown(fields, &connection, "connection or provider", names)
            };
            // One that is named for all of them is one mistake.
            if is_default && self.unknown.insert(connection.clone()) && !connection.is_empty() {
                self.problems.push(fields.root().sentence("provider", reason));
            } else if !is_default {
                self.problems.push(fields.sentence("provider", reason));
            }
        } else if found.is_none() && all_known {
            let table = format!("{}.on.{connection}", fields.path());
            self.problems.push(fields.sentence("on", format_args!("this channel is on {connection:?}: add [{table}]")));
        }
        (connection, found.unwrap_or_else(|| fields.table("on")))
    }

    fn provider_of(&self, connection: &str) -> String {
        self.schema.connections.get(connection).map_or_else(|| connection.to_owned(), |link| link.provider.clone())
    }

    /// Checks the table of a channel on `name`, and says whether there is such a connection or provider.
    fn check(&mut self, name: &str, table: &Fields, direction: Direction) -> bool {
        let provider = self.provider_of(name);
        let mut fields = table.clone();
        if let Some(provider) = self.registry.get(&provider) {
            match direction {
                Direction::Out => provider.check_sender(&mut fields),
                Direction::In => provider.check_receiver(&mut fields),
            }
            self.problems.extend(fields.into_problems());
        } else if self.registry.missing(&provider).is_some() {
            self.schema.left_alone.push(fields.path().to_owned());
        } else {
            let names = self.schema.connections.keys().map(String::as_str).chain(self.registry.names());
            let reason = unknown(&fields, name, "connection or provider", names);
            self.problems.push(fields.sentence("", reason));
            return false;
        }
        true
    }
}
