//! SQS, against LocalStack: every case of the suite, what networks do on the way, and what others write and read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod frozen;
mod network;
mod opening;
mod others;

use integration_tests::sqs::SqsRig;
use strait_testkit::conformance;

mod standard {
    super::conformance!(super::SqsRig::STANDARD);
}

mod fifo {
    super::conformance!(super::SqsRig::FIFO);
}

mod sns {
    super::conformance!(super::SqsRig::SNS);
}

mod sns_fifo {
    super::conformance!(super::SqsRig::SNS_FIFO);
}
