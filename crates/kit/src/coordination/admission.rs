use std::time::Instant;

use strait_core::{Error, ErrorKind, planted};

use super::{
    Machine,
    calls::{Call, Output, Purpose},
    machine::Closing,
    rows::{PLAN, PlanRow, decode},
};
use crate::{Identity, Row};

/// Whether the rows of the group are those of this log: the plan is asked for that before anything is written.
#[derive(Debug)]
pub(super) enum Admission {
    /// To be asked for at this time.
    Due(Instant),
    Asked,
    Granted,
}

impl Admission {
    /// When there is something to do, if joining waits for it.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self {
            Self::Due(at) => Some(*at),
            Self::Asked | Self::Granted => None,
        }
    }

    pub(super) fn is_granted(&self) -> bool {
        matches!(self, Self::Granted)
    }
}

impl Machine {
    /// Asks whether this process may join, once it is time to.
    pub(super) fn seek_admission(&mut self) {
        if matches!(self.admission, Admission::Due(at) if at <= self.now.instant) {
            self.admission = Admission::Asked;
            self.call(Call::Get(PLAN.into()), Purpose::Admission);
        }
    }

    pub(super) fn admitted(&mut self, result: Result<Option<Row>, Error>) {
        let plan = match result {
            Ok(row) => row.and_then(|row| decode::<PlanRow>(&row.value).ok()), // what is spoilt is mended later
            Err(error) => {
                self.admission = Admission::Due(self.now.instant + self.settings.poll);
                return self.report(error);
            }
        };
        if let Some(plan) = plan
            && self.is_of_another_log(&plan)
        {
            return self.refuse(&plan);
        }
        self.admission = Admission::Granted;
        self.out.push_back(Output::Opened(Ok(())));
    }

    pub(super) fn is_of_another_log(&self, plan: &PlanRow) -> bool {
        let logs = plan.log.as_ref().zip(self.log.as_ref());
        logs.is_some_and(|(theirs, ours)| theirs.is_another(ours)) && !planted!("another-log-accepted")
    }

    /// The rows are those of another log: this process leaves them as they are, and the group.
    pub(super) fn refuse(&mut self, plan: &PlanRow) {
        let name = |log: Option<&Identity>| log.map_or_else(String::new, Identity::to_string);
        let (theirs, ours) = (name(plan.log.as_ref()), name(self.log.as_ref()));
        let text = format!(
            "coordination: `group`: its rows are those of the log {theirs}, and this is {ours}: give this log a group of its own, or delete the rows"
        );
        self.out.push_back(Output::Opened(Err(Error::new(ErrorKind::Config, text))));
        self.closing.get_or_insert_with(Closing::default);
    }
}
