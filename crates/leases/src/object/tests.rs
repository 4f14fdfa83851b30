//! The code of the object stores, over an object store in memory: the suite without a network.

use std::{sync::Arc, time::Duration};

use object_store::memory::InMemory;
use strait_kit::RowStore;

use super::{Match, ObjectRows};
use crate::suite::Handles;

#[expect(clippy::unused_async, reason = "the suite awaits what makes handles")]
async fn handles(matching: Match) -> Handles {
    let store = Arc::new(InMemory::new());
    let prefix = ["teams".to_owned(), "Billing".to_owned()];
    let handle = || {
        let (store, place) = (Arc::clone(&store) as _, "memory".to_owned());
        Arc::new(ObjectRows::new(store, place, &prefix, matching, Duration::from_secs(60))) as Arc<dyn RowStore>
    };
    vec![handle(), handle(), handle()]
}

mod by_tag {
    crate::row_store_suite!(super::handles(super::Match::Tag));
}

/// The look-up of what listings do not show. That the generation is then what counts, only Google's store can show.
mod by_generation {
    crate::row_store_suite!(super::handles(super::Match::Generation));
}
