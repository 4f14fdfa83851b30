/// Where a reader begins, as its selector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Earliest,
    Latest,
    Sequence { number: i64, inclusive: bool },
    Offset { offset: String, inclusive: bool },
    Enqueued { millis: i64, inclusive: bool },
}

impl Position {
    /// Reads a selector, such as `amqp.annotation.x-opt-offset > '-1'`, in the forms of all of Azure's clients: with and
    /// without quotes, and with and without spaces.
    pub(crate) fn parse(selector: &str) -> Option<Self> {
        let rest = selector.trim().strip_prefix("amqp.annotation.x-opt-")?;
        let operator = rest.find('>')?;
        let (name, rest) = (rest[..operator].trim_end(), &rest[operator + 1..]);
        let (inclusive, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim();
        let text = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.strip_suffix('\'').filter(|text| !text.contains('\''))?,
            None => rest,
        };
        match (name, text) {
            (_, "") => None,
            ("offset" | "sequence-number", "@latest") => Some(Self::Latest),
            ("offset", "-1") => Some(Self::Earliest),
            ("offset", offset) if offset.contains(char::is_whitespace) => None,
            ("offset", offset) => Some(Self::Offset { offset: offset.to_owned(), inclusive }),
            ("sequence-number", number) => Some(Self::Sequence { number: number.parse().ok()?, inclusive }),
            ("enqueued-time", millis) => Some(Self::Enqueued { millis: millis.parse().ok()?, inclusive }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn selectors_of_every_client_are_read() {
        let sequence = |number, inclusive| Some(Position::Sequence { number, inclusive });
        let offset = |offset: &str, inclusive| Some(Position::Offset { offset: offset.to_owned(), inclusive });
        for (selector, position) in [
            // Python, JavaScript and Rust quote, .NET does not.
            ("amqp.annotation.x-opt-offset > '-1'", Some(Position::Earliest)),
            ("amqp.annotation.x-opt-offset > '@latest'", Some(Position::Latest)),
            ("amqp.annotation.x-opt-offset > @latest", Some(Position::Latest)),
            ("amqp.annotation.x-opt-offset>'4096'", offset("4096", false)),
            ("amqp.annotation.x-opt-offset >= '1:4096'", offset("1:4096", true)),
            ("amqp.annotation.x-opt-sequence-number > '123'", sequence(123, false)),
            ("amqp.annotation.x-opt-sequence-number > 123", sequence(123, false)),
            ("amqp.annotation.x-opt-sequence-number >='123'", sequence(123, true)),
            ("amqp.annotation.x-opt-sequence-number>=123", sequence(123, true)),
            ("amqp.annotation.x-opt-sequence-number > '-1'", sequence(-1, false)),
            (
                " amqp.annotation.x-opt-enqueued-time > '1700000000000' ",
                Some(Position::Enqueued { millis: 1_700_000_000_000, inclusive: false }),
            ),
            ("amqp.annotation.x-opt-enqueued-time >= 5", Some(Position::Enqueued { millis: 5, inclusive: true })),
        ] {
            assert_eq!(Position::parse(selector), position, "{selector}");
        }
    }

    #[test]
    fn other_selectors_are_not() {
        for selector in [
            "",
            "amqp.annotation.x-opt-offset",
            "amqp.annotation.x-opt-offset > ",
            "amqp.annotation.x-opt-offset > '",
            "amqp.annotation.x-opt-offset > '1' OR 1 > '0'",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-sequence-number > 'x'",
            "amqp.annotation.x-opt-sequence-number > 99999999999999999999",
            "amqp.annotation.x-opt-enqueued-time > '@latest'",
            "amqp.annotation.x-opt-colour > '1'",
        ] {
            assert_eq!(Position::parse(selector), None, "{selector}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_none(name in "(amqp\\.annotation\\.x-opt-(offset|sequence-number|enqueued-time))?", rest in ".{0,40}") {
            let _ = Position::parse(&format!("{name}{rest}"));
            let _ = Position::parse(&format!("{name} >{rest}"));
        }
    }
}
