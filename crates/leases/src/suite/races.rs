use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use strait_kit::{Expect, Put, Row, RowStore, Version};

use super::{Handles, done, fresh};

/// How many write at once.
pub(crate) const WRITERS: usize = 8;

/// A row that counts what each writer added, so that a lost update shows as a count that went back.
pub mod counter {
    use super::{Arc, Bytes, Expect, Put, Row, RowStore, Version};

    /// The counts of a row.
    pub fn read(row: Option<&Row>, writers: usize) -> Vec<u64> {
        let Some(row) = row else { return vec![0; writers] };
        let text = std::str::from_utf8(&row.value).expect("counts are text");
        let counts: Vec<_> = text.split(' ').map(|count| count.parse().expect("counts are numbers")).collect();
        assert_eq!(counts.len(), writers, "a row is torn");
        counts
    }

    /// Adds one to the count of `writer`, which stands at `count`, however often that takes; says by which put, if it was
    /// seen.
    pub async fn add(
        rows: &Arc<dyn RowStore>,
        key: &str,
        writers: usize,
        writer: usize,
        count: u64,
    ) -> Option<Version> {
        loop {
            let row = match rows.get(key).await {
                Ok(row) => row,
                Err(error) => {
                    assert!(error.is_transient() && !error.is_ambiguous(), "a get failed: {error}");
                    continue;
                }
            };
            let mut counts = read(row.as_ref(), writers);
            if counts[writer] == count + 1 {
                return None; // an earlier put of ours was done after all
            }
            assert_eq!(counts[writer], count, "an update was lost");
            counts[writer] += 1;
            let text: Vec<_> = counts.iter().map(ToString::to_string).collect();
            let expect = row.map_or(Expect::Absent, |row| Expect::Is(row.version));
            match rows.put(key, expect, Bytes::from(text.join(" "))).await {
                Ok(Put::Done(version)) => return Some(version),
                Ok(Put::Refused) => {}
                Err(error) => assert!(error.is_transient(), "a put failed: {error}"),
            }
        }
    }
}

/// Eight writers add to one row: no update is lost, and no version comes twice.
pub async fn races(handles: &Handles) {
    let key = format!("{}row", fresh("races"));
    let tasks = (0..WRITERS).map(|writer| {
        let (rows, key) = (Arc::clone(&handles[writer % handles.len()]), key.clone());
        tokio::spawn(async move {
            let mut versions = Vec::new();
            for count in 0..25 {
                versions.extend(counter::add(&rows, &key, WRITERS, writer, count).await);
            }
            versions
        })
    });
    let mut versions = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        versions.extend(task.await.expect("a writer panicked"));
    }
    let row = handles[0].get(&key).await.expect("a get").expect("a row");
    assert_eq!(counter::read(Some(&row), WRITERS), [25; WRITERS]);
    assert!(versions.contains(&row.version));
    let distinct: HashSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), versions.len(), "a version came twice");
}

/// While a large row is replaced again and again, readers see one whole value after the other, and never an older one.
pub async fn readers_see_whole_rows(handles: &Handles) {
    const ROUNDS: u32 = 60;
    let key = format!("{}row", fresh("whole"));
    let value = |round: u32| Bytes::from(round.to_be_bytes().repeat(16 * 1024));
    let mut version = done(handles[0].put(&key, Expect::Absent, value(0)).await);
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (rows, key) = (Arc::clone(&handles[(reader + 1) % handles.len()]), key.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while last < ROUNDS {
                    let row = rows.get(&key).await.expect("a get").expect("a row");
                    let (words, rest) = row.value.as_chunks::<4>();
                    assert!(rest.is_empty() && words.len() == 16 * 1024, "a row is torn");
                    assert!(words.iter().all(|word| word == &words[0]), "a row is torn");
                    let round = u32::from_be_bytes(words[0]);
                    assert!(round >= last, "a get showed an older row");
                    last = round;
                    tokio::task::yield_now().await; // a store in memory never makes it wait
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        version = done(handles[0].put(&key, Expect::Is(version), value(round)).await);
    }
    for reader in readers {
        reader.await.expect("a reader panicked");
    }
}
