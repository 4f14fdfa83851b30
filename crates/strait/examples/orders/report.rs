//! What was expected of the orders, and what became of them.

use std::time::Duration;

use serde::Serialize;

use crate::{expected::Expected, journal::Journal, store::Totals};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    provider: String,
    orders: u64,
    customers: usize,
    items: u64,
    dollars: f64,
    paid: u64,
    payment_failed: u64,
    labels: u64,
    dead_lettered: u64,
    retried: Option<u64>,
    out_of_order: u64,
    lost: u64,
    duplicates_absorbed: u64,
    seconds: f64,
    orders_per_second: f64,
    #[serde(skip)]
    right: bool,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn new(
        provider: String,
        expected: &Expected,
        totals: Totals,
        journal: &Journal,
        time: Duration,
    ) -> Self {
        let (retried, out_of_order) = (journal.retried("payment"), journal.out_of_order());
        let lost = expected.orders.saturating_sub(totals.finished);
        let right = (lost, out_of_order) == (0, 0)
            && journal.is_complete(expected)
            && (totals.paid, totals.payment_failed) == (expected.paid(), expected.payment_failed)
            && (totals.labels, totals.dead_lettered) == (expected.labels(), expected.dead_lettered)
            && retried.is_none_or(|retried| retried == expected.retried);
        Self {
            provider,
            orders: expected.orders,
            customers: expected.customers.len(),
            items: expected.items,
            dollars: expected.cents as f64 / 100.0,
            paid: totals.paid,
            payment_failed: totals.payment_failed,
            labels: totals.labels,
            dead_lettered: totals.dead_lettered,
            retried,
            out_of_order,
            lost,
            duplicates_absorbed: totals.duplicates,
            seconds: (time.as_secs_f64() * 1000.0).round() / 1000.0,
            orders_per_second: (expected.orders as f64 / time.as_secs_f64()).round(),
            right,
        }
    }

    pub(crate) fn is_right(&self) -> bool {
        self.right
    }

    /// A table on stderr, and with `json` a line on stdout.
    #[expect(clippy::print_stdout, reason = "this is what the program is asked for")]
    pub(crate) fn print(&self, json: bool) {
        let value = serde_json::to_value(self).unwrap_or_default();
        for (name, value) in value.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            eprintln!("{name:>20}  {value}");
        }
        eprintln!("{:>20}  {}", "result", if self.right { "as expected" } else { "WRONG" });
        if json && let Ok(line) = serde_json::to_string(self) {
            println!("{line}");
        }
    }
}
