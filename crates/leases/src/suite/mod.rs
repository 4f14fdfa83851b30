//! What every backend must show, as functions that panic where one does not.
//!
//! Each takes a few handles on *one* store, and keeps to rows of its own. [`row_store_suite!`](crate::row_store_suite)
//! makes a test of each.

mod faults;
mod keys;
mod pages;
mod races;
mod rows;

pub use faults::{deletes_with_lost_replies, races_with_faults};
pub use keys::{keys_are_kept_apart, what_does_not_fit_is_refused};
pub use pages::more_than_a_page_is_listed;
pub use races::{counter, races, readers_see_whole_rows};
pub use rows::{absent_and_present, dropped_calls, equal_values, sizes, versions_agree};

use std::sync::Arc;

use strait_kit::{Put, RowStore, Version};

/// Handles on one store.
pub type Handles = Vec<Arc<dyn RowStore>>;

/// A prefix that no other case has.
fn fresh(case: &str) -> String {
    format!("{case}-{}/", uuid::Uuid::new_v4())
}

/// The version of a put that must have been done.
#[track_caller]
fn done(outcome: strait_core::Result<Put>) -> Version {
    match outcome {
        Ok(Put::Done(version)) => version,
        other => panic!("not done: {other:?}"),
    }
}

/// A put that must have been refused.
#[track_caller]
fn refused(outcome: &strait_core::Result<Put>) {
    assert!(matches!(outcome, Ok(Put::Refused)), "not refused: {outcome:?}");
}

/// Makes a test of each case of the suite. The expression is evaluated for each, and awaited for its [`Handles`].
#[macro_export]
macro_rules! row_store_suite {
    ($open:expr) => {
        $crate::row_store_suite!(@ $open;
            absent_and_present dropped_calls equal_values sizes versions_agree keys_are_kept_apart
            what_does_not_fit_is_refused more_than_a_page_is_listed races readers_see_whole_rows
            races_with_faults deletes_with_lost_replies
        );
    };
    (@ $open:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let handles: $crate::suite::Handles = $open.await;
                $crate::suite::$case(&handles).await;
            }
        )*
    };
}
