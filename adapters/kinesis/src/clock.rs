//! The time of the service.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use aws_sdk_kinesis::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef},
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};
use tokio::time::Instant;

/// The service's clock, as the last answer to a call says that is made with it. Ours may go wrong by hours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<Mutex<Option<(SystemTime, Instant)>>>);

impl Clock {
    /// When it answered last, to the second before; none if it did not say.
    pub(crate) fn now(&self) -> Option<SystemTime> {
        self.answered().map(|(time, _)| time)
    }

    /// What it would say now, by the time that went by here since it answered last.
    pub(crate) fn runs_on(&self) -> Option<SystemTime> {
        self.answered().map(|(time, since)| time + since.elapsed())
    }

    fn answered(&self) -> Option<(SystemTime, Instant)> {
        *self.0.lock().expect("nothing panics while holding this")
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "strait-clock"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let time = date.and_then(|date| date.try_into().ok());
        *self.0.lock().expect("nothing panics while holding this") = time.map(|time| (time, Instant::now()));
        Ok(())
    }
}
