//! The addresses of links.

/// The path of an address, which clients give with or without scheme and host.
pub(crate) fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

/// What a link is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    Cbs,
    Management,
    /// A hub, to send to.
    Hub(&'a str),
    /// A partition of a hub, to send to.
    Partition(&'a str, &'a str),
    /// A partition of a hub, to receive from in a consumer group.
    Group(&'a str, &'a str, &'a str),
}

impl<'a> Node<'a> {
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let is = |word: &str, expected: &str| word.eq_ignore_ascii_case(expected);
        let mut segments = path.split('/');
        let (mut parts, mut count) = ([""; 5], 0);
        for part in &mut parts {
            let Some(segment) = segments.next() else { break };
            (*part, count) = (segment, count + 1);
        }
        if segments.next().is_some() || parts[..count].contains(&"") {
            return None;
        }
        match parts[..count] {
            [cbs] if is(cbs, "$cbs") => Some(Self::Cbs),
            [management] | [_, management] if is(management, "$management") => Some(Self::Management),
            [hub] => Some(Self::Hub(hub)),
            [hub, partitions, index] if is(partitions, "Partitions") => Some(Self::Partition(hub, index)),
            [hub, groups, group, partitions, index] if is(groups, "ConsumerGroups") && is(partitions, "Partitions") => {
                Some(Self::Group(hub, group, index))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_client_are_read() {
        for (address, node) in [
            ("$cbs", Some(Node::Cbs)),
            ("amqps://host:5671/$cbs", Some(Node::Cbs)),
            ("$management", Some(Node::Management)),
            ("orders/$management", Some(Node::Management)),
            ("amqp://host/orders", Some(Node::Hub("orders"))),
            ("orders/Partitions/3", Some(Node::Partition("orders", "3"))),
            ("sb://host/orders/ConsumerGroups/$Default/Partitions/0", Some(Node::Group("orders", "$Default", "0"))),
            ("/orders/consumergroups/a/partitions/0/", Some(Node::Group("orders", "a", "0"))),
            ("", None),
            ("amqp://host", None),
            ("orders/Publishers/a", None),
            ("orders//3", None),
            ("orders/ConsumerGroups/a/Partitions/0/more", None),
        ] {
            assert_eq!(Node::parse(path(address)), node, "{address}");
        }
    }
}
