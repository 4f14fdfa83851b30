//! Every case on every shape of the memory backend.

use integration_tests::memory::{LogRig, QueueRig};
use strait_testkit::conformance;

mod log {
    super::conformance!(super::LogRig);
}

mod queue {
    super::conformance!(super::QueueRig::ORDERED);
}

mod unordered {
    super::conformance!(super::QueueRig::UNORDERED);
}
