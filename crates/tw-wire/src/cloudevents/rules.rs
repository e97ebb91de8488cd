//! The rules of CloudEvents for names and values of attributes.

use super::error::{Problem, cut};

/// The longest name of an extension, in bytes. CloudEvents recommends at most 20.
const NAME_BYTES_MAX: usize = 64;

/// Extension attributes whose names start so are the platform's own.
pub(super) const RESERVED: &str = "tw";

/// Checks the name of an extension attribute.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    let valid = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !valid {
        return Err(Problem::Name(cut(name)));
    }
    if name.starts_with(RESERVED) {
        return Err(Problem::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Checks a text: not too long, no control characters, no noncharacters (CloudEvents, "Type System").
pub(super) fn check_text(attribute: &str, text: &str, bytes_max: u32) -> Result<(), Problem> {
    if text.len() > bytes_max as usize {
        let attribute = cut(attribute);
        return Err(Problem::TooLong { attribute, bytes: text.len(), bytes_max });
    }
    let plain = |b: u8| (0x20..0x7f).contains(&b);
    if text.bytes().all(plain) {
        return Ok(());
    }
    let noncharacter = |c: char| {
        let code = u32::from(c);
        code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    if text.chars().any(|c| c.is_control() || noncharacter(c)) {
        let rule = "control characters and Unicode noncharacters are not allowed, move it to the data";
        return Err(Problem::value(attribute, &text.escape_debug().to_string(), rule));
    }
    Ok(())
}

/// Checks a text that may not be empty.
pub(super) fn check_not_empty(attribute: &str, text: &str, rule: &'static str) -> Result<(), Problem> {
    if text.is_empty() { Err(Problem::value(attribute, text, rule)) } else { Ok(()) }
}

/// Checks a URI reference by its characters (RFC 3986, section 2).
pub(super) fn check_uri_reference(attribute: &str, text: &str) -> Result<(), Problem> {
    let wrong = |rule| Err(Problem::value(attribute, text, rule));
    if text.is_empty() {
        return wrong("say who the event comes from, such as /shop or https://example.com/shop");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if !text.bytes().all(allowed) {
        return wrong("a URI has only letters, digits and -._~:/?#[]@!$&'()*+,;=, percent-encode the others");
    }
    let escapes = |part: &str| {
        part.as_bytes().first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(escapes) {
        return wrong("in a URI `%` starts two hexadecimal digits, write %25 for the character itself");
    }
    Ok(())
}

/// Checks a URI with a scheme.
pub(super) fn check_uri(attribute: &str, text: &str) -> Result<(), Problem> {
    check_uri_reference(attribute, text)?;
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if valid {
        Ok(())
    } else {
        Err(Problem::value(attribute, text, "it must be a URI with a scheme, such as https: or urn:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_the_specification_are_accepted() {
        for source in [
            "https://github.com/cloudevents",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "/sensors/tn-1234567/alerts",
            "1-555-123-4567",
            "/a%20b",
        ] {
            check_uri_reference("source", source).unwrap();
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for source in ["", "a b", "größe", "a%2", "100%", "a\\b"] {
            assert!(check_uri_reference("source", source).is_err(), "{source}");
        }
        for schema in ["/relative", "1a:b", ":b"] {
            assert!(check_uri("dataschema", schema).is_err(), "{schema}");
        }
        check_uri("dataschema", "urn:x").unwrap();
    }

    #[test]
    fn texts_are_without_control_characters() {
        check_text("id", "größe 😀", 100).unwrap();
        for text in ["a\nb", "\u{7f}", "\u{85}", "\u{fffe}", "\u{1ffff}", "\u{fdd0}"] {
            assert!(check_text("id", text, 100).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_short_lower_case_and_not_ours() {
        for name in ["", "Upper", "under_score", "größe", "data_base65", "a".repeat(65).as_str()] {
            assert!(matches!(check_name(name), Err(Problem::Name(_))), "{name}");
        }
        assert!(matches!(check_name("twposition"), Err(Problem::Reserved(_))));
        check_name("traceparent").unwrap();
    }
}
