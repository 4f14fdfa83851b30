//! Kinesis, against LocalStack: every case of the suite, and what others write and read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aggregates;
mod configuration;
mod fan_out;
mod group;
mod kcl;
mod large;
mod moves;
mod network;
mod others;
mod processes;

use integration_tests::kinesis::{KinesisRig, Leases};
use strait_testkit::conformance;

mod files {
    super::conformance!(super::KinesisRig(super::Leases::Files));
}

/// What leases are asked for most, in S3 and DynamoDB: the stores themselves have a suite of their own.
mod stores {
    use strait_testkit::{CASES, run};

    use super::{KinesisRig, Leases};

    fn case(name: &str) {
        let case = CASES.iter().find(|case| case.name() == name).expect("there is one");
        for leases in [Leases::Objects, Leases::Table] {
            run(&KinesisRig(leases), *case);
        }
    }

    #[test]
    fn groups_get_all_and_members_share() {
        case("c46_groups_get_all_and_members_share");
    }

    #[test]
    fn a_group_goes_on_where_it_was() {
        case("c50_goes_on_where_it_was");
    }

    #[test]
    fn a_parent_is_settled_before_its_children() {
        case("c56_a_parent_is_settled_before_its_children");
    }
}
