//! Installs and starts the emulators of the clouds, natively: no container, no account.
//!
//! [`install`] puts one into a cache folder, once. [`start`] runs it on a free port until the [`Running`] is dropped, or
//! the process ends, however it ends. `README.md` says what each does not do.

mod cache;
mod install;
mod ready;
mod running;

pub use cache::folder;
pub use install::{install, installed};
pub use running::{Running, start};

/// An emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Emulator {
    /// LocalStack: SQS, SNS, Kinesis, DynamoDB and S3.
    LocalStack,
    /// Azurite: Azure's blobs.
    Azurite,
    /// Google's Pub/Sub emulator.
    PubSub,
    /// This project's emulator of Event Hubs. What is installed are Azure's clients, for tests that start it themselves.
    EventHubs,
}

impl Emulator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LocalStack, Self::Azurite, Self::PubSub, Self::EventHubs];

    /// What it is called here: its folder, and its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalStack => "localstack",
            Self::Azurite => "azurite",
            Self::PubSub => "pubsub",
            Self::EventHubs => "eventhubs",
        }
    }

    /// The variable by which tests are told where one runs that they need not start: `http://host:port`.
    pub fn variable(self) -> &'static str {
        match self {
            Self::LocalStack => "STRAIT_LOCALSTACK",
            Self::Azurite => "STRAIT_AZURITE",
            Self::PubSub => "STRAIT_PUBSUB",
            Self::EventHubs => "STRAIT_EVENTHUBS",
        }
    }

    /// The variables that clients read, and tests, for one that runs at `port`.
    pub fn variables(self, port: u16) -> Vec<(&'static str, String)> {
        let address = format!("http://127.0.0.1:{port}");
        let mut variables = vec![(self.variable(), address.clone())];
        match self {
            Self::LocalStack => variables.extend([
                ("AWS_ENDPOINT_URL", address),
                ("AWS_REGION", "us-east-1".to_owned()),
                // LocalStack takes anything; these are its documented placeholders.
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ]),
            Self::Azurite => variables.push(("AZURITE_BLOB_STORAGE_URL", address)),
            Self::PubSub => variables.push(("PUBSUB_EMULATOR_HOST", format!("127.0.0.1:{port}"))),
            // It speaks AMQP, and its key is its documented default.
            Self::EventHubs => {
                let key = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE";
                let connection = format!("Endpoint=sb://localhost:{port};{key};UseDevelopmentEmulator=true");
                variables = vec![
                    (self.variable(), format!("amqp://127.0.0.1:{port}")),
                    ("EVENTHUBS_CONNECTION_STRING", connection),
                ];
            }
        }
        variables
    }
}
