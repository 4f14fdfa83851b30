use std::fs;

/// Where variables come from. A value, so that tests need not change the process.
pub(crate) type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// How deep a replacement may be within the default of another.
const DEEPEST: usize = 8;

/// Replaces `${VAR}`, `${VAR:-default}` and `${file:/path}` in `text`; `$$` stands for `$`. A default and a path may hold
/// replacements themselves. Returns whether the text was one replacement and nothing else.
///
/// Errors never hold what a variable or a file holds.
pub(crate) fn expand(text: &str, environment: &Environment) -> Result<(String, bool), String> {
    expand_within(text, environment, 0)
}

fn expand_within(text: &str, environment: &Environment, depth: usize) -> Result<(String, bool), String> {
    let (mut out, mut rest, mut whole) = (String::new(), text, false);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (inner, after) = braced(after).ok_or("has a \"${\" without its \"}\"")?;
            whole = text.len() == inner.len() + 3;
            out.push_str(&resolve(inner, environment, depth)?);
            rest = after;
        } else if begins_with_a_variable(after) {
            return Err(
                "has a \"$\" before capitals: write \"${NAME}\" for a variable, and \"$$\" for a dollar".to_owned()
            );
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok((out, whole))
}

/// Whether a variable is meant by what is behind a `$`: names of variables have no small letters, while `$Default` is a
/// consumer group and `pa$word` a password.
fn begins_with_a_variable(text: &str) -> bool {
    let end = text.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(text.len());
    let name = &text[..end];
    name.starts_with(|first: char| !first.is_ascii_digit()) && !name.contains(|next: char| next.is_ascii_lowercase())
}

/// What is before the brace that closes the one before `text`, and what is behind it.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    let end = text.find(|next| {
        match next {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        open == 0
    })?;
    Some((&text[..end], &text[end + 1..]))
}

fn resolve(name: &str, environment: &Environment, depth: usize) -> Result<String, String> {
    let inner = |text: &str| {
        if depth == DEEPEST {
            return Err(format!("has replacements within each other, more than {DEEPEST} deep"));
        }
        expand_within(text, environment, depth + 1).map(|(expanded, _)| expanded)
    };
    if let Some(path) = name.strip_prefix("file:") {
        // The path is shown as it is written: what replaces a part of it is not.
        let text = fs::read_to_string(inner(path)?);
        let text = text.map_err(|error| format!("the file {path:?} cannot be read: {error}"))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !valid {
        return Err("has a \"${..}\" that names no variable".to_owned());
    }
    match (environment(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => inner(default),
        (None, None) => Err(format!("the variable {name} is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<(String, bool), String> {
        expand(text, &|name: &str| (name == "A").then(|| "1".to_owned()))
    }

    #[test]
    fn variables_are_replaced() {
        assert_eq!(all("x${A}y").unwrap(), ("x1y".into(), false));
        assert_eq!(all("${A}").unwrap(), ("1".into(), true));
        assert_eq!(all("${B:-z}").unwrap(), ("z".into(), true));
        assert_eq!(all("${B:-}").unwrap(), (String::new(), true));
        assert_eq!(all("$$${A}$").unwrap(), ("$1$".into(), false));
        assert_eq!(all("${A}${A}").unwrap(), ("11".into(), false));
        assert_eq!(all("${B}").unwrap_err(), "the variable B is not set");
        assert!(all("${A").is_err() && all("${}").is_err() && all("${file:/no/such/file}").is_err());
    }

    #[test]
    fn a_default_may_hold_variables_and_braces() {
        assert_eq!(all("${B:-${A}}").unwrap(), ("1".into(), true));
        assert_eq!(all("${B:-${C:-x${A}}}-${A}").unwrap(), ("x1-1".into(), false));
        assert_eq!(all("${B:-{\"a\": {}}}").unwrap(), ("{\"a\": {}}".into(), true));
        assert_eq!(all("${A:-${B}}").unwrap(), ("1".into(), true), "what is not needed need not be set");
        assert_eq!(all("${B:-${C}}").unwrap_err(), "the variable C is not set");
        assert!(all("${B:-${A}").is_err() && all("${${A}}").is_err());
        assert!(all("${file:/no/such/file}").unwrap_err().contains("\"/no/such/file\""));
        let hidden = all("${file:/no/such-${A}/${B:-file}}").unwrap_err();
        assert!(hidden.contains("\"/no/such-${A}/${B:-file}\"") && !hidden.contains("such-1"), "{hidden}");
        let deep = |levels| all(&format!("{}x{}", "${B:-".repeat(levels), "}".repeat(levels)));
        assert_eq!(deep(8).unwrap().0, "x");
        assert!(deep(9).is_err() && deep(100_000).is_err(), "and it takes no stack");
    }

    #[test]
    fn a_variable_without_braces_is_noticed_and_not_shown() {
        for text in ["$TOKEN", "a$TOKEN_2", "${A}$_X", "$B.c"] {
            let refused = all(text).unwrap_err();
            assert!(refused.contains("write \"${NAME}\"") && !refused.contains("TOKEN"), "{refused}");
        }
        assert_eq!(all("$5 a$$b $").unwrap().0, "$5 a$b $");
        for text in ["$Default", "pa$word", "$", "$5B", "$-A"] {
            assert_eq!(all(text).unwrap(), (text.to_owned(), false));
        }
    }
}
