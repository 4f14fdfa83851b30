//! The emulators that other tests rely on are there, and do the least that is asked of them.

use integration_tests::emulators::{Azurite, LocalStack, PubSub};

#[test]
fn each_makes_what_tests_are_made_of() {
    // Each panics unless the server says that it was made.
    let names = [LocalStack::get().bucket(), Azurite::get().container(), PubSub::get().topic(), PubSub::get().topic()];
    assert!(names[2].starts_with("projects/strait/topics/topic-") && names[2] != names[3], "{names:?}");
}
