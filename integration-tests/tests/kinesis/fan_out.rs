//! Records that are pushed, by the registered consumer of a group. LocalStack's subscriptions break at the end of a shard, and
//! say nothing of what it became: that is shown on the stub.

use integration_tests::kinesis::FanOutRig;
use strait_testkit::{CASES, run};

fn case(name: &str) {
    run(&FanOutRig, *CASES.iter().find(|case| case.name() == name).expect("there is one"));
}

#[test]
fn each_key_stays_in_order() {
    case("c43_each_key_stays_in_order");
}

#[test]
fn a_group_goes_on_where_it_was() {
    case("c50_goes_on_where_it_was");
}

#[test]
fn a_drain_finishes_what_runs_and_gives_the_rest_back() {
    case("c07_a_drain_finishes_what_runs_and_gives_the_rest_back");
}
