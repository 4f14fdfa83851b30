//! A queue that is never empty and stores nothing: SQS's protocol of JSON, answered as fast as can be, by a process of its
//! own, so that the client is what is measured.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Deserialize;
use strait_benches::stub;

#[derive(Debug)]
struct Server {
    payload: &'static str,
    next: AtomicU64,
}

/// Serves messages that have this payload.
pub(crate) fn serve(payload: &'static str) -> io::Result<()> {
    let server = Server { payload, next: AtomicU64::new(0) };
    stub::serve(move |operation, body| server.answer(operation, body))
}

impl Server {
    fn answer(&self, operation: &str, body: &[u8]) -> io::Result<(String, usize)> {
        let asked: Asked<'_> = serde_json::from_slice(body)?;
        Ok(match operation {
            "GetQueueUrl" => (r#"{"QueueUrl":"http://127.0.0.1/000000000000/bench"}"#.to_owned(), 0),
            "GetQueueAttributes" => (r#"{"Attributes":{"MaximumMessageSize":"1048576"}}"#.to_owned(), 0),
            "SendMessage" => (format!("{{{}}}", self.stored()), 1),
            "SendMessageBatch" => (done(&asked, || format!(",{}", self.stored())), asked.entries.len()),
            "ReceiveMessage" => self.messages(&asked),
            _ => (done(&asked, String::new), asked.entries.len()),
        })
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    fn stored(&self) -> String {
        format!(r#""MessageId":"{}","MD5OfMessageBody":"{MD5}""#, uuid(self.number()))
    }

    fn messages(&self, asked: &Asked<'_>) -> (String, usize) {
        let count = asked.max_number_of_messages.unwrap_or(1);
        let mut answer = r#"{"Messages":["#.to_owned();
        for index in 0..count {
            let number = self.number();
            let comma = if index == 0 { "" } else { "," };
            let id = uuid(number);
            // As long as one of AWS, which is about 300 characters.
            let _ = write!(
                answer,
                r#"{comma}{{"MessageId":"{id}","ReceiptHandle":"{number:0300}","MD5OfBody":"{MD5}","Body":"{}""#,
                self.payload
            );
            if !asked.message_system_attribute_names.is_empty() {
                answer.push_str(
                    r#","Attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1764061200000","MessageGroupId":"customer-7"}"#,
                );
            }
            if !asked.message_attribute_names.is_empty() {
                let _ = write!(
                    answer,
                    r#","MessageAttributes":{{"strait-id":{{"DataType":"String","StringValue":"{id}"}}}},"MD5OfMessageAttributes":"{MD5}""#
                );
            }
            answer.push('}');
        }
        answer.push_str("]}");
        (answer, count)
    }
}

/// Nobody checks it.
const MD5: &str = "fafb00f5732ab283681e124bf8747ed1";

fn uuid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn done(asked: &Asked<'_>, more: impl Fn() -> String) -> String {
    let mut answer = r#"{"Failed":[],"Successful":["#.to_owned();
    for (index, entry) in asked.entries.iter().enumerate() {
        let _ = write!(answer, r#"{}{{"Id":"{}"{}}}"#, if index == 0 { "" } else { "," }, entry.id, more());
    }
    answer.push_str("]}");
    answer
}

/// What matters of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Asked<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    max_number_of_messages: Option<usize>,
    #[serde(borrow)]
    message_attribute_names: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    message_system_attribute_names: Vec<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}
