use serde::{Serialize, de::DeserializeOwned};
use strait_core::Position;

use super::rows::{MemberRow, PartRow, Place, PlanRow, decode, encode};

/// The value of a row of any kind: what is read is what is read again once it was written.
pub fn rows(value: &[u8]) {
    read::<MemberRow>(value);
    if let Some(row) = read::<PartRow>(value) {
        let _ = row.from.start();
        let _ = row.resume.as_ref().map(super::rows::Resume::start);
        for place in row.checkpoint.iter().chain(&row.taken) {
            assert!(Place::from(&Position::from(place)) == *place, "a position");
        }
        let _ = row.suspect.and_then(super::rows::SuspectRow::spared);
    }
    if let Some(row) = read::<PlanRow>(value) {
        for partition in row.parts.keys() {
            let _ = row.owner(partition);
        }
    }
}

fn read<T: Clone + PartialEq + Serialize + DeserializeOwned>(value: &[u8]) -> Option<T> {
    let row = decode::<T>(value).ok()?;
    assert!(decode(&encode(&row)) == Ok(row.clone()), "a row is read otherwise once it was written");
    Some(row)
}
