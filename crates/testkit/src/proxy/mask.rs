use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Entries;

/// What was taken out of a batch, so that it fails.
#[derive(Debug)]
pub(super) struct Masked {
    style: Style,
    code: &'static str,
    mask: Entries,
    /// The entries of the whole batch.
    entries: Vec<Value>,
}

/// How a service says what became of the entries of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// By id, in two lists: SQS.
    ByName,
    /// By place, in one list: Kinesis.
    ByPlace,
}

/// Takes these entries out of a batch. `None` if it is no batch, or nothing is to be taken out.
pub(super) fn take(body: &[u8], mask: Entries, code: &'static str) -> Option<(Bytes, Masked)> {
    let mut request: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let by_name = request.contains_key("Entries");
    let (field, style) = if by_name { ("Entries", Style::ByName) } else { ("Records", Style::ByPlace) };
    let entries = request.get(field)?.as_array()?.clone();
    let masked = Masked { style, code, mask, entries };
    if masked.failing().count() == 0 {
        return None;
    }
    let kept: Vec<_> = masked.entries.iter().enumerate().filter(|(at, _)| !masked.fails(*at)).collect();
    let kept = kept.into_iter().map(|(_, entry)| entry.clone()).collect();
    request.insert(field.to_owned(), Value::Array(kept));
    Some((serde_json::to_vec(&request).ok()?.into(), masked))
}

impl Masked {
    fn fails(&self, at: usize) -> bool {
        self.mask.contains(at)
    }

    fn failing(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().enumerate().filter(|(at, _)| self.fails(*at)).map(|(_, entry)| entry)
    }

    /// Whether nothing is left to be passed on.
    pub(super) fn is_all(&self) -> bool {
        self.failing().count() == self.entries.len()
    }

    /// What the service said of the rest, and of these that they failed. What it refused stays as it is.
    pub(super) fn answer(&self, rest: &[u8]) -> Vec<u8> {
        let Ok(mut answer) = serde_json::from_slice::<Map<String, Value>>(rest) else { return rest.to_vec() };
        match self.style {
            Style::ByName => {
                let failed = self.failing().map(|entry| {
                    json!({ "Id": entry["Id"], "Code": self.code, "SenderFault": false, "Message": "as planned" })
                });
                let list = answer.entry("Failed").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.extend(failed);
                }
            }
            Style::ByPlace => {
                let mut done = answer.get("Records").and_then(Value::as_array).cloned().unwrap_or_default().into_iter();
                let failed = json!({ "ErrorCode": self.code, "ErrorMessage": "as planned" });
                let all: Vec<_> = (0..self.entries.len())
                    .filter_map(|at| if self.fails(at) { Some(failed.clone()) } else { done.next() })
                    .collect();
                let count = all.iter().filter(|record| record.get("ErrorCode").is_some()).count();
                answer.insert("FailedRecordCount".to_owned(), json!(count));
                answer.insert("Records".to_owned(), Value::Array(all));
            }
        }
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn entries_fail_by_name() {
        let body = br#"{"QueueUrl":"q","Entries":[{"Id":"0"},{"Id":"1"},{"Id":"2"}]}"#;
        let (rest, masked) = take(body, 0b101.into(), "InternalError").unwrap();
        assert_eq!(parsed(&rest), json!({ "QueueUrl": "q", "Entries": [{ "Id": "1" }] }));
        let answer = parsed(&masked.answer(br#"{"Successful":[{"Id":"1"}]}"#));
        assert_eq!(answer["Successful"], json!([{ "Id": "1" }]));
        let failed: Vec<_> = answer["Failed"].as_array().unwrap().iter().map(|entry| entry["Id"].clone()).collect();
        assert_eq!(failed, ["0", "2"]);
        assert!(!masked.is_all() && take(body, 0b111.into(), "x").unwrap().1.is_all());
        assert!(
            take(body, 0b1000.into(), "x").is_none()
                && take(b"{}", 1.into(), "x").is_none()
                && take(b"Action=x", 1.into(), "x").is_none()
        );
    }

    #[test]
    fn a_batch_of_five_hundred_fails_in_part() {
        let records: Vec<_> = (0..500).map(|number| json!({ "Data": number.to_string() })).collect();
        let body = serde_json::to_vec(&json!({ "Records": records })).unwrap();
        let (rest, masked) = take(&body, [0, 63, 64, 499, 500, 9000].into_iter().collect(), "InternalFailure").unwrap();
        assert_eq!(parsed(&rest)["Records"].as_array().unwrap().len(), 496);
        let rest = json!({ "Records": vec![json!({ "SequenceNumber": "1" }); 496] });
        let answer = parsed(&masked.answer(&serde_json::to_vec(&rest).unwrap()));
        let records = answer["Records"].as_array().unwrap();
        let failed = records.iter().enumerate().filter(|(_, record)| record.get("ErrorCode").is_some());
        assert_eq!(failed.map(|(at, _)| at).collect::<Vec<_>>(), [0, 63, 64, 499]);
        assert_eq!((records.len(), &answer["FailedRecordCount"]), (500, &json!(4)));
    }

    #[test]
    fn records_fail_in_their_places() {
        let body = br#"{"StreamName":"s","Records":[{"Data":"a"},{"Data":"b"},{"Data":"c"}]}"#;
        let (rest, masked) = take(body, 0b010.into(), "ProvisionedThroughputExceededException").unwrap();
        assert_eq!(parsed(&rest)["Records"], json!([{ "Data": "a" }, { "Data": "c" }]));
        let records = br#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}"#;
        let answer = parsed(&masked.answer(records));
        assert_eq!(answer["FailedRecordCount"], 1);
        assert_eq!(answer["Records"][1]["ErrorCode"], "ProvisionedThroughputExceededException");
        assert_eq!(answer["Records"][2]["SequenceNumber"], "2");
    }
}
