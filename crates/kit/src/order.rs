use std::cmp::Ordering;

use strait_core::{Error, ErrorKind, Position, Result, planted};

/// Compares two positions of one partition. Progress never moves back by this order, wherever it is stored.
///
/// Positions that can be compared are numbers; and texts that are a decimal number of any length, without leading zeros,
/// behind which may follow a point and another: `<number>` or `<number>.<sub>`. The shorter number is the smaller, and of
/// two that are equally long that whose bytes are. Where numbers are equal, so do their subs compare, and a number without
/// a sub comes behind all that have one: as `<number>` a log names a record of its own, or the last of several that it
/// stores under one number.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if either is of another form, or one is a number and the other a text. It names them.
pub fn compare(one: &Position, other: &Position) -> Result<Ordering> {
    match (one, other) {
        (Position::Number(one), Position::Number(other)) => Ok(one.cmp(other)),
        (Position::Text(one), Position::Text(other)) => {
            if planted!("text-positions-compared-as-bytes") {
                return Ok(one.as_bytes().cmp(other.as_bytes()));
            }
            Ok(Text::read(one)?.cmp(&Text::read(other)?))
        }
        _ => Err(invalid(&format!("{one:?} and {other:?} are no positions of one log"))),
    }
}

/// Checks that what is `settled` of a partition can be stored in place of what is, and is not behind it.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if it is, or one of them cannot be compared. It names the partition.
pub(crate) fn never_back(partition: &str, stored: Option<&Position>, settled: &Position) -> Result<()> {
    let order = compare(settled, stored.unwrap_or(settled))
        .map_err(|error| Error::new(error.kind(), format!("partition {partition:?}: {error}")))?;
    if order.is_lt() {
        return Err(invalid(&format!("partition {partition:?} has come further than {settled}")));
    }
    Ok(())
}

/// `<number>` or `<number>.<sub>`, in this order: the sub that is missing is behind all others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a> {
    number: Digits<'a>,
    sub: Sub<'a>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Sub<'a> {
    Of(Digits<'a>),
    Last,
}

/// A decimal number without leading zeros: the longer is the larger.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Digits<'a> {
    length: usize,
    digits: &'a str,
}

impl<'a> Text<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let parts = text.split_once('.').map_or((text, None), |(number, sub)| (number, Some(sub)));
        let sub = parts.1.map_or(Some(Sub::Last), |sub| Digits::read(sub).map(Sub::Of));
        let read = Digits::read(parts.0).zip(sub).map(|(number, sub)| Self { number, sub });
        let wrong = || {
            invalid(&format!(
                "{text:?} is no position that can be compared: a decimal number, or two with a point between them, without leading zeros"
            ))
        };
        read.ok_or_else(wrong)
    }
}

impl<'a> Digits<'a> {
    fn read(digits: &'a str) -> Option<Self> {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = digits == "0" || !digits.starts_with('0');
        (is_number && is_short).then_some(Self { length: digits.len(), digits })
    }
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::Invalid, text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Position {
        Position::from(text)
    }

    #[test]
    fn numbers_of_any_length_are_in_order_and_the_last_of_an_aggregate_is_behind_all_others() {
        let long = "49590338271490256608559692538361571095921575989136588898";
        let ordered = ["0", "9", "10.0", "10.2", "10.10", "10", "11.0", "99", "100", &format!("{long}.7"), long];
        for (a, one) in ordered.iter().enumerate() {
            for (b, other) in ordered.iter().enumerate() {
                assert_eq!(compare(&text(one), &text(other)).unwrap(), a.cmp(&b), "{one} and {other}");
            }
        }
        assert_eq!(compare(&7.into(), &10.into()).unwrap(), Ordering::Less);
    }

    #[test]
    fn what_is_of_another_form_is_an_error_that_names_it() {
        for wrong in ["", ".", "1.", ".1", "01", "1.01", "1.2.3", "-1", "+1", "1e3", " 1", "\u{663}", "LATEST"] {
            for (one, other) in [(text(wrong), text("1")), (text("1"), text(wrong)), (text(wrong), text(wrong))] {
                let error = compare(&one, &other).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
            }
        }
        let error = compare(&7.into(), &text("7")).unwrap_err();
        assert!(error.to_string().contains("Number(7)") && error.to_string().contains("Text(\"7\")"), "{error}");
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_numbers(a in any::<u128>(), b in any::<u128>(), x in any::<u64>(), y in any::<u64>()) {
            prop_assert_eq!(compare(&text(&a.to_string()), &text(&b.to_string())).unwrap(), a.cmp(&b));
            let with = |number: u128, sub: u64| text(&format!("{number}.{sub}"));
            prop_assert_eq!(compare(&with(a, x), &with(b, y)).unwrap(), (a, x).cmp(&(b, y)));
            prop_assert_eq!(compare(&with(a, x), &text(&b.to_string())).unwrap(), a.cmp(&b).then(Ordering::Less));
        }

        #[test]
        fn no_text_makes_it_panic(a in ".*", b in ".*") {
            let _ = compare(&text(&a), &text(&b));
        }
    }
}
