//! The keys with which a bucket is asked: from a file, from the environment, or from a role.

use super::Setting;
use crate::{Error, Options, Result};
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3ConfigKey, AwsCredential};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No file of keys is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The part of a file that counts.
const PROFILE: &str = "default";

/// Where keys come from.
pub(super) enum Source {
    /// They are known.
    Keys(AwsCredential),
    /// A file has them.
    File(File),
    /// The role of a pod, a container or the machine has them, for a while.
    Role(Vec<Setting>),
}

/// Keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("`credentials_file` names `{path}`, and {reason}")]
pub(super) struct Unusable {
    path: String,
    reason: String,
}

/// Finds out where keys come from: the file that is named; variables with keys; a role that variables tell of; the role of the
/// machine.
pub(super) fn source(options: &Options, variable: impl Fn(&str) -> Option<String>) -> Result<Source> {
    let failed = |reason: String| Error::NoKeys { place: options.place.clone(), reason };
    if !options.credentials_file.as_os_str().is_empty() {
        let file = File(options.credentials_file.clone());
        // A mistake shows at once; what counts is read again for each request.
        file.read().map_err(|unusable| failed(unusable.to_string()))?;
        return Ok(Source::File(file));
    }
    let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    match (variable(id), variable(secret)) {
        (Some(key_id), Some(secret_key)) => {
            return Ok(Source::Keys(AwsCredential {
                key_id,
                secret_key,
                token: variable("AWS_SESSION_TOKEN"),
            }));
        }
        (None, None) => {}
        (Some(_), None) => return Err(failed(format!("`{id}` is set, and `{secret}` is not: set both"))),
        (None, Some(_)) => return Err(failed(format!("`{secret}` is set, and `{id}` is not: set both"))),
    }
    let role = role(&variable);
    let is_disabled =
        variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if role.is_empty() && is_disabled {
        return Err(failed(format!(
            "set `{id}` and `{secret}`, or name a file in `credentials_file`; the role of the machine is not asked because of \
             `AWS_EC2_METADATA_DISABLED`"
        )));
    }
    Ok(Source::Role(role))
}

/// The role that variables tell of, as Kubernetes and container services set them; nothing for that of the machine.
fn role(variable: &impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    use AmazonS3ConfigKey as Key;
    let all = |settings: &[(Key, &str)]| {
        let values = settings.iter().map(|(key, name)| Some((*key, variable(name)?)));
        values.collect::<Option<Vec<Setting>>>()
    };
    let pod = [(Key::WebIdentityTokenFile, "AWS_WEB_IDENTITY_TOKEN_FILE"), (Key::RoleArn, "AWS_ROLE_ARN")];
    let agent = [
        (Key::ContainerCredentialsFullUri, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        (Key::ContainerAuthorizationTokenFile, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    ];
    let container = [(Key::ContainerCredentialsRelativeUri, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")];
    if let Some(mut settings) = all(&pod) {
        let name = variable("AWS_ROLE_SESSION_NAME").map(|name| (Key::RoleSessionName, name));
        settings.extend(name);
        return settings;
    }
    all(&container).or_else(|| all(&agent)).unwrap_or_default()
}

/// A file with keys.
#[derive(Debug)]
pub(super) struct File(PathBuf);

impl File {
    fn read(&self) -> Result<AwsCredential, Unusable> {
        let unusable = |reason: String| Unusable { path: self.0.display().to_string(), reason };
        let text = text(&self.0).map_err(|error| unusable(format!("it does not read: {error}")))?;
        parse(&text).map_err(|reason| unusable(reason.to_owned()))
    }
}

#[async_trait::async_trait]
impl CredentialProvider for File {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let file = Self(self.0.clone());
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        let keys = read.map_err(|source| object_store::Error::JoinError { source })?;
        keys.map(Arc::new)
            .map_err(|unusable| object_store::Error::Generic { store: "S3", source: Box::new(unusable) })
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads keys in the form of `~/.aws/credentials`: lines `NAME = VALUE` in parts that begin with `[PROFILE]`; other names are
/// for other programs. See <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>.
fn parse(text: &str) -> Result<AwsCredential, &'static str> {
    let (mut profile, mut id, mut secret, mut token) = ("", None, None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            profile = name.split(']').next().unwrap_or_default().trim();
        } else if let Some((name, value)) = line.split_once('=')
            && profile == PROFILE
        {
            let value = Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned);
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(key_id), Some(secret_key)) => Ok(AwsCredential { key_id, secret_key, token }),
        _ => Err(
            "it has no `aws_access_key_id` and `aws_secret_access_key` after a line `[default]`: write them there",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(id: &str, secret: &str, token: Option<&str>) -> AwsCredential {
        AwsCredential { key_id: id.into(), secret_key: secret.into(), token: token.map(str::to_owned) }
    }

    fn find(options: &Options, environment: &[(&str, &str)]) -> Result<Source> {
        source(options, |name| {
            environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_default_profile_of_a_file_counts() {
        let text = "# mine\n[other]\naws_access_key_id = x\n[ default ]\r\naws_access_key_id=id\r\n aws_secret_access_key = a=b/+ \n\
                    region = x\n; no\n[last]\naws_secret_access_key = y\n";
        assert!(parse(text).unwrap() == keys("id", "a=b/+", None));
        let text = "[default]\naws_access_key_id=id\naws_secret_access_key=s\naws_session_token=t";
        assert!(parse(text).unwrap() == keys("id", "s", Some("t")));
        for bad in [
            "",
            "aws_access_key_id=id\naws_secret_access_key=s",
            "[default]\naws_access_key_id=id\naws_secret_access_key=",
        ] {
            assert!(parse(bad).unwrap_err().contains("[default]"), "{bad}");
        }
    }

    #[test]
    fn a_file_comes_before_variables_and_variables_before_roles() {
        let folder = tempfile::tempdir().unwrap();
        let credentials_file = folder.path().join("keys");
        std::fs::write(&credentials_file, "[default]\naws_access_key_id=f\naws_secret_access_key=s").unwrap();
        let named = Options { credentials_file, ..Options::default() };
        let variables =
            [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        let role = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ("AWS_ROLE_ARN", "arn"),
            ("AWS_ROLE_SESSION_NAME", "me"),
        ];
        let all = [&variables[..], &role[..]].concat();
        assert!(matches!(find(&named, &all), Ok(Source::File(_))));
        let nothing = Options::default();
        assert!(
            matches!(find(&nothing, &all), Ok(Source::Keys(found)) if found == keys("id", "s", Some("t")))
        );
        assert!(matches!(find(&nothing, &role), Ok(Source::Role(settings)) if settings.len() == 3));
        assert!(matches!(find(&nothing, &role[1..]), Ok(Source::Role(settings)) if settings.is_empty()));
        let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")];
        assert!(matches!(find(&nothing, &container), Ok(Source::Role(settings)) if settings.len() == 1));
    }

    #[test]
    fn half_of_the_keys_and_no_keys_at_all_are_errors_that_say_what_to_set() {
        let said = |environment: &[(&str, &str)]| {
            let options = Options { place: "s3://bucket".into(), ..Options::default() };
            find(&options, environment).err().unwrap().to_string()
        };
        assert_eq!(
            said(&[("AWS_ACCESS_KEY_ID", "id")]),
            "depot `s3://bucket` has no keys: `AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not: set both"
        );
        assert!(said(&[("AWS_SECRET_ACCESS_KEY", "hidden")]).contains("`AWS_ACCESS_KEY_ID` is not"));
        assert!(!said(&[("AWS_SECRET_ACCESS_KEY", "hidden")]).contains("hidden"));
        assert!(
            said(&[("AWS_EC2_METADATA_DISABLED", "TRUE")]).contains("or name a file in `credentials_file`")
        );
    }

    #[test]
    fn a_file_that_does_not_read_is_named() {
        let options = Options { credentials_file: "/nowhere/keys".into(), ..Options::default() };
        let said = find(&options, &[]).err().unwrap().to_string();
        assert!(said.contains("`credentials_file` names `/nowhere/keys`, and it does not read"), "{said}");
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_file_is_keys_or_refused(text in "(\\[default\\]\n)?(aws_access_key_id|aws_secret_access_key|[=\\[\\]#;\n]|.){0,12}") {
            if let Ok(keys) = parse(&text) {
                prop_assert!(!keys.key_id.is_empty() && !keys.secret_key.is_empty());
            }
        }
    }
}
