//! What the services tell each other: one type for each channel.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use strait::{Failure, Id, Json as _, Key, Message};

/// An order as the shop took it. Money is counted in cents.
#[expect(clippy::struct_field_names, reason = "the names are those of the file")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) order_id: u64,
    pub(crate) customer_id: String,
    pub(crate) date: String,
    pub(crate) items: u64,
    pub(crate) cents: u64,
}

/// On `orders`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(crate) enum Placed {
    OrderPlaced(Order),
}

/// On `payments`, and on `shipping-dead` what shipping refused of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(crate) enum Payment {
    PaymentSucceeded { order_id: u64, items: u64, cents: u64 },
    PaymentFailed { order_id: u64, reason: String },
}

/// On `shipments`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(crate) enum Shipment {
    ShippingLabelGenerated { order_id: u64, label: String },
}

/// On `status`. Changes are numbered in the order in which they were made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(crate) enum StatusChange {
    OrderStatusUpdated { order_id: u64, status: Status, change: u64 },
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Placed,
    Paid,
    PaymentFailed,
    Shipped,
    Rejected,
}

impl Status {
    /// Whether nothing follows it.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::PaymentFailed | Self::Shipped | Self::Rejected)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placed => "Placed",
            Self::Paid => "Paid",
            Self::PaymentFailed => "PaymentFailed",
            Self::Shipped => "Shipped",
            Self::Rejected => "Rejected",
        }
    }
}

/// The first bytes of the ids of a channel's messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    Orders = 1,
    Payments,
    Shipments,
    Status,
}

/// A message of this customer. Its id is made of what it is about, so that a service that does its work twice says the
/// same twice, and whoever hears it absorbs the second.
pub(crate) fn message(
    channel: Channel,
    number: u64,
    customer: &str,
    payload: &impl Serialize,
) -> Result<Message, strait::Error> {
    let mut id = *b"orders\x80\0\x80\0\0\0\0\0\0\0"; // shaped as a UUID of version 8
    id[7] = channel as u8;
    id[9..].copy_from_slice(&number.to_be_bytes()[1..]);
    Ok(Message::json(payload)?.with_key(customer).with_id(Id::from_bytes(id)))
}

/// Whose message it is.
pub(crate) fn customer(message: &Message) -> Result<&str, Failure> {
    message.key.as_ref().map(Key::as_str).ok_or_else(|| Failure::reject("the message has no key"))
}

/// Reads a payload. What cannot be read never will be: it goes to the dead letters.
pub(crate) fn read<T: DeserializeOwned>(message: &Message) -> Result<T, Failure> {
    message.parse().map_err(Failure::reject)
}
