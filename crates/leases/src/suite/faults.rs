use std::{collections::HashSet, sync::Arc};

use strait_kit::{Expect, RowStore};

use super::{
    Handles, done, fresh,
    races::{WRITERS, counter},
};
use crate::{Faults, FaultyRows};

/// Eight writers add to one row through lost replies, outages, refusals of what was done, and puts that land late. Each
/// of these happened, and no update was lost or done twice.
pub async fn races_with_faults(handles: &Handles) {
    let key = format!("{}row", fresh("faults"));
    let mix = Faults { outage: 10, lost_reply: 12, own_refused: 12, late: 12 };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (rows, key) = (Arc::clone(&handles[writer % handles.len()]), key.clone());
            tokio::spawn(async move {
                let faulty = Arc::new(FaultyRows::new(rows, mix, writer as u64));
                let rows: Arc<dyn RowStore> = Arc::clone(&faulty) as _;
                let mut versions = Vec::new();
                for count in 0..25 {
                    versions.extend(counter::add(&rows, &key, WRITERS, writer, count).await);
                }
                faulty.arrive().await.expect("what is late arrives");
                (versions, faulty.fired())
            })
        })
        .collect();
    let (mut versions, mut fired) = (Vec::new(), Vec::new());
    for writer in writers {
        let (its, met) = writer.await.expect("a writer panicked");
        versions.extend(its);
        fired.push(met);
    }
    let row = handles[0].get(&key).await.expect("a get").expect("a row");
    assert_eq!(counter::read(Some(&row), WRITERS), [25; WRITERS]);
    let distinct: HashSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), versions.len(), "a version came twice");
    assert!(fired.iter().map(|fired| fired.outages).sum::<u64>() > 10, "{fired:?}");
    assert!(fired.iter().map(|fired| fired.lost_replies).sum::<u64>() > 5, "{fired:?}");
    assert!(fired.iter().map(|fired| fired.own_refused).sum::<u64>() > 5, "{fired:?}");
    assert!(fired.iter().map(|fired| fired.landed_late + fired.came_too_late).sum::<u64>() > 5, "{fired:?}");
}

/// A delete whose reply is lost is asked again, until the row is gone.
pub async fn deletes_with_lost_replies(handles: &Handles) {
    let prefix = fresh("deletes");
    let faulty =
        FaultyRows::new(Arc::clone(&handles[0]), Faults { outage: 20, lost_reply: 40, ..Faults::default() }, 7);
    for number in 0..20 {
        let key = format!("{prefix}{number}");
        done(handles[0].put(&key, Expect::Absent, "x".into()).await);
        while let Err(error) = faulty.delete(&key).await {
            assert!(error.is_transient(), "a delete failed: {error}");
        }
        assert_eq!(handles[handles.len() - 1].get(&key).await.expect("a get"), None);
    }
    let fired = faulty.fired();
    assert!(fired.outages > 0 && fired.lost_replies > 0, "{fired:?}");
}
