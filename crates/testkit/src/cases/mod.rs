//! The cases, by theme. Their numbers are those of the list of what the suite covers.

pub mod batches;
pub mod content;
pub mod dead_letters;
pub mod groups;
pub mod leases;
pub mod lifecycle;
pub mod memory;
pub mod moves;
pub mod order;
pub mod portability;
pub mod publish;
pub mod reshards;
pub mod retries;
pub mod settle;
pub mod stopping;

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{runtime::Builder, time::timeout};

use crate::Rig;

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    fault: &'static str,
    run: for<'a> fn(&'a dyn Rig) -> BoxFuture<'a, ()>,
}

impl Case {
    /// A case that is called `c`, its number, and what it shows, and that fails on some backend if `fault` is planted.
    pub const fn new(
        name: &'static str,
        fault: &'static str,
        run: for<'a> fn(&'a dyn Rig) -> BoxFuture<'a, ()>,
    ) -> Self {
        Self { name, fault, run }
    }

    /// The fault that it is shown to fail on, on some backend: what [`planted!`](strait_core::planted) marks in the code.
    pub const fn fault(&self) -> &'static str {
        self.fault
    }

    /// What it is called, which is the name of its test.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its number; of two cases with one number, each shows a part.
    pub fn number(&self) -> u32 {
        let digits = self.name.trim_start_matches('c').split('_').next().unwrap_or_default();
        digits.parse().expect("a case is called c, its number, and what it shows")
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// How long a case may take, by the clock of its runtime: one that is paused, or that on the wall.
const LIMITS: [Duration; 2] = [Duration::from_secs(2 * 60 * 60), Duration::from_secs(10 * 60)];

/// Runs a case in a runtime of its own: of one thread, and with its clock paused where the backend allows it, so that it
/// is the same every time.
///
/// # Panics
///
/// If the case does not hold, or does not end.
pub fn run(rig: &dyn Rig, case: Case) {
    fastrand::seed(u64::from(case.number()));
    let paused = rig.capabilities().paused;
    let runtime = Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap();
    let limit = LIMITS[usize::from(!paused)];
    let ended = runtime.block_on(async { timeout(limit, (case.run)(rig)).await });
    assert!(ended.is_ok(), "{case:?} does not end");
}

/// Hands the list of all cases to the macro `$then`: each with the fault that it is shown to fail on.
#[doc(hidden)]
#[macro_export]
macro_rules! each_case {
    ($then:ident $($argument:tt)*) => {
        $crate::$then! { [$($argument)*]
            lifecycle:
                c01_opens_and_closes_twice_and_leaves_no_task: "keeper-outlives-close",
                c02_a_missing_source_is_not_found_when_it_is_opened: "missing-source-tried-for-ever",
                c02_an_empty_source_is_opened_by_its_first_answer: "empty-reply-is-no-answer",
                c04_every_handle_is_closed: "sends-after-close",
                c04_a_delivery_that_outlives_its_receiver_is_lost: "lost-as-confirmed",
                c08_handles_may_move_between_runtimes_and_outlive_theirs: "end-untold",
                c03_nothing_that_is_shown_holds_content: "debug-shows-payload",
            ;
            content:
                c10_payloads_of_any_bytes_up_to_the_limit: "oversize-not-checked",
                c11_headers_come_through_or_are_refused_by_name: "reserved-header-accepted",
                c12_what_is_known_of_a_message: "id-replaced",
            ;
            publish:
                c17_batches_stay_within_the_limits: "request-over-its-limit",
                c18_each_message_has_its_own_outcome: "outcome-order",
                c18_a_lost_answer_is_an_unknown_outcome: "unknown-as-not-sent",
                c19_a_request_goes_when_it_is_full_or_has_lingered: "lingers-too-long",
                c20_throttling_is_waited_out_in_order: "two-requests-per-key",
                c21_publishers_wait_within_their_bounds: "unbounded-sender-buffer",
                c22_what_cannot_be_kept_is_refused: "missing-order-accepted",
                c20_a_key_is_paused_after_a_failure_if_it_is_asked_for: "failed-key-not-paused",
            ;
            settle:
                c28_everything_comes_once: "drop-last-of-full-batch",
                c29_what_is_acknowledged_is_gone: "settled-and-not-stored",
                c30_a_failed_attempt_is_followed_by_another: "failure-is-success",
                c32_what_is_dropped_comes_again: "dropped-delivery-forgotten",
                c33_settling_twice_is_harmless: "dropped-claim-kept-log",
                c34_a_settlement_that_fails_is_seen_and_tried_again: "settle-swallows-failure",
                c34_a_settlement_that_is_denied_is_told: "denied-settlement-untold",
            ;
            retries:
                c31_not_before_its_pause_is_over: "retry-after-ignored",
                c31_long_pauses_keep_nothing_else_from_being_worked_on: "long-pauses-stay-here",
                c31_pauses_grow: "pauses-do-not-grow",
                c66_a_subscription_recovers_for_ever: "gives-up-after-ten-failures",
                c66_an_engine_recovers_for_ever: "reopen-at-latest",
            ;
            batches:
                c36_unacknowledged_messages_are_limited: "unbounded-buffer",
                c37_each_message_of_a_batch_has_its_own_end: "batch-ends-as-one",
                c37_of_a_key_what_is_behind_a_failure_is_done_again: "batch-goes-past-a-failure",
            ;
            dead_letters:
                c37_a_batch_that_fails_buries_no_neighbours: "batch-buries-its-messages",
                c39_after_the_last_attempt_to_the_dead_letters: "retries-for-ever",
                c39_attempts_are_counted_on_after_long_pauses: "postponed-attempts-forgotten",
                c39_a_dead_letter_that_is_not_stored_loses_nothing: "dead-letter-failure-settles",
                c38_what_does_not_decode_is_kept_as_it_is: "dead-letter-as-text",
                c41_without_dead_letters_as_policy_says: "blocked-is-discarded",
                c39_dead_letters_do_not_lead_to_their_source: "dead-letters-to-their-source",
                c39_dead_letters_in_a_circle_end: "buried-for-ever",
                c83_a_refused_dead_letter_stalls_visibly: "stalled-holds-close",
                c83_what_may_be_received_has_a_dead_letter: "nothing-left-out",
                c83_an_oversize_dead_letter_is_cut_off_where_that_is_allowed: "dead-letter-too-large",
                c85_what_is_redriven_or_forwarded_is_stored: "redrive-under-the-same-id",
                c85_each_group_has_its_own_dead_letter: "dead-letter-under-the-messages-id",
            ;
            order:
                c43_each_key_stays_in_order: "no-lanes",
                c44_keys_overlap_and_a_key_never_does: "one-lane-for-all-keys",
                c45_progress_never_passes_what_is_not_settled: "high-watermark-commit",
                c81_a_failing_key_starves_no_other: "unbounded-share",
                c43_a_receive_whose_answer_is_lost_does_not_reorder: "second-delivery-handed-out",
            ;
            leases:
                c35_a_slow_handler_keeps_its_message: "no-heartbeat",
                c76_claims_of_a_key_are_lost_together: "lost-key-mates-kept",
                c76_what_is_behind_a_lost_message_waits_for_it: "given-back-alone",
                c77_giving_back_is_oldest_first: "release-newest-first",
                c79_a_lease_counts_from_its_request: "lease-from-reply",
                c79_a_frozen_process_settles_nothing: "until-ignored",
            ;
            moves:
                c52_a_share_for_everybody: "everything-to-the-first",
                c54_a_partition_whose_reader_is_cut_off_is_lost: "cut-off-reader-opened-again",
                c58_more_than_a_thousand_partitions: "first-thousand-partitions",
                c78_a_planned_move_duplicates_nothing: "cut-ignored",
                c78_a_planned_move_waits_for_its_commit: "released-without-its-commit",
                c82_a_dropped_claim_comes_again_within_a_second: "dropped-claim-kept",
            ;
            reshards:
                c56_a_parent_is_settled_before_its_children: "child-before-parent",
                c57_what_a_closed_parent_holds_is_delivered: "closed-parent-skipped",
                c57_what_was_read_to_its_end_and_not_delivered_is_delivered: "finished-before-delivered",
            ;
            groups:
                c46_groups_get_all_and_members_share: "groups-mixed-up",
                c46_idle_members_have_work_where_messages_are_leased: "all-is-prefetched",
                c47_groups_are_kept_apart: "progress-of-every-group",
                c48_a_new_group_starts_where_it_asks_to: "latest-for-known-group",
                c48_an_expired_place_is_an_error: "trimmed-place-skipped",
                c50_goes_on_where_it_was: "last-commit-left-out",
                c51_a_newcomer_gets_history_or_steals_nothing: "newcomer-asks-nobody",
                c84_a_message_that_kills_its_process: "redeliveries-uncounted",
            ;
            stopping:
                c05_a_dropped_send_loses_nothing_that_was_accepted: "abandoned-ticket-used-again",
                c05_a_dropped_receive_loses_nothing: "taken-and-not-returned",
                c06_closing_a_sender_sends_or_reports_everything: "close-without-flush",
                c07_a_drain_finishes_what_runs_and_gives_the_rest_back: "closing-gives-nothing-back",
                c07_a_close_waits_out_no_back_off: "close-waits-out-a-back-off",
                c07_what_fails_while_closing_comes_again: "log-ends-too-early",
                c80_closing_while_settling_burying_and_waiting: "ack-before-handler",
                c07_a_drain_that_takes_too_long_gives_up: "drains-too-long",
                c07_what_is_blocked_holds_no_close: "blocked-holds-close",
                c07_a_close_gives_back_all_of_a_full_buffer: "forgotten-while-released",
            ;
            memory:
                c86_memory_is_bounded_in_bytes: "unbounded-store",
                c86_a_log_holds_its_bytes_once: "delivered-bytes-not-counted",
            ;
            portability:
                c68_what_is_declared_is_so: "second-copy-stored",
                c70_an_unknown_key_is_refused_by_its_path: "unknown-key-accepted",
                c71_a_calm_history_is_legal_everywhere: "receipt-of-the-next",
            ;
        }
    };
}

/// One test for each case, of the backend whose [`Rig`] the expression makes.
///
/// ```ignore
/// mod log {
///     strait_testkit::conformance!(super::LogRig::default());
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    ($rig:expr) => {
        $crate::each_case! { case_tests $rig }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! case_tests {
    ([$rig:expr] $($theme:ident: $($case:ident: $fault:literal,)*;)*) => {
        $($(
            #[test]
            fn $case() {
                let case = $crate::Case::new(stringify!($case), $fault, |rig| Box::pin($crate::cases::$theme::$case(rig)));
                $crate::run(&$rig, case);
            }
        )*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! case_table {
    ([] $($theme:ident: $($case:ident: $fault:literal,)*;)*) => {
        &[$($($crate::Case::new(stringify!($case), $fault, |rig| Box::pin($crate::cases::$theme::$case(rig))),)*)*]
    };
}

/// All of them.
pub const CASES: &[Case] = each_case!(case_table);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// What several cases may name, each with why no other fault is what they are about.
    const SHARED: [(&str, &str); 0] = [];

    #[test]
    fn each_case_has_a_fault_of_its_own() {
        let mut cases: HashMap<_, Vec<_>> = HashMap::new();
        for case in CASES {
            cases.entry(case.fault()).or_default().push(case.name());
        }
        cases.retain(|fault, cases| cases.len() > 1 && SHARED.iter().all(|(shared, _)| shared != fault));
        assert!(cases.is_empty(), "several cases name the same fault: {cases:?}");
    }
}
