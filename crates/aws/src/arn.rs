/// What an ARN says of a resource: a queue, a topic, a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// The region, such as `eu-west-1`.
    pub region: &'a str,
    /// The twelve digits of the account.
    pub account: &'a str,
    /// All that follows: the name, with what the service puts before it (`stream/orders`).
    pub name: &'a str,
}

impl<'a> Arn<'a> {
    /// Reads an ARN of `service`; `None` if the text is no ARN but a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn of(text: &'a str, service: &str) -> Result<Option<Self>, String> {
        if !text.starts_with("arn:") {
            return Ok(None);
        }
        let mut parts = text.splitn(6, ':').skip(2);
        let mut next = || parts.next().unwrap_or_default();
        let (of, region, account, name) = (next(), next(), next(), next());
        if of != service {
            return Err(format!("is an ARN of {of:?}, and must be one of {service:?}"));
        }
        if region.is_empty() || account.is_empty() || name.is_empty() || name.contains(':') {
            return Err(format!("is no ARN like arn:aws:{service}:eu-west-1:123456789012:orders"));
        }
        Ok(Some(Self { region, account, name }))
    }
}

/// Whether a host is one of AWS itself.
pub fn is_of_aws(host: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| host.ends_with(domain))
}
