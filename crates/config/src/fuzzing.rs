//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use std::sync::Arc;

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Result};

use crate::{Bus, Connection, Fields, Provider, Registry, expand::expand};

/// What the variable `SECRET` holds, and no error may show.
const SECRET: &str = "hunter2-hunter2";

/// The text of a file, and after a zero byte the settings of `STRAIT_SET`: they are read or refused, and what is refused
/// shows nothing of what a variable holds. Texts that name files, or hold that themselves, are left out.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains("file:") || text.contains("hunter2") {
        return;
    }
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    match expand(text, &environment) {
        Ok(_) => {}
        Err(reason) => assert!(!reason.contains(SECRET), "a variable is shown"),
    }
    let escaped = expand(&text.replace('$', "$$"), &environment).expect("nothing is left to replace");
    assert!(escaped.0 == text, "what is escaped comes out as it was");

    let (text, settings) = text.split_once('\0').unwrap_or((text, ""));
    let settings = (!settings.is_empty()).then(|| settings.to_owned());
    let environment = move |name: &str| if name == "STRAIT_SET" { settings.clone() } else { environment(name) };
    let bus = Bus::builder(Registry::new().with(Everything)).environment(environment);
    match bus.text("strait.toml", text).build() {
        Ok(bus) => assert!(!format!("{bus:?}").contains(SECRET), "a variable is shown"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(!format!("{error} {error:?}").contains(SECRET), "a variable is shown");
        }
    }
}

/// A provider whose tables have a field of each kind.
#[derive(Debug)]
struct Everything;

impl Everything {
    fn read(fields: &mut Fields) {
        let insecure = fields.flag("flag").unwrap_or_default();
        fields.required("text");
        fields.secret("secret");
        fields.count("count");
        fields.bytes("bytes");
        fields.duration("duration");
        fields.timeout("timeout");
        fields.url("url", insecure);
        fields.choice("choice", &[("one", 1), ("two", 2)]);
        let mut table = fields.table("table");
        table.text("text");
        fields.absorb(table);
    }
}

#[async_trait]
impl Provider for Everything {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn check_connection(&self, fields: &mut Fields) {
        Self::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        Self::read(fields);
    }

    fn check_receiver(&self, fields: &mut Fields) {
        Self::read(fields);
    }

    async fn connect(&self, _: Fields, _: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        Err(Error::new(ErrorKind::Unsupported, "it is only read"))
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_hold() {
        super::seeds::each("configuration", super::configuration);
    }
}
