//! What all texts that follow a rule have in common.

/// Gives a tuple struct around an `Arc<str>` the traits of a text, as `text_type!(StreamName, InvalidName)`. The struct has a function
/// `new(&str) -> Result<Self, InvalidName>` that checks its rule; with `#[serde(try_from = "String", into = "String")]` what is read
/// is checked, too.
#[macro_export]
macro_rules! text_type {
    ($name:ident, $error:ty) => {
        impl $name {
            /// It as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl ::std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $error;

            fn from_str(s: &str) -> Result<Self, $error> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(s: String) -> Result<Self, $error> {
                Self::new(&s)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().to_owned()
            }
        }
    };
}
