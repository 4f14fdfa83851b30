use std::fs;

/// Where variables come from. A value, so that tests need not change the process.
pub(crate) type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Replaces `${VAR}`, `${VAR:-default}` and `${file:/path}` in `text`; `$$` stands for `$`. Returns whether the text was
/// one replacement and nothing else.
///
/// Errors never hold what a variable or a file holds.
pub(crate) fn expand(text: &str, environment: &Environment) -> Result<(String, bool), String> {
    let (mut out, mut rest, mut whole) = (String::new(), text, false);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("has a \"${\" without its \"}\"".to_owned());
            };
            whole = out.is_empty() && after.is_empty() && text.len() == name.len() + 3;
            out.push_str(&resolve(name, environment)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok((out, whole))
}

fn resolve(name: &str, environment: &Environment) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        let text = fs::read_to_string(path).map_err(|error| format!("the file {path:?} cannot be read: {error}"))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !valid {
        return Err("has a \"${..}\" that names no variable".to_owned());
    }
    match (environment(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the variable {name} is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let environment = |name: &str| (name == "A").then(|| "1".to_owned());
        let all = |text: &str| expand(text, &environment);
        assert_eq!(all("x${A}y").unwrap(), ("x1y".into(), false));
        assert_eq!(all("${A}").unwrap(), ("1".into(), true));
        assert_eq!(all("${B:-z}").unwrap(), ("z".into(), true));
        assert_eq!(all("${B:-}").unwrap(), (String::new(), true));
        assert_eq!(all("$$${A}$").unwrap(), ("$1$".into(), false));
        assert_eq!(all("${B}").unwrap_err(), "the variable B is not set");
        assert!(all("${A").is_err() && all("${}").is_err() && all("${file:/no/such/file}").is_err());
    }
}
