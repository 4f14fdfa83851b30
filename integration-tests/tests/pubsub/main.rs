//! Pub/Sub, against Google's emulator: every case of the suite, what networks do on the way, and what others write and read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod frozen;
mod google;
mod network;
mod opening;
mod others;

use integration_tests::pubsub::PubSubRig;
use strait_testkit::conformance;

mod unordered {
    super::conformance!(super::PubSubRig::UNORDERED);
}

mod ordered {
    super::conformance!(super::PubSubRig::ORDERED);
}

mod exactly_once {
    super::conformance!(super::PubSubRig::EXACTLY_ONCE);
}
