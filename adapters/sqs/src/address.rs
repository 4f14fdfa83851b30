//! How queues and topics are named: by name, by ARN, and queues also by URL. The last two say where they are.

use std::sync::Arc;

use strait_aws::{Arn, is_of_aws};

/// A queue as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueAddress {
    pub(crate) name: Arc<str>,
    /// The URL, if that is what it was named by.
    pub(crate) url: Option<String>,
    /// The region; without one it is the connection's.
    pub(crate) region: Option<String>,
    /// The account, if an ARN says; without one it is that of the credentials.
    pub(crate) account: Option<String>,
}

impl QueueAddress {
    /// Reads a name, a URL or an ARN.
    ///
    /// # Errors
    ///
    /// What is wrong with an ARN.
    pub(crate) fn of(queue: &str) -> Result<Self, String> {
        if let Some((_, rest)) = queue.split_once("://") {
            let name = rest.trim_end_matches('/').rsplit('/').next().unwrap_or(rest);
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            let region = region_of(host).map(str::to_owned);
            return Ok(Self { name: name.into(), url: Some(queue.to_owned()), region, account: None });
        }
        match Arn::of(queue, "sqs")? {
            Some(Arn { region, account, name }) => {
                let owned = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
                Ok(Self { name: name.into(), url: None, region: owned(region), account: owned(account) })
            }
            None => Ok(Self { name: queue.into(), url: None, region: None, account: None }),
        }
    }

    /// Whether its URL or ARN says that it exists already.
    pub(crate) fn is_named_in_full(&self) -> bool {
        self.url.is_some() || self.account.is_some()
    }
}

/// The region that the host of a queue's URL names: `sqs.eu-west-1.amazonaws.com`, `eu-west-1.queue.amazonaws.com`, that of
/// an interface in a private network, or LocalStack's.
fn region_of(host: &str) -> Option<&str> {
    let labels: Vec<_> = host.split('.').collect();
    let after = |label: &str| labels.iter().position(|it| *it == label).and_then(|at| labels.get(at + 1));
    let old = || match labels[..] {
        ["queue", "amazonaws", "com"] => Some("us-east-1"),
        [region, "queue", ..] => Some(region),
        _ => None,
    };
    after("sqs").or_else(|| after("sqs-fips")).copied().or_else(old).filter(|label| is_region(label))
}

/// What all URLs of a queue have in common: AWS has several for each, by region, account and name. Elsewhere it is the URL.
pub(crate) fn place_of(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let (host, path) = url.split_once("://").map_or(url, |(_, rest)| rest).split_once('/').unwrap_or_default();
    let of_aws = is_of_aws(host) && path.split('/').count() == 2;
    region_of(host).filter(|_| of_aws).map_or_else(|| url.to_owned(), |region| format!("{region}/{path}"))
}

/// Whether it is like `eu-west-1`.
fn is_region(label: &str) -> bool {
    label.contains('-')
        && label.ends_with(|last: char| last.is_ascii_digit())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(queue: &str) -> Option<String> {
        QueueAddress::of(queue).unwrap().region
    }

    #[test]
    fn a_url_says_its_region() {
        for url in [
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            "https://sqs-fips.eu-west-1.amazonaws.com/123456789012/orders",
            "https://eu-west-1.queue.amazonaws.com/123456789012/orders",
            "https://vpce-1a2b-3c4d.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders",
            "https://sqs.eu-west-1.api.aws/123456789012/orders",
            "http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/orders",
        ] {
            let address = QueueAddress::of(url).unwrap();
            assert_eq!((&*address.name, address.region.as_deref()), ("orders", Some("eu-west-1")), "{url}");
            assert_eq!(address.url.as_deref(), Some(url));
        }
        assert_eq!(region("https://queue.amazonaws.com/123456789012/orders").as_deref(), Some("us-east-1"));
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/1/orders").as_deref(), Some("cn-north-1"));
        for elsewhere in
            ["http://127.0.0.1:4566/000000000000/orders", "https://sqs.example/1/orders", "http://x", "://"]
        {
            assert_eq!(region(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn all_urls_of_a_queue_are_one_place() {
        let same = [
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            "https://eu-west-1.queue.amazonaws.com/123456789012/orders",
            "https://vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders/",
            "https://sqs-fips.eu-west-1.api.aws/123456789012/orders",
        ];
        assert!(same.iter().all(|url| place_of(url) == "eu-west-1/123456789012/orders"));
        for other in [
            "https://sqs.eu-west-2.amazonaws.com/123456789012/orders",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo",
            "https://sqs.eu-west-1.amazonaws.com/210987654321/orders",
            "http://sqs.eu-west-1.localhost.localstack.cloud:4566/123456789012/orders",
        ] {
            assert_ne!(place_of(other), place_of(same[0]), "{other}");
        }
        assert_eq!(place_of("http://127.0.0.1:4566/0/orders/"), "http://127.0.0.1:4566/0/orders");
    }

    #[test]
    fn an_arn_says_its_region_and_account() {
        let address = QueueAddress::of("arn:aws:sqs:eu-west-1:123456789012:orders.fifo").unwrap();
        assert_eq!((&*address.name, address.url), ("orders.fifo", None));
        assert_eq!(address.region.as_deref().zip(address.account.as_deref()), Some(("eu-west-1", "123456789012")));
        let plain = QueueAddress::of("orders").unwrap();
        assert_eq!((&*plain.name, plain.region, plain.account), ("orders", None, None));
    }

    #[test]
    fn an_arn_of_something_else_is_refused() {
        let refusal = |queue| QueueAddress::of(queue).unwrap_err();
        let other = refusal("arn:aws:sns:eu-west-1:123456789012:orders");
        assert_eq!(other, "is an ARN of \"sns\", and must be one of \"sqs\"");
        let like = "is no ARN like arn:aws:sqs:eu-west-1:123456789012:orders";
        for wrong in ["arn:aws:sqs", "arn:aws:sqs:::", "arn:aws:sqs:eu-west-1:1:", "arn:aws:sqs:eu-west-1:1:a:b"] {
            let text = refusal(wrong);
            assert!(text == like || text.starts_with("is an ARN of"), "{wrong}: {text}");
        }
    }
}
