//! The shop's orders, read from CSV line by line.

use std::{fs::File, io::Read, path::Path};

use csv::{StringRecord, StringRecordsIntoIter};
use serde::Deserialize;

use crate::{Error, events::Order};

const BUNDLED: &str = include_str!("data/orders-10000.csv");

/// Orders, and where they come from.
pub(crate) struct Intake {
    file: String,
    rows: StringRecordsIntoIter<Box<dyn Read + Send>>,
    last: u64,
}

#[derive(Deserialize)]
struct Row {
    order_id: u64,
    customer_id: String,
    date: String,
    items: u64,
    dollars: String,
}

impl Intake {
    /// The orders in `path`, or those that come with the example.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Ok(Self::new("orders-10000.csv".to_owned(), Box::new(BUNDLED.as_bytes())));
        };
        let file = path.display().to_string();
        let source = File::open(path).map_err(|error| format!("{file}: {error}"))?;
        Ok(Self::new(file, Box::new(source)))
    }

    fn new(file: String, source: Box<dyn Read + Send>) -> Self {
        Self { file, rows: csv::Reader::from_reader(source).into_records(), last: 0 }
    }

    fn read(&mut self, record: &StringRecord) -> Result<Order, Error> {
        let line = record.position().map_or(0, csv::Position::line);
        let headers = self.rows.reader_mut().headers()?.clone();
        let row = record.deserialize(Some(&headers)).map_err(|error| describe(&error, &headers));
        row.and_then(|row| self.check(row)).map_err(|reason| format!("{} line {line}: {reason}", self.file).into())
    }

    fn check(&mut self, row: Row) -> Result<Order, String> {
        let Row { order_id, customer_id, date, items, dollars } = row;
        if order_id <= self.last {
            return Err(format!("order_id {order_id} does not follow {}", self.last));
        }
        if customer_id.is_empty() {
            return Err("customer_id is empty".to_owned());
        }
        if !is_date(&date) {
            return Err(format!("date {date:?} is not of the form 1997-01-31"));
        }
        let cents = cents(&dollars).ok_or_else(|| format!("dollars {dollars:?} is not an amount such as 12.34"))?;
        self.last = order_id;
        Ok(Order { order_id, customer_id, date, items, cents })
    }
}

impl Iterator for Intake {
    type Item = Result<Order, Error>;

    /// The next order. An error names file and line, and what is behind it is not read.
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.rows.next()?;
        Some(match record {
            Ok(record) => self.read(&record),
            Err(error) => Err(format!("{}: {error}", self.file).into()), // it has its line
        })
    }
}

/// What is wrong with a row, without its line: the name of the column, if it is in one.
fn describe(error: &csv::Error, headers: &StringRecord) -> String {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
    let column = err.field().and_then(|index| headers.get(usize::try_from(index).ok()?));
    column.map_or_else(|| err.to_string(), |column| format!("{column}: {}", err.kind()))
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

/// Reads `12`, `12.3` and `12.34`.
fn cents(dollars: &str) -> Option<u64> {
    let (whole, part) = dollars.split_once('.').unwrap_or((dollars, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let part = part.parse::<u64>().ok()? * if part.len() == 1 { 10 } else { 1 };
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(lines: &'static str) -> String {
        let text = format!("order_id,customer_id,date,items,dollars\n1,00001,1997-01-01,1,11.77\n{lines}");
        let mut intake = Intake::new("orders.csv".to_owned(), Box::new(std::io::Cursor::new(text)));
        intake.find_map(Result::err).expect("something is wrong").to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (line, problem_is) in [
            ("2,00002,1997-01-12,one,12.00", "line 3: items: invalid digit"),
            ("two,00002,1997-01-12,1,12.00", "line 3: order_id: invalid digit"),
            ("2,00002,1997-01-12,1", "line: 3"),
            ("2,00002,1997-01-12,1,12.00,more", "line: 3"),
            ("2,00002,1997-01-12,1,12.001", "line 3: dollars \"12.001\" is not an amount"),
            ("2,00002,1997-01-12,1,-1", "line 3: dollars \"-1\" is not an amount"),
            ("2,00002,12.1.1997,1,12.00", "line 3: date \"12.1.1997\" is not of the form"),
            ("2,,1997-01-12,1,12.00", "line 3: customer_id is empty"),
            ("1,00002,1997-01-12,1,12.00", "line 3: order_id 1 does not follow 1"),
        ] {
            let problem = problem(line);
            assert!(problem.starts_with("orders.csv") && problem.contains(problem_is), "{problem}");
        }
    }

    #[test]
    fn amounts_are_counted_in_cents() {
        let read: Vec<_> = ["0.00", "12", "12.3", "12.34", "", ".5", "1.", "1.234", "99999999999999999999"]
            .into_iter()
            .map(cents)
            .collect();
        let expected = [Some(0), Some(1200), Some(1230), Some(1234), None, None, None, None, None];
        assert_eq!(read, expected);
    }

    #[test]
    fn the_orders_that_come_along_are_all_right() {
        assert_eq!(Intake::open(None).expect("it is there").filter_map(Result::ok).count(), 10_000);
    }
}
