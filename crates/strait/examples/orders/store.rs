//! The orders in `SQLite`. A message's id, what it changes and what is to be told of it are stored in one transaction: a
//! message that comes again changes nothing and is told to nobody.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, params};

use crate::{events::Status, management::Fact};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF; -- a demonstration: the file lives as long as the run
    CREATE TABLE seen (
        channel TEXT NOT NULL, id TEXT NOT NULL, deliveries INTEGER NOT NULL, PRIMARY KEY (channel, id)
    ) WITHOUT ROWID;
    CREATE TABLE orders (
        order_id INTEGER PRIMARY KEY, customer_id TEXT, date TEXT, items INTEGER, cents INTEGER,
        paid INTEGER, label TEXT, rejected INTEGER, status TEXT
    );
    CREATE TABLE outbox (
        change INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL, customer_id TEXT NOT NULL,
        status TEXT NOT NULL
    );
";

#[derive(Debug)]
pub(crate) struct Store(Connection);

/// A change of an order's status.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) number: u64,
    pub(crate) order_id: u64,
    pub(crate) customer_id: String,
    pub(crate) status: Status,
}

/// How the orders stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) paid: u64,
    pub(crate) payment_failed: u64,
    pub(crate) labels: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) finished: u64,
    pub(crate) duplicates: u64,
}

impl Store {
    /// A new store, in a file or in memory.
    pub(crate) fn create(file: Option<&Path>) -> Result<Self> {
        let connection = file.map_or_else(Connection::open_in_memory, Connection::open)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// Applies facts, each with the id of its message.
    pub(crate) fn apply(&mut self, channel: &str, facts: &[(String, Fact)]) -> Result<()> {
        let transaction = self.0.transaction()?;
        for (id, fact) in facts {
            if is_new(&transaction, channel, id)? {
                enter(&transaction, fact)?;
                announce(&transaction, fact.order_id())?;
            }
        }
        transaction.commit()
    }

    /// The first changes that were not told yet.
    pub(crate) fn outbox(&self, most: u32) -> Result<Vec<Change>> {
        let query = "SELECT change, order_id, customer_id, status FROM outbox ORDER BY change LIMIT ?1";
        let mut query = self.0.prepare_cached(query)?;
        let changes = query.query_map([most], |row| {
            let (number, order_id, customer_id, name): (_, _, _, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let all = [Status::Placed, Status::Paid, Status::PaymentFailed, Status::Shipped, Status::Rejected];
            let status = all.into_iter().find(|status| status.name() == name);
            let status = status.ok_or_else(|| rusqlite::Error::InvalidColumnName(name))?;
            Ok(Change { number, order_id, customer_id, status })
        })?;
        changes.collect()
    }

    /// All changes up to this one were told.
    pub(crate) fn told(&self, last: u64) -> Result<()> {
        self.0.prepare_cached("DELETE FROM outbox WHERE change <= ?1")?.execute([last]).map(drop)
    }

    pub(crate) fn totals(&self) -> Result<Totals> {
        let count = |query: &str| self.0.query_row(query, [], |row| row.get::<_, u64>(0));
        Ok(Totals {
            paid: count("SELECT count(*) FROM orders WHERE paid = 1")?,
            payment_failed: count("SELECT count(*) FROM orders WHERE status = 'PaymentFailed'")?,
            labels: count("SELECT count(*) FROM orders WHERE status = 'Shipped'")?,
            dead_lettered: count("SELECT count(*) FROM orders WHERE status = 'Rejected'")?,
            finished: count("SELECT count(*) FROM orders WHERE status IN ('PaymentFailed', 'Shipped', 'Rejected')")?,
            duplicates: count("SELECT coalesce(sum(deliveries - 1), 0) FROM seen")?,
        })
    }
}

/// Counts a delivery; whether it is the message's first.
fn is_new(transaction: &Transaction<'_>, channel: &str, id: &str) -> Result<bool> {
    let count = "INSERT INTO seen VALUES (?1, ?2, 1)
                 ON CONFLICT DO UPDATE SET deliveries = deliveries + 1 RETURNING deliveries = 1";
    transaction.prepare_cached(count)?.query_row([channel, id], |row| row.get(0))
}

fn enter(transaction: &Transaction<'_>, fact: &Fact) -> Result<()> {
    transaction.prepare_cached("INSERT OR IGNORE INTO orders (order_id) VALUES (?1)")?.execute([fact.order_id()])?;
    let update = |assignments, values: &[&dyn rusqlite::ToSql]| {
        let update = format!("UPDATE orders SET {assignments} WHERE order_id = ?1");
        transaction.prepare_cached(&update)?.execute(values).map(drop)
    };
    match fact {
        Fact::Placed(order) => update(
            "customer_id = ?2, date = ?3, items = ?4, cents = ?5",
            params![order.order_id, order.customer_id, order.date, order.items, order.cents],
        ),
        Fact::Paid { order_id, success } => update("paid = ?2", params![order_id, success]),
        Fact::Labelled { order_id, label } => update("label = ?2", params![order_id, label]),
        Fact::Rejected { order_id } => update("rejected = 1", params![order_id]),
    }
}

/// Brings the status up to what is known by now. The channels are not ordered with each other: a label may come before
/// the payment, and counts once both are there.
fn announce(transaction: &Transaction<'_>, order_id: u64) -> Result<()> {
    let change = "UPDATE orders SET status = CASE
                      WHEN paid IS NULL THEN 'Placed' WHEN NOT paid THEN 'PaymentFailed'
                      WHEN label IS NOT NULL THEN 'Shipped' WHEN rejected THEN 'Rejected' ELSE 'Paid' END
                  WHERE order_id = ?1 AND customer_id IS NOT NULL RETURNING customer_id, status";
    let known = transaction
        .prepare_cached("SELECT status FROM orders WHERE order_id = ?1")?
        .query_row([order_id], |row| row.get::<_, Option<String>>(0))?;
    let now = transaction
        .prepare_cached(change)?
        .query_row([order_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((customer_id, status)) = now.filter(|(_, status)| known.as_ref() != Some(status)) else { return Ok(()) };
    transaction
        .prepare_cached("INSERT INTO outbox (order_id, customer_id, status) VALUES (?1, ?2, ?3)")?
        .execute(params![order_id, customer_id, status])
        .map(drop)
}
