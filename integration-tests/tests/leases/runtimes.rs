//! A member's connections are those of its own runtime.

use std::{collections::HashSet, time::Duration};

use integration_tests::emulators::fresh;
use strait_core::Error;
use strait_kit::{Ownership as _, Start};
use strait_leases::Group;
use strait_memory::{Life, LogOptions, MemoryLog};
use tokio::{runtime, time::timeout};

use crate::stores::{LONG, Store};

/// An application may join on a runtime that it does not run any more: the member lives all the same. A client of AWS that
/// had been used there would hang until its time-out, which is [`LONG`] here.
#[test]
fn a_member_needs_nothing_of_the_runtime_that_it_joined_on() {
    let new = || runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::table();
    let log = MemoryLog::new(LogOptions::named("orders"));
    let mut group = Group::new(fresh("billing"), &store.url);
    group.options = store.options(store.server);
    log.create_group(&group.name, &Start::Earliest).unwrap();

    let joining = new();
    // The table is there, and the server is warm.
    joining.block_on(store.open());
    let seen = log.seen_by(&group.name, &Life::default());
    let member = joining.block_on(group.join("orders", seen)).unwrap();

    // From here on `joining` does not run.
    let looking = new();
    looking.block_on(async {
        let rows = store.open().await;
        let members = format!("orders/{}/member/", group.name);
        // It has written its row, and renewed it.
        let renewed = async {
            let mut versions = HashSet::new();
            while versions.len() < 3 {
                let found = rows.versions(&members).await?;
                versions.extend(found.into_iter().map(|(_, version)| version));
            }
            Ok::<_, Error>(())
        };
        timeout(LONG / 2, renewed).await.expect("it renews without the runtime that it joined on").unwrap();
        timeout(Duration::from_mins(1), member.close()).await.expect("it ends").unwrap();
    });
    drop(joining);
}
