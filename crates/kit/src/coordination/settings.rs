use std::time::Duration;

use strait_core::{Error, ErrorKind, Result};

use crate::Start;

/// How a [`Coordinator`](super::Coordinator) works.
///
/// All members of a group are to have the same `expiry`: a member that is given up earlier than it believes is the one
/// thing that the protocol cannot mend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoordinatorSettings {
    /// D: a member whose row was not changed for that long is dead to the others. Default: 10 s.
    pub expiry: Duration,
    /// m: how much earlier than the others a member gives itself up, for clocks that do not run equally fast. At least
    /// 1 s and a tenth of `expiry`. Default: 1 s.
    pub margin: Duration,
    /// How often a member shows that it lives. At most a third of `expiry - margin`. Default: 3 s.
    pub heartbeat: Duration,
    /// How often a member looks for others and for what is planned. At most a twentieth of `expiry`. Default: 500 ms.
    pub poll: Duration,
    /// How often all rows and the provider's partitions are compared. At least `expiry`. Default: 100 s.
    pub audit: Duration,
    /// How long to wait before a call that failed is made again. At most `heartbeat`. Default: 250 ms.
    pub pause: Duration,
    /// Most calls under way to the store that concern partitions; heartbeats and polls go on beside them. At least 1.
    /// Default: 64.
    pub calls: usize,
    /// Where a *new group* starts: [`Start::Earliest`], [`Start::Latest`] or [`Start::At`]. Default: `Earliest`.
    pub start: Start,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self::with_expiry(Duration::from_secs(10)).expect("the relations hold for this one")
    }
}

impl CoordinatorSettings {
    /// Settings in the default proportions to `expiry`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if `expiry` is below 2 s or above a day.
    pub fn with_expiry(expiry: Duration) -> Result<Self> {
        let margin = (expiry / 10).max(Duration::from_secs(1));
        let settings = Self {
            expiry,
            margin,
            heartbeat: expiry.saturating_sub(margin) / 3,
            poll: expiry / 20,
            audit: expiry.saturating_mul(10),
            pause: expiry / 40,
            calls: 64,
            start: Start::Earliest,
        };
        settings.check().map(|()| settings)
    }

    /// B: how long a member believes to be alive after the instant before it sent its last heartbeat.
    pub fn belief(&self) -> Duration {
        self.expiry.saturating_sub(self.margin)
    }

    /// Checks the relations between the times.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], naming the field; [`ErrorKind::Unsupported`] for a position as `start`, which is one of a
    /// single partition.
    pub fn check(&self) -> Result<()> {
        let Self { expiry, margin, heartbeat, poll, audit, pause, calls, start } = self;
        let second = Duration::from_secs(1);
        at_least("expiry", *expiry, 2 * second, "2s")?;
        at_most("expiry", *expiry, 86_400 * second, "a day")?;
        at_least("margin", *margin, second.max(*expiry / 10), "1s and a tenth of `expiry`")?;
        at_most("margin", *margin, *expiry / 2, "half of `expiry`")?;
        at_least("heartbeat", *heartbeat, Duration::from_millis(1), "1ms")?;
        at_most("heartbeat", *heartbeat, self.belief() / 3, "a third of `expiry - margin`")?;
        at_least("poll", *poll, Duration::from_millis(1), "1ms")?;
        at_most("poll", *poll, *expiry / 20, "a twentieth of `expiry`")?;
        at_least("audit", *audit, *expiry, "`expiry`")?;
        at_least("pause", *pause, Duration::from_millis(1), "1ms")?;
        at_most("pause", *pause, *heartbeat, "`heartbeat`")?;
        if *calls == 0 {
            return Err(config("calls", "0 is less than 1"));
        }
        match start {
            Start::Earliest | Start::Latest | Start::At(_) => Ok(()),
            Start::After(_) => {
                let text = "coordination: `start`: a new group starts at `earliest`, `latest` or a time";
                Err(Error::new(ErrorKind::Unsupported, text))
            }
        }
    }
}

fn at_least(field: &str, value: Duration, least: Duration, what: &str) -> Result<()> {
    if value < least { Err(config(field, &format!("{value:?} is less than {what}"))) } else { Ok(()) }
}

fn at_most(field: &str, value: Duration, most: Duration, what: &str) -> Result<()> {
    if value > most { Err(config(field, &format!("{value:?} is more than {what}"))) } else { Ok(()) }
}

fn config(field: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Config, format!("coordination: `{field}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(edit: impl FnOnce(&mut CoordinatorSettings)) -> String {
        let mut settings = CoordinatorSettings::default();
        edit(&mut settings);
        let error = settings.check().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Unsupported));
        error.to_string()
    }

    #[test]
    fn relations_are_checked_and_errors_name_the_field() {
        let second = Duration::from_secs(1);
        assert_eq!(CoordinatorSettings::default().belief(), 9 * second);
        assert!(CoordinatorSettings::with_expiry(second).is_err());
        assert_eq!(
            refused(|settings| settings.margin = second / 2),
            "coordination: `margin`: 500ms is less than 1s and a tenth of `expiry`"
        );
        assert!(refused(|settings| settings.margin = 9 * second).contains("`margin`"));
        assert!(refused(|settings| settings.heartbeat = 4 * second).contains("`heartbeat`"));
        assert!(refused(|settings| settings.poll = second).contains("`poll`"));
        assert!(refused(|settings| settings.audit = second).contains("`audit`"));
        assert!(refused(|settings| settings.pause = 5 * second).contains("`pause`"));
        assert!(refused(|settings| settings.calls = 0).contains("`calls`"));
        assert!(refused(|settings| settings.start = Start::After(1.into())).contains("`start`"));
        assert!(refused(|settings| settings.expiry = Duration::MAX).contains("`expiry`"));
    }
}
