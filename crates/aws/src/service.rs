/// A service that an adapter calls. Each may have an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Simple Queue Service.
    Sqs,
    /// Simple Notification Service.
    Sns,
    /// Security Token Service, which is asked for a role.
    Sts,
    /// Kinesis Data Streams.
    Kinesis,
    /// `DynamoDB`.
    DynamoDb,
    /// Simple Storage Service.
    S3,
}

impl Service {
    pub(crate) const ALL: [Self; 6] = [Self::Sqs, Self::Sns, Self::Sts, Self::Kinesis, Self::DynamoDb, Self::S3];

    /// What the SDK calls it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Sqs => "SQS",
            Self::Sns => "SNS",
            Self::Sts => "STS",
            Self::Kinesis => "Kinesis",
            Self::DynamoDb => "DynamoDB",
            Self::S3 => "S3",
        }
    }

    /// What it is called in names of hosts, of permissions and in ARNs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::Sts => "sts",
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
            Self::S3 => "s3",
        }
    }

    /// The field of a connection that says where it is.
    pub fn field(self) -> &'static str {
        match self {
            Self::Sqs => "sqs_endpoint",
            Self::Sns => "sns_endpoint",
            Self::Sts => "sts_endpoint",
            Self::Kinesis => "kinesis_endpoint",
            Self::DynamoDb => "dynamodb_endpoint",
            Self::S3 => "s3_endpoint",
        }
    }

    /// What the profiles of AWS's own tools make of the field's name.
    pub(crate) fn field_elsewhere(self) -> &'static str {
        match self {
            Self::Sqs => "endpoint_url_sqs",
            Self::Sns => "endpoint_url_sns",
            Self::Sts => "endpoint_url_sts",
            Self::Kinesis => "endpoint_url_kinesis",
            Self::DynamoDb => "endpoint_url_dynamodb",
            Self::S3 => "endpoint_url_s3",
        }
    }

    /// The environment variable that says where it is.
    pub(crate) fn variable(self) -> String {
        format!("AWS_ENDPOINT_URL_{}", self.id().to_ascii_uppercase())
    }
}
