use strait_core::{Error, ErrorKind, Result};

/// The full name of a topic or a subscription (`kind`): what has one keeps it, a short name is of the connection's project.
///
/// # Errors
///
/// [`ErrorKind::Config`] if the name is no such name, or is short where there is no project.
pub(crate) fn full(kind: &str, name: &str, project: Option<&str>) -> Result<String> {
    let wrong = |reason: String| Err(Error::new(ErrorKind::Config, format!("pubsub: {name:?} {reason}")));
    let parts: Vec<_> = name.split('/').collect();
    match (&*parts, project) {
        (["projects", project, of, name], _) if *of == kind && !project.is_empty() && !name.is_empty() => {}
        ([short], Some(project)) if !short.is_empty() => return Ok(format!("projects/{project}/{kind}/{short}")),
        ([_], None) => return wrong("is a short name, and the connection has no project".to_owned()),
        _ => return wrong(format!("is not like projects/PROJECT/{kind}/NAME")),
    }
    Ok(name.to_owned())
}

/// What a producer's destination is called that goes to the topic of this full name.
pub(crate) fn destination(topic: &str) -> String {
    format!("pubsub:{topic}")
}

/// The last part, which is what errors and logs say.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_full_or_of_the_project() {
        let topic = |name: &str, project| full("topics", name, project).map_err(|error| error.to_string());
        assert_eq!(topic("orders", Some("shop")).unwrap(), "projects/shop/topics/orders");
        assert_eq!(topic("projects/other/topics/orders", Some("shop")).unwrap(), "projects/other/topics/orders");
        assert_eq!(topic("projects/p/topics/orders", None).unwrap(), "projects/p/topics/orders");
        let refused = "pubsub: \"orders\" is a short name, and the connection has no project";
        assert_eq!(topic("orders", None).unwrap_err(), refused);
        for name in [
            "",
            "a/b",
            "projects/p/subscriptions/s",
            "projects//topics/t",
            "projects/p/topics/",
            "projects/p/topics/t/x",
        ] {
            let refused = format!("pubsub: {name:?} is not like projects/PROJECT/topics/NAME");
            assert_eq!(topic(name, Some("shop")).unwrap_err(), refused);
        }
        assert_eq!(short("projects/p/topics/orders"), "orders");
    }
}
