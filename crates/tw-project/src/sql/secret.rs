//! Passwords in statements.

use std::fmt;

/// A password. It shows itself to nobody by accident: printing it for debugging gives dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password, for whoever is about to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Takes the password out of a URL; it stays in its encoded form. Passwords are looked for before the host, and in the
/// parameter `password`.
pub(super) fn take_password(url: &str) -> (String, Option<Secret>) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_len);
    let mut secret = None;
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, password)) => {
                secret = Some(Secret::new(password.to_owned()));
                format!("{user}@{host}")
            }
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((path, query)) => {
            let kept: Vec<&str> = query
                .split('&')
                .filter(|pair| match pair.split_once('=') {
                    Some((key, value)) if key.eq_ignore_ascii_case("password") => {
                        secret = Some(Secret::new(value.to_owned()));
                        false
                    }
                    _ => true,
                })
                .collect();
            if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
        }
        None => rest.to_owned(),
    };
    (format!("{scheme}{authority}{rest}"), secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_leave_the_url() {
        for (url, kept, password) in [
            ("postgres://me:s3cret@host:5432/db", "postgres://me@host:5432/db", Some("s3cret")),
            (
                "postgres://me:a@b@host/db?sslmode=require",
                "postgres://me@host/db?sslmode=require",
                Some("a@b"),
            ),
            ("postgres://host/db?password=x&a=b", "postgres://host/db?a=b", Some("x")),
            ("postgres://me@host/db", "postgres://me@host/db", None),
        ] {
            let (url, secret) = take_password(url);
            assert_eq!((url.as_str(), secret.as_ref().map(Secret::reveal)), (kept, password));
        }
        assert_eq!(format!("{:?}", Secret::new("x".into())), "Secret(…)");
    }

    proptest! {
        #[test]
        fn the_password_is_nowhere_in_what_is_kept(user in "[a-z]{1,5}", password in "[A-Z]{8}", host in "[a-z.]{1,9}") {
            let (url, secret) = take_password(&format!("postgres://{user}:{password}@{host}/db"));
            prop_assert!(!url.contains(&password));
            let secret = secret.unwrap();
            prop_assert_eq!(secret.reveal(), password);
        }
    }
}
