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
    /// `dynamodb://table/group`
    Table { table: String, group: String },
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
            return Err("has no scheme: it is memory:name, file:/folder, s3://, az://, gs:// or dynamodb://");
        };
        match scheme {
            "memory" => memory(rest),
            "file" => file(rest),
            "s3" => objects(Service::S3, rest),
            "az" => objects(Service::Azure, rest),
            "gs" => objects(Service::Gcs, rest),
            "dynamodb" => table(rest),
            _ => Err("has an unknown scheme: known are memory, file, s3, az, gs and dynamodb"),
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
    no_credentials(rest)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if bucket.len() < 3 || !bucket.bytes().all(known) {
        return Err("names no bucket: at least three of lower-case letters, digits, - _ and .");
    }
    if prefix.is_empty() || prefix == "/" {
        return Err("names no prefix, as in s3://bucket/prefix: rows do not lie among other things");
    }
    let prefix = segments(prefix)?.into_iter().map(str::to_owned).collect();
    Ok(Place::Objects { service, bucket: bucket.to_owned(), prefix })
}

fn table(rest: &str) -> Result<Place, &'static str> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("lacks the // before the table");
    };
    no_credentials(rest)?;
    let (table, group) = rest.split_once('/').unwrap_or((rest, ""));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(3..=255).contains(&table.len()) || !table.bytes().all(known) {
        return Err("names no table: 3 to 255 of letters, digits, - _ and .");
    }
    if group.is_empty() || group == "/" {
        return Err("names no group of rows, as in dynamodb://table/group: it is the partition key of all of them");
    }
    Ok(Place::Table { table: table.to_owned(), group: segments(group)?.join("/") })
}

fn no_credentials(rest: &str) -> Result<(), &'static str> {
    if rest.contains('@') {
        return Err("has an @: credentials come from the environment, never from a URL");
    }
    Ok(())
}

/// The names of a path that are there, one below the other.
fn segments(path: &str) -> Result<Vec<&str>, &'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.len() > 300 {
        return Err("has a prefix of more than 300 bytes");
    }
    let segments: Vec<_> = path.split('/').collect();
    let plain = |segment: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !segment.is_empty() && segment.bytes().all(known) && !segment.ends_with('.')
    };
    if !segments.iter().all(plain) {
        return Err("has a prefix of other than letters, digits, - _ . and single / between them");
    }
    Ok(segments)
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
        let expected = Place::Table { table: "Our.rows".into(), group: "a/B_2".into() };
        assert_eq!(Place::parse("dynamodb://Our.rows/a/B_2/").unwrap(), expected);
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
            ("dynamodb:table/x", "lacks the //"),
            ("dynamodb://t/x", "names no table"),
            ("dynamodb://ta ble/x", "names no table"),
            ("dynamodb://table", "names no group"),
            ("dynamodb://table/", "names no group"),
            ("dynamodb://key:hunter2@table/x", "has an @"),
            ("dynamodb://table/a//b", "single /"),
        ];
        for (url, why) in bad {
            let reason = Place::parse(url).unwrap_err();
            assert!(reason.contains(why), "{url}: {reason}");
        }
        let long = format!("s3://bucket/{}", "a".repeat(301));
        assert!(Place::parse(&long).is_err());
    }
}
