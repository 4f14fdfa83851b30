use std::path::PathBuf;

/// Where rows are kept, by URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `memory:name`
    Memory(String),
    /// `file:/folder`
    File(PathBuf),
    /// `s3://bucket/prefix` and the like.
    Objects { service: Service, bucket: String, prefix: Vec<String> },
}

/// Whose objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    S3,
    Azure,
    Gcs,
}

impl Place {
    /// Reads a URL, or says what is wrong with it. That does not repeat it, since people write credentials into URLs.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err("has no scheme: it is memory:name, file:/folder, s3://, az:// or gs://");
        };
        match scheme {
            "memory" => memory(rest),
            "file" => file(rest),
            "s3" => objects(Service::S3, rest),
            "az" => objects(Service::Azure, rest),
            "gs" => objects(Service::Gcs, rest),
            _ => Err("has an unknown scheme: known are memory, file, s3, az and gs"),
        }
    }
}

fn memory(name: &str) -> Result<Place, &'static str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match name {
        "" => Err("names no store: memory:name is shared by all in this process that name it"),
        _ if !name.bytes().all(known) => Err("has a name of other than letters, digits, - _ and ."),
        _ => Ok(Place::Memory(name.to_owned())),
    }
}

fn file(path: &str) -> Result<Place, &'static str> {
    let path = match path.strip_prefix("//") {
        None => path,
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("names a host: a folder is file:/folder or file:///folder"),
    };
    if path.contains(['?', '#', '%', '\0']) {
        return Err("has one of ? # % in its path: the folder is taken as it is written");
    }
    let path = PathBuf::from(path);
    // A relative one would be another folder for each process.
    if path.is_absolute() { Ok(Place::File(path)) } else { Err("names no absolute folder, as in file:/folder") }
}

fn objects(service: Service, rest: &str) -> Result<Place, &'static str> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("lacks the // before the bucket");
    };
    if rest.contains('@') {
        return Err("has an @: credentials come from the environment, never from a URL");
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if bucket.len() < 3 || !bucket.bytes().all(known) {
        return Err("names no bucket: at least three of lower-case letters, digits, - _ and .");
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.len() > 300 {
        return Err("has a prefix of more than 300 bytes");
    }
    let segments: Vec<_> = prefix.split('/').map(str::to_owned).collect();
    let plain = |segment: &String| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !segment.is_empty() && segment.bytes().all(known) && !segment.ends_with('.')
    };
    if prefix.is_empty() {
        return Err("names no prefix, as in s3://bucket/prefix: rows do not lie among other things");
    }
    if !segments.iter().all(plain) {
        return Err("has a prefix of other than letters, digits, - _ . and single / between them");
    }
    Ok(Place::Objects { service, bucket: bucket.to_owned(), prefix: segments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows() {
        assert_eq!(Place::parse("memory:orders.1").unwrap(), Place::Memory("orders.1".into()));
        for url in ["file:/var/leases", "file:///var/leases"] {
            assert_eq!(Place::parse(url).unwrap(), Place::File("/var/leases".into()));
        }
        for (url, service) in [("s3", Service::S3), ("az", Service::Azure), ("gs", Service::Gcs)] {
            let prefix = vec!["a".to_owned(), "B_2".to_owned()];
            let expected = Place::Objects { service, bucket: "our-rows".into(), prefix };
            assert_eq!(Place::parse(&format!("{url}://our-rows/a/B_2/")).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_the_rest_without_repeating_it() {
        let bad = [
            ("", "no scheme"),
            ("leases", "no scheme"),
            ("dynamo://x", "unknown scheme"),
            ("memory:", "names no store"),
            ("memory://x", "other than letters"),
            ("file:leases", "no absolute folder"),
            ("file:", "no absolute folder"),
            ("file://host/leases", "names a host"),
            ("file:/a%20b", "? # %"),
            ("s3:bucket/x", "lacks the //"),
            ("s3://", "names no bucket"),
            ("s3://Bucket/x", "names no bucket"),
            ("s3://key:hunter2@bucket/x", "has an @"),
            ("s3://bucket", "names no prefix"),
            ("s3://bucket/", "names no prefix"),
            ("s3://bucket/a//b", "single /"),
            ("s3://bucket/..", "single /"),
            ("gs://bucket/a?x=hunter2", "single /"),
            ("az://container/a b", "single /"),
        ];
        for (url, why) in bad {
            let reason = Place::parse(url).unwrap_err();
            assert!(reason.contains(why), "{url}: {reason}");
        }
        let long = format!("s3://bucket/{}", "a".repeat(301));
        assert!(Place::parse(&long).is_err());
    }
}
