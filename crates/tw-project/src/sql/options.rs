//! What is wrong with the options of a statement: which one it is, and what it may be.

use super::StatementOptions;
use crate::dialect::suggest;

/// Which of `options` does not read, and what it may be. `of` says whose options they are, `read` reads one of them alone;
/// `names` are all that there are.
pub fn bad_option(
    of: &str,
    options: &StatementOptions,
    names: &[&str],
    read: impl Fn(&str, &str) -> Result<(), serde_json::Error>,
) -> Option<String> {
    options.iter().find_map(|(name, text)| {
        if !names.contains(&name.as_str()) {
            let hint = match suggest::closest(name, names.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("use {}", listed(names)),
            };
            return Some(format!("a {of} has no option `{name}`: {hint}"));
        }
        let error = read(name, text).err()?.to_string();
        Some(format!("option `{name}` of a {of} is `{text}`: {}", rule(&error)))
    })
}

/// What a value must be, from what serde says.
fn rule(error: &str) -> String {
    let expected = error.split_once("expected ").map_or("", |(_, expected)| expected);
    let variants: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match () {
        () if !variants.is_empty() => format!("use {}", listed(&variants)),
        // A number of another size.
        () if error.starts_with("invalid value") => "it is too large".to_owned(),
        () if expected.starts_with(['u', 'i']) => "use a whole number".to_owned(),
        () => error.to_owned(),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => format!("`{name}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::StreamOptions;

    #[test]
    fn the_option_and_its_rule_are_named() {
        const NAMES: [&str; 3] = ["retention_ms", "cleanup", "event_bytes_max"];
        let said = |name: &str, text: &str| {
            let options = [(name.to_owned(), text.to_owned())].into();
            let read = |name: &str, text: &str| {
                let value = text.parse::<u64>().map_or_else(|_| text.into(), serde_json::Value::from);
                let object = serde_json::Map::from_iter([(name.to_owned(), value)]);
                serde_json::from_value::<StreamOptions>(object.into()).map(drop)
            };
            bad_option("stream", &options, &NAMES, read).unwrap_or_default()
        };
        assert_eq!(said("cleanup", "compact"), "");
        assert_eq!(
            said("keep", "1"),
            "a stream has no option `keep`: use `retention_ms`, `cleanup` or `event_bytes_max`"
        );
        assert_eq!(
            said("retention_m", "1"),
            "a stream has no option `retention_m`: did you mean `retention_ms`?"
        );
        assert_eq!(
            said("retention_ms", "long"),
            "option `retention_ms` of a stream is `long`: use a whole number"
        );
        assert_eq!(
            said("cleanup", "all"),
            "option `cleanup` of a stream is `all`: use `delete` or `compact`"
        );
        assert_eq!(
            said("event_bytes_max", "5000000000"),
            "option `event_bytes_max` of a stream is `5000000000`: it is too large"
        );
    }
}
