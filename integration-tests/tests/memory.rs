//! Every case on every shape of the memory backend.

use integration_tests::{
    memory::{LogRig, QueueRig},
    shared::SharedRig,
};
use strait_testkit::conformance;

mod log {
    super::conformance!(super::LogRig);
}

mod shared {
    super::conformance!(super::SharedRig::SOUND);
}

mod queue {
    super::conformance!(super::QueueRig::ORDERED);
}

mod unordered {
    super::conformance!(super::QueueRig::UNORDERED);
}
